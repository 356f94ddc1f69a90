"""Transcripts of sessions: the whole visible branch, streamed while it is read."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from starlette.responses import Response, StreamingResponse

from api.sessions.branch_paths import BranchPaths
from api.sessions.reader import SessionReader
from domain.sessions.transcript import STYLES, TranscriptFormat, TranscriptHeader, entries_of
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
        pages = paths.pages(await paths.ids(newest))
        title = TranscriptHeader(
            session_id=session.id,
            name=session.name,
            agent=session.agent_name,
            agent_version=session.agent_version,
            created_at=session.created_at,
            completion_reason=head.completion_reason,
            as_of=as_of,
        )
        headers = {
            "Content-Disposition": f'inline; filename="{session.id}.{_ENDINGS[form]}"',
            # It quotes user text, which a browser must not interpret as HTML.
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(_written(form, title, pages), media_type=MEDIA_TYPES[form], headers=headers)


async def _written(
    form: TranscriptFormat, title: TranscriptHeader, pages: AsyncIterator[list[Turn]]
) -> AsyncIterator[str]:
    style = STYLES[form]
    yield style.opening(title)
    separator = ""
    async for turns in pages:
        written = [style.entry(entry) for turn in turns for entry in entries_of(turn)]
        if written:
            yield separator + style.between.join(written)
            separator = style.between
    yield style.closing
