"""What several unit tests share: a web service on this machine."""

from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer


@pytest.fixture(scope="session")
def local_server() -> Iterator[HTTPServer]:
    """A server that runs as long as the tests: stopping one takes half a second."""
    with HTTPServer(host="127.0.0.1") as server:
        yield server


@pytest.fixture
def service(local_server: HTTPServer) -> HTTPServer:
    """A web service with nothing in it, at 127.0.0.1; its log is the journal of the requests that reached it."""
    local_server.clear()
    return local_server
