"""`playhead chat`: a conversation with an agent, on a terminal or through pipes."""

import io
import sys
from collections.abc import Callable
from uuid import uuid4

from playhead.chat.commands import (
    ChooseRewind,
    End,
    Line,
    Misunderstood,
    Nothing,
    Quit,
    RewindTo,
    Say,
    Show,
    read_line,
    read_rewind,
)
from playhead.chat.delivery import GaveUp, Outgoing, RetryingClient
from playhead.chat.error_messages import message_of, remedy_for, turn_in
from playhead.chat.input import LineReader, Reader
from playhead.chat.json_output import JsonScreen
from playhead.chat.session_view import ChatAgent, ChatSession, number_of
from playhead.chat.text import DEMO_NOTICE, is_demo
from playhead.chat.text_output import PlainScreen, Screen
from playhead.exit_codes import FINDING, INTERRUPTED, USAGE, CommandFailed
from playhead.output.api_errors import command_failure, describe, errors_as_command_failures
from playhead_client import NO_RETRIES, APIStatusError, Playhead, PlayheadError

SUCCESS = 0
QUESTION = "Go back to which turn? (a number, `before` a number, or nothing to stay)"
RECALLED_TURNS = 10
"""Turns of a continued session that are shown again, newest kept."""


def run(*, agent: str | None, json: bool = False, session: str | None = None) -> int:
    """Talk to an agent, or go on with a session, until it ends or the person leaves; returns the exit status.

    With `json`, or when standard input or output is no terminal, lines are read and written as they are, and
    the status is 1 when a message was not answered. Raises CommandFailed when there is nothing to talk to.
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
    courier: RetryingClient,
    screen: Screen,
    reader: Reader,
    agent: str | None,
    session_id: str | None,
    *,
    at_terminal: bool,
) -> int:
    """Open or continue a session, and hold the conversation. Returns and raises as `run` does."""
    with errors_as_command_failures(), screen.waiting():
        session = _opened(courier, agent, session_id)
        pinned = courier.agent_of(session)
    if session_id and agent and agent not in (pinned.name, session.agent_id):
        raise CommandFailed(
            f"The session {session.id} talks to {pinned.name}, not to {agent}.",
            status=USAGE,
            hint=f"Go on with it: playhead chat --session {session.id}; or begin another: playhead chat {agent}",
        )
    screen.opened(pinned, session)
    chat = Chat(courier, screen, reader, session, pinned, at_terminal=at_terminal)
    return chat.hold(continued=session_id is not None)


class Chat:
    """One conversation: what is typed is carried out, and what comes of it is shown."""

    def __init__(
        self,
        courier: RetryingClient,
        screen: Screen,
        reader: Reader,
        session: ChatSession,
        agent: ChatAgent,
        *,
        at_terminal: bool,
        new_id: Callable[[], str] = lambda: f"chat_{uuid4().hex}",
    ) -> None:
        self._courier = courier
        self._screen = screen
        self._reader = reader
        self._session = session
        self._at_terminal = at_terminal
        self._new_id = new_id
        self._said_demo = is_demo(agent, session)
        self._unanswered: Outgoing | None = None
        self._unsent = ""
        self._missed = False
        self._over = False

    def hold(self, *, continued: bool) -> int:
        """Show what was said so far, then converse until the end; returns the exit status."""
        self._begin(continued)
        while not self._over:
            unsent, self._unsent = self._unsent, ""
            typed = self._reader.read(self._session, unsent)
            self._guarded(Quit() if typed is None else read_line(typed))
        return FINDING if self._missed and not self._at_terminal else SUCCESS

    def _begin(self, continued: bool) -> None:
        answered = [turn for turn in self._session.turns if turn.status != "pending"]
        if continued:
            self._screen.recalled(answered[-RECALLED_TURNS:])
        else:
            for turn in answered:
                self._screen.answered(turn)
        if self._session.is_completed:
            self._end_with(self._session)
            self._missed = True
        elif self._session.is_answering:
            self._guarded(Nothing())

    def _guarded(self, line: Line) -> None:
        """Carry out a line, and tell what went wrong if something did."""
        try:
            self._carry_out(line)
        except APIStatusError as refused:
            self._missed = True
            self._screen.trouble(message_of(refused), remedy_for(refused), code=refused.code)
        except GaveUp as gave_up:
            if not self._at_terminal:
                self._screen.left(self._session)
                raise command_failure(gave_up.cause) from gave_up
            again = (
                "Press Enter to send it again under the same id."
                if self._unanswered
                else command_failure(gave_up.cause).hint
            )
            self._screen.trouble(f"No answer, and no more attempts: {gave_up.cause}", again)
        except KeyboardInterrupt:
            if not self._at_terminal:
                self._screen.left(self._session)
                raise
            kept = " A reply that was begun is still finished: press Enter to wait for it." if self._unanswered else ""
            self._screen.note(f"Stopped waiting.{kept}")

    def _carry_out(self, line: Line) -> None:
        match line:
            case Say(text):
                self._say(text)
            case Nothing():
                self._catch_up()
            case Show(view):
                self._refresh()
                self._screen.show(view, self._session)
            case ChooseRewind():
                self._choose_rewind()
            case RewindTo():
                self._rewind(line)
            case End(reason):
                self._end_with(self._courier.end(self._session.id, reason))
            case Misunderstood(message):
                self._missed = True
                self._screen.trouble(message)
            case Quit():
                self._over = True
                self._screen.left(self._session)

    # --- saying something ------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._screen.said(text)
        self._unsent = text
        self._catch_up()
        if self._over:
            return
        self._unsent = ""
        self._deliver(Outgoing(text, self._new_id(), self._session.revision))

    def _catch_up(self) -> None:
        """Show the reply that is still to come, if there is one."""
        if self._unanswered:
            self._deliver(self._unanswered)
        elif self._session.is_answering:
            before = self._session
            with self._screen.waiting():
                self._refresh()
                self._session = self._courier.once_answered(self._session)
            for turn in self._session.turns_since(before):
                self._screen.answered(turn)
            self._after_change()

    def _deliver(self, message: Outgoing) -> None:
        before = self._session
        self._unanswered = message
        try:
            session = self._heard(before, message)
        except APIStatusError as refused:
            self._unanswered = None
            self._unsent = self._unsent or message.text
            self._take_refusal(refused, before)
            raise
        self._unanswered = None
        self._session = session
        turn = session.turn_of(message.message_id) or session.newest
        if turn:
            self._screen.answered(turn)
        if len(session.discarded_branches) > len(before.discarded_branches):
            self._screen.note("This is a new branch; what it left behind is kept: /branches")
        self._after_change()

    def _heard(self, before: ChatSession, message: Outgoing) -> ChatSession:
        """Say a message and hear the reply. Ctrl-C stops the reply; when that cannot be done, it stops the waiting."""
        try:
            with self._screen.waiting():
                return self._courier.send(before.id, message, self._screen.heard)
        except KeyboardInterrupt:
            if not self._at_terminal:
                raise
            try:
                self._courier.cancel(before.id)
            except PlayheadError:
                raise KeyboardInterrupt from None
        with self._screen.waiting():
            return self._courier.send(before.id, message, self._screen.heard)

    def _take_refusal(self, refused: APIStatusError, before: ChatSession) -> None:
        """Look at what the session is now: a refusal means that it is not what the chat took it for."""
        failed = turn_in(refused)
        if failed:
            self._screen.answered(failed)
        self._refresh()
        if refused.code == "revision_conflict":
            self._screen.recalled(self._session.turns_since(before))
        self._after_change()

    def _after_change(self) -> None:
        if self._session.used_demo_model and not self._said_demo:
            self._said_demo = True
            self._screen.note(DEMO_NOTICE)
        if self._session.is_completed:
            self._end_with(self._session)

    def _refresh(self) -> None:
        self._session = self._courier.session(self._session.id)

    def _end_with(self, session: ChatSession) -> None:
        self._session = session
        self._over = True
        self._screen.ended(session)

    # --- going back ------------------------------------------------------------------------------

    def _choose_rewind(self) -> None:
        self._refresh()
        self._screen.show("timeline", self._session)
        chosen = read_rewind(self._reader.ask(QUESTION) or "")
        if not isinstance(chosen, ChooseRewind):
            self._carry_out(chosen)

    def _rewind(self, to: RewindTo) -> None:
        self._refresh()
        turn_id = None
        if to.number is not None:
            turn = self._session.turn_numbered(to.number)
            if turn is None:
                self._missed = True
                self._screen.trouble(f"There is no turn {to.number} {self._where()}", "/timeline shows the numbers.")
                return
            turn_id = turn.id
        self._session = self._courier.rewind(self._session.id, turn_id, before=to.before)
        self._unanswered = None
        self._screen.rewound(self._session)

    def _where(self) -> str:
        newest = self._session.newest
        if self._session.is_rewound:
            return "before the place the session was rewound to. /rewind clear brings back what came after."
        return f"in what is seen: the newest is {number_of(newest)}." if newest else "yet."


def _opened(courier: RetryingClient, agent: str | None, session_id: str | None) -> ChatSession:
    try:
        if session_id:
            return courier.session(session_id)
        if agent:
            return courier.create(agent)
    except GaveUp as gave_up:
        raise command_failure(gave_up.cause) from gave_up
    except APIStatusError as refused:
        if refused.code != "not_found":
            raise
        listing = (
            "`playhead sessions ls` lists the sessions." if session_id else "`playhead agents ls` lists the agents."
        )
        raise CommandFailed(describe(refused), status=USAGE, hint=listing) from refused
    raise CommandFailed(
        "There is nobody to talk to.", status=USAGE, hint="Name an agent, or a session to go on with: --session ID"
    )


def _terminal() -> tuple[Screen, Reader]:
    from rich.console import Console

    from playhead.chat.terminal import TerminalReader, TerminalScreen

    screen = TerminalScreen(Console(highlight=False))
    return screen, TerminalReader(screen.note)


def _streams(json: bool) -> tuple[Screen, Reader]:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    screen = JsonScreen(sys.stdout, sys.stderr) if json else PlainScreen(sys.stdout, sys.stderr)
    return screen, LineReader(sys.stdin, sys.stderr if sys.stdin.isatty() else None)
