# Generated from _async/__init__.py by scripts/generate_sync_client.py; change that file instead.
"""The blocking client: its connection, and the calls about each kind of resource."""
