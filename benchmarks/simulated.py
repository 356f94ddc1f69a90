"""Simulated callers: thirty at once against the time their models alone take, and one that talks for 2,000 turns."""

import asyncio
import statistics
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx

from benchmarks.floor import talks
from benchmarks.report import Measure
from benchmarks.stack import Stack, running_stack

CALLERS = 30
LATENCY_SECONDS = 0.3
"""How long every reply takes, the agent's and the caller's."""
EXCHANGES = 10
"""Lines of each caller; each is answered once."""
ROUNDS = 3
"""Suites and bare conversations take turns; medians count."""
LONG_TURNS = 2_000
STRETCH = 100
"""So many turns at the beginning and at the end of the long session are compared."""
LOOK_SECONDS = 0.5
"""Seldom: who looks takes time from what is measured."""
Json = dict[str, Any]  # Any: what the API answers

TALKER: Json = {
    "name": "talker",
    "start": "talk",
    "nodes": {"talk": {"prompt": "Answer whatever the caller says.", "greeting": "Hello, how can I help?"}},
    "limits": {"max_turns": 100_000},
}
SUITE: Json = {
    "name": "bench",
    "agent": TALKER["name"],
    "concurrency": CALLERS,
    "repeats": CALLERS,
    "scenarios": [
        {
            "id": "talks",
            "goal": "Talk about the weather.",
            "min_turns": EXCHANGES,
            "limits": {"max_turns": EXCHANGES, "max_stalled_turns": None},
            "checks": {"max_turns": 2 * EXCHANGES},
        }
    ],
}
CALLER: Json = {
    "goal": "Talk about the weather.",
    "min_turns": LONG_TURNS,
    "limits": {"max_turns": LONG_TURNS, "max_stalled_turns": None},
}


async def simulated() -> list[Measure]:
    """The measures, each load on a stack of its own."""
    print(f"{CALLERS} simulated callers at once ...", flush=True)
    async with running_stack(demo_delay_seconds=LATENCY_SECONDS) as stack, _calling(stack) as http:
        callers = await _many(stack, http)
    print(f"one session of {LONG_TURNS:,} simulated turns ...", flush=True)
    async with running_stack() as stack, _calling(stack) as http:
        session = await _long(http)
    return [*callers, session]


async def _many(stack: Stack, http: httpx.AsyncClient) -> list[Measure]:
    """All callers at once. Ideally the suite takes as long as the replies of its longest conversation.

    Bare conversations of as many replies, which need neither suite nor judge, show how near to that Temporal comes.
    """
    (await http.post("/v1/agents", json=TALKER)).raise_for_status()
    await _run(http, {**SUITE, "repeats": 2})  # warms up
    walls, bare = [], []
    for _ in range(ROUNDS):
        report = await _run(http, SUITE)
        walls.append(_moment(report["suite"]["updated_at"]) - _moment(report["suite"]["created_at"]))
        bare.append(await talks(stack.client, CALLERS, 2 * EXCHANGES, LATENCY_SECONDS))
    ideal = max(_replies(run) for run in report["runs"]) * LATENCY_SECONDS
    wall, floor = statistics.median(walls), statistics.median(bare)
    name = f"{CALLERS} callers at once, {LATENCY_SECONDS * 1000:.0f} ms a reply"
    return [
        Measure(f"{name}, of the ideal", "calls/min", 60 * CALLERS / ideal, 60 * CALLERS / wall, 0.85, "at_least"),
        Measure(f"{name}, of bare Temporal", "calls/min", 60 * CALLERS / floor, 60 * CALLERS / wall, None, "at_least"),
    ]


async def _run(http: httpx.AsyncClient, suite: Json) -> Json:
    """Run a suite to its end; its report."""
    started = (await http.post("/v1/suites", json=suite)).raise_for_status().json()
    path = f"/v1/suites/{started['id']}"
    while (await http.get(path)).raise_for_status().json()["outcome"] is None:  # noqa: ASYNC110  another process knows
        await asyncio.sleep(LOOK_SECONDS)
    report: Json = (await http.get(f"{path}/report")).raise_for_status().json()
    return report


def _replies(run: Json) -> int:
    """Replies that took time: each line of the caller, and each answer but the greeting, which no model speaks."""
    return sum(2 for turn in run["turns"] if turn["user_message"] is not None)


async def _long(http: httpx.AsyncClient) -> Measure:
    """One session that continues as new several times: its last turns must not take longer than its first."""
    (await http.post("/v1/agents", json=TALKER)).raise_for_status()
    body = {"agent": TALKER["name"], "simulator": {"enabled": True, "config": CALLER}}
    session = (await http.post("/v1/sessions", json=body)).raise_for_status().json()
    path = f"/v1/sessions/{session['id']}"
    # The list comes from the store. The session itself would have to be asked in its worker, which has a reply to give.
    while not await _is_over(http):  # noqa: ASYNC110  another process knows
        await asyncio.sleep(LOOK_SECONDS)
    begun = [_moment(turn["created_at"]) for turn in await _turns(http, path)]
    first, last = _stretch(begun[:STRETCH]), _stretch(begun[-STRETCH:])
    return Measure(f"last {STRETCH} of {LONG_TURNS:,} simulated turns", "ms/turn", first, last, 1.15, "at_most")


async def _is_over(http: httpx.AsyncClient) -> bool:
    answer = await http.get("/v1/sessions", params={"status": "completed", "limit": "1"})
    return bool(answer.raise_for_status().json()["items"])


async def _turns(http: httpx.AsyncClient, path: str) -> list[Json]:
    """Every turn of a session, oldest first."""
    turns: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": "200", **({"cursor": cursor} if cursor else {})}
        page = (await http.get(f"{path}/turns", params=query)).raise_for_status().json()
        turns, cursor = [*page["items"], *turns], page["next_cursor"]
    return turns


def _stretch(begun: Sequence[float]) -> float:
    """Milliseconds from a turn to the next one, on average."""
    return (begun[-1] - begun[0]) / (len(begun) - 1) * 1000


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _calling(stack: Stack) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    return httpx.AsyncClient(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False)
