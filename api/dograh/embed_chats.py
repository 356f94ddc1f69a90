"""Public chats: sessions that visitors of a page open with its embed token, without a key."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from cachetools import TTLCache
from pydantic import JsonValue
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException

from api.dograh import embed_errors as errors
from api.dograh import embed_limits as limits
from api.dograh.embed_schemas import WIDGET_FIELDS, OpenedChat, PublicChat, PublicTurn, WidgetConfig, WidgetTexts
from api.dograh.schemas import Said
from api.dograh.text_sessions import state_of, status_of
from api.http.problems import Problem
from api.schemas.requests import AgentVersion, NewSession
from api.sessions.commands import SessionCommands
from api.sessions.creation import SessionCreator
from api.sessions.messages import MessageService
from api.sessions.reader import SessionReader
from domain.dograh.origins import ANY_ORIGIN, allows
from domain.dograh.visitor_context import visitor_context
from domain.sessions.commands import EndSession, SendMessage
from domain.sessions.views import TimelineView
from domain.turns.turn import AssistantMessage, Turn, UserMessage
from store.agents import AgentStore
from store.embed import EmbedSession, EmbedStore, EmbedToken
from store.rate_limits import RateExceeded, RateLimit, RateLimitStore
from store.sessions.sessions import StoredSession

Clock = Callable[[], datetime]

EMBED_ANNOTATIONS: Final[dict[str, JsonValue]] = {"embed": {"source": "embed_widget", "modality": "text"}}
ORIGINS_CACHE_SECONDS: Final = 1.0
"""Lifetime of the cached origins of all tokens. They decide only which pages may read an error."""


def utc_now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Visitor:
    """The sender of a request: the origin of the page, if its browser named one, and the address."""

    origin: str | None
    address: str


@dataclass(frozen=True, slots=True)
class EmbedChat:
    """A public chat: its session, and the token that it was opened with."""

    session: StoredSession
    token: EmbedToken


class EmbedChats:
    """Opens and continues public chats. Raises HTTPException with dograh's statuses, and Problem.

    Every call reads the token anew, so that revoking one takes effect at once in every API process. Rates are held in
    the store too.
    """

    def __init__(
        self,
        tokens: EmbedStore,
        rate_limits: RateLimitStore,
        *,
        agents: AgentStore,
        session_creator: SessionCreator,
        session_reader: SessionReader,
        messages: MessageService,
        commands: SessionCommands,
        clock: Clock,
    ) -> None:
        self._tokens = tokens
        self._rate_limits = rate_limits
        self._agents = agents
        self._session_creator = session_creator
        self._session_reader = session_reader
        self._messages = messages
        self._commands = commands
        self._clock = clock
        self._known_origins: TTLCache[str, frozenset[str]] = TTLCache(1, ORIGINS_CACHE_SECONDS)

    async def token(self, secret: str) -> EmbedToken | None:
        """The token with this secret, whatever its state."""
        return await self._tokens.find(secret)

    async def session(self, secret: str) -> EmbedSession | None:
        """The session of the visitor with this secret, whatever its state."""
        return await self._tokens.session(secret)

    async def is_known_origin(self, origin: str) -> bool:
        """True when any token that was not revoked is for pages of this origin."""
        known = self._known_origins.get(ANY_ORIGIN)
        if known is None:
            known = frozenset(pattern for patterns in await self._tokens.origins() for pattern in patterns)
            self._known_origins[ANY_ORIGIN] = known
        return allows(known, origin)

    async def limit_reads(self, visitor: Visitor) -> None:
        """Count one read against the limit of an address. Raises HTTPException 429."""
        await self._take(errors.TOO_MANY_REQUESTS, limits.reading_by(visitor.address))

    async def limit_openings(self, visitor: Visitor) -> None:
        """Count one opened chat against the limit of an address. Raises HTTPException 429."""
        await self._take(errors.TOO_MANY_CHATS, limits.opening_by(visitor.address))

    async def configuration(self, token: EmbedToken | None, visitor: Visitor) -> WidgetConfig:
        """The configuration of the widget for a token. Raises HTTPException for a token that the page cannot use."""
        token = self._usable(token, visitor)
        settings = _settings_of(token)
        written = {name: text for name, text in settings.items() if isinstance(text, str) and text.strip()}
        return WidgetConfig.model_validate(
            {
                "workflow_id": await self._agents.number(token.agent_id),
                "settings": settings,
                "texts": WidgetTexts.model_validate(written),
                "auto_start": settings.get("autoStart") is True,
                **{field: written[to_camel(field)] for field in WIDGET_FIELDS if to_camel(field) in written},
            }
        )

    async def open(
        self, token: EmbedToken | None, visitor: Visitor, variables: dict[str, JsonValue] | None
    ) -> tuple[OpenedChat, StoredSession]:
        """Open a chat with the token's agent, and return it when the greeting is complete."""
        token = self._usable(token, visitor)
        await self._take(errors.TOO_MANY_CHATS, limits.opening_with(token.id))
        if not await self._tokens.count_session(token.id):
            raise HTTPException(403, errors.USED_UP)
        now = self._clock()
        wanted = NewSession(
            agent=AgentVersion(id=token.agent_id, version=token.agent_version),
            name=f"Embed Chat - {now.isoformat()}",
            initial_context=visitor_context(variables),
            annotations=EMBED_ANNOTATIONS,
        )
        session, snapshot = await self._session_creator.create(token.organization_id, wanted)
        if snapshot.newest_status == "failed":
            raise Problem("model_failed", errors.FAILED)
        secret = await self._tokens.add_session(token.id, session.id, at=now, lifetime=limits.SESSION_LIFETIME)
        numbers: dict[str, JsonValue] = {
            "workflow_id": session.agent_number,
            "workflow_run_id": session.number,
        }
        opened = OpenedChat(
            session_token=secret,
            workflow_run_id=session.number,
            config={**_settings_of(token), **numbers},
            chat_session=await self.view(session),
        )
        return opened, session

    async def chat(self, found: EmbedSession | None, visitor: Visitor) -> EmbedChat:
        """The chat of a visitor. Raises HTTPException for one that is unknown, erased, expired, or not of this page."""
        if found is None:
            raise HTTPException(404, errors.INVALID_SESSION)
        if found.expires_at <= self._clock():
            raise HTTPException(403, errors.SESSION_EXPIRED)
        if found.token.revoked_at is not None:
            raise HTTPException(403, errors.INACTIVE)
        if not allows(found.token.origins, visitor.origin):
            raise errors.domain_not_allowed(visitor.origin)
        session = await self._session_reader.session(found.token.organization_id, found.session_id)
        return EmbedChat(session, found.token)

    async def send(self, chat: EmbedChat, visitor: Visitor, text: str, expected_revision: int | None) -> PublicChat:
        """Send a visitor's message and return the chat after the reply.

        The message carries the revision at which the turns were counted, so that concurrent messages, even through
        several API processes, cannot exceed the limit of turns.
        """
        session = chat.session
        view, _ = await self._session_reader.view(session)
        head = view.head
        if head.is_completed:
            raise Problem("session_ended", "The session has ended.")
        await self._take(errors.TOO_MANY_MESSAGES, *limits.messages(visitor.address, chat.token.id, session.id))
        if _turn_count(view) >= limits.MAX_TURNS:
            raise HTTPException(429, errors.LAST_TURN)
        if expected_revision is not None and expected_revision != head.revision:
            raise Problem(
                "revision_conflict",
                "The session has changed.",
                expected_revision=expected_revision,
                actual_revision=head.revision,
            )
        command = SendMessage(text=text, message_id=f"msg_{uuid4().hex}", expected_revision=head.revision)
        await self._messages.answer(session, command)
        return await self.view(session)

    async def end(self, chat: EmbedChat, expected_revision: int | None) -> PublicChat:
        """End a chat. Ending it again changes nothing."""
        await self._commands.end(chat.session, EndSession(expected_revision=expected_revision))
        return await self.view(chat.session)

    async def view(self, session: StoredSession) -> PublicChat:
        """A chat as its visitor sees it."""
        view = await self._session_reader.whole(session)
        return PublicChat(
            revision=view.head.revision,
            state=state_of(view.head),
            is_completed=view.head.is_completed,
            turns=tuple(map(_public_turn, (*view.turns, *view.future))),
        )

    def _usable(self, token: EmbedToken | None, visitor: Visitor) -> EmbedToken:
        if token is None:
            raise HTTPException(404, errors.INVALID_TOKEN)
        if token.revoked_at is not None:
            raise HTTPException(403, errors.INACTIVE)
        if token.expires_at is not None and token.expires_at <= self._clock():
            raise HTTPException(403, errors.EXPIRED)
        if not allows(token.origins, visitor.origin):
            raise errors.domain_not_allowed(visitor.origin)
        return token

    async def _take(self, detail: str, *wanted: RateLimit) -> None:
        try:
            await self._rate_limits.take(wanted, self._clock())
        except RateExceeded as exceeded:
            raise errors.too_many(detail, exceeded) from exceeded


def _settings_of(token: EmbedToken) -> dict[str, JsonValue]:
    """The settings of the widget. Its type is always `chat`, because there are no voice calls."""
    return {**token.settings, "widgetType": "chat"}


def _turn_count(view: TimelineView) -> int:
    """The number of turns of a session, also failed and discarded ones."""
    discarded = sum(branch.turn_count for branch in view.discarded_branches)
    return view.head.turns_before + len(view.turns) + len(view.future) + discarded


def _public_turn(turn: Turn) -> PublicTurn:
    return PublicTurn(
        id=turn.id,
        status=status_of(turn),
        user_message=_said(turn.user_message),
        assistant_message=_said(turn.assistant_message),
    )


def _said(message: UserMessage | AssistantMessage | None) -> Said | None:
    return Said(text=message.text, created_at=message.created_at) if message else None
