"""A session of any length, opened with an imported conversation: thousands of turns without a model call."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from temporalio.client import Client

from api.sessions.creation import new_session_id
from api.temporal.session_client import SessionClient
from contracts.sessions import AgentRef, StartSession, Timing
from domain.sessions.command_handlers import new_timeline
from domain.sessions.timeline import Timeline
from domain.turns.turn import AgentSaid, AssistantMessage, Checkpoint, Turn, TurnEvent, UserMessage, UserSaid
from playhead.config.settings import Settings
from playhead.temporal.client import PlayheadPlugin
from playhead.temporal.large_payloads import LargePayloads
from store.agents import AgentStore
from store.sessions.sessions import NewSession, SessionStore
from tests.page.stack import PageStack
from tests.support.waiting import eventually

Exchange = tuple[str, str]
PATIENCE = 60.0
PACE = timedelta(seconds=20)
"""Time between two messages."""


async def long_session(
    stack: PageStack, agent: str, exchanges: Sequence[Exchange], events: Sequence[TurnEvent] = ()
) -> str:
    """The id of a live session in which all of this was said, after a greeting. The newest turn has the events too."""
    caller, database = stack.caller, stack.database
    session_id = new_session_id()
    stored = await AgentStore(database).find(caller.organization, agent, None)
    assert stored is not None
    row = NewSession(
        id=session_id,
        organization_id=caller.organization,
        agent_id=stored.id,
        agent_version=stored.version,
        agent_name=stored.name,
        agent_number=stored.number,
        name=f"{len(exchanges) + 1} turns",
        model=stored.definition.model or "demo",
        created_at=datetime.now(UTC),
        initial_context={},
        annotations={},
    )
    await SessionStore(database).create(row)
    client = await Client.connect(stack.temporal_address, plugins=[PlayheadPlugin(), LargePayloads(database)])
    sessions = SessionClient(client, task_queue=Settings().task_queue, wait_seconds=PATIENCE)
    await sessions.open(
        StartSession(
            session_id=session_id,
            organization_id=row.organization_id,
            agent=AgentRef(id=row.agent_id, version=row.agent_version),
            definition=stored.definition,
            model=row.model,
            name=row.name,
            timing=Timing(),
            timeline=_timeline(session_id, stored.definition.start, exchanges, tuple(events)),
        )
    )

    async def is_recorded() -> bool:
        return len(await caller.items(f"/v1/sessions/{session_id}/tree", limit=200)) == len(exchanges) + 1

    await eventually(is_recorded, within=PATIENCE)
    return session_id


def _timeline(session_id: str, start: str, exchanges: Sequence[Exchange], events: tuple[TurnEvent, ...]) -> Timeline:
    """The timeline after all exchanges. Its turns are imported: no model was called for them."""
    began = datetime.now(UTC) - PACE * (len(exchanges) + 1)
    timeline = new_timeline(at=began)
    turns = {turn.id: turn for turn in _turns(session_id, start, exchanges, began, events)}
    leaf = list(turns)[-1]
    unrecorded = timeline.unrecorded.model_copy(update={"turn_ids": tuple(turns)})
    timeline = timeline.model_copy(update={"turns": turns, "unrecorded": unrecorded})
    return timeline.changed(at=turns[leaf].created_at, accepted=True, leaf_id=leaf)


def _turns(
    session_id: str, start: str, exchanges: Sequence[Exchange], began: datetime, events: tuple[TurnEvent, ...]
) -> Iterator[Turn]:
    entered = TurnEvent(type="node_transition", created_at=began, payload={"from_node": None, "to_node": start})
    parent: str | None = None
    for index, (asked, reply) in enumerate([("", "Good day, this is the shop."), *exchanges]):
        at = began + PACE * index
        is_last = index == len(exchanges)
        turn = Turn(
            id=f"turn_{session_id[-6:]}{index:06x}",
            parent_id=parent,
            index=index,
            status="completed",
            created_at=at,
            user_message=UserMessage(text=asked, created_at=at) if asked else None,
            assistant_message=AssistantMessage(text=reply, created_at=at + timedelta(seconds=2)),
            events=(entered,) if index == 0 else events if is_last else (),
            node_id=start,
            checkpoint=Checkpoint(
                node_id=start, carry=(UserSaid(text=asked), AgentSaid(text=reply)) if is_last else ()
            ),
            imported=True,
        )
        parent = turn.id
        yield turn
