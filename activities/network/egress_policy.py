"""The egress policy: tools may reach public addresses and those on the allowlist."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

_HOST_AND_PORT = re.compile(r"(?P<host>[^:]+|\[[^\]]+\])(?::(?P<port>\d{1,5}))?")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")

# Networks that `is_global` of older Pythons misses. Sources: the IANA special-purpose address registries, and the
# metadata addresses of clouds (169.254.169.254 is link-local and needs no entry).
_NON_PUBLIC_NETWORKS: tuple[tuple[IPv4Network | IPv6Network, str], ...] = (
    (ip_network("100.64.0.0/10"), "shared by a carrier's customers"),
    (ip_network("168.63.129.16/32"), "a cloud's address for its own machines"),
    (ip_network("192.0.0.0/24"), "reserved for protocols"),
    (ip_network("192.88.99.0/24"), "a relay between IPv4 and IPv6"),
    (ip_network("2002::/16"), "a tunnel to an IPv4 address"),
    (ip_network("2001::/32"), "a tunnel to an IPv4 address"),
    (ip_network("3fff::/20"), "reserved for documentation"),
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: how networks without IPv4 reach it
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def canonical(text: str) -> Address:
    """Parse an address, dropping its zone and unwrapping IPv4-mapped IPv6. Raises ValueError."""
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def denial_reason(address: Address) -> str | None:
    """The reason why an address is not public, phrased to follow "is"; None for a public one."""
    kinds = (
        (address.is_unspecified, "unspecified"),
        (address.is_loopback, "this machine"),
        (address.is_link_local, "link-local"),
        (address.is_multicast, "multicast"),
    )
    for holds, kind in kinds:
        if holds:
            return kind
    for network, kind in _NON_PUBLIC_NETWORKS:
        if address in network:
            return kind
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return denial_reason(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST:
            return "private or reserved"
    return None if address.is_global else "private or reserved"


@dataclass(frozen=True)
class _AllowlistEntry:
    """One entry of the allowlist: a host name or a network, on one port or on all."""

    host: str | None
    network: IPv4Network | IPv6Network | None
    port: int | None

    def covers(self, host: str, address: Address, port: int) -> bool:
        if self.port not in (None, port):
            return False
        return address in self.network if self.network is not None else host == self.host


class EgressPolicy:
    """The allowlist: host names and addresses, each optionally with a port, and networks.

    Examples: `crm.internal`, `localhost:9000`, `10.0.0.5`, `[::1]:9000`, `10.0.0.0/8`. A host name allows all
    addresses that it resolves to. Raises ValueError for an invalid entry.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._entries = tuple(_parse_entry(entry.strip()) for entry in entries)

    def denial_reason(self, host: str, address: Address, port: int) -> str | None:
        """The reason why tools may not reach a host's address, phrased to follow "is"; None if they may."""
        kind = denial_reason(address)
        name = host.rstrip(".").lower()
        if kind is None or any(entry.covers(name, address, port) for entry in self._entries):
            return None
        return kind


def _parse_entry(entry: str) -> _AllowlistEntry:
    network = _parse_network(entry)
    if network is not None:
        return _AllowlistEntry(host=None, network=network, port=None)
    match = _HOST_AND_PORT.fullmatch(entry)
    if match:
        host, port = match["host"], int(match["port"]) if match["port"] else None
        network = _parse_network(host.strip("[]"))
        if port is None or 0 < port < 65_536:
            if network is not None and "/" not in host:
                return _AllowlistEntry(host=None, network=network, port=port)
            if _HOST_NAME.fullmatch(host):
                return _AllowlistEntry(host=host.rstrip(".").lower(), network=None, port=port)
    raise ValueError(
        f"{entry!r} is not a valid address; write a host name, an address or a network, "
        "such as crm.internal, localhost:9000, [::1]:9000 or 10.0.0.0/8"
    )


def _parse_network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None
