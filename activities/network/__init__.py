"""Outgoing requests: the egress guard, secrets, webhooks and HTTP responses."""
