"""Search attributes are registered in a new Temporal namespace by the first service that starts."""

from unittest.mock import patch

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from playhead.temporal import client as playhead_client
from playhead.temporal.client import ensure_search_attributes
from playhead.temporal.dev_server import server_program
from tests.support.proxy import proxy_to
from workflows import search_attributes


async def registered(client: Client) -> set[str]:
    """The custom search attributes of the client's namespace."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    return set((await client.operator_service.list_search_attributes(request)).custom_attributes)


async def test_missing_search_attributes_are_registered_once() -> None:
    wanted = {key.name for key in search_attributes.ALL}
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(server_program()), dev_server_log_level="error"
    ) as server:
        assert not wanted & await registered(server.client)
        await ensure_search_attributes(server.client)
        assert wanted <= await registered(server.client)
        await ensure_search_attributes(server.client)


async def test_every_request_of_the_registration_survives_a_broken_connection() -> None:
    wanted = {key.name for key in search_attributes.ALL}
    async with (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=str(server_program()), dev_server_log_level="error"
        ) as server,
        proxy_to(server) as proxy,
    ):
        list_missing = playhead_client._missing_search_attributes
        lost: list[int] = []

        async def loses_the_requests_around_it(client: Client) -> list[str]:
            lost.append(proxy.to_lose)
            proxy.to_lose = 1
            missing = await list_missing(client)
            lost.append(proxy.to_lose)
            proxy.to_lose = 1 if len(lost) == 2 else 0  # the registration follows
            return missing

        with patch.object(playhead_client, "_missing_search_attributes", loses_the_requests_around_it):
            await ensure_search_attributes(await Client.connect(proxy.address))
        assert set(lost) == {0}
        assert wanted <= await registered(server.client)
