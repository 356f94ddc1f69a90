"""Model calls: providers, requests, streamed replies and their usage."""
