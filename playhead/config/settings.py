"""Settings of the services: what can be set, what each value means, and what happens to a wrong one."""

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
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
from playhead.config.environment import PREFIX, apply_env_file, warnings_about
from playhead.config.values import (
    Addresses,
    Credentials,
    OrganizationCredentials,
    Prices,
    WebhookSecret,
    lower,
    seconds,
    setting,
)
from playhead.demo_model import DEMO_MODEL

if TYPE_CHECKING:
    from contracts.sessions import Timing

INTERNAL = ("keyless", "temporal_address")
"""Fields that code sets and the environment cannot."""
PROVIDER_DEFAULTS = (
    ("OPENAI_API_KEY", "openai", "openai:gpt-5-mini"),
    ("ANTHROPIC_API_KEY", "anthropic", "anthropic:claude-sonnet-5"),
)
"""For each provider key the package that must be installed, and the model taken when none is named."""
LARGE_PAYLOAD_BYTES = 131_072
"""From which size on a payload goes to the store by default: a task of a workflow may carry dozens, and Temporal takes
4 MB at once."""
_MAX_SHOWN = 80


class InvalidSettings(ValueError):
    """Settings that cannot be used: one line for each, with its name, what was given and what is expected."""

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
    """The environment, without the fields that only code may set."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if name not in INTERNAL}


class Settings(BaseSettings):
    """Every setting of the services, read from `PLAYHEAD_*` variables. `load_settings` explains wrong values."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    data_dir: Path = setting(
        Path(".playhead"),
        means="The folder in which the embedded stack keeps everything.",
        expects="a folder",
    )
    database_url: str = setting(
        default_factory=_default_database,
        means="The store: a SQLAlchemy URL of a SQLite file or a PostgreSQL database.",
        expects="a URL such as sqlite:///playhead.db or postgresql://user:password@host:5432/playhead",
        secret=True,
        shown="playhead.db in the data folder",
        pattern=r"^(sqlite|postgres|postgresql)(\+[a-z0-9_]+)?://",
    )
    model: str = setting(
        default_factory=_default_model,
        means="The model of agents that name none: `<provider>:<model>`, or `demo` for the offline scripted model.",
        expects="`demo`, or a provider and a model such as openai:gpt-5-mini",
        shown="`openai:gpt-5-mini` with OPENAI_API_KEY, `anthropic:claude-sonnet-5` with ANTHROPIC_API_KEY "
        "and the anthropic extra, else `demo`",
        pattern=r"^(demo|[a-z0-9_-]+:\S+)$",
    )
    prices: Prices = setting(
        dict,
        means="US dollars for a million tokens of models whose price is not known or not yours, as JSON: "
        '`{"openai-chat:my-model": {"input": "0.1", "output": "0.4"}}`; also `cache_read` and `cache_write`.',
        expects='JSON such as {"provider:model": {"input": "0.1", "output": "0.4"}}',
        shown="none",
    )
    credentials: Credentials = setting(
        dict,
        means="Secrets that agents' tools and webhooks may use, by the name under which these refer to them, as JSON: "
        '`{"CRM_KEY": "..."}`. They never reach Temporal, the store or logs.',
        expects='JSON such as {"CRM_KEY": "..."}',
        secret=True,
        shown="none",
    )
    organization_credentials: OrganizationCredentials = setting(
        dict,
        means="Secrets that the agents of one organization may use, no other's, as JSON: "
        '`{"fiorella": {"CRM_KEY": "..."}}`. They go before those of the same name in `PLAYHEAD_CREDENTIALS`.',
        expects='JSON such as {"fiorella": {"CRM_KEY": "..."}}',
        secret=True,
        shown="none",
    )
    tool_addresses: Addresses = setting(
        tuple,
        means="Addresses that agents' tools and webhooks may reach although they are not public: host names, IP "
        "addresses or networks, separated by commas.",
        expects="host names, addresses or networks such as crm.internal,10.1.0.0/16",
        shown="none: public addresses only",
    )
    webhook_url: str | None = setting(
        means="Where the ends of sessions are reported whose agents declare no webhook of their own.",
        expects="a URL such as https://example.com/playhead",
        shown="none",
        pattern=r"^https?://\S+$",
    )
    webhook_secret: WebhookSecret | None = setting(
        means="Signs the reports that go to `PLAYHEAD_WEBHOOK_URL`: `whsec_` and random bytes in Base64, as "
        "`echo whsec_$(openssl rand -base64 32)` makes one.",
        expects="whsec_ and 24 to 64 random bytes in Base64",
        secret=True,
        shown="none",
    )
    context_characters: int = setting(
        200_000,
        means="How many characters of earlier conversation a model call reads, newest turns first.",
        expects="a whole number from 1,000 to 10,000,000",
        ge=1_000,
        le=10_000_000,
    )
    demo_delay_seconds: float = seconds(
        0.0, means="How long the offline demo model takes for a reply.", least=0.0, most=600
    )

    task_queue: str = setting(
        "playhead",
        means="The Temporal task queue that connects API and workers.",
        expects="a name of at most 200 characters",
        min_length=1,
        max_length=200,
    )
    large_payload_bytes: int = setting(
        LARGE_PAYLOAD_BYTES,
        means="From which size on what Temporal would carry (a message, a reply, the state of a long session) is kept "
        "in the store, and Temporal gets a reference to it.",
        expects="a whole number of bytes from 1,024 to 1,000,000",
        ge=1_024,
        le=1_000_000,
    )
    build_id: str | None = setting(
        means="Names the code a worker runs and turns Temporal's worker versioning on: such a worker gets no work "
        "before its version is made current.",
        expects="a name of at most 200 characters",
        shown="none: unversioned",
        max_length=200,
    )
    deployment_name: str = setting(
        "playhead",
        means="The Temporal worker deployment that build ids belong to.",
        expects="a name of at most 200 characters without dots",
        pattern=r"^[^.\s]{1,200}$",
    )

    api_host: str = setting(
        "127.0.0.1", means="The address the API listens on.", expects="a host name or address", min_length=1
    )
    api_port: int = setting(
        8080,
        means="The port the API listens on.",
        expects="a port: a whole number from 1 to 65535",
        ge=1,
        le=65_535,
    )
    temporal_ui_url: str | None = setting(
        means="Where people find the Temporal UI; sessions link to it.",
        expects="a URL such as http://127.0.0.1:8233",
        shown="none",
        pattern=r"^https?://\S+$",
    )
    wait_seconds: float = seconds(
        60.0, means="How long a request waits for a reply before it answers 504.", least=0.1, most=3_600
    )

    events_heartbeat_seconds: float = seconds(
        15.0, means="The longest silence in a stream of events; then a comment is sent.", least=0.05, most=300
    )
    slow_client_seconds: float = seconds(
        30.0, means="How long a client may take nothing of a stream before it is dropped.", least=0.05, most=600
    )

    model_timeout_seconds: float = seconds(120.0, means="How long one model call may take.", least=0.1, most=3_600)
    heartbeat_seconds: float = seconds(
        10.0,
        means="How long a worker may be silent during a model call before another takes over.",
        least=0.5,
        most=600,
    )
    model_retry_initial_seconds: float = seconds(
        1.0, means="The pause before a failed step is tried again; it doubles each time.", most=600
    )
    model_retry_maximum_seconds: float = seconds(
        30.0, means="The longest pause between two tries of a step.", most=3_600
    )
    grace_seconds: float = seconds(
        10.0,
        means="How long a worker that was told to stop may finish the replies it is generating.",
        least=0.0,
        most=3_600,
    )
    settle_within_seconds: float = seconds(
        1.8, means="How long a finished turn may wait to be billed together with others.", least=0.0, most=60
    )
    settle_unattended_within_seconds: float = seconds(
        10.0, means="The same while a simulated caller talks and nobody watches.", least=0.0, most=600
    )

    log_format: Annotated[Literal["console", "json"], BeforeValidator(lower)] = setting(
        "console", means="How log lines look: for people, or for machines.", expects="console or json"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = setting(
        "info", means="The least severe log lines that are written.", expects="debug, info, warning or error"
    )

    keyless: bool = setting(
        False,
        means="Whether calls without an API key are accepted as organization `dev`; only `playhead dev` sets it.",
        expects="true or false",
    )
    temporal_address: str | None = setting(
        means="The Temporal server `playhead dev` started; else the SDK's own environment configuration decides.",
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
        """What code names, then the environment; `.env` is applied to the environment before."""
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
                "PLAYHEAD_WEBHOOK_URL is set, but not PLAYHEAD_WEBHOOK_SECRET, which signs what goes there"
            )
        if self.model_retry_maximum_seconds < self.model_retry_initial_seconds:
            raise ValueError(
                f"PLAYHEAD_MODEL_RETRY_MAXIMUM_SECONDS is {self.model_retry_maximum_seconds:g}, less than "
                f"PLAYHEAD_MODEL_RETRY_INITIAL_SECONDS ({self.model_retry_initial_seconds:g}); it must be at least that"
            )
        return self

    @property
    def api_url(self) -> str:
        """The address under which this machine finds the API."""
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
            request_timeout=self.wait_seconds,
            sse_keepalive=self.events_heartbeat_seconds,
            sse_write_timeout=self.slow_client_seconds,
        )

    def timing(self) -> "Timing":
        """How long things may take in the sessions that are started with these settings."""
        from contracts.sessions import Timing

        return Timing(
            model_timeout=self.model_timeout_seconds,
            heartbeat=self.heartbeat_seconds,
            retry_initial=self.model_retry_initial_seconds,
            retry_maximum=self.model_retry_maximum_seconds,
            settle_within=self.settle_within_seconds,
            settle_unattended_within=self.settle_unattended_within_seconds,
        )


