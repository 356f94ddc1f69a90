"""Transcripts of sessions: the whole visible branch, streamed while it is read."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from starlette.responses import Response, StreamingResponse

from api.sessions.branch_paths import BranchPaths
from api.sessions.reader import SessionReader
from domain.sessions.transcript import (
    STYLES,
    Entry,
    TranscriptFormat,
    TranscriptHeader,
    entries_of,
    gap_at_the_end,
    gap_before,
)
from domain.sessions.views import SessionHead
from domain.turns.turn import Turn
from store.sessions.sessions import SessionStore, StoredSession

MEDIA_TYPES: Final[Mapping[TranscriptFormat, str]] = {
    "text": "text/plain; charset=utf-8",
    "markdown": "text/markdown; charset=utf-8",
    "json": "application/json",
    "jsonl": "application/jsonl",
}
_ENDINGS: Final[Mapping[TranscriptFormat, str]] = {"text": "txt", "markdown": "md", "json": "json", "jsonl": "jsonl"}


class TranscriptService:
    """Streams transcripts. Errors before the first byte are sent as problems."""

    def __init__(self, session_reader: SessionReader, sessions: SessionStore) -> None:
        self._session_reader = session_reader
        self._sessions = sessions

    async def response(self, session: StoredSession, form: TranscriptFormat) -> Response:
        """The transcript of a session, live or as last recorded."""
        view, as_of = await self._session_reader.view(session)
        head = view.head
        paths = BranchPaths(session.id, view, self._sessions)
        newest = view.turns[-1].id if view.turns else None
        ids = await paths.ids(newest)
        gap = await _gap_at_the_start(paths, ids, head)
        title = TranscriptHeader(
            session_id=session.id,
            name=session.name,
            agent=session.agent_name,
            agent_version=session.agent_version,
            created_at=session.created_at,
            completion_reason=head.completion_reason,
            as_of=as_of,
            is_incomplete=gap is not None,
        )
        headers = {
            "Content-Disposition": f'inline; filename="{session.id}.{_ENDINGS[form]}"',
            # It quotes user text, which a browser must not interpret as HTML.
            "X-Content-Type-Options": "nosniff",
        }
        written = _written(form, title, gap, paths.pages(ids))
        return StreamingResponse(written, media_type=MEDIA_TYPES[form], headers=headers)


async def _gap_at_the_start(paths: BranchPaths, ids: list[str], head: SessionHead) -> Entry | None:
    """The note about earlier turns that are missing in the store; None when there are none."""
    if ids:
        [first] = await paths.turns(ids[:1])
        return gap_before(first)
    return gap_at_the_end(head.head_turn_id, head.updated_at) if head.head_turn_id else None


async def _written(
    form: TranscriptFormat, title: TranscriptHeader, gap: Entry | None, pages: AsyncIterator[list[Turn]]
) -> AsyncIterator[str]:
    style = STYLES[form]
    yield style.opening(title)
    separator = ""
    if gap is not None:
        yield style.entry(gap)
        separator = style.between
    async for turns in pages:
        written = [style.entry(entry) for turn in turns for entry in entries_of(turn)]
        if written:
            yield separator + style.between.join(written)
            separator = style.between
    yield style.closing
