"""Options of one reply that an OpenAI client asks for: its format, client tools, and the newest system messages."""

from collections.abc import Mapping

from pydantic import JsonValue
from pydantic_core import to_json

from api.openai.client_tools import client_tools_among
from api.openai.errors import ChatError
from api.schemas.requests import MAX_CONTEXT_BYTES
from api.sessions.reader import SessionReader
from domain.agents.definition import SYSTEM_MESSAGE, AgentDefinition
from domain.agents.validation_errors import JsonCopy
from domain.turns.turn import ReplyFormat, ReplyOptions, Turn
from store.agents import AgentStore
from store.sessions.sessions import StoredSession


class ReplyOptionsReader:
    """Finds the options of the next reply of a session."""

    def __init__(self, session_reader: SessionReader, agents: AgentStore) -> None:
        self._session_reader = session_reader
        self._agents = agents

    async def options(
        self,
        session: StoredSession,
        *,
        reply_format: ReplyFormat | None,
        system: str | None,
        offered: frozenset[str] = frozenset(),
        after: Turn | None = None,
    ) -> ReplyOptions | None:
        """The options of a reply, None without any. Raises ChatError if the session cannot keep them.

        `offered` are the functions that the client offers: the agent's client tools among them are options.
        `after` is the turn after which the message is sent, if it may not be the newest one.
        System messages are options when the agent uses them and they differ from those that the session has.
        """
        if reply_format is None and system is None and not offered:
            return None
        definition = await self._agents.definition(session.agent_id, session.agent_version)
        client_tools = client_tools_among(offered, definition)
        if reply_format is None and (system is None or not definition.uses_system_message):
            return ReplyOptions(client_tools=client_tools) if client_tools else None
        head = (await self._session_reader.view(session))[0].head
        branches = after is not None and after.id != head.head_turn_id
        node_id = (after.node_id if after and branches else None) or head.current_node_id
        require_kept(reply_format, definition, node_id)
        context: dict[str, JsonValue] = {}
        if system is not None and definition.uses_system_message:
            known = head.gathered_context.get(SYSTEM_MESSAGE, session.initial_context.get(SYSTEM_MESSAGE))
            context = {} if system == known and not branches else {SYSTEM_MESSAGE: system}
            _require_small(context)
        options = ReplyOptions(context=context, reply_format=reply_format, client_tools=client_tools)
        return None if options == ReplyOptions() else options


def read_reply_format(value: JsonValue, param: str = "response_format") -> ReplyFormat | None:
    """The format that `response_format` asks for; None for plain text. Raises ChatError."""
    if value is None or value == {"type": "text"}:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "json_object":
        return ReplyFormat()
    described = value.get("json_schema") if isinstance(value, dict) else None
    if kind != "json_schema" or not isinstance(described, dict):
        message = f"{param} must be of type text, json_object, or json_schema with its json_schema."
        raise ChatError(400, "unsupported_parameter", message, param)
    return schema_format(described, f"{param}.json_schema")


def schema_format(described: Mapping[str, JsonValue], param: str) -> ReplyFormat:
    """The format that a described JSON schema asks for. Raises ChatError."""
    schema = described.get("schema")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        message = f"{param}.schema must be a JSON schema of type object."
        raise ChatError(400, "unsupported_parameter", message, f"{param}.schema")
    issue = next(iter(JsonCopy(schema).issues), None)
    if issue is not None:
        message = f"{param}.schema cannot be used: {issue.message}."
        raise ChatError(400, "unsupported_parameter", message, f"{param}.schema")
    if len(to_json(schema)) > MAX_CONTEXT_BYTES:
        message = f"{param}.schema is too large: at most {MAX_CONTEXT_BYTES} bytes are allowed."
        raise ChatError(413, "too_large", message, f"{param}.schema")
    name, description, strict = (described.get(key) for key in ("name", "description", "strict"))
    return ReplyFormat(
        json_schema=schema,
        name=name if isinstance(name, str) else None,
        description=description if isinstance(description, str) else None,
        strict=strict if isinstance(strict, bool) else None,
    )


def require_kept(reply_format: ReplyFormat | None, definition: AgentDefinition, node_id: str) -> None:
    """Raise ChatError if a node cannot honour the format, because its replies may consist of several texts."""
    if reply_format is None or definition.nodes[node_id].keeps_reply_format:
        return
    message = (
        f"response_format cannot be kept: the agent is at the node {node_id}, which has tools or transitions, so its "
        "replies can be put together from several texts. Leave it out, or use an agent with a node without them."
    )
    raise ChatError(400, "unsupported_parameter", message, "response_format")


def _require_small(context: Mapping[str, JsonValue]) -> None:
    if len(to_json(context)) > MAX_CONTEXT_BYTES:
        message = f"The system messages are too large for a session: at most {MAX_CONTEXT_BYTES} bytes are allowed."
        raise ChatError(413, "too_large", message, "messages")
