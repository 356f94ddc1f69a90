"""Transcripts: the visible branch of a session as text, Markdown, JSON or JSON lines."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playhead.client import SessionBody, TurnBody

Form = Literal["text", "markdown", "json", "jsonl"]


def transcript(session: "SessionBody", turns: list["TurnBody"], form: Form) -> str:
    """A session with these turns of its visible branch, oldest first."""
    if form == "json":
        return json.dumps({**session, "turns": turns, "turns_before": 0}, indent=2, ensure_ascii=False) + "\n"
    if form == "jsonl":
        return "".join(json.dumps(turn, ensure_ascii=False) + "\n" for turn in turns)
    if form == "markdown":
        return f"# {session['name']}\n\n" + "\n\n".join(_markdown(turns)) + "\n"
    return "\n".join(f"{speaker}: {text}" for speaker, text in _spoken(turns)) + "\n"


def _markdown(turns: list["TurnBody"]) -> Iterator[str]:
    for speaker, text in _spoken(turns):
        quoted = "\n".join(f"> {line}" for line in text.splitlines())
        yield f"**{speaker}**\n\n{quoted}"


def _spoken(turns: list["TurnBody"]) -> Iterator[tuple[str, str]]:
    """Who said what. A turn without an answer says why there is none."""
    for turn in turns:
        if turn["user_message"]:
            yield "User", turn["user_message"]["text"]
        if turn["assistant_message"]:
            yield "Agent", turn["assistant_message"]["text"]
        if turn["status"] != "completed":
            yield "Playhead", f"({turn['status']}{': ' + turn['error'] if turn['error'] else ''})"
