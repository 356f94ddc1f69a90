"""The HTTP API: the contract of the product, and the gateway from requests to workflows."""
