"""Fixtures of several packages: the real Temporal development server, started once for the whole run."""

import gc
import logging
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from hashlib import sha256
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio
import structlog
from pytest_httpserver import HTTPServer
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from contracts.sessions import StartSession
from playhead.temporal.carried_sessions import CarriedSessions
from playhead.temporal.client import PlayheadPlugin
from playhead.temporal.dev_server import DYNAMIC_CONFIG, dynamic_config, server_program
from tests.support.deadlock_detector import allow_slow_workflow_tasks
from tests.support.marked_words import MARK, logs_with_marked_words
from tests.support.provider import ModelProvider, model_provider
from workflows.search_attributes import ALL

# A shell starts background jobs with SIGINT ignored, and every process that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine any example may take long, whatever the code does.
hypothesis.settings.register_profile("playhead", deadline=None)
hypothesis.settings.load_profile("playhead")

PROMPT_TIMERS = dynamic_config({**DYNAMIC_CONFIG, "history.timerProcessorMaxTimeShift": "1ms"})
"""Playhead's configuration of the server with more precise timers: a pause of 50 ms must not take 100 ms."""
PROMPT_DELETION = dynamic_config({"history.transferProcessorEnsureCloseBeforeDelete": False})
"""By default it takes half a minute to delete a workflow that has just closed: other tasks of it must be done first."""

# Rendering a traceback in colours, with the variables of every frame, takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

TESTS = Path(__file__).parent
FAST_TESTS_ON_TEMPORAL = frozenset(
    {
        "api/routes/test_messages.py",
        "api/sessions/test_reader.py",
        "api/streams/test_session_stream.py",
        "workflows/session/test_conversation.py",
        "workflows/session/test_rewind.py",
        "workflows/session/test_settlement.py",
        "workflows/suite/test_suite.py",
    }
)
"""Tests on the Temporal server that `make test-fast` runs, as a sample."""
SMOKE_TEST = "test_conversations_outlive_the_stack"
"""The one test of `make test-fast` that starts a whole stack."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--order`, which finds tests that depend on the tests before them."""
    parser.addoption("--order", default="", metavar="WORD", help="run the tests in an order of their own for each word")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark as `slow` what `make test-fast` leaves out: PostgreSQL, whole stacks, and most tests on Temporal."""
    if _is_slow(item):
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests by the word of `--order`."""
    if word := config.getoption("order"):
        items.sort(key=lambda item: _position(item, word))


def pytest_collection_finish() -> None:
    """Freeze the garbage collector after collection: the tests are a million objects that live to the end."""
    gc.collect()
    gc.freeze()


def _position(item: pytest.Item, word: str) -> tuple[bool, bytes, bytes]:
    """The position of a test: PostgreSQL last, as a process needs long to go from one database to the other."""
    file = item.nodeid.partition("::")[0]
    return ("postgresql" in item.name, _digest(word, file), _digest(word, item.nodeid))


def _digest(word: str, name: str) -> bytes:
    return sha256(f"{word} {name}".encode()).digest()


def _is_slow(item: pytest.Item) -> bool:
    path = item.path.relative_to(TESTS).as_posix()
    if "postgresql" in item.name:
        return True
    if path.startswith(("clients/", "e2e/", "operators/", "packaging/", "page/")):
        return item.name != SMOKE_TEST
    return "temporal_server" in getattr(item, "fixturenames", ()) and path not in FAST_TESTS_ON_TEMPORAL


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that logged or printed marked words: no words of a conversation belong in a log."""
    report = yield
    if report.passed and any(MARK in content for name, content in report.sections if name.startswith("Captured")):
        report.outcome = "failed"
        report.longrepr = f"Marked words of a conversation were written: {report.sections}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _no_words_in_log_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search the log files of all processes that the tests started, once all have ended."""
    yield
    found = logs_with_marked_words(tmp_path_factory.getbasetemp())
    assert not found, f"marked words of a conversation are in {found}"


PAUSING = dynamic_config({"frontend.WorkflowPauseEnabled": True})
"""Lets operators pause workflows."""


@pytest.fixture(scope="session", autouse=True)
def _quiet_temporal() -> None:
    """Silence the SDK's warnings about failed attempts: many tests make attempts fail."""
    logging.getLogger("temporalio").setLevel(logging.ERROR)


@pytest.fixture(scope="session", autouse=True)
def _carried_sessions_are_as_they_are_read() -> Iterator[None]:
    """Check that every input that a worker takes from its memory, rather than parsing it, equals the parsed one."""
    take, different = CarriedSessions.take, []

    def compare(carried: CarriedSessions, written: bytes) -> StartSession | None:
        kept = take(carried, written)
        if kept is not None and kept != StartSession.model_validate_json(written):
            different.append(kept.session_id)
        return kept

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CarriedSessions, "take", compare)
        yield
    assert not different, f"what was carried over of {different} is not what was written"


@pytest.fixture(scope="session", autouse=True)
def _patient_deadlock_detector() -> None:
    """Let workflow tasks take longer than two seconds: the test machine is busy."""
    allow_slow_workflow_tasks()


@pytest.fixture(scope="session")
def empty_certificate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder of certificates: reading the system's for each HTTP client takes a fifth of a test's time."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(autouse=True)
def _without_ca_certificates(empty_certificate_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make HTTP clients start fast, without CA certificates: none of them connects to a server outside the machine."""
    monkeypatch.setenv("SSL_CERT_DIR", str(empty_certificate_folder))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest_asyncio.fixture(scope="session")
async def temporal_server() -> AsyncIterator[WorkflowEnvironment]:
    """The real server on a free port, in memory, with Playhead's search attributes."""
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(server_program()),
        search_attributes=list(ALL),
        dev_server_log_level="error",
        dev_server_extra_args=[*PROMPT_TIMERS, *PROMPT_DELETION, *PAUSING],
        plugins=[PlayheadPlugin()],
    )
    try:
        yield server
    finally:
        await server.shutdown()


@pytest_asyncio.fixture(scope="session")
async def client(temporal_server: WorkflowEnvironment) -> Client:
    """A client of the server, as Playhead makes it."""
    return temporal_server.client


@pytest_asyncio.fixture(scope="session")
async def provider() -> AsyncIterator[ModelProvider]:
    """A model provider over real HTTP; its model strings begin with `openai-chat:`."""
    with pytest.MonkeyPatch.context() as environment:
        async with model_provider() as running:
            environment.setenv("OPENAI_BASE_URL", running.base_url)
            environment.setenv("OPENAI_API_KEY", "a key of the tests")
            yield running


@pytest.fixture(scope="session")
def local_server() -> Iterator[HTTPServer]:
    """A server that runs as long as the tests: stopping one takes half a second."""
    with HTTPServer(host="127.0.0.1") as server:
        yield server


@pytest.fixture
def service(local_server: HTTPServer) -> HTTPServer:
    """An empty web service at 127.0.0.1; its log is the journal of the requests it received."""
    local_server.clear()
    return local_server
