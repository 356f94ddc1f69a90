"""Temporal: the client, the development server and large payloads."""
