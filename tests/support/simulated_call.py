"""Whole conversations between a simulated user and an agent, without Temporal, store or clock."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import yaml

from activities.llm.interface import ModelCall, RecordCall
from activities.llm.providers import ModelProviders
from domain.agents.definition import AgentDefinition, parse_definition
from domain.agents.tools import OfferedTool
from domain.sessions.caller_prompt import caller_instructions, caller_tools
from domain.sessions.command_handlers import new_timeline, open_greeting
from domain.sessions.simulated_caller import (
    message_id_of_call,
    next_action,
    next_call_id,
    opening_message,
    send_caller_message,
    start_simulation,
    stop_caller,
    utterances_since_last_call,
)
from domain.sessions.timeline import Timeline
from domain.sessions.turn_completion import complete
from domain.suites.checks import Conversation
from domain.suites.scenario import Scenario, Suite, parse_suite
from domain.turns.engine import (
    ExtractionResult,
    TurnProgress,
    apply_extraction,
    apply_reply,
    begin_turn,
    instructions_at,
    start_checkpoint,
)
from domain.turns.engine import template_values as variables_of
from domain.turns.extraction import (
    EXTRACTION_CUE,
    EXTRACTION_INSTRUCTIONS,
    RECORD_TOOL,
    extracted_values,
    extraction_schema,
)
from domain.turns.model_request import NO_ARGUMENTS_SCHEMA
from domain.turns.turn import Turn, UserSaid
from playhead.services.model_providers import build_providers

EXAMPLES = Path(__file__).parents[2] / "examples"


@cache
def example_suite(name: str) -> Suite:
    return parse_suite(yaml.safe_load((EXAMPLES / "suites" / f"{name}.yaml").read_text(encoding="utf-8")))


@cache
def example_agent(name: str) -> AgentDefinition:
    return parse_definition(yaml.safe_load((EXAMPLES / "agents" / f"{name}.yaml").read_text(encoding="utf-8")))


@dataclass
class SimulatedCall:
    """One conversation of a scenario, with the demo model as the agent and as the simulated user."""

    agent: AgentDefinition
    scenario: Scenario
    seed: int = 0
    model: str = "demo"
    providers: ModelProviders = field(default_factory=lambda: build_providers(prices={}))
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    turns: int = 0
    agent_history: list[str] = field(default_factory=list)
    caller_history: list[str] = field(default_factory=list)

    async def conversation(self) -> Conversation:
        """Run it to its end."""
        config = self.scenario.simulator(model=self.model, seed=self.seed)
        timeline = open_greeting(new_timeline(at=self.now), turn_id=self._turn_id(), at=self.now)
        timeline = await self._answered(start_simulation(timeline, config, at=self.now))
        while (next_ := next_action(timeline, at=self._tick())) is not None:
            if next_ == "speak":
                timeline = await self._with_next_message(timeline)
            else:
                timeline = stop_caller(timeline, next_, at=self.now)
        turns = tuple(timeline.visible_turns())[::-1]
        checkpoint = next((turn.checkpoint for turn in reversed(turns) if turn.checkpoint), None)
        return Conversation(
            turns=turns,
            variables=checkpoint.gathered_context if checkpoint else {},
            cost_usd=timeline.cost.total,
            completion_reason=timeline.completion_reason,
        )

    async def _with_next_message(self, timeline: Timeline) -> Timeline:
        simulation = timeline.simulator
        assert simulation is not None
        opening = opening_message(timeline)
        if opening is not None:
            return await self._answered(
                send_caller_message(timeline, *opening, turn_id=self._turn_id(), at=self._tick())
            )
        _, utterances = utterances_since_last_call(timeline)
        may_hang_up = simulation.lines >= simulation.config.min_turns
        answer = await self.providers.call(
            ModelCall(
                model=self.model,
                instructions=caller_instructions(simulation.config, may_hang_up=may_hang_up),
                history=tuple(self.caller_history),
                messages=tuple(UserSaid(text=each.text) for each in utterances if each.by == "agent"),
                tools=caller_tools(may_hang_up=may_hang_up),
                timeout=5.0,
                seed=self.seed,
                keep_tool_calls=False,
            )
        )
        self.caller_history.append(answer.messages)
        if not answer.reply.text:
            return stop_caller(timeline, "caller_hung_up", at=self._tick())
        message_id = message_id_of_call(next_call_id(timeline, "ses_1"))
        text = answer.reply.text
        return await self._answered(
            send_caller_message(timeline, text, message_id, turn_id=self._turn_id(), at=self._tick())
        )

    async def _answered(self, timeline: Timeline) -> Timeline:
        turn = timeline.turns[timeline.pending[0]]
        progress = begin_turn(
            self.agent,
            timeline.checkpoint_before(turn.parent_id) or start_checkpoint(self.agent),
            turn_id=turn.id,
            user_text=turn.user_message.text if turn.user_message else None,
            at=self._tick(),
            initial_context=self.scenario.context,
        )
        while progress.next_step:
            progress = await (
                self._extracted(progress) if progress.next_step == "extraction" else self._generated(progress)
            )
        return complete(timeline, progress, self.agent.limits, at=self._tick())

    async def _generated(self, progress: TurnProgress) -> TurnProgress:
        node = self.agent.nodes[progress.node_id]
        values = variables_of(self.agent, self.scenario.context, progress.gathered_context)
        answer = await self.providers.call(
            ModelCall(
                model=self.model,
                instructions=instructions_at(self.agent, progress.node_id, values),
                history=tuple(self.agent_history),
                messages=progress.messages,
                tools=tuple(OfferedTool(way.tool_name, way.when, NO_ARGUMENTS_SCHEMA) for way in node.transitions),
                timeout=5.0,
            )
        )
        self.agent_history.append(answer.messages)
        return apply_reply(self.agent, progress, answer.reply, at=self._tick(), initial_context=self.scenario.context)

    async def _extracted(self, progress: TurnProgress) -> TurnProgress:
        wanted = self.agent.nodes[progress.node_id].extract
        answer = await self.providers.record(
            RecordCall(
                model=self.model,
                instructions=EXTRACTION_INSTRUCTIONS,
                history=tuple(self.agent_history),
                asked=EXTRACTION_CUE,
                tool=RECORD_TOOL,
                description="Record what was found.",
                schema=extraction_schema(wanted),
                timeout=5.0,
            )
        )
        found = ExtractionResult(values=extracted_values(wanted, answer.reply.tool_calls[0].arguments))
        return apply_extraction(self.agent, progress, found, at=self._tick(), initial_context=self.scenario.context)

    def _turn_id(self) -> str:
        self.turns += 1
        return f"turn_{self.turns:012x}"

    def _tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def exchange_text(turn: Turn) -> str:
    """A turn in two lines, for assertion messages."""
    said = turn.user_message.text if turn.user_message else ""
    answered = turn.assistant_message.text if turn.assistant_message else ""
    return f"- {said}\n  {answered}"
