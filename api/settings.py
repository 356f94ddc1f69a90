"""Settings of the API."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contracts.sessions import Timing


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """Settings of one API server. Times are in seconds.

    `keyless` accepts calls without a key, from this machine only. `model` is the default of agents that name none, and
    `timing` that of new sessions. `chat_id_headers` and `chat_id_fields` name further places of session ids in chat
    completions; with `stop_on_disconnect` a client that closes the stream of one stops the reply. `webhook_url`
    receives the reports of agents without a webhook. `allowed_origins` are those whose web pages may call the API.
    `trusted_proxies` are those whose `X-Forwarded-For` names the client.

    Raises ValueError when calls without a key would be accepted from other machines.
    """

    host: str
    keyless: bool
    model: str
    task_queue: str
    timing: "Timing"
    temporal_ui_url: str | None
    webhook_url: str | None
    request_timeout: float
    sse_keepalive: float
    sse_write_timeout: float
    chat_id_headers: tuple[str, ...] = ()
    chat_id_fields: tuple[str, ...] = ()
    stop_on_disconnect: bool = True
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    def __post_init__(self) -> None:
        if self.keyless and not is_loopback(self.host):
            raise ValueError(f"calls without a key are accepted from this machine only, not at {self.host}")


def is_loopback(host: str) -> bool:
    """True when only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
