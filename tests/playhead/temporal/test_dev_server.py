"""The ports of the development server, and protection from web pages of other sites."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from playhead.exit_codes import CommandFailed
from playhead.temporal import dev_server
from playhead.temporal.dev_server import LOOPBACK, ServerAddresses, TemporalServer, temporal_server
from tests.support.ports import free_port
from tests.support.waiting import eventually

CROSS_SITE = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}
START = '{"workflowType": {"name": "Session"}, "taskQueue": {"name": "playhead"}}'


@pytest_asyncio.fixture
async def http_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[ServerAddresses, int]]:
    """A running server, and the port of its HTTP API."""
    chosen: list[int] = []

    def noted() -> int:
        chosen.append(free_port())
        return chosen[-1]

    monkeypatch.setattr(dev_server, "free_port", noted)
    addresses = ServerAddresses(tmp_path, free_port(), free_port())
    async with temporal_server(addresses):
        yield addresses, chosen[0]


async def test_files_of_the_server_are_readable_by_their_owner_only(http_ports: tuple[ServerAddresses, int]) -> None:
    """Also in an existing folder that others may read."""
    addresses, _ = http_ports
    files = [*addresses.folder.glob("temporal.*"), addresses.log_file]
    assert len(files) > 2
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in files} == {file.name: "0o600" for file in files}


async def test_no_web_page_starts_a_workflow(http_ports: tuple[ServerAddresses, int]) -> None:
    addresses, http_port = http_ports
    path = f"/api/v1/namespaces/default/workflows/{uuid4().hex}"
    async with httpx2.AsyncClient(trust_env=False) as browser:
        for host in (f"{LOOPBACK}:{http_port}", "localhost", "evil.example"):
            url = f"http://{LOOPBACK}:{http_port}"
            headers = {**CROSS_SITE, "Host": host}
            assert (await browser.post(url + path, content=START, headers=headers)).status_code == 403, host
            assert (await browser.get(f"{url}/api/v1/namespaces", headers=headers)).status_code == 403, host
        url = addresses.ui_url
        assert (await browser.post(url + path, content=START, headers=CROSS_SITE)).status_code == 403

        async def works() -> bool:
            return (await browser.get(f"{url}/api/v1/namespaces")).status_code == 200

        await eventually(works)  # the UI itself
    client = await Client.connect(addresses.address)
    with pytest.raises(RPCError) as unknown:
        await client.get_workflow_handle(path.rpartition("/")[2]).describe()
    assert unknown.value.status is RPCStatusCode.NOT_FOUND


async def test_a_server_that_accepts_connections_is_not_ready_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev_server, "START_SECONDS", 0.5)
    with socket.create_server((LOOPBACK, 0)) as unresponsive:
        addresses = ServerAddresses(tmp_path, unresponsive.getsockname()[1], free_port())
        addresses.log_file.touch()
        server = TemporalServer(addresses, await asyncio.create_subprocess_exec("sleep", "60"))
        try:
            with pytest.raises(CommandFailed, match="did not answer within"):
                await server.wait_until_ready()
        finally:
            await server.end()


async def test_a_server_whose_port_was_taken_meanwhile_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ServerAddresses(tmp_path, free_port(), free_port())
    with socket.create_server((LOOPBACK, 0)) as taken:
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(dev_server, "free_port", lambda: next(ports, None) or free_port())
        async with temporal_server(addresses):
            await Client.connect(addresses.address)
    assert next(ports, None) is None, "the taken port was tried"
