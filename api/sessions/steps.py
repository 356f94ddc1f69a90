"""The steps of a turn: each model call with the request that was sent, put together from what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from api.http.problems import not_found
from api.http.responses import MAX_PAGE_BYTES, unknown_cursor
from api.schemas.responses import Cost
from api.schemas.steps import (
    Step,
    StepContext,
    StepMessage,
    StepReply,
    StepRequest,
    StepTool,
    StepToolCall,
    StepUsage,
    StepVariable,
    VariableSource,
)
from api.sessions.reader import RenderedPage, SessionReader
from domain.agents.definition import AgentDefinition
from domain.agents.offered_tools import offered_tool
from domain.agents.templates import Insertion, is_built_in
from domain.agents.tools import OfferedTool
from domain.turns.engine import ModelReply, marked_instructions_at, template_values
from domain.turns.extraction import (
    EXTRACTION_CUE,
    RECORD_TOOL,
    RECORD_TOOL_DESCRIPTION,
    extraction_instructions,
    extraction_schema,
)
from domain.turns.model_request import (
    PlacedMessage,
    RequestFrame,
    RequestMessage,
    SentRequest,
    frame_of_extraction,
    frame_of_turn,
    messages_of,
    request_digest,
    saved_messages,
    saved_response,
    transitions_offered,
)
from domain.turns.turn import Turn
from domain.usage import ModelUsage
from store.agents import AgentStore
from store.sessions.sessions import SessionStore, StoredSession
from store.sessions.step_cache import SavedStep, chained
from store.sessions.steps import HistoryMissing, StepStore

MAX_CHECKPOINT_DISTANCE: Final = 50
"""Earlier turns that are searched for the checkpoint that a turn began with: failed turns leave none."""
DEFAULT_BUDGET: Final = 100_000
"""Characters of earlier turns that are shown for a step whose request was not kept."""
NOT_SHOWN: Final = frozenset({"provider_url"})
"""Members of a provider's reply that reveal the URL at which it is called."""
STOPPED: Final = "The reply was stopped before its end."


@dataclass(frozen=True)
class _TurnContext:
    """A turn, and the values that its templates had."""

    session: StoredSession
    turn: Turn
    definition: AgentDefinition
    gathered_before: Mapping[str, JsonValue]
    fetched: Mapping[str, JsonValue]

    @property
    def gathered_after(self) -> Mapping[str, JsonValue]:
        checkpoint = self.turn.checkpoint
        return checkpoint.gathered_context if checkpoint else {}

    @property
    def values(self) -> dict[str, JsonValue]:
        """Values of template variables as the turn began."""
        initial = {**self.session.initial_context, **self.fetched}
        return template_values(self.definition, initial, self.gathered_before, self.turn.created_at)

    def source_of(self, insertion: Insertion) -> VariableSource:
        """The origin of an inserted value."""
        name = insertion.name.removeprefix("initial_context.").removeprefix("gathered_context.").partition(".")[0]
        initial = {known for known, value in self.session.initial_context.items() if value is not None}
        origins: list[tuple[bool, VariableSource]] = [
            (insertion.is_fallback, "fallback"),
            (is_built_in(insertion.name), "built_in"),
            (name in self.gathered_before, "gathered_context"),
            (name in self.fetched, "pre_call_fetch"),
            (name in initial, "initial_context"),
            (name in self.gathered_after, "gathered_context"),
        ]
        return next((source for applies, source in origins if applies), "agent_default")


