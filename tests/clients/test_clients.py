"""Third-party clients against a running stack: each holds three turns, plain, in every way in which it is used."""

from collections.abc import Iterator
from shutil import which
from typing import Any

import pytest

from tests.clients.catalogue import CLIENTS, Client
from tests.clients.table import AGENT, rows_of_the_page
from tests.e2e.processes import DevStack, dev_stack

INSTALL_AND_TALK_SECONDS = 600


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevStack]:
    """`playhead dev` with the demo model."""
    with dev_stack(tmp_path_factory.mktemp("clients")) as stack:
        stack.until_ready()
        yield stack


def conversations(stack: DevStack) -> list[list[str]]:
    """The messages of the user in each session, in their order."""
    found = []
    page = stack.http.get("/v1/sessions", params={"limit": 200}).json()
    for listed in page["items"]:
        session: dict[str, Any] = stack.http.get(f"/v1/sessions/{listed['id']}").json()
        found.append([turn["user_message"]["text"] for turn in session["turns"] if turn["user_message"]])
    return found


def case(client: Client) -> object:
    """The client as a parameter of a test."""
    needs_npm = pytest.mark.skipif(client.kind == "node" and which("npm") is None, reason="there is no npm")
    return pytest.param(client, id=client.folder, marks=needs_npm)


@pytest.mark.timeout(INSTALL_AND_TALK_SECONDS)
@pytest.mark.parametrize("client", [case(client) for client in CLIENTS])
def test_a_client_holds_three_turns_and_the_documentation_says_how(stack: DevStack, client: Client) -> None:
    outcome = client.talk(str(stack.http.base_url).rstrip("/"), AGENT)
    assert not outcome.failures
    held = conversations(stack)
    for way in outcome.ways:
        assert held.count(client.messages(way)) == 1, f"{client.folder}, {way}: {held}"
    assert client.row(outcome) in rows_of_the_page(), "the table is not current: python -m tests.clients.table"
