"""Histories of conversations that were held elsewhere, as the first turns of a session."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from domain.agents.definition import AgentDefinition
from domain.rejections import CommandRejected
from domain.sessions.command_handlers import new_timeline
from domain.sessions.timeline import Timeline
from domain.turns.call_digest import hex_digest_of
from domain.turns.turn import AgentSaid, AssistantMessage, Checkpoint, Message, Turn, TurnEvent, UserMessage, UserSaid

MAX_IMPORTED_EXCHANGES = 50
MAX_IMPORTED_CHARACTERS = 20_000
"""Maximum characters of an imported history: each of its turns keeps what was said before it."""


class ImportedExchange(NamedTuple):
    """A message of the user and the reply to it."""

    asked: str
    reply: str


def import_history(
    agent: AgentDefinition,
    session_id: str,
    greeting: str | None,
    exchanges: Sequence[ImportedExchange],
    *,
    at: datetime,
) -> Timeline:
    """The timeline of a new session that continues a conversation held elsewhere.

    Its turns are marked as `imported`, and cost nothing. The agent is at its start node, and has greeted: the first
    turn is its greeting, even without a text. The same history gives the same turns.

    Raises CommandRejected("too_large") for a history that is too long for a session of the agent.
    """
    _require_short(agent, greeting, exchanges)
    timeline = new_timeline(at=at)
    entered = TurnEvent(type="node_transition", created_at=at, payload={"from_node": None, "to_node": agent.start})
    messages: tuple[Message, ...] = ()
    parent_id: str | None = None
    spoken = [(None, greeting), *exchanges]
    for index, (asked, reply) in enumerate(spoken):
        messages = (*messages, *([UserSaid(text=asked)] if asked else []), *([AgentSaid(text=reply)] if reply else []))
        turn = Turn(
            id=f"turn_{hex_digest_of(session_id, 'imported', str(index))[:12]}",
            parent_id=parent_id,
            index=index,
            status="completed",
            created_at=at,
            user_message=None if asked is None else UserMessage(text=asked, created_at=at),
            assistant_message=None if reply is None else AssistantMessage(text=reply, created_at=at),
            events=(entered,) if index == 0 else (),
            node_id=agent.start,
            checkpoint=Checkpoint(node_id=agent.start, carry=messages),
            imported=True,
        )
        timeline, parent_id = timeline.with_turn(turn), turn.id
    return timeline.changed(at=at, accepted=True, leaf_id=parent_id)


def _require_short(agent: AgentDefinition, greeting: str | None, exchanges: Sequence[ImportedExchange]) -> None:
    characters = len(greeting or "") + sum(len(each.asked) + len(each.reply) for each in exchanges)
    # The greeting and the turn of the next message count as turns of the session too.
    most = min(MAX_IMPORTED_EXCHANGES, agent.limits.max_turns - 2)
    if len(exchanges) > most:
        raise CommandRejected(
            "too_large",
            f"The history has {len(exchanges)} exchanges; a session can begin with at most {most} of them.",
            limit=most,
            actual=len(exchanges),
        )
    if characters > MAX_IMPORTED_CHARACTERS:
        raise CommandRejected(
            "too_large",
            f"The history has {characters} characters; a session can begin with at most {MAX_IMPORTED_CHARACTERS}.",
            limit=MAX_IMPORTED_CHARACTERS,
            actual=characters,
        )
