"""Checks without a judge: requirements on a conversation, evaluated on its recorded turns."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field, JsonValue

from domain.agents.safe_regex import MatchBudget, UnsupportedRegex, matches
from domain.agents.templates import lookup
from domain.agents.tool_mocks import includes
from domain.agents.tools import AuthoredModel, nonblank
from domain.agents.validation_errors import format_value
from domain.durable import FrozenModel
from domain.turns.turn import Turn, TurnEvent

Phrase = Annotated[str, nonblank(1_000)]
Name = Annotated[str, nonblank(64)]

MAX_MATCH_STEPS: Final = 100_000_000
"""Steps of matching `never_matches` against one conversation: less than a second."""


class RequiredCall(AuthoredModel):
    """A tool that must be called at least once with at least these arguments."""

    tool: Name
    arguments: dict[str, JsonValue] = {}


class Checks(AuthoredModel):
    """Requirements on a conversation; empty fields are not checked.

    `never_says` are phrases that the agent must not use (case-insensitive), `never_matches` regular expressions that
    its messages must not match. `max_turns` counts turns with a user message. `ended_with` lists the accepted
    completion reasons.
    """

    must_visit: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    must_call: Annotated[tuple[RequiredCall, ...], Field(max_length=100)] = ()
    variables: Annotated[dict[str, JsonValue], Field(max_length=100)] = {}
    never_says: Annotated[tuple[Phrase, ...], Field(max_length=100)] = ()
    never_matches: Annotated[tuple[Phrase, ...], Field(max_length=100)] = ()
    max_turns: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    max_cost_usd: Annotated[Decimal, Field(ge=0, le=1_000_000)] | None = None
    ended_with: Annotated[tuple[Annotated[str, nonblank(200)], ...], Field(max_length=20)] = ()

    @property
    def is_empty(self) -> bool:
        return self == Checks()


class Finding(FrozenModel):
    """A failed check, with the turns that show it.

    `could_mend` is true if the check could still have passed if the conversation had continued.
    """

    check: str
    message: str
    turn_ids: tuple[str, ...] = ()
    could_mend: bool = False


class Conversation(FrozenModel):
    """Input of checks and judges: the visible turns of a conversation, oldest first, and its final state."""

    turns: tuple[Turn, ...]
    variables: dict[str, JsonValue] = {}
    cost_usd: Decimal = Decimal(0)
    completion_reason: str | None = None


def run_checks(checks: Checks, conversation: Conversation) -> tuple[Finding, ...]:
    """The failed checks, in the order of the fields; empty if all pass."""
    turns = conversation.turns
    return (
        *_missing_visits(checks.must_visit, turns),
        *_missing_calls(checks.must_call, turns),
        *_wrong_variables(checks.variables, conversation.variables, turns),
        *_forbidden_phrases(checks, turns),
        *_unmatched_mocks(turns),
        *_exceeded_limits(checks, conversation),
        *_wrong_ending(checks.ended_with, conversation),
    )


def _missing_visits(nodes: Iterable[str], turns: Sequence[Turn]) -> Iterator[Finding]:
    entered = [event.payload.get("to_node") for event in _events(turns, "node_transition")]
    for node in nodes:
        if node not in entered:
            visited = ", ".join(dict.fromkeys(str(each) for each in entered)) or "no node"
            yield Finding(
                check=f"must_visit {node}",
                message=f"The conversation never reached {node}; it went through {visited}.",
                turn_ids=_last(turns),
                could_mend=True,
            )


def _missing_calls(calls: Iterable[RequiredCall], turns: Sequence[Turn]) -> Iterator[Finding]:
    for required in calls:
        made = [
            (turn.id, event.payload.get("arguments"))
            for turn in turns
            for event in turn.events
            if event.type == "tool_call_started" and event.payload.get("name") == required.tool
        ]
        if any(includes(arguments, required.arguments) for _, arguments in made):
            continue
        message = f"{required.tool} was never called."
        if made:
            actual = "; ".join(format_json(arguments) for _, arguments in made[:3])
            message = f"{required.tool} was not called with {format_json(required.arguments)}, but with {actual}."
        yield Finding(
            check=f"must_call {required.tool}",
            message=message,
            turn_ids=tuple(dict.fromkeys(turn_id for turn_id, _ in made)) or _last(turns),
            could_mend=True,
        )


def _wrong_variables(
    expected: Mapping[str, JsonValue], known: Mapping[str, JsonValue], turns: Sequence[Turn]
) -> Iterator[Finding]:
    for name, value in expected.items():
        found = lookup(known, tuple(name.split(".")))
        if not _is_same(found, value):
            yield Finding(
                check=f"variable {name}",
                message=f"{name} is {format_json(found)}, not {format_json(value)}.",
                turn_ids=_extracted_in(name, turns) or _last(turns),
                could_mend=True,
            )


def _forbidden_phrases(checks: Checks, turns: Sequence[Turn]) -> Iterator[Finding]:
    replies = [(turn.id, turn.assistant_message.text) for turn in turns if turn.assistant_message]
    normalized = [(turn_id, _normalized(text)) for turn_id, text in replies] if checks.never_says else []
    for phrase_ in checks.never_says:
        found = tuple(turn_id for turn_id, text in normalized if _normalized(phrase_) in text)
        if found:
            yield Finding(check="never_says", message=f"The agent said {format_value(phrase_)}.", turn_ids=found)
    budget = MatchBudget(MAX_MATCH_STEPS)
    for pattern in checks.never_matches:
        try:
            found = tuple(turn_id for turn_id, text in replies if matches(pattern, text, budget))
        except UnsupportedRegex as error:
            message = f"The conversation was not checked against {format_value(pattern)}: {error}."
            yield Finding(check="never_matches", message=message, turn_ids=_last(turns))
            return
        if found:
            message = f"The agent said something that matches {format_value(pattern)}."
            yield Finding(check="never_matches", message=message, turn_ids=found)


def _unmatched_mocks(turns: Sequence[Turn]) -> Iterator[Finding]:
    """Calls without a matching mock: the rest of such a conversation proves nothing."""
    for turn in turns:
        for event in turn.events:
            if event.type == "tool_call_result" and event.payload.get("error") == "not_mocked":
                message = f"{event.payload.get('name')} was called with arguments that no mock matches."
                yield Finding(check="mocks", message=message, turn_ids=(turn.id,))


def _exceeded_limits(checks: Checks, conversation: Conversation) -> Iterator[Finding]:
    user_turns = [turn for turn in conversation.turns if turn.user_message]
    if checks.max_turns is not None and len(user_turns) > checks.max_turns:
        message = f"The conversation took {len(user_turns)} turns; at most {checks.max_turns} were allowed."
        yield Finding(check="max_turns", message=message, turn_ids=(user_turns[checks.max_turns].id,))
    if checks.max_cost_usd is not None and conversation.cost_usd > checks.max_cost_usd:
        message = f"The conversation cost {conversation.cost_usd:f} USD; at most {checks.max_cost_usd:f} were allowed."
        yield Finding(check="max_cost_usd", message=message, turn_ids=_last(conversation.turns))


def _wrong_ending(reasons: Sequence[str], conversation: Conversation) -> Iterator[Finding]:
    if reasons and conversation.completion_reason not in reasons:
        reason = conversation.completion_reason or "no end"
        yield Finding(
            check="ended_with",
            message=f"The conversation ended with {reason}, not with {' or '.join(reasons)}.",
            turn_ids=_last(conversation.turns),
            could_mend=True,
        )


def format_json(value: object) -> str:
    """A JSON value as text for a message; None is \"not set\"."""
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={format_json(each)}" for name, each in value.items()) or "no arguments"
    return format_value(value) if isinstance(value, str) else str(value)


def _is_same(found: object, expected: JsonValue) -> bool:
    """True for equal values; text is compared without regard to case and whitespace."""
    if isinstance(found, str) and isinstance(expected, str):
        return _normalized(found) == _normalized(expected)
    return isinstance(found, bool) == isinstance(expected, bool) and found == expected


def _extracted_in(name: str, turns: Sequence[Turn]) -> tuple[str, ...]:
    """The newest turn in which the variable was extracted."""
    for turn in reversed(turns):
        for event in turn.events:
            values = event.payload.get("variables")
            if event.type == "variables_extracted" and isinstance(values, dict) and _root(name) in values:
                return (turn.id,)
    return ()


def _events(turns: Iterable[Turn], kind: str) -> Iterator[TurnEvent]:
    return (event for turn in turns for event in turn.events if event.type == kind)


def _last(turns: Sequence[Turn]) -> tuple[str, ...]:
    return (turns[-1].id,) if turns else ()


def _normalized(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\u2019", "'")).strip().casefold()


def _root(name: str) -> str:
    return name.partition(".")[0]
