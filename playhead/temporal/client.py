"""The Temporal client, from the SDK's own environment configuration, with Playhead's plugin and search attributes."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
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
)

from contracts.reconciliation import UnsettledTurns
from contracts.sessions import StartSession
from domain.sessions.views import TimelineView
from playhead.config.settings import Settings
from playhead.exit_codes import UNREACHABLE, USAGE, CommandFailed
from playhead.temporal.carried_sessions import CarriedSessions
from playhead.temporal.ended_runs import LateQueries, SessionRunner
from playhead.temporal.large_payloads import READ_ONCE
from playhead.temporal.task_order import OrderedRunner
from playhead.temporal.untyped_payloads import read_untyped
from playhead.temporal.update_retries import UpdateRetries
from workflows import search_attributes

DEFAULT_ADDRESS = "localhost:7233"
REGISTRATION_CHECKS = 100
REGISTRATION_PAUSE = 0.1
"""Number of checks, and seconds between them, until the server knows new search attributes."""
LOGGED_IDS = ("session_id", "turn_id", "organization_id")
"""Fields of an activity's input that are added to its log lines."""

# The log lines have this information as fields; the SDK would repeat it as text in every message.
temporalio.activity.logger.activity_info_on_message = False
temporalio.workflow.logger.workflow_info_on_message = False


_CAUSE = re.compile(r'message: "([^"]+)"')
"""The error of the operating system within the SDK's message."""


class TemporalUnavailable(Exception):
    """The Temporal server cannot be reached."""


class CompactJson(PydanticJSONPlainPayloadConverter):
    """JSON without default values: a turn's history is a third smaller and easier to read."""

    _write = staticmethod(partial(SchemaSerializer(any_schema()).to_json, exclude_defaults=True))
    _carried = CarriedSessions(_write)

    def to_payload(self, value: Any) -> Payload | None:
        """The SDK's payload without the fields that have their default."""
        is_carried = isinstance(value, StartSession) and value.timeline is not None
        data = self._carried.written(value) if is_carried else self._write(value)
        return Payload(metadata={"encoding": self.encoding.encode()}, data=data)

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The SDK's value, or the model that this process has written."""
        carried = self._carried.take(payload.data) if type_hint is StartSession else None
        return super().from_payload(payload, type_hint) if carried is None else carried


_ENCODINGS = tuple(
    CompactJson() if isinstance(each, PydanticJSONPlainPayloadConverter) else each
    for each in PydanticPayloadConverter().converters.values()
)


_SDK_CONVERTER = CompositePayloadConverter(*_ENCODINGS)


class PayloadConverter(CompositePayloadConverter):
    """The SDK's pydantic converter with shared parts: the SDK creates a converter for every workflow task."""

    def __init__(self) -> None:
        super().__init__(*_ENCODINGS)

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """The SDK's values. Where no types are known, as for signals, a payload that cannot be read raises no error."""
        if type_hints:
            return super().from_payloads(payloads, type_hints)
        return [read_untyped(_SDK_CONVERTER, payload) for payload in payloads]

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """The SDK's payloads. Query results, which are in no history, are marked: they can be deleted once read."""
        payloads = super().to_payloads(values)
        for value, payload in zip(values, payloads, strict=True):
            if isinstance(value, TimelineView | UnsettledTurns):
                payload.metadata[READ_ONCE] = b"true"
        return payloads


class PlayheadPlugin(SimplePlugin):
    """Configuration of all clients, workers and replayers of Playhead: converter, workflow runner, log context.

    Workflows run outside the SDK's sandbox, which takes a quarter of a worker's time and does not check `domain`. The
    linter bans nondeterministic calls (docs/decisions/0086-determinism-is-checked-by-the-linter.md).
    """

    def __init__(self) -> None:
        super().__init__(
            "playhead",
            data_converter=DataConverter(payload_converter_class=PayloadConverter),
            interceptors=[LogContext(), UpdateRetries(), LateQueries()],
            workflow_runner=SessionRunner(OrderedRunner()),
        )


