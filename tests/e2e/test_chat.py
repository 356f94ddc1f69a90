"""`playhead chat` as a process, on a terminal and through pipes."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.e2e.processes import COMMAND, dev_stack, environment_of, needs_proc, until_gone, until_seen
from tests.playhead.chat.chat_api import SESSION_ID, FakeApi, fails, says, streams_until_stopped

PATIENCE = 60.0
"""Seconds to wait for a text on the screen, or for the chat to end."""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>]")


@pytest.fixture(scope="module")
def threaded_server() -> Iterator[HTTPServer]:
    """A server with threads: it answers a request to stop a reply while the request for that reply waits."""
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield server


@pytest.fixture
def api(threaded_server: HTTPServer) -> FakeApi:
    threaded_server.clear()
    return FakeApi(threaded_server, model="demo")


def environment(url: str, folder: Path) -> dict[str, str]:
    """The environment of the chat, which sends the terminal no query that only a real one can answer."""
    own = {"PLAYHEAD_API_URL": url, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
    return {**environment_of(folder), **own}


def piped(folder: Path, url: str, typed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The chat with everything piped."""
    return subprocess.run(
        [*COMMAND, "chat", *arguments],
        input=typed,
        env=environment(url, folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Terminal:
    """A person at a terminal, who types and reads the screen."""

    def __init__(self, process: subprocess.Popen[bytes], keyboard: int) -> None:
        self.process = process
        self._keyboard = keyboard
        self._written = b""
        self._looked_at = 0

    @property
    def text(self) -> str:
        """All that was written so far, without colours and movements, with one space between any two words."""
        return " ".join(ESCAPES.sub("", self._written.decode(errors="replace")).split())

    def type(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    def press_ctrl_c(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def see(self, *expected: str) -> None:
        """Wait until all of these texts are on the screen, in any order, after what was seen before."""
        deadline = time.monotonic() + PATIENCE
        while missing := [each for each in expected if self._end_of(each) < self._looked_at]:
            assert time.monotonic() < deadline, f"never saw {missing} in:\n{self.text}"
            assert self._read(), f"the chat ended before {missing} was seen:\n{self.text}"
        self._looked_at = max(self._end_of(each) for each in expected)

    def _end_of(self, expected: str) -> int:
        """The position of the end of a text, after what was seen before; -1 if it is not there yet."""
        found = self.text.find(expected, self._looked_at)
        return -1 if found < 0 else found + len(expected)

    def end(self) -> int:
        """Wait until the chat has ended, and return its exit status."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, f"the chat did not end:\n{self.text}"
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        """Read what was written meanwhile. Returns True if there may be more."""
        ready, _, _ = select.select([self._keyboard], [], [], 0.1)
        if not ready:
            return self.process.poll() is None
        try:
            written = os.read(self._keyboard, 65_536)
        except OSError:  # raised on Linux once no process has the terminal open
            return False
        self._written += written
        return bool(written)


@contextmanager
def at_terminal(folder: Path, url: str, *arguments: str) -> Iterator[Terminal]:
    """The chat at a terminal of 80 columns."""
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, "chat", *arguments],
        stdin=screen,
        stdout=screen,
        stderr=screen,
        env=environment(url, folder),
        cwd=folder,
        start_new_session=True,
    )
    os.close(screen)
    try:
        yield Terminal(process, keyboard)
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)


def test_person_talks_at_a_terminal_rewinds_and_ends(api: FakeApi, tmp_path: Path) -> None:
    api.replies.append(says("For how many?", node="booking", left="greet"))
    with at_terminal(tmp_path, api.url, "booking-line") as terminal:
        terminal.see("Replies come from the offline demo model: scripted words, no AI.")
        terminal.see("agent Good evening.")
        terminal.type("A table, please\r")
        terminal.see("→ booking")
        terminal.see("agent For how many?")
        terminal.type("/rewind\r")
        terminal.see("2 A table, please")
        terminal.see("Go back to which turn?")
        terminal.type("1\r")
        terminal.see("Rewound to turn 1.")
        terminal.type("/end bored\r")
        terminal.see("The session has ended: bored.")
        assert terminal.end() == 0
    assert api.rewinds == [{"turn_id": "t0", "before": False}]


def test_ctrl_c_stops_waiting_for_a_reply_that_enter_waits_for_again(api: FakeApi, tmp_path: Path) -> None:
    held = threading.Event()

    def hold(request: Request, carry_out: Callable[[], Response]) -> Response:
        held.wait(PATIENCE)
        return carry_out()

    api.faults.append(hold)
    with at_terminal(tmp_path, api.url, "booking-line") as terminal:
        terminal.see("Good evening.")
        terminal.type("A table, please\r")
        until_seen(lambda: bool(api.messages), lambda: "the message was never sent")
        terminal.see("0 s")
        terminal.press_ctrl_c()
        terminal.see("Stopped waiting.")
        held.set()
        terminal.type("\r")
        terminal.see("agent You said A table, please")
        terminal.type("/quit\r")
        terminal.see(f"playhead chat --session {SESSION_ID}")
        assert terminal.end() == 0
    assert len({message["message_id"] for message in api.messages}) == 1
    assert api.said == ["A table, please"]


def test_ctrl_c_stops_a_reply_and_the_conversation_goes_on(api: FakeApi, tmp_path: Path) -> None:
    api.faults.append(streams_until_stopped(api))
    with at_terminal(tmp_path, api.url, "booking-line") as terminal:
        terminal.see("Good evening.")
        terminal.type("A table, please\r")
        terminal.see("agent We have a")
        terminal.press_ctrl_c()
        terminal.see("table")
        terminal.see("(interrupted)")
        terminal.type("On second thoughts\r")
        terminal.see("agent You said On second thoughts")
        terminal.type("/quit\r")
        assert terminal.end() == 0
    assert api.cancelled.is_set()
    assert api.said == ["A table, please", "On second thoughts"]


def test_piped_chat_is_plain_text_and_ends_with_its_input(api: FakeApi, tmp_path: Path) -> None:
    done = piped(tmp_path, api.url, "A table, please\n/timeline\n", "booking-line")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "you: A table, please\nagent: You said A table, please\n" in done.stdout
    assert "   2  A table, please" in done.stdout
    assert done.stderr == f"The session stays alive. Come back with: playhead chat --session {SESSION_ID}\n"


def test_piped_chat_with_an_unanswered_message_has_status_1(api: FakeApi, tmp_path: Path) -> None:
    api.replies.append(fails("Overloaded."))
    done = piped(tmp_path, api.url, "Hello\n", "booking-line", "--json")
    assert done.returncode == 1
    assert [json.loads(line)["kind"] for line in done.stdout.splitlines()] == [
        "session",
        "turn",
        "turn",
        "trouble",
        "left",
    ]


def test_chat_without_an_api_has_status_3_and_says_what_to_do(tmp_path: Path) -> None:
    done = piped(tmp_path, "http://127.0.0.1:9", "Hello\n", "booking-line")
    assert done.returncode == 3
    assert "cannot be reached" in done.stderr
    assert "playhead dev" in done.stderr
    assert done.stdout == ""


def test_chat_with_an_unknown_agent_has_status_2(api: FakeApi, tmp_path: Path) -> None:
    done = piped(tmp_path, api.url, "", "nobody")
    assert done.returncode == 2
    assert "playhead agents ls" in done.stderr


@needs_proc
def test_chat_goes_on_when_the_whole_stack_was_killed_and_started_again(tmp_path: Path) -> None:
    with dev_stack(tmp_path) as stack:
        url = stack.until_ready()["api_url"]
        with at_terminal(tmp_path, url, "booking-line") as terminal:
            terminal.see("offline demo model: scripted words, no AI.")
            terminal.see("Osteria Fiorella. How can I help you?")
            terminal.type("I would like to book a table.\r")
            terminal.see("→ booking", "[demo model]")  # words are shown at once, the change of node once it is saved
            terminal.type("/node\r")
            terminal.see("Current node: booking")
            stack.end_with(signal.SIGKILL)
            terminal.type("Tomorrow at seven, for four, in the name of Moreau.\r")
            terminal.see("with the same message id, so that nothing is sent twice.")
            with dev_stack(tmp_path, stack.ports) as again:
                again.until_ready()
                terminal.see("Connected again.")
                terminal.see("agent [demo model]")
                terminal.type("/rewind 2\r")
                terminal.see("Rewound to turn 2.")
                terminal.type("In fact it is a private event.\r")
                terminal.see("This is a new branch")
                terminal.type("/branches\r")
                terminal.see("Tomorrow at seven")
                terminal.type("/end\r")
                terminal.see("The session has ended")
                terminal.see("demo:scripted")
                assert terminal.end() == 0
                (session,) = again.http.get("/v1/sessions").json()["items"]
                shown = again.http.get(f"/v1/sessions/{session['id']}").json()
                assert len(shown["turns"]) == 3
                assert [len(branch["turns"]) for branch in shown["discarded_branches"]] == [1]
                assert again.end_with(signal.SIGTERM) == 0, again.log
    until_gone(tmp_path)
