"""One session: the timeline of turns, its commands, and simulated users."""
