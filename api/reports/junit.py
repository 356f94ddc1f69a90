"""Suite reports as JUnit XML for CI systems: a test suite for each scenario, a test case for each run."""

from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from api.schemas.suites import RunReport, SuiteReport

_NOT_IN_XML = {code: "\ufffd" for code in range(32) if chr(code) not in "\t\n\r"}


def junit_of(report: SuiteReport) -> bytes:
    """The report. A failed run is a failure, an inconclusive one an error: it is unknown whether it passed.

    Planned runs that were not started have no test case; the outcome of the suite is a property.
    """
    root = Element("testsuites", {"name": _text(report.suite.name), **_counts(report.runs)})
    order = {scenario.id: place for place, scenario in enumerate(report.suite.scenarios)}
    runs = sorted(report.runs, key=lambda run: (order.get(run.scenario, len(order)), run.repeat))
    for scenario, each in groupby(runs, key=lambda run: run.scenario):
        of_scenario = tuple(each)
        name = _text(f"{report.suite.name}: {scenario}")
        suite = SubElement(root, "testsuite", {"name": name, **_counts(of_scenario)})
        suite.set("timestamp", min(run.started_at for run in of_scenario).isoformat())
        properties = SubElement(suite, "properties")
        for key, value in _properties(report).items():
            SubElement(properties, "property", name=key, value=value)
        for run in of_scenario:
            _case(suite, report, run)
    indent(root)
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _case(suite: Element, report: SuiteReport, run: RunReport) -> None:
    case = SubElement(
        suite,
        "testcase",
        classname=_text(f"{report.suite.name}.{run.scenario}"),
        name=f"{_text(run.scenario)} {run.repeat}",
        time=f"{run.seconds or 0:.3f}",
    )
    why = "\n".join(_text(line) for line in reasons_of(run))
    if run.outcome == "failed":
        SubElement(case, "failure", message=_first(why), type="failed").text = why
    elif run.outcome == "inconclusive":
        SubElement(case, "error", message=_first(why), type="inconclusive").text = why
    elif run.outcome is None:
        SubElement(case, "skipped", message="still under way")
    said = [f"session {run.session_id}, seed {run.seed}", *_transcript(run)]
    SubElement(case, "system-out").text = "\n".join(map(_text, said))


def reasons_of(run: RunReport) -> list[str]:
    """The reasons why a run did not pass, one per line: the checks first, because they need no judge."""
    lines = [f"{finding.check}: {finding.message}" for finding in run.findings]
    lines += [f"{each.criterion} {each.reason}" for each in run.criteria if each.outcome != "passed"]
    lines += [f"The conversation was cut short: {run.cut_short}."] if run.cut_short else []
    lines += [run.error] if run.error else []
    return lines


def _transcript(run: RunReport) -> list[str]:
    lines = []
    for turn in run.turns:
        if turn.user_message:
            lines.append(f"caller: {turn.user_message.text}")
        if turn.assistant_message:
            lines.append(f"agent:  {turn.assistant_message.text}")
        if turn.error:
            lines.append(f"error:  {turn.error}")
    return lines


def _counts(runs: tuple[RunReport, ...]) -> dict[str, str]:
    outcomes = [run.outcome for run in runs]
    return {
        "tests": str(len(runs)),
        "failures": str(outcomes.count("failed")),
        "errors": str(outcomes.count("inconclusive")),
        "skipped": str(outcomes.count(None)),
        "time": f"{sum(run.seconds or 0 for run in runs):.3f}",
    }


def _properties(report: SuiteReport) -> dict[str, str]:
    suite = report.suite
    return {
        "playhead.suite": suite.id,
        "playhead.outcome": suite.outcome or suite.status,
        "playhead.agent": _text(f"{suite.agent_name}@{suite.agent_version}"),
        "playhead.seed": str(suite.seed),
    }


def _first(text: str) -> str:
    return text.partition("\n")[0]


def _text(text: str) -> str:
    """The text with characters replaced that XML does not allow: control characters and lone surrogates."""
    return text.translate(_NOT_IN_XML).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
