"""Settings of the services, each with its description, and messages for invalid values."""

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from api.settings import ApiSettings, is_loopback
from playhead.config.environment import apply_env_file
from playhead.config.renamed import FORMER_NAMES, former_variable_in, former_variables, warnings_about_former_names
from playhead.config.values import (
    Addresses,
    Credentials,
    Networks,
    OrganizationCredentials,
    Origins,
    Prices,
    WebhookSecret,
    lower,
    seconds,
    setting,
)
from playhead.config.variables import PREFIX, warnings_about
from playhead.demo_model import DEMO_MODEL

if TYPE_CHECKING:
    from contracts.sessions import Timing

INTERNAL = ("keyless", "temporal_address")
"""Fields that only code sets, never the environment."""
PROVIDER_DEFAULTS = (
    ("OPENAI_API_KEY", "openai", "openai:gpt-5-mini"),
    ("ANTHROPIC_API_KEY", "anthropic", "anthropic:claude-sonnet-5"),
)
"""For each provider key, the package that must be installed and the default model."""
PAYLOAD_OFFLOAD_THRESHOLD = 131_072
"""Default size in bytes from which a payload goes to the store: a workflow task may carry dozens, and Temporal accepts
4 MB at once."""
_MAX_SHOWN = 80


class InvalidSettings(ValueError):
    """Invalid settings: one line for each, with its name, the given value and the expected form."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def _default_model() -> str:
    for key, package, model in PROVIDER_DEFAULTS:
        if os.environ.get(key) and find_spec(package):
            return model
    return DEMO_MODEL


def _default_database(settings: dict[str, Any]) -> str:
    folder: Path = settings.get("data_dir", Path(".playhead"))
    return f"sqlite:///{folder.absolute() / 'playhead.db'}"


class _Environment(EnvSettingsSource):
    """The environment, without the fields that only code may set, and with the former names of renamed settings."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        if value is None and field_name in FORMER_NAMES:
            value = self.env_vars.get(f"{PREFIX}{FORMER_NAMES[field_name]}".lower())
        return value, key, is_complex

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if name not in INTERNAL}


