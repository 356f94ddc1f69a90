"""Writes the OpenAPI document of this source tree to a file: `python scripts/write_openapi.py web/openapi.json`."""

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from temporalio.client import Client

from api.app import create_app
from playhead.config.settings import Settings
from store.database.connection import Database


async def document() -> dict[str, object]:
    """The document, from an application that is connected to nothing."""
    with TemporaryDirectory() as folder:
        settings = Settings.model_validate({"database_url": f"sqlite:///{folder}/unused.db"})
        nowhere = await Client.connect("127.0.0.1:1", lazy=True)
        database = Database.open(settings.database_url)
        try:
            return create_app(settings.api(), client=nowhere, database=database).openapi()
        finally:
            await database.aclose()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(f"{json.dumps(asyncio.run(document()), indent=1)}\n", encoding="utf-8")
