"""Connecting to Temporal: the client, the embedded server and large payloads."""
