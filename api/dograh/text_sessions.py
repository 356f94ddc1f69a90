"""Sessions as dograh text chats: conversation, checkpoint and state."""

import json
from collections.abc import Iterable
from typing import Final, Literal

from pydantic import JsonValue

from api.dograh.schemas import (
    CalledFunction,
    CallMessage,
    Checkpoint,
    CheckpointAfterTurn,
    CompletedTurn,
    DiscardedFuture,
    Event,
    Message,
    MessageToolCall,
    NoUsage,
    OpenTurn,
    ResultMessage,
    Said,
    SessionData,
    Simulator,
    TextSession,
    TokenUsage,
    UsageInfo,
    UserOrAssistantMessage,
)
from domain.agents.definition import AgentDefinition
from domain.dograh.disposition import disposition_of, with_disposition
from domain.dograh.run_log import events_in_form, payload_of, text_of
from domain.sessions.views import BranchView, SessionHead, TimelineView
from domain.turns import turn as domain_turns
from domain.turns.turn import AssistantMessage, UserMessage
from domain.usage import Usage
from store.sessions.sessions import StoredSession

_UNKNOWN_EVENTS: Final = frozenset({"variables_extracted", "command_refused", "recording_referenced"})
"""Events that dograh does not have. They are available under `/v1`."""


def text_session(session: StoredSession, view: TimelineView, agent: AgentDefinition) -> TextSession:
    """A session as a text chat; `agent` is the version that it is pinned to, `view` has all its turns."""
    head = view.head
    return TextSession(
        workflow_run_id=session.number,
        workflow_id=session.agent_number,
        name=session.name,
        state=state_of(head),
        is_completed=head.is_completed,
        revision=head.revision,
        initial_context=initial_context_of(session, head),
        gathered_context=gathered_context_of(view, agent),
        annotations=session.annotations,
        session_data=SessionData(
            status=head.status,
            cursor_turn_id=head.cursor_turn_id,
            turns=_turns((*view.turns, *view.future), agent),
            discarded_future=tuple(_discarded(branch, agent) for branch in view.discarded_branches),
            simulator=_simulator(_switched(head) or session.simulator or {}),
        ),
        checkpoint=_checkpoint(view, agent),
        created_at=session.created_at,
        updated_at=head.updated_at,
    )


def status_of(turn: domain_turns.Turn) -> Literal["pending", "completed", "failed"]:
    """The status of a turn. dograh has none for interrupted turns."""
    return "failed" if turn.status == "interrupted" else turn.status


def state_of(head: SessionHead) -> Literal["running", "completed"]:
    """The state of the run."""
    return "completed" if head.is_completed else "running"


def initial_context_of(session: StoredSession, head: SessionHead) -> dict[str, JsonValue]:
    """The initial context, with the values that were fetched before the greeting."""
    return {**session.initial_context, **head.fetched_context}


def gathered_context_of(view: TimelineView, agent: AgentDefinition) -> dict[str, JsonValue]:
    """The context gathered up to the newest visible turn, and the disposition once the session has ended.

    `nodes_visited` are the names of the nodes in the order in which they were first entered, `extracted_variables` the
    values that were extracted.
    """
    head = view.head
    gathered = head.gathered_context
    asked = {variable.name for node in agent.nodes.values() for variable in node.extract}
    shown: dict[str, JsonValue] = {
        **gathered,
        "nodes_visited": list(_nodes_visited(view, agent)),
        "extracted_variables": {name: value for name, value in gathered.items() if name in asked},
    }
    return with_disposition(shown, head.completion_reason if head.is_completed else None)


def _nodes_visited(view: TimelineView, agent: AgentDefinition) -> dict[str, None]:
    entered = (
        event.payload.get("to_node") for turn in view.turns for event in turn.events if event.type == "node_transition"
    )
    return dict.fromkeys(agent.origin_of(node_id).name for node_id in entered if isinstance(node_id, str))


def usage_info_of(usage: Usage) -> UsageInfo:
    """Usage by model."""
    return UsageInfo(
        llm={
            model: TokenUsage(
                prompt_tokens=used.prompt_tokens,
                completion_tokens=used.completion_tokens,
                total_tokens=used.total_tokens,
                cache_read_input_tokens=used.cache_read_input_tokens,
                cache_creation_input_tokens=used.cache_creation_input_tokens,
            )
            for model, used in usage.llm.items()
        },
        call_duration_seconds=int(usage.duration_seconds),
    )


