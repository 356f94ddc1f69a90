"""Temporal client of the API: session workflows, errors, deletion and availability."""
