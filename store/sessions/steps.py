"""Saved steps: every reply that was bought, and the messages that the model reads back along the conversation."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Executable, Row, bindparam, func, literal, select

from domain.turns.engine import ModelReply
from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.tables import sessions, steps
from store.database.upsert import insert_new, insert_selected
from store.sessions.erasure import LateReplies
from store.sessions.step_cache import RecentTurns, SavedStep, SavedTurn, whole_turns

__all__ = ["SavedStep", "StepStore"]

CACHE_BYTES = 64 * 1024 * 1024
"""Memory for the turns of conversations that go on in this process: some ten thousand."""

_KEY = ("session_id", "turn_id", "step")
_STEP = select(
    steps.c.session_id,
    steps.c.organization_id,
    steps.c.turn_id,
    steps.c.step,
    steps.c.anchor_turn_id,
    steps.c.node_id,
    steps.c.model,
    steps.c.messages,
    steps.c.reply,
    steps.c.created_at,
)
_SESSION_ID = bindparam("session_id", type_=CleanText())
_TURN_ID = bindparam("turn_id", type_=CleanText())
_IN_SESSION = _STEP.where(steps.c.session_id == _SESSION_ID)
_ONE_STEP = _IN_SESSION.where(steps.c.turn_id == _TURN_ID, steps.c.step == bindparam("step"))
_OF_TURN = _IN_SESSION.where(steps.c.turn_id == _TURN_ID).order_by(steps.c.step)
_OF_TURN_AND_ANCHOR = _IN_SESSION.where(
    steps.c.turn_id.in_([_TURN_ID, bindparam("anchor_turn_id", type_=CleanText())])
).order_by(steps.c.turn_id, steps.c.step)


_IF_SESSION_STANDS = (
    select(*(bindparam(f"new_{column.name}", type_=column.type) for column in steps.columns))
    .select_from(sessions)
    .where(sessions.c.id == bindparam("new_session_id", type_=CleanText()))
    .with_for_update(read=True, key_share=True)
)
"""A step's row, while its session's row stands and nobody can erase it. It costs the statement one look."""


def _of_chain() -> Any:
    """The steps of a turn, of its anchor and so on, newest turn first, down to the first that exceeds `budget`.

    It goes from first step to first step by primary key and adds up the lengths of whole turns, so that no
    messages are read but those it returns.
    """
    first, every = steps.alias("first"), steps.alias("every")
    characters = (
        select(func.sum(every.c.characters))
        .where(every.c.session_id == first.c.session_id, every.c.turn_id == first.c.turn_id)
        .scalar_subquery()
    )
    place = (first.c.session_id, first.c.turn_id, first.c.anchor_turn_id)
    is_newest = (first.c.session_id == _SESSION_ID) & (first.c.turn_id == _TURN_ID) & (first.c.step == 0)
    newest = select(*place, literal(0).label("depth"), characters.label("spent")).where(is_newest)
    chain = newest.cte("chain", recursive=True)
    is_older = (first.c.session_id == chain.c.session_id) & (first.c.turn_id == chain.c.anchor_turn_id)
    older = (
        select(*place, chain.c.depth + 1, chain.c.spent + characters)
        .join_from(chain, first, is_older & (first.c.step == 0))
        .where(chain.c.spent < bindparam("budget"))
    )
    chain = chain.union_all(older)
    # The session comes from the chain, not from the parameter: else SQLite reads the whole session for it.
    is_of_chain = (steps.c.session_id == chain.c.session_id) & (steps.c.turn_id == chain.c.turn_id)
    return _STEP.join_from(chain, steps, is_of_chain).order_by(chain.c.depth, steps.c.step)


_OF_CHAIN = _of_chain()


class StepStore:
    """What was bought, step by step. Reading a conversation back costs as much as its budget, however long it is.

    A turn on which another one anchors is complete and never changes, so it is kept in memory (up to
    `cache_bytes`) and found there by the next turn.
    """

    def __init__(self, database: Database, cache_bytes: int = CACHE_BYTES) -> None:
        self._database = database
        self._recent = RecentTurns(cache_bytes)
        self._insert = insert_selected(database, steps, _IF_SESSION_STANDS, key=_KEY)
        self._insert_anyway = insert_new(database, steps, key=_KEY)
        self._late_replies = LateReplies(database)

    async def turn_steps(
        self, session_id: str, turn_id: str, anchor_turn_id: str | None = None
    ) -> tuple[SavedStep, ...]:
        """The steps that a turn has so far, first to last.

        With the turn's anchor given, the anchor's steps come in the same query and are kept, so that `history`
        has nothing to ask for.
        """
        values = {"session_id": session_id, "turn_id": turn_id}
        statement = _OF_TURN
        if anchor_turn_id is not None and self._recent.get(session_id, anchor_turn_id) is None:
            values["anchor_turn_id"] = anchor_turn_id
            statement = _OF_TURN_AND_ANCHOR
        found = await self._database.read(lambda connection: _read(connection, statement, values))
        for turn in whole_turns(step for step in found if step.turn_id != turn_id):
            self._recent.keep(turn)
        return tuple(step for step in found if step.turn_id == turn_id)

    async def history(
        self, session_id: str, anchor_turn_id: str | None, budget_characters: int
    ) -> tuple[SavedStep, ...]:
        """The steps of the turns up to and including the anchor, oldest first.

        Whole turns only, the newest that fit into the budget of message characters together, and at
        least one. Turns that are not in memory are read in one query.
        """
        newest_first: list[SavedTurn] = []
        loaded: dict[str, SavedTurn] = {}
        left = budget_characters
        turn_id = anchor_turn_id
        while turn_id is not None and (left > 0 or not newest_first):
            turn = loaded.get(turn_id) or self._recent.get(session_id, turn_id)
            if turn is None:
                loaded = await self._load_chain(session_id, turn_id, left)
                turn = loaded.get(turn_id)
            if turn is None or (newest_first and turn.characters > left):
                break
            newest_first.append(turn)
            left -= turn.characters
            turn_id = turn.anchor_turn_id
        return tuple(step for turn in reversed(newest_first) for step in turn.steps)

    async def save(
        self,
        *,
        session_id: str,
        organization_id: str,
        turn_id: str,
        step: int,
        anchor_turn_id: str | None,
        node_id: str,
        model: str,
        messages: str,
        reply: ModelReply,
        created_at: datetime,
    ) -> SavedStep:
        """Save a step, or return the one that another attempt saved first: that one counts.

        When its session was erased meanwhile, the step is billed and nothing of it is kept.
        """
        saved = SavedStep(
            session_id=session_id,
            organization_id=organization_id,
            turn_id=turn_id,
            step=step,
            anchor_turn_id=anchor_turn_id,
            node_id=node_id,
            model=model,
            messages=messages,
            reply=reply,
            created_at=created_at,
        )
        standing = await self._database.write(
            lambda connection: self._insert_or_find(connection, saved), one_by_one=True
        )
        if standing is not None:
            return standing
        return await self._database.write(lambda connection: self._save_without_session(connection, saved))

    def _insert_or_find(self, connection: Connection, step: SavedStep) -> SavedStep | None:
        """The step as it stands now: this one, or the one that was there already. None when the session is gone."""
        values = {f"new_{name}": value for name, value in _values(step).items()}
        return step if connection.execute(self._insert, values).rowcount else _standing(connection, step)

    def _save_without_session(self, connection: Connection, step: SavedStep) -> SavedStep:
        """Bill a step whose session was erased, under a name of its own; keep one whose session never had a row."""
        if self._late_replies.bill(connection, step.session_id, f"{step.turn_id}/{step.step}", step.reply):
            return step
        connection.execute(self._insert_anyway, _values(step))
        return _standing(connection, step) or step

    async def _load_chain(self, session_id: str, turn_id: str, budget: int) -> dict[str, SavedTurn]:
        values = {"session_id": session_id, "turn_id": turn_id, "budget": budget}
        turns = whole_turns(await self._database.read(lambda connection: _read(connection, _OF_CHAIN, values)))
        for turn in reversed(turns):  # the newest last: it is the one that is wanted longest
            self._recent.keep(turn)
        return {turn.key[1]: turn for turn in turns}


def _read(connection: Connection, statement: Executable, values: Mapping[str, object]) -> list[SavedStep]:
    return [_step(row) for row in connection.execute(statement, values)]


def _standing(connection: Connection, step: SavedStep) -> SavedStep | None:
    """The step that was saved under the same key, whoever saved it."""
    key = {"session_id": step.session_id, "turn_id": step.turn_id, "step": step.step}
    return next(iter(_read(connection, _ONE_STEP, key)), None)


def _values(step: SavedStep) -> dict[str, object]:
    return {
        "session_id": step.session_id,
        "turn_id": step.turn_id,
        "step": step.step,
        "organization_id": step.organization_id,
        "anchor_turn_id": step.anchor_turn_id,
        "node_id": step.node_id,
        "model": step.model,
        "messages": step.messages,
        "characters": len(step.messages),
        "reply": step.reply.model_dump_json(),
        "created_at": step.created_at,
    }


def _step(row: Row[*tuple[Any, ...]]) -> SavedStep:
    return SavedStep(
        session_id=row.session_id,
        organization_id=row.organization_id,
        turn_id=row.turn_id,
        step=row.step,
        anchor_turn_id=row.anchor_turn_id,
        node_id=row.node_id,
        model=row.model,
        messages=row.messages,
        reply=ModelReply.model_validate_json(row.reply),
        created_at=row.created_at,
    )
