"""The Temporal workflows: deterministic, short, and free of anything but rules and scheduling."""
