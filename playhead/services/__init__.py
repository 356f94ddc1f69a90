"""The processes of an installation: API server, worker and the stack for development."""
