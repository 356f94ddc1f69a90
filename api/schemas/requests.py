"""Request models, validated strictly."""

import re
from typing import Annotated, Any, Final, Self, TypeVar
from uuid import uuid4

from fastapi import Header
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError, to_json

from api.http.problems import invalid
from api.schemas.examples import END, NEW_MESSAGE, NEW_SESSION, REWIND, SIMULATOR
from domain.agents.definition import Limits
from domain.agents.validation_errors import JsonCopy
from domain.sessions.caller_config import CallerLimits, Persona, SetSimulator, SimulatorConfig
from domain.sessions.commands import (
    ClientResult,
    DecideApproval,
    EditMessage,
    EndSession,
    OnBusy,
    Regenerate,
    ReturnResults,
    Rewind,
    SendMessage,
)
from domain.turns.turn import ReplyOptions

MAX_CONTEXT_BYTES: Final = 65_536
"""64 KiB of JSON for the initial context and for the annotations, which are part of every session response."""
MESSAGE_ID_PATTERN: Final = r"^[!-~]{1,200}$"
"""Printable ASCII without spaces: it is part of a Temporal update id and a header value."""


def storable(value: str) -> str:
    """Reject text that PostgreSQL or UTF-8 cannot represent."""
    issue = next(iter(JsonCopy(value).issues), None)
    if issue is not None:
        raise PydanticCustomError("not_storable", "has a character that cannot be stored (NUL or a lone surrogate)")
    return value


def storable_or_none(value: str | None) -> str | None:
    """Reject text of a query that PostgreSQL or UTF-8 cannot represent."""
    return None if value is None else storable(value)


def written_out(value: object) -> object:
    """Reject a time that is written as a number: it could mean seconds or milliseconds."""
    if isinstance(value, str) and not re.match(r"\d{4}-\d{2}-\d{2}", value):
        raise PydanticCustomError("not_a_time", "must be a time such as 2026-11-28T12:00:00Z")
    return value


def _storable_json(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Reject values that JSON cannot represent, such as NaN, and those that are too large or too deep."""
    issue = next(iter(JsonCopy(values).issues), None)
    if issue is not None:
        raise PydanticCustomError(
            "not_storable", "at {place}: {message}", {"place": issue.path, "message": issue.message}
        )
    size = len(to_json(values))
    if size > MAX_CONTEXT_BYTES:
        figures = {"limit": MAX_CONTEXT_BYTES, "actual": size}
        raise PydanticCustomError("too_large", "has {actual} bytes as JSON; the maximum is {limit}", figures)
    return values


def _storable_value(value: JsonValue) -> JsonValue:
    """Reject a value that JSON cannot represent, such as NaN, or that is too large or too deep."""
    _storable_json({"value": value})
    return value


def storable_value(value: JsonValue) -> JsonValue:
    """Reject a value that JSON, PostgreSQL or UTF-8 cannot represent."""
    issue = next(iter(JsonCopy({"result": value}).issues), None)
    if issue is not None:
        raise PydanticCustomError("not_storable", "cannot be stored: {message}", {"message": issue.message})
    return value


def _as_version(value: object) -> object:
    return {"id": value} if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(storable)]
MAX_ITEMS: Final = 20_000
"""Entries of one list: more than any client sends, and few enough to build a model of each."""
MAX_FIELDS: Final = 100
"""Fields in an object with a fixed set of fields: more than any such object has."""
_Item = TypeVar("_Item")
Items = Annotated[list[_Item], Field(max_length=MAX_ITEMS, fail_fast=True)]
"""A list whose validation stops at the first error: 1 MiB can hold half a million, each of which takes a kilobyte."""
Phrase = Annotated[str, StringConstraints(pattern=r"\S", max_length=200), AfterValidator(storable)]
Values = Annotated[dict[str, JsonValue], AfterValidator(_storable_json)]
AnyJson = Annotated[JsonValue, AfterValidator(_storable_value)]
MessageId = Annotated[str, StringConstraints(pattern=MESSAGE_ID_PATTERN)]
IdempotencyKey = Annotated[
    str | None, Header(pattern=MESSAGE_ID_PATTERN, description="Same as `message_id` in the body.")
]
CreationKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=MESSAGE_ID_PATTERN,
        description="A key of the client's choice: a repeat with the same key creates nothing.",
    ),
]
ExpectedRevision = Annotated[
    int | None, Field(ge=0, description="Rejected with 409 unless the session is at this revision.")
]


MAX_CLIENT_TOOLS: Final = 100
ClientTools = Annotated[
    tuple[Annotated[str, StringConstraints(max_length=200), AfterValidator(storable)], ...],
    Field(
        max_length=MAX_CLIENT_TOOLS,
        fail_fast=True,
        strict=False,
        description="Names of the agent's client tools that you are able to carry out; only those are offered to the "
        "model. The response is then also sent when the turn waits for their results: see `client_calls`.",
    ),
]


class _FewFields(BaseModel):
    """An object with known fields. One with thousands of others is rejected before each becomes an error."""

    @model_validator(mode="before")
    @classmethod
    def _check_number_of_fields(cls, value: object) -> object:
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise PydanticCustomError(
                "too_many_fields",
                "has {actual} fields, and at most {limit} can be right",
                {"actual": len(value), "limit": MAX_FIELDS},
            )
        return value


class _Body(_FewFields):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AgentVersion(_Body):
    """An agent by its id or name, and a version; without one, the latest."""

    id: Phrase
    version: Annotated[int, Field(ge=1)] | None = None


class SessionLimits(_FewFields, Limits):
    """Limits of one session; those that are omitted keep the values of the agent."""

    model_config = ConfigDict(extra="forbid")


class CallerPersona(_FewFields, Persona):
    """Persona of a simulated user."""

    model_config = ConfigDict(extra="forbid")


class CallerBounds(_FewFields, CallerLimits):
    """Limits of a simulated user."""

    model_config = ConfigDict(extra="forbid")


class CallerConfig(_FewFields, SimulatorConfig):
    """Configuration of a simulated user."""

    model_config = ConfigDict(extra="forbid")

    persona: CallerPersona = CallerPersona()
    limits: CallerBounds = CallerBounds()

    @model_validator(mode="after")
    def _check_storable(self) -> Self:
        _storable_json(self.model_dump(mode="json"))
        return self

    def config(self) -> SimulatorConfig:
        """The configuration as a domain value."""
        return SimulatorConfig.model_validate(self.model_dump())


class SimulatorSwitch(_Body):
    """A simulated user, switched on or off. Without a `config` the current one is kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [SIMULATOR]})

    enabled: bool = True
    config: CallerConfig | None = None
    expected_revision: ExpectedRevision = None

    def command(self) -> SetSimulator:
        """The domain command."""
        config = self.config.config() if self.config else None
        return SetSimulator(enabled=self.enabled, config=config, expected_revision=self.expected_revision)


