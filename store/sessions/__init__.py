"""Sessions, turns, steps and events in SQL, and the transaction that settles a turn."""
