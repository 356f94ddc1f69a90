"""Settings: their declaration, values and environment."""
