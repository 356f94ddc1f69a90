"""`playhead chat`: a conversation with an agent, on a terminal or through pipes."""

import io
import sys
from collections.abc import Callable
from uuid import uuid4

from playhead.chat.commands import (
    ChatCommand,
    ChooseRewind,
    EmptyLine,
    End,
    InvalidCommand,
    Quit,
    RewindTo,
    Send,
    Show,
    parse_line,
    parse_rewind,
)
from playhead.chat.delivery import OutgoingMessage, RetriesExhausted, RetryingClient
from playhead.chat.error_messages import error_message, failed_turn, hint_for
from playhead.chat.input import LineReader, Reader
from playhead.chat.json_output import JsonScreen
from playhead.chat.session_view import ChatAgent, ChatSession, number_of
from playhead.chat.text import DEMO_NOTICE, is_demo
from playhead.chat.text_output import PlainScreen, Screen
from playhead.exit_codes import FINDING, INTERRUPTED, USAGE, CommandFailed
from playhead.output.api_errors import command_failure, describe, errors_as_command_failures
from playhead.output.plain_text import terminal_stream
from playhead_client import NO_RETRIES, APIStatusError, Playhead, PlayheadError

SUCCESS = 0
REWIND_QUESTION = "Go back to which turn? (a number, `before` a number, or nothing to stay)"
MAX_EARLIER_TURNS = 10
"""Turns of a continued session that are shown at its start: the newest."""


def run(*, agent: str | None, json: bool = False, session: str | None = None) -> int:
    """Chat with an agent, or continue a session, until it ends or the user leaves; returns the exit status.

    With `json`, or when standard input or output is not a terminal, plain lines are read and written, and the status
    is 1 when a message was not answered. Raises CommandFailed when the session cannot be opened.
    """
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not json
    screen, reader = _terminal() if at_terminal else _streams(json)
    with errors_as_command_failures(), Playhead(retries=NO_RETRIES) as client:
        try:
            return converse(
                RetryingClient(client, screen.note), screen, reader, agent, session, at_terminal=at_terminal
            )
        except KeyboardInterrupt:
            return INTERRUPTED


def converse(
    client: RetryingClient,
    screen: Screen,
    reader: Reader,
    agent: str | None,
    session_id: str | None,
    *,
    at_terminal: bool,
) -> int:
    """Open or continue a session and chat. Returns and raises as `run` does."""
    with errors_as_command_failures(), screen.waiting():
        session = _opened(client, agent, session_id)
        pinned = client.agent_of(session)
    if session_id and agent and agent not in (pinned.name, session.agent_id):
        raise CommandFailed(
            f"The agent of session {session.id} is {pinned.name}, not {agent}.",
            status=USAGE,
            hint=f"Continue it: playhead chat --session {session.id}; or start another: playhead chat {agent}",
        )
    screen.opened(pinned, session)
    chat = Chat(client, screen, reader, session, pinned, at_terminal=at_terminal)
    return chat.run(continued=session_id is not None)


