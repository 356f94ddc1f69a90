"""Environment variables that the client reads."""

API_URL = "PLAYHEAD_API_URL"
API_KEY = "PLAYHEAD_API_KEY"
DEFAULT_API_URL = "http://127.0.0.1:8080"
"""The address of the stack that `playhead dev` starts."""
