"""One conversation in the page of a report: why it was found as it was, and what was said, turn by turn."""

from collections.abc import Iterator
from json import dumps

from api.reports.html import Markup, element
from api.schemas.responses import Turn, TurnEvent, plain
from api.schemas.suites import Criterion, Finding, RunReport

MAX_PAYLOAD = 600
"""Characters of what a tool was called with or answered."""


def conversation(suite_id: str, run: RunReport) -> Markup:
    """The inside of a conversation that was unfolded."""
    quoted = set(_quoted(run))
    indices = {turn.id: turn.index for turn in run.turns}
    before = run.turns_before
    return element(
        "div",
        _facts(run),
        element("ul", [_finding(each, run, indices) for each in run.findings], class_="verdict")
        if run.findings
        else "",
        element("ul", [_criterion(each, run, indices) for each in run.criteria], class_="verdict"),
        element("p", f"{before} older turns are not shown.", class_="nothing") if before else "",
        element("ol", [_turn(turn, run, turn.id in quoted) for turn in run.turns], class_="turns"),
        _fork(suite_id, run, indices),
        class_="inside",
    )


def _facts(run: RunReport) -> Markup:
    facts = [f"session {run.session_id}", f"seed {run.seed}"]
    facts += [f"ended: {run.completion_reason}"] if run.completion_reason else []
    facts += [f"cut short: {run.cut_short}"] if run.cut_short else []
    facts += [f"price unknown: {', '.join(run.unpriced_models)}"] if run.unpriced_models else []
    lines: list[Markup | None] = [element("p", " · ".join(facts), class_="facts")]
    lines.append(element("p", f"Not judged: {run.error}", class_="error") if run.error else None)
    return element("div", lines)


def _finding(finding: Finding, run: RunReport, indices: dict[str, int]) -> Markup:
    return element(
        "li",
        element("span", "✕", class_="sign failed"),
        element("div", element("code", finding.check), " ", finding.message, _quotes(finding.turn_ids, run, indices)),
    )


def _criterion(criterion: Criterion, run: RunReport, indices: dict[str, int]) -> Markup:
    sign = {"passed": "✓", "failed": "✕", "inconclusive": "?"}[criterion.outcome]
    return element(
        "li",
        element("span", sign, class_=f"sign {criterion.outcome}"),
        element(
            "div",
            element("strong", criterion.criterion),
            element("br"),
            criterion.reason,
            _quotes(criterion.turn_ids, run, indices),
        ),
    )


def _quotes(turn_ids: tuple[str, ...], run: RunReport, indices: dict[str, int]) -> list[Markup]:
    return [
        element("a", f"turn {indices[turn_id] + 1}", href=f"#{_anchor(run, turn_id)}", class_="quote")
        for turn_id in turn_ids
        if turn_id in indices
    ]


def _turn(turn: Turn, run: RunReport, is_quoted: bool) -> Markup:
    said: list[Markup] = []
    if turn.user_message:
        said.append(element("p", turn.user_message.text, class_="caller"))
    said += _happened(turn)
    if turn.assistant_message:
        said.append(element("p", turn.assistant_message.text, class_="agent"))
    if turn.error:
        said.append(element("p", turn.error, class_="error"))
    figures = f"{turn.usage.duration_seconds:.2f} s · {plain(turn.cost.total)} USD"
    marks = [f"{turn.index + 1}", turn.node_id or "", figures, turn.id]
    return element(
        "li",
        element("div", [element("span", mark) for mark in marks], class_="margin"),
        element("div", said, class_="said"),
        id=_anchor(run, turn.id),
        class_="quoted" if is_quoted else None,
    )


def _happened(turn: Turn) -> Iterator[Markup]:
    for event in turn.events:
        told = _told(event)
        if told:
            yield element("p", told, class_=f"event {event.type}")


def _told(event: TurnEvent) -> str:
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


def _fork(suite_id: str, run: RunReport, indices: dict[str, int]) -> Markup | str:
    """How to go on from the turn that went wrong."""
    if run.outcome == "passed" or not run.turns:
        return ""
    quoted = [turn_id for turn_id in _quoted(run) if turn_id in indices]
    turn = indices[quoted[0]] if quoted else run.turns[-1].index
    command = f"playhead simulate fork {suite_id} {run.scenario} --repeat {run.repeat} --turn {max(turn, 1)}"
    return element("p", "Try again from before that: ", element("code", command), class_="facts")


def _quoted(run: RunReport) -> list[str]:
    """The turns that show why the run was found as it was, those of the checks first."""
    of_checks = [turn_id for finding in run.findings for turn_id in finding.turn_ids]
    return of_checks + [turn_id for criterion in run.criteria for turn_id in criterion.turn_ids]


def _anchor(run: RunReport, turn_id: str) -> str:
    return f"{run.session_id}-{turn_id}"
