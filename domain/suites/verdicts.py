"""Verdicts on conversations: the results of the judge and of the checks, and their combination."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from pydantic import JsonValue

from domain.durable import FrozenModel
from domain.suites.checks import Finding
from domain.turns.turn import Turn

Outcome = Literal["passed", "failed", "inconclusive"]

VERDICT_TOOL = "record_verdict"
"""Name of the tool with which a judge returns its verdicts."""
MAX_REASON_CHARACTERS = 2_000
MAX_QUOTES = 10
"""Quotes of one criterion that are kept."""
MAX_QUOTE_CHARACTERS = 500

CUT_SHORT_REASONS: Mapping[str, str] = {
    "caller_failed": "The model of the simulated user failed.",
    "agent_failed": "A reply of the agent failed.",
    "max_cost": "The session reached its cost limit.",
    "suite_cancelled": "The suite was cancelled.",
}
"""Completion reasons of conversations that did not end normally, with explanations."""

_OUTCOMES: Mapping[str, Outcome] = {"passed": "passed", "failed": "failed", "inconclusive": "inconclusive"}
_QUOTATION_MARKS = '"\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}'
_TURN_ID = re.compile(r"turn_[0-9a-z]+")


class Quote(FrozenModel):
    """Words of a turn that a judge quotes, exactly as they were said there."""

    turn_id: str
    text: str


class CriterionVerdict(FrozenModel):
    """The judge's outcome of one criterion, its reason, the turns quoted, and the words quoted from them."""

    criterion: str
    outcome: Outcome
    reason: str
    turn_ids: tuple[str, ...] = ()
    quotes: tuple[Quote, ...] = ()


class Explained(Protocol):
    """A failed check, with its message."""

    @property
    def message(self) -> str: ...


class Judged(Protocol):
    """A criterion with its outcome and the judge's reason."""

    @property
    def outcome(self) -> str: ...

    @property
    def reason(self) -> str: ...


class FinishedRun(Protocol):
    """A run of a suite as a report shows it."""

    @property
    def findings(self) -> Sequence[Explained]: ...

    @property
    def criteria(self) -> Sequence[Judged]: ...

    @property
    def error(self) -> str | None: ...

    @property
    def cut_short(self) -> str | None: ...


def first_reason(run: FinishedRun) -> str:
    """The first reason why a run did not pass: a failed check, a criterion, an error, or what cut it short."""
    reasons = (
        *(finding.message for finding in run.findings),
        *(criterion.reason for criterion in run.criteria if criterion.outcome != "passed"),
        run.error,
        run.cut_short,
    )
    return next((reason for reason in reasons if reason), "")


