"""Places of conversations: the session and the turn that a request's history names, and the text to send there.

A history is looked up by its digest. Several sessions may contain the same messages: `_Candidate.key` decides in
which of them a request continues. Nothing is sent here. A message carries the revision at which its place was
found, so that the session decides between concurrent requests.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import takewhile
from typing import Final

from pydantic import JsonValue

from api.http.problems import Problem
from api.openai.errors import ChatError
from api.openai.history_matching import Exchange, exchanges_of, find_history, has_reply
from api.sessions.reader import SessionReader
from domain.agents.definition import SYSTEM_MESSAGE
from domain.sessions.commands import OnBusy, SendMessage
from domain.sessions.imported_history import ImportedExchange
from domain.sessions.seen_digest import Spoken, is_same, merged, seen_digest, seen_digests
from domain.sessions.views import TimelineView
from domain.turns.turn import ReplyOptions, Turn
from store.agents import StoredAgent
from store.sessions.chat_addresses import ChatAddress, ChatAddressStore, address_of
from store.sessions.sessions import SessionStore, StoredSession
from store.sessions.turn_rows import message_key

GREETING_KEY: Final = ""
"""The message key of the address of a greeting, which answers no message."""
MESSAGE_SEPARATOR: Final = "\n\n"
"""Separates consecutive messages that are sent as one."""


MAX_LEFT_OUT: Final = 10
"""Messages in a row that may have been sent before the last one, each without a reply that the client kept."""
MAX_COMPARED: Final = 1_000
"""Messages of an unknown history that are compared, to name the one that differs."""


@dataclass(frozen=True)
class Reading:
    """One reading of a request: the conversation that the client has seen, and the text to send after it.

    Of several messages in a row the first ones may have been sent before, without a reply that the client kept.
    """

    seen: tuple[Spoken, ...]
    text: str


@dataclass(frozen=True)
class Conversation:
    """A conversation as a client sends it, with the agent and the metadata that belong to its address."""

    agent_id: str
    metadata: Mapping[str, JsonValue]
    spoken: tuple[Spoken, ...]
    system: str | None

    @property
    def asked(self) -> tuple[str, ...]:
        """The consecutive user messages at the end, which have no reply."""
        newest_first = takewhile(lambda each: each.speaker == "user", reversed(self.spoken))
        return tuple(each.text for each in newest_first)[::-1]

    @property
    def history(self) -> tuple[Spoken, ...]:
        """Everything before those messages."""
        return self.spoken[: len(self.spoken) - len(self.asked)]

    @property
    def has_history(self) -> bool:
        """True when a message of the user is in the history; a greeting alone is none."""
        return any(each.speaker == "user" for each in self.history)

    @property
    def imported(self) -> tuple[str | None, list[ImportedExchange]]:
        """The history as a greeting and exchanges, to begin a session with."""
        greetings = takewhile(lambda each: each.speaker == "assistant", self.history)
        greeting = " ".join(each.text for each in greetings) or None
        exchanges = [
            ImportedExchange(MESSAGE_SEPARATOR.join(each.asked), each.reply or "")
            for each in exchanges_of(self.history)
        ]
        return greeting, exchanges

    @property
    def readings(self) -> Iterator[Reading]:
        """The readings of the request: first the one in which the most messages were sent before."""
        asked = self.asked
        for length in (*_lengths(asked), 0):
            sent = (Spoken("user", text) for text in asked[:length])
            yield Reading((*self.history, *sent), MESSAGE_SEPARATOR.join(asked[length:]))

    def digest(self, spoken: Sequence[Spoken]) -> str:
        """The digest of a part of the conversation."""
        return seen_digest(self.agent_id, self.metadata, spoken)

    def address(self, session: StoredSession, message_id: str, *, is_whole: bool) -> ChatAddress:
        """The address of the last message in a session."""
        return address_of(
            session.id,
            message_id,
            organization_id=session.organization_id,
            asked=self.digest(self.spoken),
            system=_opening_system_digest(session),
            is_whole=is_whole,
            has_history=self.has_history,
        )

    def greeting(self, session: StoredSession, text: str) -> ChatAddress:
        """The address of the greeting of a session, for clients that put it before their first message."""
        return address_of(
            session.id,
            GREETING_KEY,
            organization_id=session.organization_id,
            asked=self.digest(()),
            system=_opening_system_digest(session),
            is_whole=True,
            has_history=False,
            seen=self.digest((Spoken("assistant", text),)),
        )

    @property
    def asked_last(self) -> tuple[Spoken, ...]:
        """The conversation up to the last message of the user, without a part of the reply to it."""
        ending = takewhile(lambda each: each.speaker == "assistant", reversed(self.spoken))
        return self.spoken[: len(self.spoken) - sum(1 for _ in ending)]

    def with_reply(self, text: str) -> str:
        """The digest of the conversation with the reply to its last message."""
        return self.digest((*self.asked_last, Spoken("assistant", text)))


@dataclass(frozen=True)
class Place:
    """A turn of a session, and the text to send after it. Without a `turn` it is sent after the newest visible one.

    `is_whole` is true when the history of the client begins with the first message of the session.
    """

    session: StoredSession
    text: str
    turn: Turn | None = None
    view: TimelineView | None = None
    is_whole: bool = False


@dataclass(frozen=True)
class AskedTurn:
    """The turn of a message with which a history ends, when the client has a part of the reply or none."""

    session: StoredSession
    view: TimelineView
    turn: Turn


@dataclass(frozen=True)
class _Candidate:
    """A place that the history of a request names, and its rank among several."""

    place: Place
    rank: int
    has_same_system: bool
    order: int
    may_be_of_others: bool = False
    """True when only a first message is the same: another client may wait for its reply."""

    @property
    def is_busy(self) -> bool:
        """True when a message that was not stopped is under way there."""
        return self.rank in (_PENDING, _BUSY)

    @property
    def key(self) -> tuple[bool, bool, int, int]:
        """Sessions that are neither busy nor ended first, then those with the same system messages."""
        return (self.is_busy or self.rank == _ENDED, not self.has_same_system, self.rank, self.order)


_NEWEST: Final = 0
_NEWEST_BUT_CUT: Final = 1
_EARLIER: Final = 2
_PENDING: Final = 3
_BUSY: Final = 4
_ENDED: Final = 5


class Conversations:
    """Finds the places of conversations."""

    def __init__(self, session_reader: SessionReader, sessions: SessionStore, addresses: ChatAddressStore) -> None:
        self._session_reader = session_reader
        self._sessions = sessions
        self._addresses = addresses

    async def find(
        self,
        organization_id: str,
        agent: tuple[StoredAgent, int | None],
        conversation: Conversation,
        *,
        initial_context: Mapping[str, JsonValue] | None,
        key: str | None,
    ) -> Place | None:
        """The place that a history names, in any session of the organization; None when there is none.

        A repeat of a message with its `key` finds the session that the first request chose. Raises ChatError when
        sessions with different initial contexts have the same messages, Problem("turn_in_progress") when all of them
        are busy and it is unclear which one is meant.
        """
        system = _system_digest(conversation.system)
        if key is not None:
            whole = await self._addresses.asked(
                organization_id, [conversation.digest(conversation.spoken)], system=system
            )
            for address in whole:
                if address.message_key == message_key(key):
                    first = await self._session_reader.session(organization_id, address.session_id)
                    return await self.place_in(first, conversation, sends_all=True, key=key)
        for reading in conversation.readings:
            addresses, reply = await self._addresses_of(organization_id, conversation, reading, None)
            sessions = await self._sessions_of(addresses, agent, initial_context)
            candidates = []
            for order, address in enumerate(addresses):
                session = sessions.get(address.session_id)
                if session is None:
                    continue
                candidate = await self._candidate(session, address, reading, reply, system=system, order=order)
                if candidate is not None:
                    candidates.append(candidate)
                    if candidate.rank == _NEWEST and candidate.has_same_system:
                        break
            if candidates:
                return _best(candidates)
        return None

    async def place_in(
        self, session: StoredSession, conversation: Conversation, *, sends_all: bool, key: str | None
    ) -> Place:
        """The place that a request names in a session. With `sends_all` its client always sends the whole history.

        Raises ChatError for a history that the session does not have.
        """
        asked = conversation.asked
        sends_all = sends_all or conversation.has_history or await self._addresses.has_history(session.id)
        if not sends_all and len(asked) == 1:
            return Place(session, asked[0])
        view, _ = await self._session_reader.view(session)
        if key is not None and (repeated := await self._turn(session, view, message_key(key))):
            return _repeat_of(repeated, session, conversation)
        if not sends_all:
            return _after_newest(session, view, asked)
        for reading in conversation.readings:
            if any(each.speaker == "user" for each in reading.seen):
                place = await self._named_place(session, view, conversation, reading)
                if place is not None:
                    return place
            else:
                root = await self._turn(session, view, GREETING_KEY)
                return Place(session, reading.text, root, view, is_whole=True)
        raise _mismatch_in(session, view, exchanges_of(conversation.history))

    async def asked_turns(
        self,
        organization_id: str,
        agent: tuple[StoredAgent, int | None],
        conversation: Conversation,
        *,
        initial_context: Mapping[str, JsonValue] | None,
    ) -> list[AskedTurn]:
        """The turns of the last message of the user, in any session of the organization, in the order of `find`.

        Raises ChatError when sessions with different initial contexts have the same messages.
        """
        digest, system = conversation.digest(conversation.asked_last), _system_digest(conversation.system)
        addresses = await self._addresses.asked(organization_id, [digest], system=system)
        sessions = await self._sessions_of(addresses, agent, initial_context)
        found = [
            await self._asked_turn(sessions[address.session_id], address)
            for address in addresses
            if address.session_id in sessions
        ]
        return [each for each in found if each is not None]

    async def asked_turns_in(self, session: StoredSession, conversation: Conversation) -> list[AskedTurn]:
        """The turn of the last message of the user in a session: the newest one for a history without messages."""
        digest, system = conversation.digest(conversation.asked_last), _system_digest(conversation.system)
        addresses = await self._addresses.asked(session.organization_id, [digest], system=system, session_id=session.id)
        found = [await self._asked_turn(session, address) for address in addresses]
        view, _ = await self._session_reader.view(session)
        newest = view.turns[-1] if view.turns else None
        asked = replace(conversation, spoken=conversation.asked_last).asked
        if newest is not None and newest.user_message is not None:
            text = newest.user_message.text
            if not asked or is_same(asked[-1], text) or is_same(" ".join(asked), text):
                found.append(AskedTurn(session, view, newest))
        return [each for each in found if each is not None]

    async def command(
        self, place: Place, message_id: str, *, on_busy: OnBusy | None, options: ReplyOptions | None
    ) -> SendMessage:
        """The message to send at a place.

        A client that sends another message while its reply is pending has stopped that reply.
        """
        command = SendMessage(text=place.text, message_id=message_id, on_busy=on_busy, options=options)
        if place.turn is None or place.view is None or not place.view.turns:
            return command
        head = place.view.turns[-1]
        after = place.turn.id
        if after in (head.id, _reached(place.view).id):
            after = head.id
            is_stopped = head.status == "pending"
        else:
            is_left = waits_for_client(place.view) or await self._was_stopped(place.session, head)
            is_stopped = head.status == "pending" and is_left
        stopping: OnBusy | None = "interrupt" if is_stopped else None
        return command.model_copy(
            update={
                "after_turn_id": after,
                "expected_revision": place.view.head.revision,
                "on_busy": on_busy or stopping,
            }
        )

    async def turn(self, session: StoredSession, turn_id: str) -> Turn | None:
        """The turn with this id, on any branch."""
        view, _ = await self._session_reader.view(session)
        found = next((turn for turn in view.all_turns if turn.id == turn_id), None)
        if found is None:
            found = next(iter(await self._sessions.turns_of(session.id, [turn_id])), None)
        return found

    async def unknown(self, organization_id: str, conversation: Conversation) -> ChatError:
        """The error for a history that no session has, with the message at which it differs."""
        spoken = merged(conversation.history)
        spoken = spoken[:MAX_COMPARED]
        digests = seen_digests(conversation.agent_id, conversation.metadata, spoken)
        known = await self._addresses.known(organization_id, digests[1:])
        length = max((place for place, digest in enumerate(digests) if digest in known), default=0)
        if length == 0:
            found = f'No conversation with this agent (and this metadata) begins with "{_shortened(spoken[0].text)}".'
        elif length == len(spoken):
            found = "The conversation is known, but its session is not there any more."
        else:
            at, other = spoken[length - 1], spoken[length]
            found = f'No conversation goes on from "{_shortened(at.text)}" with "{_shortened(other.text)}".'
        return ChatError(
            400,
            "conversation_mismatch",
            f"{found} Send the messages as they were answered, or name the session in metadata.session_id or in the "
            "header X-Session-Id.",
            "messages",
        )

    async def _addresses_of(
        self, organization_id: str, conversation: Conversation, reading: Reading, session_id: str | None
    ) -> tuple[Sequence[ChatAddress], str | None]:
        """The addresses that a reading names. With a text, they match only if their reply begins with it."""
        system = _system_digest(conversation.system)
        spoken = merged(reading.seen)
        if not spoken:
            return (), None
        digest = conversation.digest(spoken)
        if spoken[-1].speaker == "user":
            found = await self._addresses.asked(organization_id, [digest], system=system, session_id=session_id)
            return found, None
        found = await self._addresses.seen(organization_id, digest, system=system, session_id=session_id)
        if found or len(spoken) == 1:
            return found, None
        asked = conversation.digest(spoken[:-1])
        found = await self._addresses.asked(organization_id, [asked], system=system, session_id=session_id)
        return found, spoken[-1].text

    async def _sessions_of(
        self,
        addresses: Sequence[ChatAddress],
        agent: tuple[StoredAgent, int | None],
        initial_context: Mapping[str, JsonValue] | None,
    ) -> dict[str, StoredSession]:
        """The sessions of addresses in which a request may continue."""
        found: dict[str, StoredSession] = {}
        for address in addresses:
            try:
                session = await self._session_reader.session(address.organization_id, address.session_id)
            except Problem as problem:
                if problem.code != "not_found":
                    raise
                continue
            is_same_version = agent[1] in (None, session.agent_version)
            if is_same_version and initial_context in (None, context_of(session)):
                found[session.id] = session
        contexts = [context_of(session) for session in found.values()]
        if any(context != contexts[0] for context in contexts):
            raise ChatError(
                400,
                "conversation_mismatch",
                "Several sessions have this conversation, with different initial_context. Send the initial_context, or "
                "name the session in metadata.session_id or in the header X-Session-Id.",
                "messages",
            )
        return found

    async def _asked_turn(self, session: StoredSession, address: ChatAddress) -> AskedTurn | None:
        view, _ = await self._session_reader.view(session)
        turn = await self._turn(session, view, address.message_key)
        return None if turn is None else AskedTurn(session, view, turn)

    async def _candidate(
        self,
        session: StoredSession,
        address: ChatAddress,
        reading: Reading,
        reply: str | None,
        *,
        system: str,
        order: int,
    ) -> _Candidate | None:
        view, _ = await self._session_reader.view(session)
        turn = await self._turn(session, view, address.message_key)
        if turn is None or turn.status == "failed" or (reply is not None and not has_reply(turn, reply)):
            return None
        is_left_out = reading.seen[-1].speaker == "user"
        if is_left_out and turn.status == "completed" and not address.is_stopped:
            # A client that has received the whole reply would have sent it in its history.
            return None
        is_exact = reply is None and not is_left_out
        rank = _rank(view, turn, is_exact=is_exact, is_stopped=address.is_stopped)
        if rank == _BUSY and (waits_for_client(view) or await self._was_stopped(session, view.turns[-1])):
            rank = _EARLIER
        place = Place(session, reading.text, turn, view, is_whole=True)
        return _Candidate(
            place,
            rank,
            has_same_system=address.system == system,
            order=order,
            may_be_of_others=is_left_out and len(merged(reading.seen)) == 1,
        )

    async def _named_place(
        self, session: StoredSession, view: TimelineView, conversation: Conversation, reading: Reading
    ) -> Place | None:
        addresses, reply = await self._addresses_of(session.organization_id, conversation, reading, session.id)
        for address in addresses:
            turn = await self._turn(session, view, address.message_key)
            if turn and turn.status != "failed" and (reply is None or has_reply(turn, reply)):
                return Place(session, reading.text, turn, view, is_whole=True)
        match = find_history(exchanges_of(reading.seen), view)
        if match is None:
            return None
        return Place(session, reading.text, match.turn, view, is_whole=match.is_whole)

    async def _turn(self, session: StoredSession, view: TimelineView, key: str) -> Turn | None:
        """The turn of a message, or the greeting."""
        for turn in view.all_turns:
            if _key_of(turn) == key and (key != GREETING_KEY or turn.parent_id is None):
                return turn
        if key == GREETING_KEY:
            whole = await self._session_reader.whole(session)
            return next(iter(whole.turns), None)
        return await self._sessions.turn_of_message(session.id, key)

    async def _was_stopped(self, session: StoredSession, turn: Turn) -> bool:
        message_id = turn.user_message.message_id if turn.user_message else None
        return message_id is not None and await self._addresses.was_stopped(session.id, message_id)


def waits_for_client(view: TimelineView) -> bool:
    """True when the newest turn is pending because its client has tools to carry out."""
    return bool(view.turns) and any(call.turn_id == view.turns[-1].id for call in view.head.client_calls)


def context_of(session: StoredSession) -> dict[str, JsonValue]:
    """The initial context of a session without the system messages of the client."""
    return {name: value for name, value in session.initial_context.items() if name != SYSTEM_MESSAGE}


def _best(candidates: Sequence[_Candidate]) -> Place:
    best = min(candidates, key=lambda each: each.key)
    is_unclear = best.may_be_of_others or sum(each.is_busy for each in candidates) > 1
    if best.is_busy and is_unclear:
        raise Problem(
            "turn_in_progress",
            "Messages are under way in all sessions with this conversation. Send the message again in a second, or "
            "name the session in metadata.session_id or in the header X-Session-Id.",
        )
    return best.place


def _rank(view: TimelineView, turn: Turn, *, is_exact: bool, is_stopped: bool) -> int:
    """The rank of a turn: the newest of its session first, unless the client has only a part of its reply."""
    head = view.turns[-1] if view.turns else turn
    if view.head.is_completed:
        return _ENDED
    if head.status == "pending":
        if head.id != turn.id:
            return _BUSY
        if waits_for_client(view):
            return _NEWEST_BUT_CUT
        return _NEWEST if is_stopped else _PENDING
    if turn.id not in (head.id, _reached(view).id):
        return _EARLIER
    return _NEWEST if is_exact or turn.status == "interrupted" else _NEWEST_BUT_CUT


def _reached(view: TimelineView) -> Turn:
    """The newest visible turn that did not fail; the session continues from it."""
    return next((turn for turn in reversed(view.turns) if turn.status != "failed"), view.turns[-1])


def _after_newest(session: StoredSession, view: TimelineView, asked: Sequence[str]) -> Place:
    """The newest visible turn, for messages without a history; the first ones may be those of that turn."""
    newest = view.turns[-1] if view.turns else None
    if newest is not None and newest.user_message is not None and newest.status != "failed":
        for length in _lengths(asked):
            if is_same(" ".join(asked[:length]), newest.user_message.text):
                return Place(session, MESSAGE_SEPARATOR.join(asked[length:]), newest, view)
    return Place(session, MESSAGE_SEPARATOR.join(asked))


def _repeat_of(turn: Turn, session: StoredSession, conversation: Conversation) -> Place:
    """The place of a message that is repeated: its session finds the turn by the message id."""
    texts = [reading.text for reading in conversation.readings]
    sent = turn.user_message.text if turn.user_message else None
    return Place(session, sent if sent is not None and sent in texts else texts[0])


def _mismatch_in(session: StoredSession, view: TimelineView, history: Sequence[Exchange]) -> ChatError:
    """The error for a history that a session does not have, with the newest exchange that differs."""
    lengths = range(1, len(history) + 1)
    length = next((length for length in lengths if find_history(history[-length:], view) is None), len(history))
    other = history[-length]
    asked, reply = _shortened(" ".join(other.asked)), _shortened(other.reply or "")
    return ChatError(
        400,
        "conversation_mismatch",
        f'The messages differ from the session {session.id}: it does not have "{asked}" with the reply "{reply}" at '
        "that position. Send the last message alone, or those of the session.",
        "messages",
    )


def _lengths(asked: Sequence[str]) -> range:
    """The numbers of messages in a row that may have been sent before, the greatest first."""
    return range(len(asked) - 1, max(len(asked) - 1 - MAX_LEFT_OUT, 0), -1)


def _key_of(turn: Turn) -> str | None:
    if turn.user_message is None:
        return GREETING_KEY
    return None if turn.user_message.message_id is None else message_key(turn.user_message.message_id)


def _opening_system_digest(session: StoredSession) -> str:
    system = session.initial_context.get(SYSTEM_MESSAGE)
    return _system_digest(system if isinstance(system, str) else None)


def _system_digest(system: str | None) -> str:
    return "" if system is None else sha256(system.encode(errors="replace")).hexdigest()


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
