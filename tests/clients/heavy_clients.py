"""Clients that take minutes to install hold three turns too: `make test-clients`. `make test` does not collect them."""

from collections.abc import Iterator

import pytest

from tests.clients.catalogue import HEAVY_CLIENTS, Client
from tests.clients.table import AGENT, SLOW_REPLIES, rows_of_the_page
from tests.clients.test_clients import INSTALL_AND_TALK_SECONDS, case, conversations
from tests.e2e.processes import DevStack, dev_stack


@pytest.fixture(scope="module")
def slow_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevStack]:
    """`playhead dev` with the demo model, whose replies last long enough to be interrupted."""
    with dev_stack(tmp_path_factory.mktemp("heavy-clients"), None, **SLOW_REPLIES) as stack:
        stack.until_ready()
        yield stack


@pytest.mark.timeout(INSTALL_AND_TALK_SECONDS)
@pytest.mark.parametrize("client", [case(client) for client in HEAVY_CLIENTS])
def test_a_heavy_client_holds_three_turns_even_with_interruptions(slow_stack: DevStack, client: Client) -> None:
    outcome = client.talk(str(slow_stack.http.base_url).rstrip("/"), AGENT)
    assert not outcome.failures
    # A message may be joined with the next one if the client kept nothing of its reply.
    held = ["\n\n".join(messages).split("\n\n") for messages in conversations(slow_stack)]
    for way in outcome.ways:
        assert held.count(client.messages(way)) == 1, f"{client.folder}, {way}: {held}"
    assert client.row(outcome) in rows_of_the_page(), "the table is not current: python -m tests.clients.table"
