"""Webhook reports of completed sessions, and their signatures."""
