"""Simulated users: thirty at once against the time of their model calls alone, and one session of 5,000 turns."""

import asyncio
import statistics
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx2

from benchmarks.floor import talks
from benchmarks.report import Measure
from benchmarks.stack import Stack, running_stack

USERS = 30
LATENCY_SECONDS = 0.3
"""Duration of each reply, of the agent and of the simulated user."""
EXCHANGES = 10
"""Messages of each simulated user, each with one reply."""
ROUNDS = 3
"""Suites and bare conversations alternate; medians count."""
LONG_TURNS = 5_000
STRETCH = 100
"""Number of turns compared at the beginning and at the end of the long session."""
POLL_SECONDS = 0.5
"""Seldom, because each poll takes time from the measured services."""
Json = dict[str, Any]  # Any: what the API returns

TALKER: Json = {
    "name": "talker",
    "start": "talk",
    "nodes": {"talk": {"prompt": "Answer whatever the caller says.", "greeting": "Hello, how can I help?"}},
    "limits": {"max_turns": 100_000},
    "max_context_tokens": 8_000,
}
SUITE: Json = {
    "name": "bench",
    "agent": TALKER["name"],
    "concurrency": USERS,
    "repeats": USERS,
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
USER: Json = {
    "goal": "Talk about the weather.",
    "min_turns": LONG_TURNS,
    "limits": {"max_turns": LONG_TURNS, "max_stalled_turns": None},
}


async def simulated() -> list[Measure]:
    """Run both loads, each on a stack of its own."""
    print(f"{USERS} simulated users at once ...", flush=True)
    async with running_stack(demo_delay_seconds=LATENCY_SECONDS) as stack, _http_client(stack) as http:
        users = await _simulated_users(stack, http)
    print(f"one session of {LONG_TURNS:,} simulated turns ...", flush=True)
    async with running_stack() as stack, _http_client(stack) as http:
        session = await _long(http)
    return [*users, session]


async def _simulated_users(stack: Stack, http: httpx2.AsyncClient) -> list[Measure]:
    """All simulated users at once. Ideally the suite takes as long as the replies of its longest conversation.

    Bare conversations with as many replies, without suite or judge, show how close Temporal alone comes to that.
    """
    (await http.post("/v1/agents", json=TALKER)).raise_for_status()
    await _run(http, {**SUITE, "repeats": 2})  # warms up
    walls, bare = [], []
    for _ in range(ROUNDS):
        report = await _run(http, SUITE)
        walls.append(_moment(report["suite"]["updated_at"]) - _moment(report["suite"]["created_at"]))
        bare.append(await talks(stack.client, USERS, 2 * EXCHANGES, LATENCY_SECONDS))
    ideal = max(_replies(run) for run in report["runs"]) * LATENCY_SECONDS
    wall, floor = statistics.median(walls), statistics.median(bare)
    name = f"{USERS} simulated users"
    return [
        Measure(f"{name}, of the ideal", "calls/min", 60 * USERS / ideal, 60 * USERS / wall, 0.85, "at_least"),
        Measure(f"{name}, of bare Temporal", "calls/min", 60 * USERS / floor, 60 * USERS / wall, 0.97, "at_least"),
    ]


async def _run(http: httpx2.AsyncClient, suite: Json) -> Json:
    """Run a suite to its end; returns its report."""
    started = (await http.post("/v1/suites", json=suite)).raise_for_status().json()
    path = f"/v1/suites/{started['id']}"
    while (await http.get(path)).raise_for_status().json()["outcome"] is None:  # noqa: ASYNC110  another process knows
        await asyncio.sleep(POLL_SECONDS)
    report: Json = (await http.get(f"{path}/report")).raise_for_status().json()
    return report


def _replies(run: Json) -> int:
    """Model replies: each message of the simulated user, and each answer but the greeting, which no model generates."""
    return sum(2 for turn in run["turns"] if turn["user_message"] is not None)


async def _long(http: httpx2.AsyncClient) -> Measure:
    """One session that continues as new several times: its last turns must not take longer than its first."""
    (await http.post("/v1/agents", json=TALKER)).raise_for_status()
    body = {"agent": TALKER["name"], "simulator": {"enabled": True, "config": USER}}
    session = (await http.post("/v1/sessions", json=body)).raise_for_status().json()
    path = f"/v1/sessions/{session['id']}"
    # The list is read from the store. Reading the session itself would query its workflow, in the measured worker.
    while not await _is_over(http):  # noqa: ASYNC110  another process knows
        await asyncio.sleep(POLL_SECONDS)
    begun = [_moment(turn["created_at"]) for turn in await _turns(http, path)]
    first, last = _stretch(begun[:STRETCH]), _stretch(begun[-STRETCH:])
    return Measure(f"last {STRETCH} of {LONG_TURNS:,} simulated turns", "ms/turn", first, last, 1.1, "at_most")


async def _is_over(http: httpx2.AsyncClient) -> bool:
    answer = await http.get("/v1/sessions", params={"status": "completed", "limit": "1"})
    return bool(answer.raise_for_status().json()["items"])


async def _turns(http: httpx2.AsyncClient, path: str) -> list[Json]:
    """Every turn of a session, oldest first."""
    turns: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": "200", **({"cursor": cursor} if cursor else {})}
        page = (await http.get(f"{path}/turns", params=query)).raise_for_status().json()
        turns, cursor = [*page["items"], *turns], page["next_cursor"]
    return turns


def _stretch(begun: Sequence[float]) -> float:
    """Average milliseconds from one turn to the next."""
    return (begun[-1] - begun[0]) / (len(begun) - 1) * 1000


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _http_client(stack: Stack) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    return httpx2.AsyncClient(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False)
