"""The async client, from which scripts/generate_sync_client.py generates the blocking one."""
