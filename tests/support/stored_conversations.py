"""Conversations for tests of the store: an organization with an agent, sessions, turns and steps."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from contracts.sessions import AgentRef, SettleTurnsInput
from domain.agents.definition import AgentDefinition, parse_definition
from domain.sessions.timeline import AuxiliaryCall, DiscardedBranch, SessionFact
from domain.sessions.views import SessionHead
from domain.turns.engine import ModelReply
from domain.turns.turn import AssistantMessage, SessionStatus, Turn, TurnEvent, UserMessage
from domain.usage import Cost, ModelUsage, Usage, rounded_cost
from store.agents import AgentStore, StoredAgent
from store.api_keys import KeyStore
from store.database.connection import Database
from store.sessions.sessions import NewSession, SessionStore, StoredSession
from store.sessions.steps import SavedStep, StepStore

ORGANIZATION = "org_trattoria"
SESSION = "ses_1"
START = datetime(2026, 11, 23, 9, 30, 0, 123456, tzinfo=UTC)
MODEL = "openai:gpt-5-mini"
PRICE = Decimal("0.000123456789")


def definition(name: str = "booking-line", prompt: str = "Take bookings.") -> AgentDefinition:
    return parse_definition({"name": name, "start": "greet", "nodes": {"greet": {"prompt": prompt, "end": True}}})


async def agent_in(database: Database, organization_id: str = ORGANIZATION) -> StoredAgent:
    await KeyStore(database).ensure_organization(organization_id, "Trattoria")
    return await AgentStore(database).add_version(organization_id, definition(), ())


def new_session(agent: StoredAgent, session_id: str = SESSION, *, minute: int = 0) -> NewSession:
    return NewSession(
        id=session_id,
        organization_id=agent.organization_id,
        agent_id=agent.id,
        agent_version=agent.version,
        agent_name=agent.name,
        agent_number=agent.number,
        name="WR-TEXT-1",
        model="demo",
        created_at=START + timedelta(minutes=minute),
        initial_context={"first_name": "Ada"},
        annotations={"case": 7},
    )


async def session_in(database: Database, session_id: str = SESSION) -> StoredSession:
    return await SessionStore(database).create(new_session(await agent_in(database), session_id))


def reply(model: str = MODEL, *, cost: Decimal | None = PRICE, requests: int = 1, text: str = "Hello.") -> ModelReply:
    """A reply that used 10 + 5 tokens; without a price for `cost=None`."""
    used = ModelUsage(prompt_tokens=10, completion_tokens=5, total_tokens=15, requests=requests)
    bill = Cost(unpriced_models=(model,)) if cost is None else rounded_cost(model, cost)
    return ModelReply(text=text, usage=Usage(llm={model: used}), cost=bill)


async def save_step(
    steps: StepStore,
    turn_id: str,
    step: int = 0,
    *,
    anchor: str | None = None,
    session_id: str = SESSION,
    messages: str = "[]",
    model_reply: ModelReply | None = None,
    after: str | None = None,
    digest: str | None = None,
) -> SavedStep:
    """Save a step under the digest `<turn>/<step>`; it follows the turn's previous step, or the anchor's first."""
    before = f"{turn_id}/{step - 1}" if step else f"{anchor}/0" if anchor else ""
    return await steps.save(
        session_id=session_id,
        organization_id=ORGANIZATION,
        digest=digest or f"{turn_id}/{step}",
        after=before if after is None else after,
        turn_id=turn_id,
        step=step,
        node_id="greet",
        model=MODEL,
        messages=messages,
        reply=model_reply or reply(),
        created_at=START,
    )


def turn(
    turn_id: str,
    index: int = 0,
    *,
    parent: str | None = None,
    events: tuple[TurnEvent, ...] = (),
    message_id: str | None = None,
    seconds: float = 1.5,
) -> Turn:
    """A completed turn that began `index` minutes after the session did."""
    at = START + timedelta(minutes=index)
    return Turn(
        id=turn_id,
        parent_id=parent,
        index=index,
        status="completed",
        created_at=at,
        user_message=UserMessage(text=f"message {index}", created_at=at, message_id=message_id),
        assistant_message=AssistantMessage(text=f"answer {index}", created_at=at + timedelta(seconds=seconds)),
        events=events,
        usage=Usage(duration_seconds=seconds),
        node_id="greet",
    )


def conversation(length: int, *, prefix: str = "turn_") -> list[Turn]:
    """Turns `turn_0`, `turn_1` and so on, each the child of the one before."""
    return [
        turn(f"{prefix}{index}", index, parent=f"{prefix}{index - 1}" if index else None) for index in range(length)
    ]


def head(
    version: int,
    *,
    head_turn_id: str | None = None,
    status: SessionStatus = "idle",
    run_id: str = "run_1",
    minute: int | None = None,
) -> SessionHead:
    """The head at a version, last changed `version` minutes after the start, or `minute` minutes if given."""
    return SessionHead(
        run_id=run_id,
        version=version,
        revision=version,
        status=status,
        cursor_turn_id=None,
        head_turn_id=head_turn_id,
        current_node_id="greet",
        gathered_context={},
        is_completed=status == "completed",
        completion_reason=None,
        usage=Usage(),
        cost=Cost(),
        turns_before=0,
        created_at=START,
        updated_at=START + timedelta(minutes=version if minute is None else minute),
    )


def settling(
    *turns: Turn,
    version: int = 1,
    session_id: str = SESSION,
    branches: tuple[DiscardedBranch, ...] = (),
    facts: tuple[SessionFact, ...] = (),
    at_head: SessionHead | None = None,
    restored_branch_ids: tuple[str, ...] = (),
    auxiliary_calls: tuple[AuxiliaryCall, ...] = (),
    taken_over: tuple[str, ...] = (),
) -> SettleTurnsInput:
    newest = turns[-1].id if turns else None
    return SettleTurnsInput(
        session_id=session_id,
        organization_id=ORGANIZATION,
        agent=AgentRef(id="agt_1", version=1),
        head=at_head or head(version, head_turn_id=newest),
        turns=turns,
        branches=branches,
        facts=facts,
        restored_branch_ids=restored_branch_ids,
        auxiliary_calls=auxiliary_calls,
        taken_over=taken_over,
    )


def ledger_row(number: int, at: datetime, amounts: dict[str, str], **changes: object) -> dict[str, object]:
    """A ledger row of a turn that made one request to each model in `amounts`; "duration" is no model."""
    used = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "cache_read_input_tokens": 2,
        "cache_creation_input_tokens": 0,
        "requests": 1,
    }
    cost = {"currency": "USD", "breakdown": amounts, "unpriced_models": [], "total": "0"}
    return {
        "id": f"led_{number}",
        "organization_id": ORGANIZATION,
        "session_id": "ses_1",
        "turn_id": f"turn_{number}",
        "purpose": "turn",
        "agent_id": "agt_1",
        "agent_version": 1,
        "usage": {
            "llm": {model: used for model in amounts if model != "duration"},
            "duration_seconds": 1.25,
            "model_seconds": 0.5,
        },
        "cost": cost,
        "picodollars": 0,
        "created_at": at,
        "entry": 0,
        **changes,
    }