class Verdict(FrozenModel):
    """The verdict on one conversation. `cut_short` is the reason why it did not end normally, if so."""

    outcome: Outcome
    criteria: tuple[CriterionVerdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    cut_short: str | None = None


def verdict_of(
    criteria: Sequence[CriterionVerdict], findings: Sequence[Finding], cut_short: str | None = None
) -> Verdict:
    """Combine the verdicts of the judge and the findings of the checks.

    The conversation fails if a check or a criterion fails, and is inconclusive if a criterion is. A conversation that
    did not end normally fails only by findings that a continuation could not have changed; otherwise it is
    inconclusive.
    """
    counted = [finding for finding in findings if cut_short is None or not finding.could_mend]
    return Verdict(
        outcome=_outcome(criteria, counted, cut_short),
        criteria=tuple(criteria),
        findings=tuple(findings),
        cut_short=cut_short,
    )


def _outcome(criteria: Sequence[CriterionVerdict], findings: Sequence[Finding], cut_short: str | None) -> Outcome:
    if findings:
        return "failed"
    if cut_short is not None:
        return "inconclusive"
    found = {each.outcome for each in criteria}
    return "failed" if "failed" in found else "inconclusive" if "inconclusive" in found else "passed"


def verdict_schema(criteria: Sequence[str]) -> dict[str, JsonValue]:
    """JSON schema of the verdicts: one for each criterion, by its number from 1."""
    quote: dict[str, JsonValue] = {
        "type": "object",
        "properties": {
            "turn_id": {"type": "string"},
            "text": {"type": "string", "description": "words of that turn, copied exactly"},
        },
        "required": ["turn_id", "text"],
        "additionalProperties": False,
    }
    quotes: dict[str, JsonValue] = {
        "type": "array",
        "items": quote,
        "description": "the words in those turns that show it, as few as possible; empty when it is something missing",
    }
    one: dict[str, JsonValue] = {
        "type": "object",
        "properties": {
            "criterion": {"type": "integer", "minimum": 1, "maximum": len(criteria)},
            "reason": {"type": "string", "description": "one or two sentences that quote ids of turns"},
            "turn_ids": {"type": "array", "items": {"type": "string"}, "description": "the turns that show it"},
            "quotes": quotes,
            "outcome": {"type": "string", "enum": [*_OUTCOMES]},
        },
        "required": ["criterion", "reason", "turn_ids", "quotes", "outcome"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"verdicts": {"type": "array", "items": one, "minItems": len(criteria)}},
        "required": ["verdicts"],
        "additionalProperties": False,
    }


def parse_verdicts(
    criteria: Sequence[str], recorded: Mapping[str, JsonValue], turns: Iterable[Turn]
) -> tuple[CriterionVerdict, ...]:
    """Parse the result of a judge into one verdict for each criterion.

    Ids of unknown turns and quotes that were not said in their turn are dropped. A criterion that is missing, has
    contradictory verdicts, or has an unreadable verdict is inconclusive.
    """
    verdicts = recorded.get("verdicts")
    entries = [entry for entry in verdicts if isinstance(entry, dict)] if isinstance(verdicts, list) else []
    said = {turn.id: _said_in(turn) for turn in turns}
    found = []
    for number, criterion in enumerate(criteria, start=1):
        of_criterion = [entry for entry in entries if _number(entry.get("criterion")) == number]
        found.append(_criterion(criterion, of_criterion, said))
    return tuple(found)


def inconclusive_verdicts(criteria: Sequence[str], reason: str) -> tuple[CriterionVerdict, ...]:
    """Inconclusive verdicts for all criteria, with one reason."""
    return tuple(CriterionVerdict(criterion=each, outcome="inconclusive", reason=reason) for each in criteria)


def _criterion(
    criterion: str, entries: Sequence[Mapping[str, JsonValue]], said: Mapping[str, Sequence[str]]
) -> CriterionVerdict:
    outcomes = {_OUTCOMES.get(str(entry.get("outcome")).strip().lower()) for entry in entries}
    if not entries:
        return inconclusive_verdicts([criterion], "The judge gave no verdict.")[0]
    outcome = next(iter(outcomes))
    if len(outcomes) > 1 or outcome is None:
        return inconclusive_verdicts([criterion], "The judge contradicted itself, or gave an unknown outcome.")[0]
    reason = str(entries[0].get("reason") or "").strip()[:MAX_REASON_CHARACTERS]
    turn_ids = entries[0].get("turn_ids")
    quoted = [str(each) for each in turn_ids] if isinstance(turn_ids, list) else []
    quotes = _quotes(entries[0].get("quotes"), said)
    named = [*quoted, *_TURN_ID.findall(reason), *(each.turn_id for each in quotes)]
    return CriterionVerdict(
        criterion=criterion,
        outcome=outcome,
        reason=reason or "The judge gave no reason.",
        turn_ids=tuple(dict.fromkeys(each for each in named if each in said)),
        quotes=quotes,
    )


def _said_in(turn: Turn) -> tuple[str, ...]:
    """The texts of the user and of the agent in a turn."""
    return tuple(message.text for message in (turn.user_message, turn.assistant_message) if message is not None)


def _quotes(recorded: JsonValue, said: Mapping[str, Sequence[str]]) -> tuple[Quote, ...]:
    """The quotes that were said in the turn they name, each once."""
    entries = recorded if isinstance(recorded, list) else []
    found: dict[Quote, None] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        turn_id, text = str(entry.get("turn_id")), _without_marks(str(entry.get("text") or ""))
        if text and len(text) <= MAX_QUOTE_CHARACTERS and any(text in each for each in said.get(turn_id, ())):
            found[Quote(turn_id=turn_id, text=text)] = None
    return tuple(found)[:MAX_QUOTES]


def _without_marks(text: str) -> str:
    """A quote without the space and the quotation marks around it."""
    return text.strip().strip(_QUOTATION_MARKS).strip()


def _number(value: JsonValue) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
