"""A suite during which everything is killed: its report equals an undisturbed one, and nothing is paid twice.

PLAYHEAD_TEST_SUITE_RUNS is the number of conversations in each of the two suites: 200 for the full check, fewer by
default to save time.
"""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from store.suites import StoredSuite
from tests.e2e.processes import needs_proc
from tests.e2e.suite_stack import PATIENCE, SuiteStack, suite_stack
from tests.support.provider import ModelProvider, TextReply, model_provider
from tests.support.waiting import eventually

RUNS = int(os.environ.get("PLAYHEAD_TEST_SUITE_RUNS", "18"))
CONCURRENCY = 8
KILLS = 2
"""Minimum of rounds in which workers, API and command line are killed once each; large suites have one per 20 runs."""
TOKENS_A_REPLY = TextReply.prompt_tokens + TextReply.completion_tokens
LONGEST = 900.0

PARROT = """\
name: parrot
start: talk
nodes:
  talk: {prompt: Repeat what the caller says., greeting: "This is the parrot. What shall I repeat?"}
"""
SUITE = """\
name: parrots
agent: parrot
model: openai-chat:%(model)s
caller_model: demo
judge_model: demo
concurrency: %(concurrency)d
repeats: %(repeats)d
seed: 11
scenarios:
  - id: polite
    goal: Ask whether there is parking.
    success: ["The agent said parking."]
    checks: {never_says: [hello]}
  - id: booking
    persona: {name: Anna, manner: talkative}
    goal: Book a table for dinner. Ask whether dogs are welcome. Ask for a window seat.
    facts: {date: Friday, time: "19:30", party size: 4, name: Anna Bell}
    success: ["The agent did not mention dogs.", "The agent said window."]
  - id: short
    persona: {manner: hesitant}
    goal: Cancel a booking. Ask about a fee.
    facts: {name: Rossi, date: 12 June}
    success: ["The agent said fee."]
    checks: {max_turns: 3}
"""

Verdicts = dict[tuple[str, int], Any]


@pytest_asyncio.fixture
async def provider_of_parrots() -> AsyncIterator[ModelProvider]:
    async with model_provider() as provider:
        yield provider


@pytest_asyncio.fixture
async def stack(tmp_path: Path, provider_of_parrots: ModelProvider) -> AsyncIterator[SuiteStack]:
    async with suite_stack(tmp_path, provider_of_parrots) as stack:
        (tmp_path / "parrot.yaml").write_text(PARROT)
        push = stack.command("push", "agents", "push", "parrot.yaml")
        await push.start()
        assert await push.ended(PATIENCE) == 0, push.log_file.read_text()
        yield stack


@needs_proc
@pytest.mark.timeout(LONGEST)
async def test_a_suite_whose_processes_are_killed_has_the_verdicts_of_an_undisturbed_one(stack: SuiteStack) -> None:
    calm = await _undisturbed(stack)
    disturbed, suite = await _disturbed(stack)
    assert {key: disturbed.get(key) for key in calm} == calm
    assert disturbed.keys() == calm.keys()
    assert len({outcome for outcome, *_ in calm.values()}) > 1, "a suite with only one outcome shows nothing"
    await _require_ledger_equals_journal(stack, suite)
    assert await _most_at_once(stack, suite) <= CONCURRENCY


async def _undisturbed(stack: SuiteStack) -> Verdicts:
    """The verdicts of a suite that nothing happened to."""
    _write(stack, "calm")
    simulate = stack.command("calm", "simulate", "calm.yaml", "--report=calm.json")
    await simulate.start()
    assert await simulate.ended(LONGEST) in (0, 1), simulate.log_file.read_text()
    suite = await stack.newest()
    assert suite is not None
    await _require_ledger_equals_journal(stack, suite)
    return _verdicts(stack.folder / "calm.json")


