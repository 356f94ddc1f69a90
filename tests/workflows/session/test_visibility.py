"""Search attributes of sessions, and data that must not be in them."""

from collections.abc import Callable

from google.protobuf.json_format import MessageToJson
from temporalio.api.sdk.v1 import WorkflowMetadata

from api.temporal.session_client import SessionClient
from tests.support.agents import GREETING
from tests.support.provider import Gate, ScriptedModel, TextReply
from tests.support.session_stack import SessionHandle, SessionStack
from tests.support.waiting import eventually
from workflows.search_attributes import AGENT, NODE, ORG, STATUS, SUITE

Scripted = Callable[..., ScriptedModel]

SECRET = "my PIN is 0000"


async def shown(session: SessionHandle) -> str:
    """The current details, as the Temporal UI asks for them."""
    metadata: WorkflowMetadata = await session.handle.query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    return metadata.current_details


async def test_the_current_details_show_the_conversation(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("At nine.", gate=gate)).string)
    assert f"- **Agent:** {GREETING}" in await shown(session)
    await session.say("When do you open?", wait=False)
    await gate.reached()
    pending = await shown(session)
    version = session.start.agent.version
    described = f"**a test** with library-clerk, version {version}\n\n**pending_assistant_turn** at revision 3"
    assert pending.startswith(described)
    assert pending.endswith("- **User:** When do you open?\n- *pending*")
    gate.open()
    await session.until_settled()
    assert (await shown(session)).endswith("- **User:** When do you open?\n- **Agent:** At nine.")


async def test_a_session_opened_by_the_api_has_a_static_summary(stack: SessionStack) -> None:
    session = await stack.prepare()
    api = SessionClient(stack.client, task_queue=stack.task_queue, wait_seconds=10.0)
    await api.open(session.start)
    described = await session.handle.describe()
    assert await described.static_summary() == f"a test with library-clerk, version {session.start.agent.version}"
    assert "`demo`" in (await described.static_details() or "")


async def test_status_and_node_are_published_when_a_session_is_settled(stack: SessionStack, scripted: Scripted) -> None:
    gate = Gate()
    session = await stack.open(model=scripted(TextReply("At nine.", gate=gate), TextReply("Goodbye.")).string)
    await session.until_settled()
    assert await published(session) == ("idle", "desk")
    await session.say("When do you open?", wait=False)
    await gate.reached()
    assert (await session.status()).status == "pending_assistant_turn"
    assert await published(session) == ("idle", "desk"), "a pending reply is not worth a change"
    gate.open()
    await session.until_settled()
    await session.rewind((await session.timeline()).turns[0].id)
    await eventually(lambda: is_published(session, "rewound", "desk"))
    await session.end()
    await session.handle.result()
    assert await published(session) == ("completed", "desk")


async def test_unchanged_search_attributes_are_not_published_again(stack: SessionStack, scripted: Scripted) -> None:
    session = await stack.open(model=scripted().string)
    for number in range(5):
        await session.say(f"Message {number}")
        await session.until_settled()
    happened = await session.event_counts()
    assert happened["UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"] == 1, "the first node, and nothing after it"


async def test_sessions_are_found_by_their_search_attributes(stack: SessionStack) -> None:
    session = await stack.open()
    await session.until_settled()
    agent = session.start.agent.id
    query = f"{ORG.name} = '{session.start.organization_id}' AND {AGENT.name} = '{agent}' AND {NODE.name} = 'desk'"

    async def is_listed() -> bool:
        found = [each.id async for each in stack.client.list_workflows(query)]
        return session.workflow_id in found

    await eventually(is_listed)
    described = await session.handle.describe()
    assert described.typed_search_attributes.get(SUITE) is None


async def test_no_id_search_attribute_memo_or_summary_contains_text_of_the_conversation(
    stack: SessionStack, scripted: Scripted
) -> None:
    session = await stack.open(model=scripted(TextReply(f"I shall remember: {SECRET}")).string)
    await session.say(SECRET)
    await session.end(f"because {SECRET}")
    await session.handle.result()
    described = await session.handle.describe()
    assert "PIN" not in session.workflow_id
    assert "PIN" not in str(described.typed_search_attributes)
    assert "PIN" not in str(await described.static_summary())
    assert "PIN" not in str(described.raw_description.workflow_execution_info.memo)
    for event in await session.events():
        assert "PIN" not in MessageToJson(event.user_metadata)
        update = event.workflow_execution_update_accepted_event_attributes
        assert "PIN" not in update.accepted_request.meta.update_id


async def published(session: SessionHandle) -> tuple[str | None, str | None]:
    """The session's status and node as Temporal's lists show them."""
    found = (await session.handle.describe()).typed_search_attributes
    return found.get(STATUS), found.get(NODE)


async def is_published(session: SessionHandle, status: str, node: str) -> bool:
    return await published(session) == (status, node)
