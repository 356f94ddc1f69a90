"""The routes of dograh's text chat, over the same sessions: clients written for it run unchanged."""
