"""Transcripts: the visible branch of a session as text, Markdown, JSON or JSON lines."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playhead.client import Session, Turn

Form = Literal["text", "markdown", "json", "jsonl"]


def transcript(session: "Session", turns: list["Turn"], form: Form) -> str:
    """A session with these turns of its visible branch, oldest first."""
    if form == "json":
        whole = session.model_copy(update={"turns": tuple(turns), "turns_before": 0})
        return json.dumps(whole.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    if form == "jsonl":
        return "".join(turn.model_dump_json() + "\n" for turn in turns)
    if form == "markdown":
        return f"# {session.name}\n\n" + "\n\n".join(_markdown(turns)) + "\n"
    return "\n".join(f"{speaker}: {text}" for speaker, text in _spoken(turns)) + "\n"


def _markdown(turns: list["Turn"]) -> Iterator[str]:
    for speaker, text in _spoken(turns):
        quoted = "\n".join(f"> {line}" for line in text.splitlines())
        yield f"**{speaker}**\n\n{quoted}"


def _spoken(turns: list["Turn"]) -> Iterator[tuple[str, str]]:
    """Who said what. A turn without an answer says why there is none."""
    for turn in turns:
        if turn.user_message:
            yield "User", turn.user_message.text
        if turn.assistant_message:
            yield "Agent", turn.assistant_message.text
        if turn.status != "completed":
            yield "Playhead", f"({turn.status}{': ' + turn.error if turn.error else ''})"
