"""Services behind the session routes: creation, commands, reads, forks and erasure."""
