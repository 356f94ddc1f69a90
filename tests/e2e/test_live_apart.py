"""Worker and API as two processes: replies stream over PostgreSQL, and arrive whole over a SQLite file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from temporalio.client import Client

from tests.e2e.services import forked_playhead, forked_service
from tests.support.api_agents import library
from tests.support.event_stream import saying, streamed_text, types_of, watching
from tests.support.ports import free_port
from tests.support.postgres import running_postgres
from tests.support.provider import Gate, ModelProvider, TextReply
from tests.support.running_api import Caller, done
from tests.support.waiting import eventually

REPLY = "We open at nine, and we close at six in the evening."
START_SECONDS = 60.0


@asynccontextmanager
async def apart(folder: Path, database_url: str, client: Client, provider: ModelProvider) -> AsyncIterator[Caller]:
    """A client of an API whose worker is another process."""
    port = free_port()
    variables = {
        "PLAYHEAD_DATABASE_URL": database_url,
        "PLAYHEAD_API_PORT": str(port),
        "PLAYHEAD_TASK_QUEUE": folder.name,
        "TEMPORAL_ADDRESS": client.service_client.config.target_host,
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": "a key of the tests",
    }
    for command in (("db", "upgrade"), ("keys", "create", "tests")):
        ended = await asyncio.to_thread(forked_playhead, folder, *command, **variables)
        assert ended.returncode == 0, ended.stderr
    headers = {"Authorization": f"Bearer {ended.stdout.strip()}"}
    with forked_service(folder, "worker", **variables) as worker, forked_service(folder, "api", **variables) as api:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as http:

            async def is_ready() -> bool:
                try:
                    return "polling for tasks" in worker.log and (await http.get("/readyz")).is_success
                except httpx2.TransportError:
                    return False

            try:
                await eventually(is_ready, within=START_SECONDS)
            except AssertionError as error:
                raise AssertionError(f"{worker.log}\n{api.log}") from error
            yield Caller(http, "")


async def test_over_postgresql_a_reply_is_streamed_while_it_is_generated(
    tmp_path: Path, client: Client, provider: ModelProvider
) -> None:
    model = provider.model("apart-postgresql")
    model.script(TextReply(REPLY, gate=(first := Gate())), TextReply(REPLY, gate=(second := Gate())))
    with running_postgres() as postgres:
        async with apart(tmp_path, postgres.new_database(), client, provider) as caller:
            await caller.push(library(model.string))
            session_id = (await caller.open("library"))["id"]
            await caller.recorded(session_id, turns=1)
            async with watching(caller, session_id) as stream:
                await stream.until("snapshot")
                done(await caller.post(f"/v1/sessions/{session_id}/messages", {"text": "When?"}, wait=False), 202)
                events = await stream.until("reply_delta")
                first.open()
                events += await stream.until("turn_completed")
            assert streamed_text(events) == REPLY
            async with saying(caller, session_id, "And when?") as stream:
                events = await stream.until("reply_delta")
                second.open()
                events += await stream.rest()
            assert streamed_text(events) == REPLY


@pytest.mark.parametrize("kind", ["watching", "saying"])
async def test_over_a_sqlite_file_a_reply_is_streamed_when_it_is_complete(
    tmp_path: Path, client: Client, provider: ModelProvider, kind: str
) -> None:
    model = provider.model(f"apart-file-{kind}")
    model.script(TextReply(REPLY))
    async with apart(tmp_path, f"sqlite:///{tmp_path}/playhead.db", client, provider) as caller:
        await caller.push(library(model.string))
        session_id = (await caller.open("library"))["id"]
        await caller.recorded(session_id, turns=1)
        if kind == "saying":
            async with saying(caller, session_id, "When?") as stream:
                events = await stream.rest()
        else:
            async with watching(caller, session_id) as stream:
                await stream.until("snapshot")
                await caller.say(session_id, "When?")
                events = await stream.until("turn_completed")
    assert types_of(events)[-3:] == ["turn_started", "reply_delta", "turn_completed"]
    assert streamed_text(events) == REPLY
