"""The way to Temporal: the client from the SDK's own environment configuration, the plugin, search attributes."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import structlog
import temporalio.activity
import temporalio.workflow
from pydantic_core import SchemaSerializer
from pydantic_core.core_schema import any_schema
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter, PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.plugin import SimplePlugin
from temporalio.runtime import LoggingConfig, LoggingFormat, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    UnsandboxedWorkflowRunner,
    WorkflowRunner,
)

from domain.sessions.views import TimelineView
from playhead.config.settings import Settings
from playhead.exit_codes import UNREACHABLE, USAGE, CommandFailed
from playhead.temporal.large_payloads import READ_ONCE
from playhead.temporal.update_retries import UpdateRetries
from workflows import search_attributes

DEFAULT_ADDRESS = "localhost:7233"
REGISTRATION_CHECKS = 100
REGISTRATION_PAUSE = 0.1
"""How often, and with what pause in seconds, the server is asked whether it has taken new search attributes in."""
LOGGED_IDS = ("session_id", "turn_id", "organization_id")
"""Fields of an activity's input that every log line written while it runs carries."""

# The SDK repeats these as text behind every message; the log lines carry them as fields.
temporalio.activity.logger.activity_info_on_message = False
temporalio.workflow.logger.workflow_info_on_message = False


_INNERMOST = re.compile(r'message: "([^"]+)"')
"""What the operating system said, within what the SDK makes of it."""


class TemporalUnavailable(Exception):
    """The Temporal server does not answer just now."""


class CompactJson(PydanticJSONPlainPayloadConverter):
    """JSON without what a model says by default: a turn's history is a third smaller, and people see what matters."""

    _serializer = SchemaSerializer(any_schema())

    def to_payload(self, value: Any) -> Payload | None:
        """As the SDK's, without the fields that have their default."""
        data = self._serializer.to_json(value, exclude_defaults=True)
        return Payload(metadata={"encoding": self.encoding.encode()}, data=data)


_ENCODINGS = tuple(
    CompactJson() if isinstance(each, PydanticJSONPlainPayloadConverter) else each
    for each in PydanticPayloadConverter().converters.values()
)


class PayloadConverter(CompositePayloadConverter):
    """The SDK's pydantic converter, with its parts made once: the SDK makes a new one for every workflow task."""

    def __init__(self) -> None:
        super().__init__(*_ENCODINGS)

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """As the SDK's. What stands in no history is marked: it need not be kept once somebody has it."""
        payloads = super().to_payloads(values)
        for value, payload in zip(values, payloads, strict=True):
            if isinstance(value, TimelineView):
                payload.metadata[READ_ONCE] = b"true"
        return payloads


class PlayheadPlugin(SimplePlugin):
    """What every client, worker and replayer of Playhead has in common: converter, workflow runner, log context.

    Workflows run outside the SDK's sandbox, which would take a quarter of a worker's time to look for what the
    layers and the tests keep out already (docs/decisions.md, 11). The tests pass a sandboxed runner.
    """

    def __init__(self, workflow_runner: WorkflowRunner | None = None) -> None:
        super().__init__(
            "playhead",
            data_converter=DataConverter(payload_converter_class=PayloadConverter),
            interceptors=[LogContext(), UpdateRetries()],
            workflow_runner=workflow_runner or UnsandboxedWorkflowRunner(),
        )


class LogContext(Interceptor):
    """Binds session, turn and organization to the log lines of activities."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the activities of one worker."""
        return _LogContextInbound(next)


class _LogContextInbound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        subject = input.args[0] if input.args else None
        ids = {name: getattr(subject, name) for name in LOGGED_IDS if hasattr(subject, name)}
        with structlog.contextvars.bound_contextvars(**ids):
            return await super().execute_activity(input)


