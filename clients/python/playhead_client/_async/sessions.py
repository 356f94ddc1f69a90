"""Sessions: calls of the async client."""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import Literal

from pydantic import JsonValue

from playhead_client._async.transport import AsyncEventStream, AsyncResource
from playhead_client.calls import Call, Listing, get, given, new_id, nothing, path_of, post
from playhead_client.models.new_sessions import SessionLimits, SimulatorConfig
from playhead_client.models.sessions import (
    Accepted,
    Branch,
    Comparison,
    OnBusy,
    Session,
    SessionStatus,
    SessionSummary,
    Step,
    TranscriptFormat,
    TreeTurn,
    Turn,
)
from playhead_client.models.usage import Purpose
from playhead_client.stream_position import SessionPosition, TurnPosition

SESSIONS = path_of("sessions")


class AsyncSessions(AsyncResource):
    """Sessions: open, list and read them, send messages, rewind, fork and end them."""

    async def open(
        self,
        agent: str,
        *,
        version: int | None = None,
        name: str | None = None,
        initial_context: dict[str, JsonValue] | None = None,
        annotations: dict[str, JsonValue] | None = None,
        limits: SessionLimits | None = None,
        simulator: SimulatorConfig | None = None,
        wait: bool = True,
        idempotency_key: str | None = None,
    ) -> Session:
        """Open a session with an agent, by its name or id, and return it after the greeting (at once without `wait`).

        With a `simulator` a simulated user talks to the agent from the greeting on. Repeating the call with the same
        `idempotency_key` returns the session that it opened. Without a key, one is generated for this call's retries.
        """
        body: dict[str, JsonValue] = given(
            agent=agent if version is None else {"id": agent, "version": version},
            name=name,
            initial_context=initial_context,
            annotations=annotations,
            limits=limits.model_dump(mode="json", exclude_unset=True) if limits else None,
            simulator=_switch(True, simulator) if simulator else None,
        )
        query, key = {} if wait else {"wait": "false"}, idempotency_key or new_id("open")
        return await self._transport.send(post(SESSIONS, Session, body, query=query, key=key))

    def list(
        self,
        *,
        status: SessionStatus | None = None,
        agent: str | None = None,
        agent_version: int | None = None,
        suite: str | None = None,
        created_after: datetime | None = None,
        forked_from: str | None = None,
        billed_model: str | None = None,
        billed_purpose: Purpose | None = None,
        billed_from: date | None = None,
        billed_to: date | None = None,
        zone: str | None = None,
        search: str | None = None,
        order: Literal["newest", "updated"] | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[SessionSummary]:
        """List sessions without their turns, newest first, or with `order="updated"` the last changed first.

        `search` matches parts of names, ids, tags and initial contexts. The `billed` filters select the sessions that
        a row of `usage.between` adds up, by default of the last 30 days; days are those of the time `zone`.
        """
        after = created_after.isoformat() if created_after else None
        query = given(
            status=status,
            agent=agent,
            agent_version=None if agent_version is None else str(agent_version),
            suite=suite,
            created_after=after,
            forked_from=forked_from,
            billed_model=billed_model,
            billed_purpose=billed_purpose,
            billed_from=billed_from.isoformat() if billed_from else None,
            billed_to=billed_to.isoformat() if billed_to else None,
            zone=zone,
            q=search,
            order=order,
        )
        return self._transport.items(Listing(SESSIONS, SessionSummary, query, limit))

    async def get(self, session_id: str) -> Session:
        """Return the current session, with its newest 200 turns."""
        return await self._transport.send(get(_path(session_id), Session))

    def turns(self, session_id: str, *, limit: int | None = None) -> AsyncIterator[Turn]:
        """List the turns of the visible branch, newest first, back to the greeting."""
        return self._transport.items(Listing(_path(session_id, "turns"), Turn, limit=limit, reversed=True))

    async def turns_around(self, session_id: str, turn_id: str, *, limit: int = 50) -> tuple[Turn, ...]:
        """Return the turns around a turn of any branch, on its own branch and oldest first: at most 100."""
        call = Listing(_path(session_id, "turns"), Turn, {"around": turn_id}, limit).page(None, 0)
        return tuple((await self._transport.send(call)).items) if call else ()

    def steps(self, session_id: str, turn_id: str, *, limit: int | None = None) -> AsyncIterator[Step]:
        """List the model calls of a turn, oldest first, each with the request that was sent."""
        return self._transport.items(Listing(_path(session_id, "turns", turn_id, "steps"), Step, limit=limit))

    def tree(self, session_id: str, *, search: str | None = None, limit: int | None = None) -> AsyncIterator[TreeTurn]:
        """List every turn of every branch in the order in which they were opened, without their events.

        With `search`, only turns whose messages, tool arguments or tool results contain these words; `text` is then
        the text around them.
        """
        return self._transport.items(Listing(_path(session_id, "tree"), TreeTurn, given(q=search), limit))

    def branches(self, session_id: str, *, limit: int | None = None) -> AsyncIterator[Branch]:
        """List the discarded branches, newest first."""
        return self._transport.items(Listing(_path(session_id, "branches"), Branch, limit=limit))

    async def compare(self, session_id: str, a: str, b: str = "active") -> Comparison:
        """Compare two branches, each given by its id, or as `active` for the visible one."""
        return await self._transport.send(
            get(_path(session_id, "branches", "compare"), Comparison, query={"a": a, "b": b})
        )

    async def transcript(self, session_id: str, form: TranscriptFormat = "text") -> str:
        """Return the whole visible conversation as text."""
        call = Call("GET", _path(session_id, "transcript"), bytes.decode, {"format": form}, repeatable=True)
        return await self._transport.send(call)

    async def send(
        self,
        session_id: str,
        text: str,
        *,
        message_id: str | None = None,
        expected_revision: int | None = None,
        on_busy: OnBusy | None = None,
        client_tools: Sequence[str] = (),
    ) -> Session:
        """Send a message, wait for the reply, and return the session after it.

        The same `message_id` again returns the same reply and adds no message. Without one, an id is generated for all
        retries of this call. `client_tools` are the agent's client tools that the caller carries out: the session is
        then also returned when its `client_calls` wait for results.
        """
        body = _new_message(text, message_id, expected_revision, on_busy, client_tools)
        return await self._transport.send(post(_path(session_id, "messages"), Session, body, repeatable=True))

    def stream(
        self,
        session_id: str,
        text: str,
        *,
        message_id: str | None = None,
        expected_revision: int | None = None,
        on_busy: OnBusy | None = None,
        client_tools: Sequence[str] = (),
    ) -> AsyncEventStream:
        """Send a message and stream the reply: the events of the turn, up to the one that ends it.

        Everything else is as with `send`. A turn that fails after it has begun ends with `turn_failed` and raises
        nothing.
        """
        body = _new_message(text, message_id, expected_revision, on_busy, client_tools)
        call = post(_path(session_id, "messages"), Session, body, repeatable=True)
        return AsyncEventStream(self._transport, TurnPosition(call))

    def watch(self, session_id: str, *, after: int | None = None) -> AsyncEventStream:
        """Stream the events of a session until its end: a snapshot first, then each event once and in order.

        With `after` there is no snapshot, but every event after that number; 0 is the whole log.
        """
        events, session = get(_path(session_id, "events"), Session), get(_path(session_id), Session)
        return AsyncEventStream(self._transport, SessionPosition(events, session, after))

    async def submit(
        self,
        session_id: str,
        text: str,
        *,
        message_id: str | None = None,
        expected_revision: int | None = None,
        on_busy: OnBusy | None = None,
        client_tools: Sequence[str] = (),
    ) -> Accepted:
        """Send a message without waiting for the reply, and return the turn that will answer it."""
        body = _new_message(text, message_id, expected_revision, on_busy, client_tools)
        path = _path(session_id, "messages")
        return await self._transport.send(post(path, Accepted, body, query={"wait": "false"}, repeatable=True))

    async def rewind(
        self, session_id: str, turn_id: str | None, *, before: bool = False, expected_revision: int | None = None
    ) -> Session:
        """Rewind to a turn, or to `before` it; None returns to the newest turn. Nothing is deleted."""
        body: dict[str, JsonValue] = {
            "turn_id": turn_id,
            "before": before,
            **given(expected_revision=expected_revision),
        }
        return await self._transport.send(post(_path(session_id, "rewind"), Session, body))

    async def edit(
        self,
        session_id: str,
        turn_id: str,
        text: str,
        *,
        message_id: str | None = None,
        expected_revision: int | None = None,
        client_tools: Sequence[str] = (),
    ) -> Session:
        """Replace the message of a turn, wait for the reply, and return the session after it.

        The old turn and all that followed it become a discarded branch. Without a `message_id`, one is generated for
        all retries of this call.
        """
        body = _new_message(text, message_id, expected_revision, None, client_tools)
        path = _path(session_id, "turns", turn_id, "edit")
        return await self._transport.send(post(path, Session, body, repeatable=True))

    async def regenerate(
        self, session_id: str, turn_id: str, *, message_id: str | None = None, expected_revision: int | None = None
    ) -> Session:
        """Replace the reply of a turn, and return the session after it. The old branch is kept as a discarded one."""
        body: dict[str, JsonValue] = given(message_id=message_id or new_id("msg"), expected_revision=expected_revision)
        path = _path(session_id, "turns", turn_id, "regenerate")
        return await self._transport.send(post(path, Session, body, repeatable=True))

    async def cancel(self, session_id: str, *, expected_revision: int | None = None) -> Session:
        """Stop the reply that is being generated; the text so far is kept."""
        body: dict[str, JsonValue] = given(expected_revision=expected_revision)
        return await self._transport.send(post(_path(session_id, "cancel"), Session, body))

    async def restore(self, session_id: str, branch_id: str, *, expected_revision: int | None = None) -> Session:
        """Make a discarded branch the visible one. The current one becomes a discarded branch."""
        body: dict[str, JsonValue] = given(expected_revision=expected_revision)
        return await self._transport.send(post(_path(session_id, "branches", branch_id, "restore"), Session, body))

    async def fork(
        self,
        session_id: str,
        *,
        turn_id: str | None = None,
        agent: str | None = None,
        version: int | None = None,
        model: str | None = None,
        name: str | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """Open a new session that continues from a turn of any branch, or from the newest one.

        It may continue with another `agent` that has the same node, or with another `model`. Only its own turns are
        billed to it. Repeating the call with the same `idempotency_key` returns the session that it opened. Without a
        key, one is generated for all retries of this call.
        """
        named: JsonValue = agent if version is None else {"id": agent, "version": version}
        body: dict[str, JsonValue] = given(turn_id=turn_id, agent=named, model=model, name=name)
        key = idempotency_key or new_id("fork")
        return await self._transport.send(post(_path(session_id, "fork"), Session, body, key=key))

    async def decide(
        self,
        session_id: str,
        call_id: str,
        decision: Literal["approve", "deny"],
        *,
        reason: str | None = None,
        expected_revision: int | None = None,
    ) -> Session:
        """Approve or deny a tool call that waits for a decision."""
        body: dict[str, JsonValue] = given(reason=reason, expected_revision=expected_revision)
        return await self._transport.send(post(_path(session_id, "approvals", call_id, decision), Session, body))

    async def return_result(
        self,
        session_id: str,
        call_id: str,
        result: JsonValue,
        *,
        is_error: bool = False,
        expected_revision: int | None = None,
    ) -> Session:
        """Return the result of a call of a client tool, and the session at once.

        The turn goes on when all of its calls have their results. The same result again changes nothing.
        """
        body: dict[str, JsonValue] = {"result": result, **given(is_error=is_error or None)}
        body |= given(expected_revision=expected_revision)
        path = _path(session_id, "client-calls", call_id, "result")
        return await self._transport.send(post(path, Session, body, repeatable=True))

    async def set_simulator(
        self,
        session_id: str,
        *,
        enabled: bool = True,
        config: SimulatorConfig | None = None,
        expected_revision: int | None = None,
    ) -> Session:
        """Switch a simulated user on or off. Without a `config` the session's own is kept."""
        body = {**_switch(enabled, config), **given(expected_revision=expected_revision)}
        return await self._transport.send(
            post(_path(session_id, "simulator"), Session, body, method="PUT", repeatable=True)
        )

    async def end(self, session_id: str, *, reason: str | None = None, expected_revision: int | None = None) -> Session:
        """End the session. Ending an ended one changes nothing."""
        body: dict[str, JsonValue] = given(reason=reason, expected_revision=expected_revision)
        return await self._transport.send(post(_path(session_id, "end"), Session, body, repeatable=True))

    async def erase(self, session_id: str) -> None:
        """Erase the session everywhere; its ledger rows are kept. Erasing it again changes nothing."""
        await self._transport.send(Call("DELETE", _path(session_id), nothing, repeatable=True))


def _path(session_id: str, *parts: str) -> str:
    return path_of("sessions", session_id, *parts)


def _new_message(
    text: str,
    message_id: str | None,
    expected_revision: int | None,
    on_busy: OnBusy | None,
    client_tools: Sequence[str],
) -> dict[str, JsonValue]:
    """A message as the body of a request. It has an id, by which the API recognises repeats."""
    names: JsonValue = [*client_tools] if client_tools else None
    return given(
        text=text,
        message_id=message_id or new_id("msg"),
        expected_revision=expected_revision,
        on_busy=on_busy,
        client_tools=names,
    )


def _switch(enabled: bool, config: SimulatorConfig | None) -> dict[str, JsonValue]:
    return {
        "enabled": enabled,
        **given(config=config.model_dump(mode="json", exclude_unset=True) if config else None),
    }
