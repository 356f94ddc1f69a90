"""Live delivery of session events to watchers, across processes."""
