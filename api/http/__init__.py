"""HTTP layer: authentication, errors, body limit, metrics and server-sent events."""