def load_settings(**given: object) -> Settings:
    """The settings of this process: `.env`, the environment, and over both the fields named here (None: not given).

    Raises InvalidSettings with a line for every value that cannot be used.
    """
    apply_env_file()
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**chosen)
    except ValidationError as error:
        raise InvalidSettings(list(dict.fromkeys(_complaint(fault) for fault in error.errors()))) from None


def setting_warnings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for every `PLAYHEAD_*` variable that is no setting, with the nearest name there is."""
    return warnings_about(environment, variable_names())


def variable_names() -> list[str]:
    """The names of all environment variables that are settings."""
    return [variable_of(name) for name in Settings.model_fields if name not in INTERNAL]


def variable_of(field: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


def documentation_of(field: FieldInfo) -> dict[str, Any]:
    """What is known of a field beyond pydantic's own: `expects`, `secret`, and `shown` for a worked-out default."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _complaint(fault: ErrorDetails) -> str:
    if not fault["loc"]:
        return str(fault["ctx"]["error"]) + "."
    name, *inside = map(str, fault["loc"])
    known = documentation_of(Settings.model_fields[name])
    reason = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"].lower() if inside else ""
    where = ".".join(inside)
    problem = ", ".join(part for part in (where, reason) if part)
    given = "set to a value that is not shown here" if known["secret"] else f"set to {_shown(fault['input'])}"
    return f"{variable_of(name)} is {given}{f' ({problem})' if problem else ''}; it must be {known['expects']}."


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")
