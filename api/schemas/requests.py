"""What can be asked of the API: the form of every request body, checked strictly."""

from typing import Annotated, Any, Final, Self
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
from domain.sessions.commands import DecideApproval, EditMessage, EndSession, OnBusy, Regenerate, Rewind, SendMessage

MAX_CONTEXT_BYTES: Final = 65_536
"""64 KiB of JSON for each of the values a session is created with: they travel in every view of it."""
MESSAGE_ID_PATTERN: Final = r"^[!-~]{1,200}$"
"""Printable ASCII without spaces: it is part of an id in Temporal, and a header's value."""


def storable(value: str) -> str:
    """Refuse what PostgreSQL and UTF-8 cannot hold."""
    issue = next(iter(JsonCopy(value).issues), None)
    if issue is not None:
        raise PydanticCustomError("not_storable", "has a character that cannot be stored (NUL or a lone surrogate)")
    return value


def _storable_json(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse what JSON cannot hold, such as NaN, and what is too large or too deep."""
    issue = next(iter(JsonCopy(values).issues), None)
    if issue is not None:
        raise PydanticCustomError(
            "not_storable", "at {place}: {message}", {"place": issue.path, "message": issue.message}
        )
    size = len(to_json(values))
    if size > MAX_CONTEXT_BYTES:
        figures = {"limit": MAX_CONTEXT_BYTES, "actual": size}
        raise PydanticCustomError("too_large", "has {actual} bytes as JSON; at most {limit} are taken", figures)
    return values


def _as_version(value: object) -> object:
    return {"id": value} if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(storable)]
Phrase = Annotated[str, StringConstraints(pattern=r"\S", max_length=200), AfterValidator(storable)]
Values = Annotated[dict[str, JsonValue], AfterValidator(_storable_json)]
MessageId = Annotated[str, StringConstraints(pattern=MESSAGE_ID_PATTERN)]
IdempotencyKey = Annotated[
    str | None, Header(pattern=MESSAGE_ID_PATTERN, description="The same as `message_id` in the body.")
]
ExpectedRevision = Annotated[
    int | None, Field(ge=0, description="Refused with 409 unless the session is at this revision.")
]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AgentVersion(_Body):
    """An agent by its id or its name, and one of its versions; the latest when none is named."""

    id: Phrase
    version: Annotated[int, Field(ge=1)] | None = None


class SessionLimits(Limits):
    """Limits of one session; those that are not named stay the agent's."""

    model_config = ConfigDict(extra="forbid")


class CallerPersona(Persona):
    """Whom a simulated caller plays."""

    model_config = ConfigDict(extra="forbid")


class CallerBounds(CallerLimits):
    """Where a simulated caller gives up."""

    model_config = ConfigDict(extra="forbid")


class CallerConfig(SimulatorConfig):
    """What a simulated caller goes by."""

    model_config = ConfigDict(extra="forbid")

    persona: CallerPersona = CallerPersona()
    limits: CallerBounds = CallerBounds()

    @model_validator(mode="after")
    def _check_storable(self) -> Self:
        _storable_json(self.model_dump(mode="json"))
        return self

    def config(self) -> SimulatorConfig:
        """The same as the domain has it."""
        return SimulatorConfig.model_validate(self.model_dump())


class SimulatorSwitch(_Body):
    """A simulated caller, switched on or off. Without a `config` the one that the session has is kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [SIMULATOR]})

    enabled: bool = True
    config: CallerConfig | None = None
    expected_revision: ExpectedRevision = None

    def command(self) -> SetSimulator:
        """The command of the domain."""
        config = self.config.config() if self.config else None
        return SetSimulator(enabled=self.enabled, config=config, expected_revision=self.expected_revision)


def _with_config(switch: SimulatorSwitch | None) -> SimulatorSwitch | None:
    if switch is not None and switch.enabled and switch.config is None:
        raise PydanticCustomError("no_config", "needs a config: a new session has no caller to go on with")
    return switch


class NewSession(_Body):
    """A session to open. `agent` is an id or a name, or an object that names a version too."""

    model_config = ConfigDict(json_schema_extra={"examples": [NEW_SESSION]})

    agent: Annotated[AgentVersion, BeforeValidator(_as_version, json_schema_input_type=str | AgentVersion)]
    name: Phrase | None = None
    initial_context: Annotated[Values, Field(description="Values for the agent's templates; at most 64 KiB.")] = {}
    annotations: Annotated[Values, Field(description="Kept and shown as given; at most 64 KiB.")] = {}
    simulator: Annotated[
        SimulatorSwitch | None,
        AfterValidator(_with_config),
        Field(description="A simulated caller that talks to the agent from the greeting on."),
    ] = None
    limits: Annotated[SessionLimits | None, Field(description="Replace the agent's limits, each that is named.")] = None

    @property
    def caller(self) -> SimulatorConfig | None:
        """The simulated caller that the session begins with; none when it is switched off."""
        switch = self.simulator
        return switch.config.config() if switch and switch.enabled and switch.config else None

    def limits_over(self, limits: Limits) -> Limits:
        """The agent's limits with those of the request in their place."""
        given = self.limits
        return limits.model_copy(
            update={name: getattr(given, name) for name in given.model_fields_set} if given else {}
        )


class NewMessage(_Body):
    """Something to say. `on_busy` decides what happens while the agent still answers.

    The message is refused (`reject`), waits its turn (`enqueue`), stops the reply and is answered next (`interrupt`),
    or stops it and takes the place of its turn (`rollback`).
    """

    model_config = ConfigDict(json_schema_extra={"examples": [NEW_MESSAGE]})

    text: Annotated[Text, Field(description="At most 32,000 characters, not blank.")]
    message_id: Annotated[MessageId | None, Field(description="The same as the header `Idempotency-Key`.")] = None
    expected_revision: ExpectedRevision = None
    on_busy: OnBusy | None = None

    def command(self, idempotency_key: str | None, *, wait: bool) -> SendMessage:
        """The command of the domain, with a message id in any case.

        Raises Problem("invalid_request") when header and body name different ids.
        """
        return SendMessage(
            text=self.text,
            message_id=_message_id(self.message_id, idempotency_key),
            expected_revision=self.expected_revision,
            on_busy=self.on_busy,
            wait=wait,
        )


class EditBody(_Body):
    """What is said instead."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "A table for three, please"}]})

    text: Annotated[Text, Field(description="At most 32,000 characters, not blank.")]
    message_id: Annotated[MessageId | None, Field(description="The same as the header `Idempotency-Key`.")] = None
    expected_revision: ExpectedRevision = None

    def command(self, turn_id: str, idempotency_key: str | None, *, wait: bool) -> EditMessage:
        """The command of the domain. Raises Problem("invalid_request") as `NewMessage.command` does."""
        message_id = _message_id(self.message_id, idempotency_key)
        return EditMessage(
            turn_id=turn_id,
            text=self.text,
            message_id=message_id,
            expected_revision=self.expected_revision,
            wait=wait,
        )


class RegenerateBody(_Body):
    """How a turn is answered again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"expected_revision": 6}]})

    message_id: Annotated[MessageId | None, Field(description="The same as the header `Idempotency-Key`.")] = None
    expected_revision: ExpectedRevision = None

    def command(self, turn_id: str, idempotency_key: str | None, *, wait: bool) -> Regenerate:
        """The command of the domain. Raises Problem("invalid_request") as `NewMessage.command` does."""
        message_id = _message_id(self.message_id, idempotency_key)
        return Regenerate(turn_id=turn_id, message_id=message_id, expected_revision=self.expected_revision, wait=wait)