class Settings(BaseSettings):
    """All settings of the services, read from `PLAYHEAD_*` variables. `load_settings` explains invalid values."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    data_dir: Path = setting(
        Path(".playhead"),
        means="Folder for all data of `playhead dev`.",
        expects="a folder",
    )
    database_url: str = setting(
        default_factory=_default_database,
        means="SQLAlchemy URL of the store, a SQLite file or a PostgreSQL database.",
        expects="a URL such as sqlite:///playhead.db or postgresql://user:password@host:5432/playhead",
        secret=True,
        shown="playhead.db in the data folder",
        pattern=r"^(sqlite|postgres|postgresql)(\+[a-z0-9_]+)?://",
    )
    model: str = setting(
        default_factory=_default_model,
        means="Model of agents that name none: `<provider>:<model>`, or `demo` for the offline scripted model.",
        expects="`demo`, or a provider and a model such as openai:gpt-5-mini",
        shown="`openai:gpt-5-mini` with OPENAI_API_KEY, `anthropic:claude-sonnet-5` with ANTHROPIC_API_KEY "
        "and the anthropic extra, else `demo`",
        pattern=r"^(demo|[a-z0-9_-]+:\S+)$",
    )
    prices: Prices = setting(
        dict,
        means="Prices in US dollars per million tokens, for models whose list price is unknown or not yours, as JSON: "
        '`{"openai-chat:my-model": {"input": "0.1", "output": "0.4"}}`; also `cache_read` and `cache_write`. '
        "The key is the model as agents name it, or as `unpriced_models` shows it.",
        expects='JSON such as {"provider:model": {"input": "0.1", "output": "0.4"}}',
        shown="none",
    )
    credentials: Credentials = setting(
        dict,
        means="Secrets for agents' tools and webhooks, by the name used to refer to them, as JSON: "
        '`{"CRM_KEY": "..."}`. They never reach Temporal, the store or logs.',
        expects='JSON such as {"CRM_KEY": "..."}',
        secret=True,
        shown="none",
    )
    organization_credentials: OrganizationCredentials = setting(
        dict,
        means="Secrets for the agents of one organization only, as JSON: "
        '`{"fiorella": {"CRM_KEY": "..."}}`. They override those of the same name in `PLAYHEAD_CREDENTIALS`.',
        expects='JSON such as {"fiorella": {"CRM_KEY": "..."}}',
        secret=True,
        shown="none",
    )
    egress_allowlist: Addresses = setting(
        tuple,
        means="Non-public addresses that agents' tools and webhooks may reach: host names, IP addresses or networks, "
        "separated by commas.",
        expects="host names, addresses or networks such as crm.internal,10.1.0.0/16",
        shown="none: public addresses only",
    )
    webhook_url: str | None = setting(
        means="Receiver of the session reports of agents that declare no webhook of their own.",
        expects="a URL such as https://example.com/playhead",
        shown="none",
        pattern=r"^https?://\S+$",
    )
    webhook_secret: WebhookSecret | None = setting(
        means="Signs the reports to `PLAYHEAD_WEBHOOK_URL`: `whsec_` and random bytes in Base64. "
        "`echo whsec_$(openssl rand -base64 32)` generates one.",
        expects="whsec_ and 24 to 64 random bytes in Base64",
        secret=True,
        shown="none",
    )
    max_context_tokens: int = setting(
        32_000,
        means="Tokens of a model call with instructions, tools and conversation, unless the agent has a limit of its "
        "own. The oldest turns beyond it are left out. A smaller window of the model comes first.",
        expects="a whole number from 1,000 to 10,000,000",
        ge=1_000,
        le=10_000_000,
    )
    max_context_characters: int = setting(
        200_000,
        means="Characters of a conversation that a judge reads, newest turns first.",
        expects="a whole number from 1,000 to 10,000,000",
        ge=1_000,
        le=10_000_000,
    )
    demo_delay_seconds: float = seconds(
        0.0, means="Duration of a reply of the offline demo model.", least=0.0, most=600
    )

    task_queue: str = setting(
        "playhead",
        means="Temporal task queue that connects API and workers.",
        expects="a name of at most 200 characters",
        min_length=1,
        max_length=200,
    )
    max_cached_sessions: int = setting(
        1_000,
        means="Sessions that a worker keeps in memory between two messages, the most recent ones. An idle one takes "
        "half a megabyte, a long one more; one that was dropped is read again when it is needed.",
        expects="a whole number from 10 to 100,000",
        ge=10,
        le=100_000,
    )
    heartbeat_interval_seconds: float = seconds(
        1.0,
        means="Longest time between two heartbeats of a call, if its timeout allows; a cancellation takes as long to "
        "arrive. Temporal Cloud bills each heartbeat.",
        least=1.0,
        most=60,
    )
    payload_offload_threshold_bytes: int = setting(
        PAYLOAD_OFFLOAD_THRESHOLD,
        means="Payloads of at least this size (a message, a reply, the state of a long session) are kept in the store, "
        "and Temporal carries a reference.",
        expects="a whole number of bytes from 1,024 to 1,000,000",
        ge=1_024,
        le=1_000_000,
    )
    build_id: str | None = setting(
        means="Names the code of a worker and enables Temporal's worker versioning: the worker gets no work before its "
        "version is made current.",
        expects="a name of at most 200 characters",
        shown="none: unversioned",
        max_length=200,
    )
    deployment_name: str = setting(
        "playhead",
        means="Temporal worker deployment that the build ids belong to.",
        expects="a name of at most 200 characters without dots",
        pattern=r"^[^.\s]{1,200}$",
    )

    api_host: str = setting(
        "127.0.0.1", means="Address the API listens on.", expects="a host name or address", min_length=1
    )
    api_port: int = setting(
        8080,
        means="Port the API listens on.",
        expects="a port: a whole number from 1 to 65535",
        ge=1,
        le=65_535,
    )
    temporal_ui_url: str | None = setting(
        means="URL of the Temporal UI; sessions link to it.",
        expects="a URL such as http://127.0.0.1:8233",
        shown="none",
        pattern=r"^https?://\S+$",
    )
    request_timeout_seconds: float = seconds(
        60.0, means="Longest wait for a reply; then the request ends with 504.", least=0.1, most=3_600
    )

    allowed_origins: Origins = setting(
        tuple,
        means="Origins whose web pages may call the API from a browser (CORS), separated by commas; `*` for all.",
        expects="origins such as https://app.example.com,http://localhost:3000",
        shown="none",
    )
    trusted_proxies: Networks = setting(
        tuple,
        means="Proxies in front of the API, whose `X-Forwarded-For` names the clients of public chats: addresses or "
        "networks, separated by commas.",
        expects="addresses or networks such as 127.0.0.1,10.0.0.0/8",
        shown="none",
    )
    chat_id_headers: Addresses = setting(
        tuple,
        means="Further headers in which OpenAI clients send the id of a chat, separated by commas.",
        expects="names of headers such as x-conversation-id",
        shown="none",
    )
    chat_id_fields: Addresses = setting(
        tuple,
        means="Further fields of chat completion requests that hold the id of a chat, as paths separated by commas.",
        expects="paths of fields such as conversation.id",
        shown="none",
    )
    chat_stop_on_disconnect: bool = setting(
        True,
        means="Stop the reply of a streamed chat completion when its client closes the stream; false lets it go on.",
        expects="true or false",
    )

    sse_keepalive_seconds: float = seconds(
        15.0, means="Longest silence in an event stream; then a comment is sent.", least=0.05, most=300
    )
    sse_write_timeout_seconds: float = seconds(
        30.0, means="A client that reads nothing from a stream for this long is disconnected.", least=0.05, most=600
    )

    model_timeout_seconds: float = seconds(120.0, means="Timeout of one model call.", least=0.1, most=3_600)
    model_heartbeat_timeout_seconds: float = seconds(
        10.0,
        means="Heartbeat timeout of a model call; then another worker takes over.",
        least=0.5,
        most=600,
    )
    model_retry_initial_seconds: float = seconds(
        1.0, means="Delay before the first retry of a failed step; it doubles each time.", most=600
    )
    model_retry_maximum_seconds: float = seconds(
        30.0, means="Longest delay between two attempts of a step.", most=3_600
    )
    shutdown_grace_seconds: float = seconds(
        10.0,
        means="Time a stopping worker has to finish the replies it is generating.",
        least=0.0,
        most=3_600,
    )
    settlement_delay_seconds: float = seconds(
        1.8, means="Longest wait of a finished turn to be settled together with later ones.", least=0.0, most=60
    )
    unattended_settlement_delay_seconds: float = seconds(
        10.0, means="The same while a simulated user talks without watchers.", least=0.0, most=600
    )

    reconcile_interval_seconds: float = seconds(
        300.0,
        means="Interval at which the store is compared with Temporal; 0 switches that off.",
        least=0.0,
        most=86_400,
    )

    log_format: Annotated[Literal["console", "json"], BeforeValidator(lower)] = setting(
        "console", means="Format of log lines: for people, or for machines.", expects="console or json"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = setting(
        "info", means="Lowest level of log lines that are written.", expects="debug, info, warning or error"
    )

    keyless: bool = setting(
        False,
        means="Accept calls without an API key as organization `dev`; only `playhead dev` sets it.",
        expects="true or false",
    )
    temporal_address: str | None = setting(
        means="Temporal server started by `playhead dev`; without it the SDK's own environment configuration applies.",
        expects="host:port",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, to which `.env` has been applied before."""
        return init_settings, _Environment(settings_cls)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.keyless and not is_loopback(self.api_host):
            raise ValueError(
                f"PLAYHEAD_API_HOST is {self.api_host!r}, but calls without a key are accepted from this machine "
                "only; leave it unset, or run `playhead api` with keys"
            )
        if self.webhook_url and not self.webhook_secret:
            raise ValueError(
                "PLAYHEAD_WEBHOOK_URL is set, but not PLAYHEAD_WEBHOOK_SECRET, which signs its reports; set both"
            )
        if self.model_retry_maximum_seconds < self.model_retry_initial_seconds:
            raise ValueError(
                f"PLAYHEAD_MODEL_RETRY_MAXIMUM_SECONDS is {self.model_retry_maximum_seconds:g}, less than "
                f"PLAYHEAD_MODEL_RETRY_INITIAL_SECONDS ({self.model_retry_initial_seconds:g}); it must be at least that"
            )
        return self

    @property
    def api_url(self) -> str:
        """The URL of the API on this machine."""
        host = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return f"http://{host}:{self.api_port}"

    def api(self) -> ApiSettings:
        """The settings of the API alone."""
        return ApiSettings(
            host=self.api_host,
            keyless=self.keyless,
            model=self.model,
            task_queue=self.task_queue,
            timing=self.timing(),
            temporal_ui_url=self.temporal_ui_url,
            webhook_url=self.webhook_url,
            request_timeout=self.request_timeout_seconds,
            sse_keepalive=self.sse_keepalive_seconds,
            sse_write_timeout=self.sse_write_timeout_seconds,
            chat_id_headers=self.chat_id_headers,
            chat_id_fields=self.chat_id_fields,
            stop_on_disconnect=self.chat_stop_on_disconnect,
            allowed_origins=self.allowed_origins,
            trusted_proxies=tuple(map(ip_network, self.trusted_proxies)),
        )

    def timing(self) -> "Timing":
        """The timeouts and delays of sessions started with these settings."""
        from contracts.sessions import Timing

        return Timing(
            model_timeout=self.model_timeout_seconds,
            heartbeat=self.model_heartbeat_timeout_seconds,
            retry_initial=self.model_retry_initial_seconds,
            retry_maximum=self.model_retry_maximum_seconds,
            settle_within=self.settlement_delay_seconds,
            settle_unattended_within=self.unattended_settlement_delay_seconds,
        )