async def _disturbed(stack: SuiteStack) -> tuple[Verdicts, StoredSuite]:
    """The verdicts of the same suite while workers, API and command line die and come back at random moments."""
    _write(stack, "storm")
    chance = Random(7)
    simulate = stack.command("storm", "simulate", "storm.yaml")
    await simulate.start()
    suite = await eventually(lambda: _newest_but(stack, "calm"), within=60)
    assert suite is not None
    rounds = 0
    while not await _is_over(stack, suite):
        if rounds < max(KILLS, RUNS // 20):
            rounds += 1
            victims = ["workers", "api", "command line"]
            chance.shuffle(victims)
            for victim in victims:
                await _some_runs_later(stack, suite, chance.randint(0, 2))
                await _kill(stack, suite, victim)
        await _some_runs_later(stack, suite, 1)
    assert rounds >= 1
    await stack.until_ready()
    attach = stack.command("attach", "simulate", "attach", suite.id, "--report=storm.json")
    await attach.start()
    assert await attach.ended(LONGEST) in (0, 1), attach.log_file.read_text()
    return _verdicts(stack.folder / "storm.json"), suite


async def _kill(stack: SuiteStack, suite: StoredSuite, victim: str) -> None:
    """Kill the workers or the API and start them again; or start a command line that watches the suite, and kill it."""
    if victim == "workers":
        await stack.kill_workers("storm")
        await stack.start_workers()
    elif victim == "api":
        assert stack.api is not None
        await stack.api.kill()
        await stack.api.start()
    else:
        watching = stack.command("storm", "simulate", "attach", suite.id)
        await watching.start()
        await stack.until_ready()
        await watching.kill()


async def _some_runs_later(stack: SuiteStack, suite: StoredSuite, more: int) -> None:
    """Wait until that many more runs are judged, or the suite is over."""
    before = await _judged(stack, suite)

    async def are_there() -> bool:
        return await _judged(stack, suite) >= before + more or await _is_over(stack, suite)

    await eventually(are_there, within=LONGEST)


async def _judged(stack: SuiteStack, suite: StoredSuite) -> int:
    tallies = (await stack.suites.progress(suite.id)).tallies.values()
    return sum(tally.runs for tally in tallies)


async def _is_over(stack: SuiteStack, suite: StoredSuite) -> bool:
    found = await stack.suites.find(suite.organization_id, suite.id)
    return found is not None and found.outcome is not None


async def _newest_but(stack: SuiteStack, name: str) -> StoredSuite | None:
    newest = await stack.newest()
    return newest if newest is not None and not (newest.suite.model or "").endswith(f":{name}") else None


async def _require_ledger_equals_journal(stack: SuiteStack, suite: StoredSuite) -> None:
    """Every reply that the provider gave is in the ledger, once."""
    model = (suite.suite.model or "").partition(":")[2]
    given = len(stack.provider.model(model).journal)
    assert given > RUNS
    requests, tokens = await stack.billed(suite.id, model)
    assert (requests, tokens) == (given, given * TOKENS_A_REPLY)


async def _most_at_once(stack: SuiteStack, suite: StoredSuite) -> int:
    """The highest number of runs at the same moment."""
    moments = []
    for run in await stack.suites.runs(suite.id):
        assert run.ended_at is not None
        moments += [(run.started_at, 1), (run.ended_at, -1)]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


def _write(stack: SuiteStack, name: str) -> None:
    text = SUITE % {"model": name, "concurrency": CONCURRENCY, "repeats": max(RUNS // 3, 1)}
    (stack.folder / f"{name}.yaml").write_text(text)


def _verdicts(report: Path) -> Verdicts:
    """The verdict of every run, without the ids of turns, which differ from suite to suite."""
    runs = json.loads(report.read_text())["runs"]
    return {
        (run["scenario"], run["repeat"]): (
            run["outcome"],
            [(each["criterion"], each["outcome"]) for each in run["criteria"]],
            [each["check"] for each in run["findings"]],
            run["cut_short"],
            run["turn_count"],
            run["completion_reason"],
        )
        for run in runs
    }
