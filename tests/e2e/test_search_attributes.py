"""Search attributes are registered in a new Temporal namespace by the first service that starts."""

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from playhead.temporal.client import ensure_search_attributes
from playhead.temporal.dev_server import server_program
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
