"""The processes of an installation: the API server, the worker, and the stack for development."""
