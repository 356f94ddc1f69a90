"""Services behind the suite routes."""
