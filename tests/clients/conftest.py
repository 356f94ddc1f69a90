"""Fixtures of the conversations with clients of others."""

import pytest


@pytest.fixture(autouse=True)
def _trust_nobody() -> None:
    """Keep the certificates of the machine: clients are installed from package registries."""