class LogContext(Interceptor):
    """Adds session, turn and organization to the log lines of activities."""

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
    """Address and credentials of Temporal: the server that `playhead dev` started, or `TEMPORAL_*` and its config file.

    Raises CommandFailed when the environment configuration is invalid.
    """
    if settings.temporal_address:
        return ClientConnectConfig(target_host=settings.temporal_address, namespace="default")
    try:
        configured = ClientConfig.load_client_connect_config()
    except (RuntimeError, OSError, ValueError) as error:
        raise CommandFailed(
            f"The Temporal client configuration cannot be used: {error}",
            status=USAGE,
            hint="Check the TEMPORAL_* variables and the file that TEMPORAL_CONFIG_FILE names.",
        ) from error
    configured.setdefault("target_host", DEFAULT_ADDRESS)
    configured.setdefault("namespace", "default")
    return configured


async def connect(settings: Settings, *, lazy: bool = False) -> Client:
    """A client with the plugin. Raises RuntimeError when the server is unavailable; a lazy client at its first call."""
    runtime = _runtime(settings.log_format)
    return await Client.connect(**client_options(settings), plugins=[PlayheadPlugin()], lazy=lazy, runtime=runtime)


@lru_cache
def _runtime(log_format: str) -> Runtime:
    """The SDK's core, shared by all clients of the process. It writes its log lines to standard output, in the format
    of ours: to forward them to Python, its threads would call into an interpreter that may be shutting down.
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
    """A client whose server is available and has the search attributes.

    Raises TemporalUnavailable, or CommandFailed when search attributes are missing and cannot be registered.
    """
    with outages_as_unavailable(settings):
        client = await connect(settings)
        await ensure_search_attributes(client)
        return client


@contextmanager
def outages_as_unavailable(settings: Settings) -> Iterator[None]:
    """Turn the SDK's errors for an unavailable server into TemporalUnavailable."""
    try:
        yield
    except (RPCError, RuntimeError) as error:
        address = client_options(settings).get("target_host", DEFAULT_ADDRESS)
        cause = _CAUSE.search(str(error))
        raise TemporalUnavailable(f"{address}: {cause[1] if cause else error}") from error


async def ensure_search_attributes(client: Client) -> None:
    """Register the search attributes that the namespace lacks, and wait until they can be used.

    Raises CommandFailed when they are missing and cannot be registered, RPCError when the server is unavailable.
    """
    missing = await _missing_search_attributes(client)
    if not missing:
        return
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace,
                search_attributes=dict.fromkeys(missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
            ),
            retry=True,
        )
    except RPCError as error:
        if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
            raise
        if error.status is not RPCStatusCode.ALREADY_EXISTS:  # another service was quicker, or the first try arrived
            raise _registration_denied(client.namespace, missing, error) from error
    for _ in range(REGISTRATION_CHECKS):
        if not await _missing_search_attributes(client):
            return
        await asyncio.sleep(REGISTRATION_PAUSE)


async def _missing_search_attributes(client: Client) -> list[str]:
    required = [key.name for key in search_attributes.ALL]
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), retry=True
        )
    except RPCError as error:
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED):
            structlog.get_logger(__name__).warning(
                "search attributes cannot be listed; sessions cannot start if some are missing",
                search_attributes=required,
                reason=error.message,
            )
            return []
        raise
    return [name for name in required if name not in known.custom_attributes]


def _registration_denied(namespace: str, missing: list[str], error: RPCError) -> CommandFailed:
    # One name per command: given several, the CLI creates only the first and reports success (seen in 1.9.1).
    create = f"temporal operator search-attribute create --namespace {namespace} --type Keyword --name"
    return CommandFailed(
        f"The Temporal namespace {namespace} lacks the search attributes {', '.join(missing)}, and this client cannot "
        f"register them ({error.message}). Sessions cannot start without them.",
        status=USAGE if error.status is RPCStatusCode.PERMISSION_DENIED else UNREACHABLE,
        hint=f"Have an operator run: for name in {' '.join(missing)}; do {create} $name; done",
    )
