"""Saved steps: every paid model reply, and the message history that later model calls read."""

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
from store.sessions.step_cache import SavedStep, SavedTurn, SavedTurnCache, group_by_turn

__all__ = ["SavedStep", "StepStore"]

CACHE_BYTES = 64 * 1024 * 1024
"""Cache size for the turns of this process's conversations: some ten thousand turns."""

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
_STEPS_OF_SESSION = _STEP.where(steps.c.session_id == _SESSION_ID)
_ONE_STEP = _STEPS_OF_SESSION.where(steps.c.turn_id == _TURN_ID, steps.c.step == bindparam("step"))
_STEPS_OF_TURN = _STEPS_OF_SESSION.where(steps.c.turn_id == _TURN_ID).order_by(steps.c.step)
_STEPS_OF_TURN_AND_ANCHOR = _STEPS_OF_SESSION.where(
    steps.c.turn_id.in_([_TURN_ID, bindparam("anchor_turn_id", type_=CleanText())])
).order_by(steps.c.turn_id, steps.c.step)


_ROW_IF_SESSION_EXISTS = (
    select(*(bindparam(f"new_{column.name}", type_=column.type) for column in steps.columns))
    .select_from(sessions)
    .where(sessions.c.id == bindparam("new_session_id", type_=CleanText()))
    .with_for_update(read=True, key_share=True)
)
"""A step's row if its session's row exists, with a lock that keeps the session from being erased meanwhile."""


def _chain_statement() -> Any:
    """A statement for the steps of a turn, its anchor and so on, newest first, up to the turn that exceeds `budget`.

    The recursion follows the first step of each turn by primary key and sums up the lengths of whole turns, so that
    only the returned messages are read.
    """
    first, every = steps.alias("first"), steps.alias("every")
    characters = (
        select(func.sum(every.c.characters))
        .where(every.c.session_id == first.c.session_id, every.c.turn_id == first.c.turn_id)
        .scalar_subquery()
    )
    turn_columns = (first.c.session_id, first.c.turn_id, first.c.anchor_turn_id)
    is_first_of_chain = (first.c.session_id == _SESSION_ID) & (first.c.turn_id == _TURN_ID) & (first.c.step == 0)
    newest = select(*turn_columns, literal(0).label("depth"), characters.label("spent")).where(is_first_of_chain)
    chain = newest.cte("chain", recursive=True)
    is_older = (first.c.session_id == chain.c.session_id) & (first.c.turn_id == chain.c.anchor_turn_id)
    older = (
        select(*turn_columns, chain.c.depth + 1, chain.c.spent + characters)
        .join_from(chain, first, is_older & (first.c.step == 0))
        .where(chain.c.spent < bindparam("budget"))
    )
    chain = chain.union_all(older)
    # Joins the chain's session id, not the parameter: otherwise SQLite scans the whole session.
    is_of_chain = (steps.c.session_id == chain.c.session_id) & (steps.c.turn_id == chain.c.turn_id)
    return _STEP.join_from(chain, steps, is_of_chain).order_by(chain.c.depth, steps.c.step)


_STEPS_OF_CHAIN = _chain_statement()


class StepStore:
    """Stores the steps of turns. Reading a history costs as much as its budget, however long the session is.

    A turn that is another turn's anchor is complete and never changes, so it is cached (up to `cache_bytes`) for the
    next turn.
    """

    def __init__(self, database: Database, cache_bytes: int = CACHE_BYTES) -> None:
        self._database = database
        self._cache = SavedTurnCache(cache_bytes)
        self._insert = insert_selected(database, steps, _ROW_IF_SESSION_EXISTS, key=_KEY)
        self._insert_without_session = insert_new(database, steps, key=_KEY)
        self._late_replies = LateReplies(database)

    async def turn_steps(
        self, session_id: str, turn_id: str, anchor_turn_id: str | None = None
    ) -> tuple[SavedStep, ...]:
        """The steps of a turn so far, first to last.

        Given the turn's anchor, the same query loads the anchor's steps into the cache for `history`.
        """
        values = {"session_id": session_id, "turn_id": turn_id}
        statement = _STEPS_OF_TURN
        if anchor_turn_id is not None and self._cache.get(session_id, anchor_turn_id) is None:
            values["anchor_turn_id"] = anchor_turn_id
            statement = _STEPS_OF_TURN_AND_ANCHOR
        found = await self._database.read(lambda connection: _read(connection, statement, values))
        for turn in group_by_turn(step for step in found if step.turn_id != turn_id):
            self._cache.add(turn)
        return tuple(step for step in found if step.turn_id == turn_id)

    async def history(
        self, session_id: str, anchor_turn_id: str | None, budget_characters: int
    ) -> tuple[SavedStep, ...]:
        """The steps of the turns up to and including the anchor, oldest first.

        Whole turns only: the newest ones whose messages fit into the budget of characters, and at least one. Turns
        that are not cached are read in one query.
        """
        newest_first: list[SavedTurn] = []
        loaded: dict[str, SavedTurn] = {}
        characters_left = budget_characters
        turn_id = anchor_turn_id
        while turn_id is not None and (characters_left > 0 or not newest_first):
            turn = loaded.get(turn_id) or self._cache.get(session_id, turn_id)
            if turn is None:
                loaded = await self._load_chain(session_id, turn_id, characters_left)
                turn = loaded.get(turn_id)
            if turn is None or (newest_first and turn.characters > characters_left):
                break
            newest_first.append(turn)
            characters_left -= turn.characters
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
        """Save a step and return it, or return the one that another attempt saved first.

        If the session was erased meanwhile, the step is billed and not stored.
        """
        new_step = SavedStep(
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
        stored = await self._database.write(
            lambda connection: self._insert_or_find(connection, new_step), autocommit=True
        )
        if stored is not None:
            return stored
        return await self._database.write(lambda connection: self._save_without_session(connection, new_step))

    def _insert_or_find(self, connection: Connection, step: SavedStep) -> SavedStep | None:
        """The stored step: this one, or the one saved earlier. None when the session has no row."""
        values = {f"new_{name}": value for name, value in _row_values(step).items()}
        return step if connection.execute(self._insert, values).rowcount else _find_saved(connection, step)

    def _save_without_session(self, connection: Connection, step: SavedStep) -> SavedStep:
        """Bill a step of an erased session under an id of its own; insert one whose session never had a row."""
        if self._late_replies.bill(connection, step.session_id, f"{step.turn_id}/{step.step}", step.reply):
            return step
        connection.execute(self._insert_without_session, _row_values(step))
        return _find_saved(connection, step) or step

    async def _load_chain(self, session_id: str, turn_id: str, budget: int) -> dict[str, SavedTurn]:
        values = {"session_id": session_id, "turn_id": turn_id, "budget": budget}
        turns = group_by_turn(await self._database.read(lambda connection: _read(connection, _STEPS_OF_CHAIN, values)))
        for turn in reversed(turns):  # the newest last, so that it is evicted last
            self._cache.add(turn)
        return {turn.key[1]: turn for turn in turns}


def _read(connection: Connection, statement: Executable, values: Mapping[str, object]) -> list[SavedStep]:
    return [_step_from_row(row) for row in connection.execute(statement, values)]


def _find_saved(connection: Connection, step: SavedStep) -> SavedStep | None:
    """The step stored under the same key, by any attempt."""
    key = {"session_id": step.session_id, "turn_id": step.turn_id, "step": step.step}
    return next(iter(_read(connection, _ONE_STEP, key)), None)


def _row_values(step: SavedStep) -> dict[str, object]:
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


def _step_from_row(row: Row[*tuple[Any, ...]]) -> SavedStep:
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
