"""Saved steps: every paid model reply, and the message history that later model calls read."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Executable, Row, bindparam, literal, select

from domain.turns.engine import ModelReply
from domain.turns.model_request import KeptRequest, RequestFrame, SentRequest
from domain.turns.summaries import SUMMARY_NODE_ID, summary_id
from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.tables import sessions, steps
from store.database.upsert import insert_new, insert_selected
from store.sessions.erasure import LateReplies
from store.sessions.step_cache import SavedStep, SavedTurn, SavedTurnCache, TurnSteps, chained, group_by_turn

__all__ = ["HistoryMissing", "SavedStep", "StepStore"]

CACHE_BYTES = 64 * 1024 * 1024
"""Cache size for the turns of this process's conversations: some ten thousand turns."""
READ_CHARACTERS = 200_000
"""Length of the messages that one query for earlier turns reads."""

_KEY = ("session_id", "digest")
_STEP = select(
    steps.c.session_id,
    steps.c.organization_id,
    steps.c.digest,
    steps.c.after,
    steps.c.turn_id,
    steps.c.step,
    steps.c.node_id,
    steps.c.model,
    steps.c.messages,
    steps.c.reply,
    steps.c.created_at,
    steps.c.frame_digest,
    steps.c.sent,
)
_SESSION_ID = bindparam("session_id", type_=CleanText())
_TURN_ID = bindparam("turn_id", type_=CleanText())
_DIGEST = bindparam("digest", type_=CleanText())
_STEPS_OF_SESSION = _STEP.where(steps.c.session_id == _SESSION_ID)
_ONE_STEP = _STEPS_OF_SESSION.where(steps.c.digest == _DIGEST)
_STEPS_OF_TURN = _STEPS_OF_SESSION.where(steps.c.turn_id == _TURN_ID).order_by(steps.c.step)
_SHOWN_STEPS = _STEP.where(steps.c.session_id == _SESSION_ID, steps.c.turn_id == _TURN_ID).order_by(
    steps.c.step, steps.c.created_at, steps.c.digest
)
_FRAMES = select(steps.c.frame_digest, steps.c.frame).where(
    steps.c.session_id == _SESSION_ID,
    steps.c.frame_digest.in_(bindparam("digests", expanding=True)),
    steps.c.frame.is_not(None),
)
_SUMMARIES = _STEPS_OF_SESSION.where(
    steps.c.turn_id.in_(bindparam("turn_ids", expanding=True)), steps.c.node_id == SUMMARY_NODE_ID
)
_preceding = steps.alias("preceding")
_PRECEDING_TURN_ID = (
    select(_preceding.c.turn_id)
    .where(_preceding.c.session_id == _SESSION_ID, _preceding.c.digest == _DIGEST)
    .scalar_subquery()
)
_STEPS_OF_TURN_AND_PRECEDING = _STEPS_OF_SESSION.where(steps.c.turn_id.in_([_TURN_ID, _PRECEDING_TURN_ID])).order_by(
    steps.c.turn_id, steps.c.step
)
_NEWEST_OF_TURN = (
    select(steps.c.digest)
    .where(steps.c.session_id == _SESSION_ID, steps.c.turn_id == _TURN_ID)
    .order_by(steps.c.created_at.desc(), steps.c.step.desc())
    .limit(1)
)


_ROW_IF_SESSION_EXISTS = (
    select(*(bindparam(f"new_{column.name}", type_=column.type) for column in steps.columns))
    .select_from(sessions)
    .where(sessions.c.id == bindparam("new_session_id", type_=CleanText()))
    .with_for_update(read=True, key_share=True)
)
"""A step's row if its session's row exists, with a lock that keeps the session from being erased meanwhile."""


def _chain_statement() -> Any:
    """A step, the one it came after and so on, newest first, down to the turn that exceeds `budget`.

    It goes from step to step by primary key and adds up their lengths, so that no messages are read but those it
    returns. Turns are returned whole.
    """
    is_newest = (steps.c.session_id == _SESSION_ID) & (steps.c.digest == _DIGEST)
    newest = select(
        steps.c.session_id,
        steps.c.digest,
        steps.c.after,
        steps.c.turn_id,
        literal(0).label("depth"),
        steps.c.characters.label("spent"),
    ).where(is_newest)
    chain = newest.cte("chain", recursive=True)
    earlier = steps.alias("earlier")
    is_earlier = (earlier.c.session_id == chain.c.session_id) & (earlier.c.digest == chain.c.after)
    chain = chain.union_all(
        select(
            earlier.c.session_id,
            earlier.c.digest,
            earlier.c.after,
            earlier.c.turn_id,
            chain.c.depth + 1,
            chain.c.spent + earlier.c.characters,
        )
        .join_from(chain, earlier, is_earlier)
        .where((chain.c.spent < bindparam("budget")) | (earlier.c.turn_id == chain.c.turn_id))
    )
    # Joins the chain's session id, not the parameter: otherwise SQLite scans the whole session.
    is_of_chain = (steps.c.session_id == chain.c.session_id) & (steps.c.digest == chain.c.digest)
    return _STEP.join_from(chain, steps, is_of_chain).order_by(chain.c.depth)


