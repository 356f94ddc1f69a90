"""HTML and JUnit reports: their content, no external resources, and the escaping of all texts."""

import re
from html.parser import HTMLParser
from xml.etree.ElementTree import fromstring

import pytest

from api.reports.charts import bins_for, histogram
from api.reports.junit import junit_of
from api.reports.suite_page import anchor_of, page_of_report
from tests.api.reports.report_data import CRITERION, report_of, run, turns

RUNS = [
    run("four-on-friday", 1),
    run("four-on-friday", 2, "failed", exchanges=7),
    run("refund", 1, "inconclusive", exchanges=2),
    run("refund", 2, None),
]
VOID = {"meta", "br", "input", "link", "hr"}


class Reading(HTMLParser):
    """Reads a page as a browser does: what is open, which ids there are, what leads where, and what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.policy: str | None = None
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if tag == "a" else []
        self.loaded += [given[name] or "" for name in ("src", "srcset", "data") if name in given]
        self.loaded += [given["href"] or ""] if tag == "link" else []
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += f"{data}\n"


def read(page: bytes) -> Reading:
    reading = Reading()
    reading.feed(page.decode())
    reading.close()
    assert reading.open == []
    return reading


# --- the page -----------------------------------------------------------------------------------


def test_page_shows_the_outcomes_the_reasons_and_the_conversations() -> None:
    page = read(page_of_report(report_of(RUNS)))
    for expected in (
        "booking-evenings",
        "✕ failed",
        CRITERION,
        "The conversation never reached payment.",
        "A table for four on Friday, please. (3)",
        "cut short: max_cost",
        "playhead simulate fork sui_7d1f0b2c9e55 four-on-friday --repeat 2 --turn 2",
    ):
        assert expected in page.text


def test_page_loads_nothing_and_every_link_inside_it_leads_somewhere() -> None:
    written = page_of_report(report_of(RUNS, with_baseline=True))
    page = read(written)
    assert page.loaded == []
    assert b"url(" not in written
    assert b"@import" not in written
    assert page.policy is not None
    assert page.policy.startswith("default-src 'none';")
    inside = [link.removeprefix("#") for link in page.links if link.startswith("#")]
    assert {anchor_of(each) for each in RUNS} <= set(inside)
    assert set(inside) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_conversation_text_is_escaped() -> None:
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(1)> & \"quoted\" 'too' \ud800"
    said = run(outcome="failed").model_copy(update={"turns": turns(1, said=nasty), "error": nasty})
    page = read(page_of_report(report_of([said], name=nasty)))
    assert "<img src=x onerror=alert(1)>" in page.text
    assert page.loaded == []


def test_page_of_a_suite_that_has_hardly_begun_says_so() -> None:
    report = report_of([run(outcome=None)])
    page = read(page_of_report(report.model_copy(update={"runs": ()})))
    assert "No conversation has begun." in page.text
    assert "Nothing to plot yet." in page.text


def test_comparison_is_on_the_page_when_it_was_asked_for() -> None:
    assert "Compared with before" not in read(page_of_report(report_of(RUNS))).text
    page = read(page_of_report(report_of(RUNS, with_baseline=True)))
    assert "Compared with before" in page.text
    assert "worse" in page.text


# --- plots and elements -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        ([0.0], False),
        ([0.0, 0.0], False),
        ([3.0], True),
        ([1.0, 2.0, 400.0], True),
        ([0.0001, 0.00012, 0.00031], False),
        ([0.1 * number for number in range(50)], False),
        ([-2.0, 5.0], False),
    ],
)
def test_every_value_has_a_bar_and_there_are_not_too_many(values: list[float], whole: bool) -> None:
    bins = bins_for(values, whole=whole)
    assert 1 <= bins.count <= 18
    for value in values:
        place = bins.place(value)
        low = bins.low + place * bins.step
        assert low - bins.step * 1e-6 <= value <= low + bins.step * (1 + 1e-6)


def test_bars_stand_on_each_other_and_say_what_they_count() -> None:
    plot = histogram({"passed": [1.0, 1.0], "failed": [1.0]}, "Turns", lambda value: f"{value:.0f}", whole=True)
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"', plot)]
    assert len(heights) == 2
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.02)
    assert "1: 2 passed" in plot
    assert "1: 1 failed" in plot


def test_text_in_a_plot_is_escaped() -> None:
    plot = histogram({"passed": [1.0]}, 'a < b & "c"', lambda value: f"<i>{value:.0f}</i>", whole=True)
    assert "<title>a &lt; b &amp; &#34;c&#34;</title>" in plot
    assert "&lt;i&gt;1&lt;/i&gt;: 1 passed" in plot
    assert "<i>" not in plot


# --- JUnit --------------------------------------------------------------------------------------


def test_junit_distinguishes_failures_from_inconclusive_runs() -> None:
    root = fromstring(junit_of(report_of(RUNS)))
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("4", "1", "1", "1")
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == ["booking-evenings: four-on-friday", "booking-evenings: refund"]
    failure = root.find("./testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "must_visit payment: The conversation never reached payment."
    said = root.findtext("./testsuite/testcase/system-out")
    assert said is not None
    assert "caller: A table for four on Friday, please. (1)" in said


def test_junit_replaces_characters_that_xml_cannot_hold() -> None:
    nasty = "a \x00 b \x1b[31m ]]> <c> \ud800"
    said = run(outcome="failed").model_copy(update={"turns": turns(1, said=nasty), "error": nasty})
    root = fromstring(junit_of(report_of([said], name=nasty)))
    assert "]]> <c>" in (root.findtext("./testsuite/testcase/system-out") or "")
