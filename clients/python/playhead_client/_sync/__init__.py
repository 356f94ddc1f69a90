# Generated from _async/__init__.py by scripts/generate_sync_client.py; change that file instead.
"""The blocking client, from which scripts/generate_sync_client.py generates the blocking one."""