class TurnSteps:
    """Reads the steps of turns."""

    def __init__(
        self, session_reader: SessionReader, sessions: SessionStore, agents: AgentStore, steps: StepStore
    ) -> None:
        self._session_reader = session_reader
        self._sessions = sessions
        self._agents = agents
        self._steps = steps

    async def page(self, session: StoredSession, turn_id: str, limit: int, cursor: str | None) -> RenderedPage:
        """Steps of a turn, oldest first. Raises Problem("not_found") for an unknown turn.

        A turn that was answered again after a reset has the steps of both answers: both were paid for.
        """
        context = await self._context(session, turn_id)
        saved = await self._steps.of_turn(session.id, turn_id)
        digests = [step.digest for step in saved]
        if cursor is not None and cursor not in digests:
            raise unknown_cursor()
        start = digests.index(cursor) + 1 if cursor is not None else 0
        frames = await self._steps.frames(session.id, {step.frame_digest for step in saved if step.frame_digest})
        items: list[bytes] = []
        size = 0
        for step in saved[start : start + limit]:
            shown = await self._step(context, saved, step, frames.get(step.frame_digest or ""))
            rendered = shown.model_dump_json().encode()
            if items and size + len(rendered) > MAX_PAGE_BYTES:
                break
            items.append(rendered)
            size += len(rendered)
        end = start + len(items)
        return RenderedPage(items, digests[end - 1] if end < len(saved) else None)

    async def _context(self, session: StoredSession, turn_id: str) -> _TurnContext:
        view, _ = await self._session_reader.view(session)
        live = {turn.id: turn for turn in view.all_turns}
        turn = live.get(turn_id)
        if turn is None:
            turn = next(iter(await self._sessions.turns_of(session.id, [turn_id])), None)
        if turn is None:
            raise not_found("turn", turn_id)
        return _TurnContext(
            session=session,
            turn=turn,
            definition=await self._agents.definition(session.agent_id, session.agent_version),
            gathered_before=await self._gathered_before(session, turn, live),
            fetched=view.head.fetched_context,
        )

    async def _gathered_before(
        self, session: StoredSession, turn: Turn, live: Mapping[str, Turn]
    ) -> Mapping[str, JsonValue]:
        """The gathered context that a turn began with: that of the newest checkpoint before it."""
        parent = turn.parent_id
        while parent is not None and (known := live.get(parent)) is not None:
            if known.checkpoint is not None:
                return known.checkpoint.gathered_context
            parent = known.parent_id
        if parent is None:
            return {}
        recorded = await self._sessions.turns(session.id, leaf_turn_id=parent, limit=MAX_CHECKPOINT_DISTANCE)
        checkpoint = next((each.checkpoint for each in reversed(recorded) if each.checkpoint), None)
        return checkpoint.gathered_context if checkpoint else {}

    async def _step(
        self, context: _TurnContext, saved: Sequence[SavedStep], step: SavedStep, frame: RequestFrame | None
    ) -> Step:
        before = chained(saved, step.after)
        own = before.steps if before else ()
        history = await self._history(step, own)
        shown = frame or _rebuilt_frame(context, step)
        all_own = saved_messages(step.messages)
        new = all_own[: step.sent.new] if step.sent else _without_reply(all_own, step.messages)
        earlier = [(each.turn_id, each.messages) for each in (*history, *own)]
        placed = messages_of(shown, earlier, [(step.turn_id, message) for message in new])
        digest = step.sent.digest if step.sent else None
        is_exact = frame is not None and digest == request_digest(shown, placed)
        seconds = step.reply.usage.model_seconds
        raw = saved_response(step.messages)
        return Step(
            index=step.step,
            purpose=shown.purpose,
            model=step.model,
            node_id=step.node_id or None,
            request=StepRequest(
                instructions=shown.instructions,
                variables=_variables(context, shown),
                messages=_messages(context.turn, placed),
                tools=tuple(StepTool.model_validate(tool) for tool in shown.tools),
                settings=shown.settings,
                context=_context_of(step.sent),
            ),
            fidelity="exact" if is_exact else "rebuilt",
            digest=digest,
            reply=StepReply(
                text=step.reply.text,
                tool_calls=tuple(StepToolCall.model_validate(call) for call in step.reply.tool_calls),
                raw={name: value for name, value in raw.items() if name not in NOT_SHOWN} if raw else None,
            ),
            usage=_usage(step.reply),
            cost=Cost.model_validate(step.reply.cost),
            started_at=step.created_at - timedelta(seconds=seconds),
            first_word_seconds=step.reply.first_word,
            seconds=seconds,
            finish_reason=(raw or {}).get("finish_reason"),
            attempts=step.sent.attempts if step.sent else 1,
            error=STOPPED if step.reply.interrupted else None,
        )

    async def _history(self, step: SavedStep, own: Sequence[SavedStep]) -> tuple[SavedStep, ...]:
        """The steps of the earlier turns that the request held; none if they are missing in the store."""
        after, sent = own[0].after if own else step.after, step.sent
        try:
            if sent is not None and sent.turns is not None:
                return await self._steps.newest_turns(step.session_id, after, sent.turns)
            return await self._steps.history(step.session_id, after, sent.budget if sent else DEFAULT_BUDGET)
        except HistoryMissing:
            return ()