def load_settings(**given: object) -> Settings:
    """The settings of this process: `.env`, overridden by the environment, overridden by `given` (None: not given).

    Raises InvalidSettings with a line for every invalid value.
    """
    apply_env_file()
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**chosen)
    except ValidationError as error:
        raise InvalidSettings(list(dict.fromkeys(_message_of(issue) for issue in error.errors()))) from None


def setting_warnings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for every `PLAYHEAD_*` variable that is not a setting or has been renamed, with the name to use."""
    others = [name for name in environment if name.upper() not in former_variables()]
    return [*warnings_about_former_names(environment), *warnings_about(others, variable_names())]


def variable_names() -> list[str]:
    """The environment variables of all settings."""
    return [variable_of(name) for name in Settings.model_fields if name not in INTERNAL]


def variable_of(field: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


def documentation_of(field: FieldInfo) -> dict[str, Any]:
    """The documentation of a field: `expects`, `secret`, and `shown` for a computed default."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _message_of(issue: ErrorDetails) -> str:
    if not issue["loc"]:
        return str(issue["ctx"]["error"]) + "."
    name, *inside = map(str, issue["loc"])
    known = documentation_of(Settings.model_fields[name])
    reason = str(issue["ctx"]["error"]) if issue["type"] == "value_error" else issue["msg"].lower() if inside else ""
    problem = ", ".join(part for part in (".".join(inside), reason) if part)
    given = "set to a value that is not shown here" if known["secret"] else f"set to {_shown(issue['input'])}"
    variable = former_variable_in(os.environ, name) or variable_of(name)
    return f"{variable} is {given}{f' ({problem})' if problem else ''}; it must be {known['expects']}."


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")
