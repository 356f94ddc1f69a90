"""Turns: data, engine and extraction of variables."""