_STEPS_OF_CHAIN = _chain_statement()


class HistoryMissing(LookupError):
    """A step that the conversation continues from is not in the store."""

    def __init__(self, session_id: str, digest: str) -> None:
        super().__init__(f"The session {session_id} goes on from a step that is not in the store ({digest}).")
        self.digest = digest


class StepStore:
    """Stores the steps of turns. Reading a history costs as much as what is read, however long the session is.

    A step is found by its digest, which covers its model call and all calls before it; each step names the one that it
    came after. The steps before a step never change, so turns that were saved or read here are cached for the next turn
    (up to `cache_bytes`).
    """

    def __init__(self, database: Database, cache_bytes: int = CACHE_BYTES) -> None:
        self._database = database
        self._cache = SavedTurnCache(cache_bytes)
        self._insert = insert_selected(database, steps, _ROW_IF_SESSION_EXISTS, key=_KEY)
        self._insert_without_session = insert_new(database, steps, key=_KEY)
        self._late_replies = LateReplies(database)

    async def turn_steps(
        self, session_id: str, turn_id: str, *, after: str | None = "", newest_of: str | None = None
    ) -> TurnSteps:
        """The steps of a turn so far, and what the next one comes after.

        The same query loads the steps of the turn before, to which `after` belongs, into the cache for `history`.
        Where it is None, the next step comes after the newest one of the turn `newest_of`.
        """
        if after is None:
            after = await self._newest(session_id, newest_of)
        values = {"session_id": session_id, "turn_id": turn_id}
        statement = _STEPS_OF_TURN
        if after and self._cache.get(session_id, after) is None:
            values["digest"] = after
            statement = _STEPS_OF_TURN_AND_PRECEDING
        found = await self._database.read(lambda connection: _read(connection, statement, values))
        preceding = chained((step for step in found if step.turn_id != turn_id), after)
        if preceding is not None:
            self._cache.add(preceding)
        return TurnSteps(tuple(step for step in found if step.turn_id == turn_id), after)

    async def _newest(self, session_id: str, turn_id: str | None) -> str:
        """The digest of a turn's newest step. If it has none, the turn's id: `history` raises HistoryMissing for it."""
        if turn_id is None:
            return ""
        key = {"session_id": session_id, "turn_id": turn_id}
        digest = await self._database.read(lambda connection: connection.scalar(_NEWEST_OF_TURN, key))
        return digest or turn_id

    async def turns_before(
        self, session_id: str, after: str, read_characters: int = READ_CHARACTERS
    ) -> AsyncGenerator[SavedTurn, None]:
        """The turns up to and including that of the step `after`, newest first; none where it is empty.

        Turns that are not cached are read in queries of `read_characters` each. Raises HistoryMissing when one of them
        is not in the store.
        """
        loaded: dict[str, SavedTurn] = {}
        while after:
            turn = loaded.get(after) or self._cache.get(session_id, after)
            if turn is None:
                loaded = await self._load_chain(session_id, after, read_characters)
                turn = loaded.get(after)
            if turn is None:
                raise HistoryMissing(session_id, after)
            yield turn
            after = turn.after

    async def newest_turns(self, session_id: str, after: str, count: int) -> tuple[SavedStep, ...]:
        """The steps of the newest `count` turns up to and including that of the step `after`, oldest first.

        Raises HistoryMissing when one of them is not in the store.
        """
        newest_first: list[SavedTurn] = []
        if count:
            async for turn in self.turns_before(session_id, after):
                newest_first.append(turn)
                if len(newest_first) == count:
                    break
        return _oldest_first(newest_first)

    async def history(self, session_id: str, after: str, budget_characters: int) -> tuple[SavedStep, ...]:
        """The steps up to and including the one of the digest `after`, oldest first; none where it is empty.

        Whole turns only: the newest ones whose messages fit into the budget of characters, and at least one. Raises
        HistoryMissing when one of them is not in the store.
        """
        newest_first: list[SavedTurn] = []
        characters_left = budget_characters
        async for turn in self.turns_before(session_id, after, budget_characters):
            if newest_first and turn.characters > characters_left:
                break
            newest_first.append(turn)
            characters_left -= turn.characters
            if characters_left <= 0:
                break
        return _oldest_first(newest_first)

    async def summaries(self, session_id: str, digests: Collection[str]) -> dict[str, str]:
        """The texts of the summaries up to these steps, by their digests; interrupted ones are left out."""
        by_id = {summary_id(digest): digest for digest in digests}
        if not by_id:
            return {}
        key = {"session_id": session_id, "turn_ids": sorted(by_id)}
        found = await self._database.read(lambda connection: _read(connection, _SUMMARIES, key))
        written = ((by_id[step.turn_id], step.reply) for step in found if not step.reply.interrupted)
        return {digest: reply.text for digest, reply in written if reply.text}

    async def save(
        self,
        *,
        session_id: str,
        organization_id: str,
        digest: str,
        after: str,
        turn_id: str,
        step: int,
        node_id: str,
        model: str,
        messages: str,
        reply: ModelReply,
        created_at: datetime,
        request: KeptRequest | None = None,
    ) -> SavedStep:
        """Save a step and return it, or return the one that another attempt saved first.

        If the session was erased meanwhile, the step is billed and not stored.
        """
        new_step = SavedStep(
            session_id=session_id,
            organization_id=organization_id,
            digest=digest,
            after=after,
            turn_id=turn_id,
            step=step,
            node_id=node_id,
            model=model,
            messages=messages,
            reply=reply,
            created_at=created_at,
            frame_digest=request.frame_digest if request else None,
            sent=request.sent if request else None,
        )
        frame = request.frame if request else None
        values = {**step_values(new_step), "frame": frame.model_dump_json() if frame else None}
        stored = await self._database.write(
            lambda connection: self._insert_or_find(connection, new_step, values), autocommit=True
        )
        if stored is None:
            return await self._late(new_step)
        self._cache.add_step(stored)
        return stored

    async def _late(self, step: SavedStep) -> SavedStep:
        return await self._database.write(lambda connection: self._save_without_session(connection, step))

    async def of_turn(self, session_id: str, turn_id: str) -> list[SavedStep]:
        """Every step of a turn, oldest first, also those of a reply that a reset discarded."""
        key = {"session_id": session_id, "turn_id": turn_id}
        return await self._database.read(lambda connection: _read(connection, _SHOWN_STEPS, key))

    async def frames(self, session_id: str, digests: Collection[str]) -> dict[str, RequestFrame]:
        """The frames of requests of a session, by their digests. Those that were not kept are left out."""
        if not digests:
            return {}
        key = {"session_id": session_id, "digests": sorted(digests)}
        rows = await self._database.read(lambda connection: connection.execute(_FRAMES, key).all())
        return {row.frame_digest: RequestFrame.model_validate_json(row.frame) for row in rows}

    def _insert_or_find(self, connection: Connection, step: SavedStep, row: Mapping[str, object]) -> SavedStep | None:
        """The stored step: this one, or the one saved earlier. None when the session has no row."""
        values = {f"new_{name}": value for name, value in row.items()}
        return step if connection.execute(self._insert, values).rowcount else _find_saved(connection, step)

    def _save_without_session(self, connection: Connection, step: SavedStep) -> SavedStep:
        """Bill a step of an erased session under an id of its own; insert one whose session never had a row."""
        if self._late_replies.bill(connection, step.session_id, f"{step.turn_id}/{step.step}", step.reply):
            return step
        connection.execute(self._insert_without_session, step_values(step))
        return _find_saved(connection, step) or step

    async def _load_chain(self, session_id: str, digest: str, budget: int) -> dict[str, SavedTurn]:
        values = {"session_id": session_id, "digest": digest, "budget": budget}
        found = await self._database.read(lambda connection: _read(connection, _STEPS_OF_CHAIN, values))
        turns = group_by_turn(reversed(found))
        for turn in turns:  # the newest last, so that it is evicted last
            self._cache.add(turn)
        return {turn.digest: turn for turn in turns}


