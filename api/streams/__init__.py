"""Event streams of sessions and of single messages."""
