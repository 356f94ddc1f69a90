"""Fixtures of the conversations with third-party clients."""

import pytest


@pytest.fixture(autouse=True)
def _trust_nobody() -> None:
    """Keep the certificates of the machine: clients are installed from package registries."""