def _oldest_first(newest_first: Sequence[SavedTurn]) -> tuple[SavedStep, ...]:
    return tuple(step for turn in reversed(newest_first) for step in turn.steps)


def _read(connection: Connection, statement: Executable, values: Mapping[str, object]) -> list[SavedStep]:
    return [_step_from_row(row) for row in connection.execute(statement, values)]


def _find_saved(connection: Connection, step: SavedStep) -> SavedStep | None:
    """The step stored under the same key, by any attempt."""
    key = {"session_id": step.session_id, "digest": step.digest}
    return next(iter(_read(connection, _ONE_STEP, key)), None)


def step_values(step: SavedStep) -> dict[str, object]:
    """The values of a step's row."""
    return {
        "session_id": step.session_id,
        "digest": step.digest,
        "after": step.after,
        "turn_id": step.turn_id,
        "step": step.step,
        "organization_id": step.organization_id,
        "node_id": step.node_id,
        "model": step.model,
        "messages": step.messages,
        "characters": len(step.messages),
        "reply": step.reply.model_dump_json(),
        "created_at": step.created_at,
        "frame_digest": step.frame_digest,
        "frame": None,
        "sent": step.sent.model_dump_json() if step.sent else None,
    }


def _step_from_row(row: Row[*tuple[Any, ...]]) -> SavedStep:
    return SavedStep(
        session_id=row.session_id,
        organization_id=row.organization_id,
        digest=row.digest,
        after=row.after,
        turn_id=row.turn_id,
        step=row.step,
        node_id=row.node_id,
        model=row.model,
        messages=row.messages,
        reply=ModelReply.model_validate_json(row.reply),
        created_at=row.created_at,
        frame_digest=row.frame_digest,
        sent=SentRequest.model_validate_json(row.sent) if row.sent else None,
    )
