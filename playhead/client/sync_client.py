"""The blocking client: `with Playhead() as playhead: playhead.sessions.open("booking-line")`."""

import time
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import count
from types import TracebackType
from typing import Generic, ParamSpec, Self, TypeVar

import httpx

from playhead.client import agents, sessions, suites, usage
from playhead.client.errors import PlayheadError
from playhead.client.event_stream import Event, EventReader, Following
from playhead.client.requests import Call, Listing
from playhead.client.retries import Retries
from playhead.client.transport import ANSWER_SECONDS, Address

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Item = TypeVar("Item")


class Carrier:
    """Carries calls to the API and brings back what they give, or raises what went wrong."""

    def __init__(self, http: httpx.Client, address: Address, retries: Retries, sleep: Callable[[float], None]) -> None:
        self.address = address
        self.http = http
        self._retries = retries
        self._sleep = sleep

    def carry(self, call: Call[Result]) -> Result:
        """One call, sent again where that is safe."""
        for attempt in count(1):
            try:
                return self.address.result(call, self._answer(call))
            except PlayheadError as failure:
                pause = self._retries.pause_after(failure, attempt, repeatable=call.repeatable)
                if pause is None:
                    raise
                self._sleep(pause)
        raise AssertionError("count() has no end")

    def items(self, listing: Listing[Item]) -> Iterator[Item]:
        """The items of a list, page after page, as they are asked for."""
        cursor, seen = None, 0
        while call := listing.page(cursor, seen):
            page = self.carry(call)
            yield from page.items
            cursor, seen = page.next_cursor, seen + len(page.items)
            if cursor is None:
                return

    def follow(self, following: Following) -> Iterator[Event]:
        """The events of a stream, which is taken up again when the connection is lost."""
        failures = 0
        while not following.is_over:
            try:
                for event in self._heard(following):
                    failures = 0
                    yield event
            except PlayheadError as failure:
                failures += 1
                pause = self._retries.pause_after(failure, failures, repeatable=True)
                if pause is None:
                    raise
                self._sleep(pause)

    def _heard(self, following: Following) -> Iterator[Event]:
        """The events of one connection. Raises PlayheadError when it ends before the stream is over."""
        call, reader = following.begin(), EventReader()
        timeout = self.http.timeout if following.silence is None else httpx.Timeout(following.silence)
        try:
            with self.http.stream(
                call.method, call.path, params=call.query, content=call.content, headers=call.headers, timeout=timeout
            ) as response:
                if not response.is_success:
                    response.read()
                    raise self.address.failure(call, response)
                for received in response.iter_bytes():
                    for event in self.address.events(call, reader, received):
                        told = following.take(event)
                        if told is not None:
                            yield told
        except httpx.TransportError as error:
            raise self.address.lost(error) from error
        if following.look is not None and not following.is_over:
            following.ended(self.carry(following.look))
        if not following.is_over:
            raise self.address.broken_off()

    def _answer(self, call: Call[Result]) -> httpx.Response:
        try:
            return self.http.request(
                call.method, call.path, params=call.query, content=call.content, headers=call.headers
            )
        except httpx.TransportError as error:
            raise self.address.lost(error) from error


class Group:
    """Calls about one subject."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier


class Carried(Generic[Parameters, Result]):
    """A call as a method of the client: it takes what the call takes, and returns what the call gives."""

    def __init__(self, call: Callable[Parameters, Call[Result]]) -> None:
        self._call = call

    def __get__(self, group: Group, kind: type[Group] | None = None) -> Callable[Parameters, Result]:
        @wraps(self._call)
        def method(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            return group._carrier.carry(self._call(*args, **kwargs))

        return method


class Listed(Generic[Parameters, Item]):
    """A list as a method of the client: it returns an iterator that asks for pages as they are needed."""

    def __init__(self, listing: Callable[Parameters, Listing[Item]]) -> None:
        self._listing = listing

    def __get__(self, group: Group, kind: type[Group] | None = None) -> Callable[Parameters, Iterator[Item]]:
        @wraps(self._listing)
        def method(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Iterator[Item]:
            return group._carrier.items(self._listing(*args, **kwargs))

        return method


class Followed(Generic[Parameters]):
    """A stream as a method of the client: it returns an iterator of events, which waits for each."""

    def __init__(self, following: Callable[Parameters, Following]) -> None:
        self._following = following

    def __get__(self, group: Group, kind: type[Group] | None = None) -> Callable[Parameters, Iterator[Event]]:
        @wraps(self._following)
        def method(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Iterator[Event]:
            return group._carrier.follow(self._following(*args, **kwargs))

        return method


class Sessions(Group):
    """Conversations: opened, talked to, moved about, looked at and ended."""

    def follow(self, following: Following) -> Iterator[Event]:
        """A stream that was begun before, from where it was."""
        return self._carrier.follow(following)

    open = Carried(sessions.open_session)
    list = Listed(sessions.list_sessions)
    get = Carried(sessions.get_session)
    turns = Listed(sessions.list_turns)
    branches = Listed(sessions.list_branches)
    compare = Carried(sessions.compare_branches)
    transcript = Carried(sessions.get_transcript)
    send = Carried(sessions.send_message)
    stream = Followed(sessions.stream_message)
    watch = Followed(sessions.watch_session)
    submit = Carried(sessions.submit_message)
    rewind = Carried(sessions.rewind)
    edit = Carried(sessions.edit_message)
    regenerate = Carried(sessions.regenerate)
    cancel = Carried(sessions.cancel_turn)
    restore = Carried(sessions.restore_branch)
    fork = Carried(sessions.fork_session)
    decide = Carried(sessions.decide)
    set_simulator = Carried(sessions.set_simulator)
    end = Carried(sessions.end_session)
    erase = Carried(sessions.erase_session)


class Agents(Group):
    """Agents: stored, listed and looked at."""

    push = Carried(agents.push_agent)
    list = Listed(agents.list_agents)
    get = Carried(agents.get_agent)


class Suites(Group):
    """Simulated callers, many at once: started, looked at, steered and reported."""

    start = Carried(suites.start_suite)
    list = Listed(suites.list_suites)
    get = Carried(suites.get_suite)
    report = Carried(suites.get_report)
    written_report = Carried(suites.get_written_report)
    steer = Carried(suites.steer_suite)


class Usage(Group):
    """What was used and spent."""

    total = Carried(usage.get_usage)
    ledger = Listed(usage.list_ledger)


class Playhead:
    """A connection to one API. Every method raises PlayheadError; what can go wrong is told apart by its subclasses.

    Without an address and a key those of the environment are taken (PLAYHEAD_API_URL, PLAYHEAD_API_KEY), and without
    those the local stack's. No answer may take longer than `timeout` seconds.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = ANSWER_SECONDS,
        retries: Retries | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        address = Address.of(url, key)
        self.url = address.url
        self._http = httpx.Client(**address.connecting(timeout))
        carrier = Carrier(self._http, address, retries or Retries(), sleep)
        self.sessions = Sessions(carrier)
        self.agents = Agents(carrier)
        self.suites = Suites(carrier)
        self.usage = Usage(carrier)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the client takes no more calls."""
        self._http.close()
