"""Conversations in an HTML report: the values of one run that its template shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import dumps

from api.schemas.responses import TurnEvent, plain
from api.schemas.suites import RunReport
from domain.suites.verdicts import first_reason

MAX_PAYLOAD = 600
"""Characters shown of a tool call's arguments or result."""


@dataclass(frozen=True)
class ConversationView:
    """One run with the values derived for its template. `indices` are the positions of its turns by id."""

    run: RunReport
    facts: Sequence[str]
    figures: str
    reason: str
    quoted: frozenset[str]
    indices: Mapping[str, int]
    fork_command: str | None


def conversation_view(suite_id: str, run: RunReport) -> ConversationView:
    """The view of one run."""
    indices = {turn.id: turn.index for turn in run.turns}
    figures = f"{run.turn_count} turns · {plain(run.cost)} USD"
    return ConversationView(
        run=run,
        facts=_facts(run),
        figures=figures + (f" · {run.seconds:.1f} s" if run.seconds is not None else ""),
        reason=first_reason(run),
        quoted=frozenset(_quoted(run)),
        indices=indices,
        fork_command=_fork_command(suite_id, run, indices),
    )


def _facts(run: RunReport) -> list[str]:
    facts = [f"session {run.session_id}", f"seed {run.seed}"]
    facts += [f"ended: {run.completion_reason}"] if run.completion_reason else []
    facts += [f"cut short: {run.cut_short}"] if run.cut_short else []
    facts += [f"price unknown: {', '.join(run.unpriced_models)}"] if run.unpriced_models else []
    return facts


def event_text(event: TurnEvent) -> str:
    """An event of a turn as a line of text; empty for events that are not shown."""
    payload = event.payload
    match event.type:
        case "node_transition":
            return f"→ {payload.get('to_node')}" if payload.get("from_node") else ""
        case "tool_call_started":
            return f"calls {payload.get('name')}({_short(payload.get('arguments'))})"
        case "tool_call_result":
            return f"= {_short(payload.get('result', payload.get('content')))}"
        case "variables_extracted":
            return f"notes {_short(payload.get('variables'))}"
        case "session_end":
            return f"the session ends: {payload.get('reason')}"
        case _:
            return f"{event.type.replace('_', ' ')}: {_short(payload)}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_PAYLOAD else f"{text[: MAX_PAYLOAD - 1]}…"


def _fork_command(suite_id: str, run: RunReport, indices: Mapping[str, int]) -> str | None:
    """The command that continues from before the turn that failed; None for a passed run."""
    if run.outcome == "passed" or not run.turns:
        return None
    quoted = [turn_id for turn_id in _quoted(run) if turn_id in indices]
    turn = indices[quoted[0]] if quoted else run.turns[-1].index
    return f"playhead simulate fork {suite_id} {run.scenario} --repeat {run.repeat} --turn {max(turn, 1)}"


def _quoted(run: RunReport) -> list[str]:
    """The ids of the turns that explain the outcome, those of the checks first."""
    of_checks = [turn_id for finding in run.findings for turn_id in finding.turn_ids]
    return of_checks + [turn_id for criterion in run.criteria for turn_id in criterion.turn_ids]
