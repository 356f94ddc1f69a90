"""The HTTP routes, and the dependencies that they share."""
