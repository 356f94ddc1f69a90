"""Fixtures of the conversations with third-party clients."""

import pytest


@pytest.fixture(autouse=True)
def _without_ca_certificates() -> None:
    """Keep the certificates of the machine: clients are installed from package registries."""
