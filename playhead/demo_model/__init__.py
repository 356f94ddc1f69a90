"""The offline demo model: a scripted stand-in for a language model, a simulated user and a judge."""

DEMO_MODEL = "demo"
"""The model string that selects it."""
