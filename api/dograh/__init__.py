"""dograh's text chat API over the same sessions: its clients run unchanged."""