def _rebuilt_frame(context: _TurnContext, step: SavedStep) -> RequestFrame:
    """The frame of a request that was not kept, from the agent's definition and the values of the turn's beginning."""
    agent, values = context.definition, context.values
    node = agent.nodes.get(step.node_id)
    if node is None:
        return RequestFrame(purpose="turn", instructions="")
    if step.messages == "[]":
        tool = OfferedTool(
            name=RECORD_TOOL, description=RECORD_TOOL_DESCRIPTION, parameters=extraction_schema(node.extract, values)
        )
        return frame_of_extraction(extraction_instructions(node, values), EXTRACTION_CUE, tool, {})
    declared = ((name, agent.tools[name]) for name in node.tools if name in agent.tools)
    tools = (
        offered
        for name, tool in declared
        if (offered := offered_tool(name, tool)) is not None  # those of MCP servers are known to the servers only
    )
    instructions = marked_instructions_at(agent, step.node_id, values)
    return frame_of_turn(node, instructions, (*transitions_offered(node), *tools), {})


def _without_reply(messages: Sequence[RequestMessage], saved: str) -> Sequence[RequestMessage]:
    return messages[:-1] if saved_response(saved) is not None else messages


def _variables(context: _TurnContext, frame: RequestFrame) -> tuple[StepVariable, ...]:
    text = frame.instructions
    return tuple(
        StepVariable(
            start=_utf16_length(text[: each.start]),
            end=_utf16_length(text[: each.end]),
            name=each.name,
            source=context.source_of(each),
        )
        for each in frame.insertions
    )


def _utf16_length(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def _messages(turn: Turn, placed: Sequence[PlacedMessage]) -> tuple[StepMessage, ...]:
    """The messages of a request with their turns. New messages before the user's message belong to the turn before."""
    asked = max((place for place, each in enumerate(placed) if each.is_new and each.message.role == "user"), default=0)
    return tuple(
        StepMessage(
            role=each.message.role,
            content=each.message.content,
            turn_id=turn.parent_id if each.is_new and place < asked else each.turn_id,
            is_new=each.is_new,
            tool_calls=tuple(StepToolCall.model_validate(call) for call in each.message.tool_calls),
            tool_call_id=each.message.tool_call_id,
        )
        for place, each in enumerate(placed)
    )


def _context_of(sent: SentRequest | None) -> StepContext | None:
    if sent is None or sent.turns is None or sent.tokens is None or sent.max_tokens is None or sent.counted_by is None:
        return None
    return StepContext(
        tokens=sent.tokens,
        max_tokens=sent.max_tokens,
        counted_by=sent.counted_by,
        turns=sent.turns,
        turns_left_out=sent.left_out,
        summary_turn_id=sent.summary_turn_id,
    )


def _usage(reply: ModelReply) -> StepUsage:
    used = sum(reply.usage.llm.values(), ModelUsage())
    return StepUsage.model_validate(used)
