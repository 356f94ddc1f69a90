"""The HTTP API: the product's contract, and the gateway to its workflows."""