def _with_config(switch: SimulatorSwitch | None) -> SimulatorSwitch | None:
    if switch is not None and switch.enabled and switch.config is None:
        raise PydanticCustomError("no_config", "needs a config: a new session has no simulated user yet")
    return switch


class NewSession(_Body):
    """A session to create. `agent` is an id or a name, or an object with a version."""

    model_config = ConfigDict(json_schema_extra={"examples": [NEW_SESSION]})

    agent: Annotated[AgentVersion, BeforeValidator(_as_version, json_schema_input_type=str | AgentVersion)]
    name: Phrase | None = None
    initial_context: Annotated[Values, Field(description="Values for the agent's templates; at most 64 KiB.")] = {}
    annotations: Annotated[Values, Field(description="Stored and returned unchanged; at most 64 KiB.")] = {}
    simulator: Annotated[
        SimulatorSwitch | None,
        AfterValidator(_with_config),
        Field(description="A simulated user that talks to the agent after the greeting."),
    ] = None
    limits: Annotated[SessionLimits | None, Field(description="Limits that override those of the agent.")] = None

    @property
    def caller(self) -> SimulatorConfig | None:
        """The simulated user that the session starts with; None when it is switched off."""
        switch = self.simulator
        return switch.config.config() if switch and switch.enabled and switch.config else None

    def limits_over(self, limits: Limits) -> Limits:
        """The agent's limits, overridden by those of the request."""
        given = self.limits
        return limits.model_copy(
            update={name: getattr(given, name) for name in given.model_fields_set} if given else {}
        )


class NewMessage(_Body):
    """A message to send. `on_busy` decides what happens while a reply is pending.

    The message is rejected (`reject`), queued (`enqueue`), stops the reply and is answered next (`interrupt`), or
    stops the reply and replaces its turn (`rollback`).
    """

    model_config = ConfigDict(json_schema_extra={"examples": [NEW_MESSAGE]})

    text: Annotated[Text, Field(description="At most 32,000 characters, not blank.")]
    message_id: Annotated[MessageId | None, Field(description="Same as the header `Idempotency-Key`.")] = None
    expected_revision: ExpectedRevision = None
    on_busy: OnBusy | None = None
    client_tools: ClientTools = ()

    def command(self, idempotency_key: str | None, *, wait: bool, hands_over: bool = False) -> SendMessage:
        """The domain command, always with a message id. With `hands_over` the wait may end at calls of client tools.

        Raises Problem("invalid_request") when header and body name different ids.
        """
        return SendMessage(
            text=self.text,
            message_id=_message_id(self.message_id, idempotency_key),
            expected_revision=self.expected_revision,
            on_busy=self.on_busy,
            wait=wait,
            options=ReplyOptions(client_tools=self.client_tools) if self.client_tools else None,
            hands_over=hands_over and bool(self.client_tools),
        )


