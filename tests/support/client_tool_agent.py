"""An agent with tools that its client carries out, and the client that returns their results."""

from contracts.sessions import ReturnResultsResult, SendMessageResult, message_update_id
from domain.agents.definition import AgentDefinition, parse_definition
from domain.sessions.commands import ClientResult, ReturnResults, SendMessage
from domain.sessions.timeline import WaitingClientCall
from domain.turns.turn import ReplyOptions
from tests.support.provider import ToolCallReply
from tests.support.running_api import Json
from tests.support.session_stack import SessionHandle
from tests.support.waiting import eventually
from workflows.session.workflow import SessionWorkflow

TRANSFER: Json = {
    "kind": "client",
    "description": "Transfers the call.",
    "parameters": {
        "type": "object",
        "properties": {"to": {"type": "string"}},
        "required": ["to"],
        "additionalProperties": False,
    },
}
PLAY: Json = {"kind": "client", "description": "Plays a sound."}
CALL = ToolCallReply("transfer", '{"to": "sales"}', text="One moment.")
"""A model's reply that calls one of them, and says something."""
SILENT_CALL = ToolCallReply("transfer", '{"to": "sales"}')
BOTH_CALLS = ToolCallReply("transfer", '{"to": "sales"}', also=(ToolCallReply("play"),))


def switchboard(model: str | None = None, **transfer: object) -> Json:
    """The definition of an agent whose client transfers calls and plays sounds."""
    return {
        "name": "switchboard",
        "model": model,
        "start": "desk",
        "nodes": {"desk": {"prompt": "Help.", "greeting": "Hello.", "tools": ["transfer", "play"]}},
        "tools": {"transfer": {**TRANSFER, **transfer}, "play": PLAY},
    }


def operator(**transfer: object) -> AgentDefinition:
    """The same agent, parsed."""
    return parse_definition(switchboard(None, **transfer))


def asking(text: str, *tools: str, message_id: str, **fields: object) -> SendMessage:
    """A message of a client that carries out these tools; the update also returns when the turn waits for one."""
    command = SendMessage(text=text, message_id=message_id, options=ReplyOptions(client_tools=tools), hands_over=True)
    return command.model_copy(update=fields)


async def ask(session: SessionHandle, command: SendMessage) -> SendMessageResult:
    """Send a message as the API does."""
    update_id = message_update_id(command)
    return await session.handle.execute_update(SessionWorkflow.send_message, command, id=update_id)


async def returned(session: SessionHandle, *results: ClientResult, wait: bool = True) -> ReturnResultsResult:
    """Return results, and wait for the rest of the reply."""
    command = ReturnResults(results=results, wait=wait)
    return await session.handle.execute_update(SessionWorkflow.return_results, command)


async def waiting_calls(session: SessionHandle, count: int) -> tuple[WaitingClientCall, ...]:
    """The waiting calls, once there are `count` of them."""

    async def waiting() -> tuple[WaitingClientCall, ...]:
        calls = (await session.status()).client_calls
        return calls if len(calls) == count else ()

    return await eventually(waiting)