def _turns(turns: Iterable[domain_turns.Turn], agent: AgentDefinition) -> tuple[CompletedTurn | OpenTurn, ...]:
    return tuple(_turn(turn, agent) for turn in turns)


def _turn(turn: domain_turns.Turn, agent: AgentDefinition) -> CompletedTurn | OpenTurn:
    status = turn.status
    shown = OpenTurn(
        id=turn.id,
        status=status_of(turn),
        created_at=turn.created_at,
        user_message=_said(turn.user_message),
        assistant_message=_said(turn.assistant_message),
        events=tuple(_events(turn, agent)),
        usage=NoUsage() if status == "pending" else usage_info_of(turn.usage),
    )
    if status != "completed" or turn.checkpoint is None:
        return shown
    after = CheckpointAfterTurn(
        anchor_turn_id=turn.id,
        current_node_id=agent.origin_of(turn.checkpoint.node_id).id,
        messages=tuple(_messages(turn)),
        gathered_context=turn.checkpoint.gathered_context,
    )
    return CompletedTurn(**dict(shown), checkpoint_after_turn=after)


def _events(turn: domain_turns.Turn, agent: AgentDefinition) -> Iterable[Event]:
    """The events of a turn that dograh has."""
    for event in events_in_form(turn):
        if (shown := event_of(event, agent)) is not None:
            yield shown


def event_of(event: domain_turns.TurnEvent, agent: AgentDefinition) -> Event | None:
    """An event in its form; None for one that dograh does not have."""
    if event.type in _UNKNOWN_EVENTS:
        return None
    payload = payload_of(event, agent.origin_of)
    if event.type == "session_end":
        payload = {"reason": disposition_of(str(payload.get("reason")))}
    return Event(type=event.type, created_at=event.created_at, payload=payload)


def _discarded(branch: BranchView, agent: AgentDefinition) -> DiscardedFuture:
    return DiscardedFuture(
        rewound_from_turn_id=branch.rewound_from_turn_id,
        discarded_at=branch.discarded_at,
        turns=_turns(branch.turns, agent),
    )


def _checkpoint(view: TimelineView, agent: AgentDefinition) -> Checkpoint:
    """State that the next message continues from: the newest visible completed turn."""
    answered = [turn for turn in view.turns if turn.status == "completed"]
    return Checkpoint(
        anchor_turn_id=answered[-1].id if answered else None,
        current_node_id=agent.origin_of(view.head.current_node_id).id if answered else None,
        messages=tuple(message for turn in answered for message in _messages(turn)),
        gathered_context=view.head.gathered_context,
    )


def _messages(turn: domain_turns.Turn) -> Iterable[Message]:
    """The messages that a completed turn added to the conversation: tool calls and their results before the reply."""
    if turn.user_message is not None:
        yield UserOrAssistantMessage(role="user", content=turn.user_message.text)
    for event in events_in_form(turn):
        called = str(event.payload.get("name"))
        call_id = str(event.payload.get("call_id"))
        if event.type == "tool_call_started":
            arguments = json.dumps(event.payload.get("arguments"), ensure_ascii=False)
            function = CalledFunction(name=called, arguments=arguments)
            yield CallMessage(tool_calls=(MessageToolCall(id=call_id, function=function),))
        elif event.type == "tool_call_result":
            yield ResultMessage(tool_call_id=call_id, content=text_of(event.payload.get("result")))
    if turn.assistant_message is not None:
        yield UserOrAssistantMessage(role="assistant", content=turn.assistant_message.text)


def _said(message: UserMessage | AssistantMessage | None) -> Said | None:
    return Said(text=message.text, created_at=message.created_at) if message else None


def _switched(head: SessionHead) -> dict[str, JsonValue]:
    """The current simulated user, if the session has had one."""
    return head.simulator.model_dump(mode="json") if head.simulator else {}


def _simulator(kept: dict[str, JsonValue]) -> Simulator:
    config = kept.get("config")
    return Simulator(enabled=kept.get("enabled") is True, config=config if isinstance(config, dict) else {})
