"""The other end of a conversation: a model that plays the caller, line by line, each bought once."""

from typing import TYPE_CHECKING

from temporalio import activity

from activities.charge_once import AuxiliaryCallKey, IdempotentCaller, StoredReply
from activities.llm.interface import ModelAnswer, ModelCall, ModelCaller
from activities.llm.metrics import timed
from activities.spending_limit import SpendingLimit
from contracts.caller import PlayCallerInput, PlayCallerResult
from domain.sessions.caller_config import MAX_CALLER_MESSAGE_CHARACTERS, Utterance
from domain.sessions.caller_prompt import HANG_UP_TOOL, caller_instructions, caller_tools
from domain.turns.engine import MAX_BLANK_REPLIES, ModelReply
from domain.turns.turn import AgentSaid, Message, UserSaid
from domain.usage import merge_costs, merge_usage

if TYPE_CHECKING:
    from store.sessions.steps import StepStore

CALLER = "caller"
"""Stands for the node at which a caller speaks, where its lines are saved among the steps."""
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“"}


class SimulationActivities:
    """Plays callers. What a caller has heard is kept along its own chain of asides, as it hears it."""

    def __init__(
        self, *, steps: "StepStore", limit: SpendingLimit, caller: ModelCaller, context_characters: int
    ) -> None:
        self._buyer = IdempotentCaller(steps=steps, context_characters=context_characters)
        self._limit = limit
        self._caller = caller

    @activity.defn
    async def play_caller(self, input: PlayCallerInput) -> PlayCallerResult:
        """Say the caller's next line or hang up, from the store if that has been bought before.

        A model that answers with nothing is asked again, a few times; the result has no line then. Fails as
        `generate_step` does, and for good when the organization may not spend more; cancelled by its workflow, it
        returns what it has spent.
        """
        bought: list[StoredReply] = []
        for step in range(MAX_BLANK_REPLIES):
            bought.append(await self._line(input, step))
            reply = bought[-1].reply
            if reply.interrupted or _words_of(reply) or _hangs_up(input, reply):
                break
        reply = bought[-1].reply
        return PlayCallerResult(
            line=_words_of(reply) or None,
            hangs_up=_hangs_up(input, reply),
            reason=next((str(call.arguments.get("reason", "")) for call in reply.tool_calls), ""),
            usage=merge_usage(each.reply.usage for each in bought),
            cost=merge_costs(each.reply.cost for each in bought),
            reused=all(each.reused for each in bought),
        )

    async def _line(self, input: PlayCallerInput, step: int) -> StoredReply:
        heard = tuple(map(_as_heard, input.heard)) if step == 0 else ()

        async def ask(history: tuple[str, ...]) -> ModelAnswer:
            await self._limit.require(input.organization_id)
            call = ModelCall(
                model=input.model,
                instructions=caller_instructions(input.config, may_hang_up=input.may_hang_up),
                history=history,
                messages=heard,
                tools=caller_tools(may_hang_up=input.may_hang_up),
                timeout=input.timeout,
                seed=input.config.seed,
                keeps_calls=False,
            )
            return await timed(self._caller.call(call), input.price_per_second)

        purchase = AuxiliaryCallKey(
            session_id=input.session_id,
            organization_id=input.organization_id,
            turn_id=input.aside_id,
            node_id=CALLER,
            model=input.model,
            step=step,
            anchor_turn_id=input.anchor_aside_id,
        )
        return await self._buyer.once(purchase, ask)


def _as_heard(spoken: Utterance) -> Message:
    """To the model that plays the caller, the agent is the user and the caller's own side is itself."""
    return UserSaid(text=spoken.text) if spoken.by == "agent" else AgentSaid(text=spoken.text)


def _words_of(reply: ModelReply) -> str:
    """What the caller says, without the quotation marks in which some models put it."""
    words = reply.text.strip()
    if len(words) > 1 and _QUOTES.get(words[0]) == words[-1]:
        words = words[1:-1].strip()
    return words[:MAX_CALLER_MESSAGE_CHARACTERS]


def _hangs_up(input: PlayCallerInput, reply: ModelReply) -> bool:
    return input.may_hang_up and any(call.name == HANG_UP_TOOL.name for call in reply.tool_calls)