class RevisionBody(_Body):
    """The revision that a command is meant for; without one it applies to the session as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"expected_revision": 6}]})

    expected_revision: ExpectedRevision = None


class ForkBody(_Body):
    """From where, and with what, a new session goes on; by default from the newest turn, with the same agent."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"turn_id": "turn_5f0c2a9e41b7"}]})

    turn_id: Text | None = None
    agent: Annotated[
        AgentVersion | None, BeforeValidator(_as_version, json_schema_input_type=str | AgentVersion | None)
    ] = None
    model: Annotated[Phrase | None, Field(description="A model string, as `openai:gpt-5-mini`.")] = None
    name: Phrase | None = None


class RewindBody(_Body):
    """Where to rewind to: a turn of the active branch, or before it. A null `turn_id` goes back to the newest turn."""

    model_config = ConfigDict(json_schema_extra={"examples": [REWIND]})

    turn_id: Text | None
    before: bool = False
    expected_revision: ExpectedRevision = None

    def command(self) -> Rewind:
        """The command of the domain."""
        return Rewind(turn_id=self.turn_id, before=self.before, expected_revision=self.expected_revision)


class DecisionBody(_Body):
    """Why a tool call may be made or not. The model is told when it was denied."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Refunds above 100 USD need a manager."}]})

    reason: Annotated[str, Field(max_length=200)] = ""
    expected_revision: ExpectedRevision = None

    def command(self, call_id: str) -> DecideApproval:
        """The command of the domain."""
        return DecideApproval(call_id=call_id, reason=self.reason, expected_revision=self.expected_revision)


class EndBody(_Body):
    """How the session ends. `reason` is shown as its completion reason."""

    model_config = ConfigDict(json_schema_extra={"examples": [END]})

    reason: Phrase | None = None
    expected_revision: ExpectedRevision = None

    def command(self) -> EndSession:
        """The command of the domain."""
        given: dict[str, Any] = {"reason": self.reason} if self.reason else {}
        return EndSession(expected_revision=self.expected_revision, **given)


def _message_id(in_body: str | None, in_header: str | None) -> str:
    """The id by which a repeat is recognised, in any case. Raises Problem("invalid_request") where there are two."""
    if in_header and in_body and in_header != in_body:
        raise invalid(
            "invalid_request",
            "The header Idempotency-Key and message_id differ. Send one of them, or the same in both.",
            [("header.idempotency-key", "differs from body.message_id")],
        )
    return in_body or in_header or f"msg_{uuid4().hex}"
