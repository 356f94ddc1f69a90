"""Terminal output shared by the commands: tables, events, results and API errors."""
