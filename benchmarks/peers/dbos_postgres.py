"""DBOS on PostgreSQL: a workflow for each message, its model calls as steps, the messages in a table beside them.

DBOS has no conversations. This is the leanest that can be written by hand: a step reads the conversation itself, so
that DBOS stores only its result, and a transaction adds the turn's messages together with its own checkpoint.
"""

# mypy: allow-untyped-decorators

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import sqlalchemy as sa
from dbos import DBOS, AsyncSQLAlchemyDatasource, DBOSConfig, SetWorkflowID
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessage

from benchmarks.peers.interface import (
    INSTRUCTIONS,
    MAX_STEPS,
    MESSAGE,
    MODEL,
    REPLY,
    TOOL,
    TOOL_DESCRIPTION,
    Peer,
    Settings,
)

DISTRIBUTIONS = ("dbos", "openai", "sqlalchemy", "psycopg")
Message = dict[str, Any]  # Any: OpenAI's chat protocol
SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    conversation TEXT NOT NULL, position BIGINT GENERATED ALWAYS AS IDENTITY, body TEXT NOT NULL,
    PRIMARY KEY (conversation, position)
)
"""
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": TOOL_DESCRIPTION,
            "parameters": {"type": "object", "properties": {"thing": {"type": "string"}}},
        },
    }
]


class DbosPeer:
    """Conversations in a table; replies as workflows."""

    def __init__(self, settings: Settings, store: AsyncSQLAlchemyDatasource, model: AsyncOpenAI) -> None:
        self._store = store
        options: dict[str, Any] = {"tools": TOOLS} if settings.with_tool else {}

        @DBOS.step(name="ask")
        async def ask(conversation: str, new: list[Message]) -> Message:
            messages: list[Any] = [
                {"role": "system", "content": INSTRUCTIONS},
                *await self._messages(conversation),
                *new,
            ]
            completion = await model.chat.completions.create(model=MODEL, messages=messages, **options)
            return _stored(completion.choices[0].message)

        @DBOS.step(name=TOOL)
        async def look_up(arguments: str) -> str:
            async with httpx2.AsyncClient() as http:
                return (await http.post(settings.tool_url, json=json.loads(arguments))).text

        @store.transaction(name="save", isolation_level="READ COMMITTED")
        async def save(conversation: str, new: list[Message]) -> None:
            await self._add(conversation, new)

        @DBOS.workflow(name="reply")
        async def reply(conversation: str, text: str) -> str:
            new: list[Message] = [{"role": "user", "content": text}]
            for _ in range(MAX_STEPS):
                new.append(await ask(conversation, new))
                calls = new[-1].get("tool_calls", [])
                for call in calls:
                    result = await look_up(call["function"]["arguments"])
                    new.append({"role": "tool", "tool_call_id": call["id"], "content": result})
                if not calls:
                    break
            await save(conversation, new)
            return str(new[-1]["content"])

        self._reply = reply
        self._save_outside = save

    async def begin(self, conversation: str, past_turns: int) -> None:
        pair = [{"role": "user", "content": MESSAGE}, {"role": "assistant", "content": REPLY}]
        if past_turns:
            await self._save_outside(conversation, pair * past_turns)

    async def say(self, conversation: str, text: str, message_id: str) -> str:
        with SetWorkflowID(message_id):
            return str(await self._reply(conversation, text))

    async def repeat(self, conversation: str, text: str, message_id: str) -> str:
        """A workflow with the same id joins the one that was continued at the launch."""
        return await self.say(conversation, text, message_id)

    async def _messages(self, conversation: str) -> list[Message]:
        statement = sa.text("SELECT body FROM messages WHERE conversation = :conversation ORDER BY position")
        async with self._store.engine.connect() as connection:
            rows = await connection.execute(statement, {"conversation": conversation})
            return [json.loads(body) for (body,) in rows]

    async def _add(self, conversation: str, new: list[Message]) -> None:
        statement = sa.text("INSERT INTO messages (conversation, body) VALUES (:conversation, :body)")
        rows = [{"conversation": conversation, "body": json.dumps(message)} for message in new]
        await self._store.sql_session().execute(statement, rows)


def _stored(message: ChatCompletionMessage) -> Message:
    return message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"})


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Peer]:
    """DBOS with its system tables and the conversation in one database."""
    url = settings.database_url.replace("postgresql://", "postgresql+psycopg://")
    DBOS(config=DBOSConfig(name="peer", system_database_url=url, executor_id="local", log_level="WARNING"))
    store = await AsyncSQLAlchemyDatasource.create(url)
    async with store.engine.begin() as connection:
        await connection.execute(sa.text(SCHEMA))
    peer = DbosPeer(settings, store, AsyncOpenAI(max_retries=0))
    DBOS.launch()
    try:
        yield peer
    finally:
        DBOS.destroy()