def client_options(settings: Settings) -> ClientConnectConfig:
    """Where Temporal is and how to sign in: what `playhead dev` started, else `TEMPORAL_*` and its config file.

    Raises CommandFailed when the environment configuration cannot be read.
    """
    if settings.temporal_address:
        return ClientConnectConfig(target_host=settings.temporal_address, namespace="default")
    try:
        configured = ClientConfig.load_client_connect_config()
    except (RuntimeError, OSError, ValueError) as error:
        raise CommandFailed(
            f"The Temporal client configuration cannot be used: {error}",
            status=USAGE,
            hint="Look at the TEMPORAL_* variables and the file TEMPORAL_CONFIG_FILE names.",
        ) from error
    configured.setdefault("target_host", DEFAULT_ADDRESS)
    configured.setdefault("namespace", "default")
    return configured


async def connect(settings: Settings, *, lazy: bool = False) -> Client:
    """A client with the plugin. Raises RuntimeError when the server is away; a lazy one does so at its first call."""
    runtime = _runtime(settings.log_format)
    return await Client.connect(**client_options(settings), plugins=[PlayheadPlugin()], lazy=lazy, runtime=runtime)


@lru_cache
def _runtime(log_format: str) -> Runtime:
    """The SDK's core, one for all clients of the process. It writes its own log lines, to standard output, in
    the form of ours: handing them to Python instead would let its threads call into an interpreter that is ending.
    """
    return Runtime(
        telemetry=TelemetryConfig(
            logging=LoggingConfig(
                filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
                format=LoggingFormat.JSON if log_format == "json" else LoggingFormat.COMPACT,
            )
        )
    )


async def ensure_reachable(settings: Settings) -> Client:
    """A client whose server answers and knows the search attributes.

    Raises TemporalUnavailable, or CommandFailed when search attributes are missing and may not be registered.
    """
    with outages(settings):
        client = await connect(settings)
        await ensure_search_attributes(client)
        return client


@contextmanager
def outages(settings: Settings) -> Iterator[None]:
    """Turn the errors with which the SDK says that the server is away into TemporalUnavailable."""
    try:
        yield
    except (RPCError, RuntimeError) as error:
        address = client_options(settings).get("target_host", DEFAULT_ADDRESS)
        said = _INNERMOST.search(str(error))
        raise TemporalUnavailable(f"{address}: {said[1] if said else error}") from error


async def ensure_search_attributes(client: Client) -> None:
    """Register the search attributes of sessions where the namespace lacks them, and wait until it knows them.

    Raises CommandFailed when they are missing and may not be registered, RPCError when the server is away.
    """
    missing = await _missing(client)
    if not missing:
        return
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace,
                search_attributes=dict.fromkeys(missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
            )
        )
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return
        if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
            raise
        raise _may_not_register(client.namespace, missing, error) from error
    for _ in range(REGISTRATION_CHECKS):
        if not await _missing(client):
            return
        await asyncio.sleep(REGISTRATION_PAUSE)


async def _missing(client: Client) -> list[str]:
    wanted = [key.name for key in search_attributes.ALL]
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED):
            structlog.get_logger(__name__).warning(
                "could not look up the search attributes; sessions cannot start where they are missing",
                search_attributes=wanted,
                reason=error.message,
            )
            return []
        raise
    return [name for name in wanted if name not in known.custom_attributes]


def _may_not_register(namespace: str, missing: list[str], error: RPCError) -> CommandFailed:
    # One name a command: the CLI takes several, makes only the first and says that all went well (seen in 1.9.1).
    create = f"temporal operator search-attribute create --namespace {namespace} --type Keyword --name"
    return CommandFailed(
        f"The Temporal namespace {namespace} lacks the search attributes {', '.join(missing)}, and this client may "
        f"not register them ({error.message}). Sessions cannot start without them.",
        status=USAGE if error.status is RPCStatusCode.PERMISSION_DENIED else UNREACHABLE,
        hint=f"Have an operator run: for name in {' '.join(missing)}; do {create} $name; done",
    )
