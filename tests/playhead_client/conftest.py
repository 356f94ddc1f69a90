"""The OpenAPI document for the tests of the client."""

import pytest
from temporalio.client import Client

from api.app import create_app
from store.database.connection import Database
from tests.api.conftest import quick_settings
from tests.playhead_client.openapi import Document


@pytest.fixture(scope="session")
async def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """openapi.json."""
    url = f"sqlite:///{tmp_path_factory.mktemp('openapi')}/playhead.db"
    nowhere = await Client.connect("127.0.0.1:1", lazy=True)
    app = create_app(quick_settings(url, "none").api(), client=nowhere, database=Database.open(url))
    return Document(app.openapi())
