"""The async client, from which scripts/generate_sync_client.py makes the other one."""