class Chat:
    """One chat: executes the lines that are typed and shows the results."""

    def __init__(
        self,
        client: RetryingClient,
        screen: Screen,
        reader: Reader,
        session: ChatSession,
        agent: ChatAgent,
        *,
        at_terminal: bool,
        new_id: Callable[[], str] = lambda: f"chat_{uuid4().hex}",
    ) -> None:
        self._client = client
        self._screen = screen
        self._reader = reader
        self._session = session
        self._at_terminal = at_terminal
        self._new_id = new_id
        self._demo_noted = is_demo(agent, session)
        self._in_flight: OutgoingMessage | None = None
        self._unsent = ""
        self._had_errors = False
        self._over = False

    def run(self, *, continued: bool) -> int:
        """Show the conversation so far, then read lines until the end; returns the exit status."""
        self._begin(continued)
        while not self._over:
            unsent, self._unsent = self._unsent, ""
            typed = self._reader.read(self._session, unsent)
            self._handle(Quit() if typed is None else parse_line(typed))
        return FINDING if self._had_errors and not self._at_terminal else SUCCESS

    def _begin(self, continued: bool) -> None:
        answered = [turn for turn in self._session.turns if turn.status != "pending"]
        if continued:
            self._screen.recalled(answered[-MAX_EARLIER_TURNS:])
        else:
            for turn in answered:
                self._screen.answered(turn)
        if self._session.is_completed:
            self._end_with(self._session)
            self._had_errors = True
        elif self._session.is_answering:
            self._handle(EmptyLine())

    def _handle(self, line: ChatCommand) -> None:
        """Execute a line and show any error."""
        try:
            self._execute(line)
        except APIStatusError as error:
            self._had_errors = True
            self._screen.error(error_message(error), hint_for(error), code=error.code)
        except RetriesExhausted as exhausted:
            if not self._at_terminal:
                self._screen.left(self._session)
                raise command_failure(exhausted.cause) from exhausted
            again = (
                "Press Enter to send it again under the same id."
                if self._in_flight
                else command_failure(exhausted.cause).hint
            )
            self._screen.error(f"No response after all attempts: {exhausted.cause}", again)
        except KeyboardInterrupt:
            if not self._at_terminal:
                self._screen.left(self._session)
                raise
            kept = " The reply still continues: press Enter to wait for it." if self._in_flight else ""
            self._screen.note(f"Stopped waiting.{kept}")

    def _execute(self, line: ChatCommand) -> None:
        match line:
            case Send(text):
                self._say(text)
            case EmptyLine():
                self._catch_up()
            case Show(view):
                self._refresh()
                self._screen.show(view, self._session)
            case ChooseRewind():
                self._choose_rewind()
            case RewindTo():
                self._rewind(line)
            case End(reason):
                self._end_with(self._client.end(self._session.id, reason))
            case InvalidCommand(message):
                self._had_errors = True
                self._screen.error(message)
            case Quit():
                self._over = True
                self._screen.left(self._session)

    # --- messages --------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._screen.said(text)
        self._unsent = text
        self._catch_up()
        if self._over:
            return
        self._unsent = ""
        self._deliver(OutgoingMessage(text, self._new_id(), self._session.revision))

    def _catch_up(self) -> None:
        """Wait for a pending reply, if there is one, and show it."""
        if self._in_flight:
            self._deliver(self._in_flight)
        elif self._session.is_answering:
            before = self._session
            with self._screen.waiting():
                self._refresh()
                self._session = self._client.wait_for_reply(self._session)
            for turn in self._session.turns_since(before):
                self._screen.answered(turn)
            self._after_change()

    def _deliver(self, message: OutgoingMessage) -> None:
        before = self._session
        self._in_flight = message
        try:
            session = self._send(before, message)
        except APIStatusError as error:
            self._in_flight = None
            self._unsent = self._unsent or message.text
            self._after_rejection(error, before)
            raise
        self._in_flight = None
        self._session = session
        turn = session.turn_of(message.message_id) or session.newest
        if turn:
            self._screen.answered(turn)
        if len(session.discarded_branches) > len(before.discarded_branches):
            self._screen.note("This is a new branch; the discarded one is kept: /branches")
        self._after_change()

    def _send(self, before: ChatSession, message: OutgoingMessage) -> ChatSession:
        """Send a message and stream the reply. Ctrl-C stops the reply, or only the waiting if that fails."""
        try:
            with self._screen.waiting():
                return self._client.send(before.id, message, self._screen.on_event)
        except KeyboardInterrupt:
            if not self._at_terminal:
                raise
            try:
                self._client.cancel(before.id)
            except PlayheadError:
                raise KeyboardInterrupt from None
        with self._screen.waiting():
            return self._client.send(before.id, message, self._screen.on_event)

    def _after_rejection(self, error: APIStatusError, before: ChatSession) -> None:
        """Show the current state of the session: after a rejection the known one may be outdated."""
        failed = failed_turn(error)
        if failed:
            self._screen.answered(failed)
        self._refresh()
        if error.code == "revision_conflict":
            self._screen.recalled(self._session.turns_since(before))
        self._after_change()

    def _after_change(self) -> None:
        if self._session.used_demo_model and not self._demo_noted:
            self._demo_noted = True
            self._screen.note(DEMO_NOTICE)
        if self._session.is_completed:
            self._end_with(self._session)

    def _refresh(self) -> None:
        self._session = self._client.session(self._session.id)

    def _end_with(self, session: ChatSession) -> None:
        self._session = session
        self._over = True
        self._screen.ended(session)

    # --- rewinding -------------------------------------------------------------------------------

    def _choose_rewind(self) -> None:
        self._refresh()
        self._screen.show("timeline", self._session)
        chosen = parse_rewind(self._reader.ask(REWIND_QUESTION) or "")
        if not isinstance(chosen, ChooseRewind):
            self._execute(chosen)

    def _rewind(self, to: RewindTo) -> None:
        self._refresh()
        turn_id = None
        if to.number is not None:
            turn = self._session.turn_numbered(to.number)
            if turn is None:
                self._had_errors = True
                self._screen.error(f"There is no turn {to.number} {self._where()}", "/timeline shows the numbers.")
                return
            turn_id = turn.id
        self._session = self._client.rewind(self._session.id, turn_id, before=to.before)
        self._in_flight = None
        self._screen.rewound(self._session)

    def _where(self) -> str:
        newest = self._session.newest
        if self._session.is_rewound:
            return "up to the turn the session was rewound to. /rewind clear restores the later turns."
        return f"on this branch: the newest is {number_of(newest)}." if newest else "yet."


def _opened(client: RetryingClient, agent: str | None, session_id: str | None) -> ChatSession:
    try:
        if session_id:
            return client.session(session_id)
        if agent:
            return client.create(agent)
    except RetriesExhausted as exhausted:
        raise command_failure(exhausted.cause) from exhausted
    except APIStatusError as error:
        if error.code != "not_found":
            raise
        listing = (
            "`playhead sessions ls` lists the sessions." if session_id else "`playhead agents ls` lists the agents."
        )
        raise CommandFailed(describe(error), status=USAGE, hint=listing) from error
    raise CommandFailed(
        "No agent is given.", status=USAGE, hint="Name an agent, or a session to continue: --session ID"
    )


def _terminal() -> tuple[Screen, Reader]:
    from prompt_toolkit.output import create_output

    from playhead.chat.terminal import TerminalReader, TerminalScreen
    from playhead.output.console import PlainConsole

    screen = TerminalScreen(PlainConsole(highlight=False))
    return screen, TerminalReader(screen.note, sink=create_output(terminal_stream(sys.stdout)))


def _streams(json: bool) -> tuple[Screen, Reader]:
    for stream in (sys.stdin, terminal_stream(sys.stdout), terminal_stream(sys.stderr)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    screen = JsonScreen(sys.stdout, sys.stderr) if json else PlainScreen(sys.stdout, sys.stderr)
    return screen, LineReader(sys.stdin, sys.stderr if sys.stdin.isatty() else None)
