"""Results as Markdown tables, for the terminal and for the documentation."""

import statistics
from math import ceil
from typing import Any

WINDOW = 20
"""A latency is the median of so many turns up to the one that is named."""
WHOLE = ["user", "assistant", *2 * ["user", "assistant", "tool", "assistant"], "user"]
"""The messages of the request after two interrupted turns, if nothing was lost or doubled."""
Json = dict[str, Any]  # Any: reports


def tables(results: Json) -> str:
    """All tables, with the versions that were measured."""
    peers: dict[str, Json] = results["peers"]
    parts = []
    if any("talk" in peer for peer in peers.values()):
        parts += [_latency(peers, results["marks"]), _stored(peers, results["marks"])]
    if any("crowd" in peer for peer in peers.values()):
        parts.append(_crowds(peers, results["ages"]))
    if any("crash" in peer for peer in peers.values()):
        parts.append(_crashes(peers))
    return "\n\n".join([*parts, _versions(peers, results.get("measured", ""))])


def latency_at(talk: Json, turn: int) -> float | None:
    """Milliseconds of the turns up to this one; None when the conversation ended before it."""
    taken = talk.get("milliseconds", [])
    return statistics.median(taken[max(0, turn - WINDOW) : turn]) if len(taken) >= turn else None


def _latency(peers: dict[str, Json], marks: list[int]) -> str:
    rows = []
    for name, peer in peers.items():
        talk = peer.get("talk", {})
        cells = [_milliseconds(latency_at(talk, mark)) for mark in marks]
        rows.append([name, *cells, _end(talk)])
    return _table(["ms for a reply at turn", *(f"{mark:,}" for mark in marks), "died"], rows)


def _stored(peers: dict[str, Json], marks: list[int]) -> str:
    rows = []
    for name, peer in peers.items():
        talk = peer.get("talk", {})
        stored = talk.get("stored_megabytes", {})
        cells = [f"{stored[str(mark)]:.1f}" if str(mark) in stored else "-" for mark in marks]
        memory = [f"{talk[key]:.0f}" if key in talk else "-" for key in ("memory_megabytes", "server_memory_megabytes")]
        rows.append([name, *cells, *memory])
    head = ["MB stored after turn", *(f"{mark:,}" for mark in marks), "MB of memory", "and of its servers"]
    return _table(head, rows)


def _crowds(peers: dict[str, Json], ages: list[int]) -> str:
    rows = []
    for name, peer in peers.items():
        crowd = peer.get("crowd", {})
        rows.append([name, *(_rate(crowd.get(str(age), {})) for age in ages)])
    return _table(["turns/s of 50 conversations at turn", *(str(age) for age in ages)], rows)


def _crashes(peers: dict[str, Json]) -> str:
    rows = []
    for name, peer in peers.items():
        crash = peer.get("crash", {})
        if "paid_later" not in crash:
            rows.append([name, crash.get("failed", "-"), "", "", "", ""])
            continue
        continues = crash["continues"]
        if crash["seconds"] is not None:
            continues += f", within {ceil(crash['seconds'])} s"
        whole = crash["roles_of_next_request"][-len(WHOLE) :] == WHOLE
        counts = [
            "; ".join(f"{crash[moment].get(kind, 0)}" for moment in ("paid_at_once", "paid_later"))
            for kind in ("tool_call", "look_up", "reply_after_tool")
        ]
        rows.append([name, *counts, continues, "yes" if whole else "no"])
    head = [
        "SIGKILL in the second reply of a turn, at once; half a second later",
        "first reply paid for",
        "tool called",
        "second reply paid for",
        "continues",
        "conversation whole",
    ]
    return _table(head, rows)


def _versions(peers: dict[str, Json], measured: str) -> str:
    versions = {pair for peer in peers.values() for pair in peer["versions"].items()}
    return f"Measured {measured}: " + ", ".join(f"{name} {number}" for name, number in sorted(versions)) + "."


def _end(talk: Json) -> str:
    if talk.get("failed"):
        return str(talk["failed"])
    return f"at turn {len(talk['milliseconds']) + 1}" if talk.get("died") else ""


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _rate(crowd: Json) -> str:
    return "died" if crowd.get("died") else f"{crowd['turns_per_second']:.0f}" if "turns_per_second" in crowd else "-"


def _table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])
