"""HTTP plumbing: authentication, problems, body limits, metrics and server-sent events."""