class EditBody(_Body):
    """The new message of a turn."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "A table for three, please"}]})

    text: Annotated[Text, Field(description="At most 32,000 characters, not blank.")]
    message_id: Annotated[MessageId | None, Field(description="Same as the header `Idempotency-Key`.")] = None
    expected_revision: ExpectedRevision = None
    client_tools: ClientTools = ()

    def command(self, turn_id: str, idempotency_key: str | None, *, wait: bool) -> EditMessage:
        """The domain command. Raises Problem("invalid_request") as `NewMessage.command` does."""
        message_id = _message_id(self.message_id, idempotency_key)
        return EditMessage(
            turn_id=turn_id,
            text=self.text,
            message_id=message_id,
            expected_revision=self.expected_revision,
            wait=wait,
            options=ReplyOptions(client_tools=self.client_tools) if self.client_tools else None,
            hands_over=bool(self.client_tools),
        )


class RegenerateBody(_Body):
    """Options for answering a turn again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"expected_revision": 6}]})

    message_id: Annotated[MessageId | None, Field(description="Same as the header `Idempotency-Key`.")] = None
    expected_revision: ExpectedRevision = None

    def command(self, turn_id: str, idempotency_key: str | None, *, wait: bool) -> Regenerate:
        """The domain command. Raises Problem("invalid_request") as `NewMessage.command` does."""
        message_id = _message_id(self.message_id, idempotency_key)
        return Regenerate(
            turn_id=turn_id,
            message_id=message_id,
            expected_revision=self.expected_revision,
            wait=wait,
            hands_over=True,
        )


class RevisionBody(_Body):
    """The revision that a command expects; without one it applies to the session as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"expected_revision": 6}]})

    expected_revision: ExpectedRevision = None


class ForkBody(_Body):
    """Start of a fork: its turn, agent and model. By default the newest turn with the same agent."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"turn_id": "turn_5f0c2a9e41b7"}]})

    turn_id: Text | None = None
    agent: Annotated[
        AgentVersion | None, BeforeValidator(_as_version, json_schema_input_type=str | AgentVersion | None)
    ] = None
    model: Annotated[Phrase | None, Field(description="A model string, such as `openai:gpt-5-mini`.")] = None
    name: Phrase | None = None


class RewindBody(_Body):
    """Target of a rewind: a turn of the active branch, or before it. A null `turn_id` undoes the rewind."""

    model_config = ConfigDict(json_schema_extra={"examples": [REWIND]})

    turn_id: Text | None
    before: bool = False
    expected_revision: ExpectedRevision = None

    def command(self) -> Rewind:
        """The domain command."""
        return Rewind(turn_id=self.turn_id, before=self.before, expected_revision=self.expected_revision)


class DecisionBody(_Body):
    """Reason for a decision on a tool call. A denial and its reason are sent to the model."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Refunds above 100 USD need a manager."}]})

    reason: Annotated[str, Field(max_length=200)] = ""
    expected_revision: ExpectedRevision = None

    def command(self, call_id: str) -> DecideApproval:
        """The domain command."""
        return DecideApproval(call_id=call_id, reason=self.reason, expected_revision=self.expected_revision)


class ClientResultBody(_Body):
    """Result of a call of a client tool: a text, or any JSON. With `is_error` it says why the call failed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"result": {"transferred": True}}]})

    result: Annotated[JsonValue, AfterValidator(storable_value)]
    is_error: bool = False
    expected_revision: ExpectedRevision = None

    def command(self, call_id: str) -> ReturnResults:
        """The domain command."""
        content = self.result if isinstance(self.result, str) else to_json(self.result).decode()
        result = ClientResult(call_id=call_id, content=content, is_error=self.is_error)
        return ReturnResults(results=(result,), expected_revision=self.expected_revision)


class EndBody(_Body):
    """End of a session. `reason` becomes its completion reason."""

    model_config = ConfigDict(json_schema_extra={"examples": [END]})

    reason: Phrase | None = None
    expected_revision: ExpectedRevision = None

    def command(self) -> EndSession:
        """The domain command."""
        given: dict[str, Any] = {"reason": self.reason} if self.reason else {}
        return EndSession(expected_revision=self.expected_revision, **given)


def _message_id(in_body: str | None, in_header: str | None) -> str:
    """The message id, generated if there is none. Raises Problem("invalid_request") when body and header differ."""
    if in_header and in_body and in_header != in_body:
        raise invalid(
            "invalid_request",
            "The header Idempotency-Key and message_id differ. Send one of them, or the same in both.",
            [("header.idempotency-key", "differs from body.message_id")],
        )
    return in_body or in_header or f"msg_{uuid4().hex}"
