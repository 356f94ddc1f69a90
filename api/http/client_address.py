"""The address of a client, also behind proxies."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.requests import Request

Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address

UNKNOWN: Final = "unknown"
"""Used for clients without an address, such as those of a Unix socket."""
_CLIENT_NETWORK_BITS: Final = 64
"""Bits of an IPv6 address that a provider gives to one customer, who chooses the others freely."""


def client_address(request: Request, trusted_proxies: Sequence[Network]) -> str:
    """The address of a client: a whole IPv4 address, or the /64 network of an IPv6 address.

    `X-Forwarded-For` is read from the right, as long as the addresses are those of trusted proxies: a client can write
    any entries further left itself.
    """
    peer = _parsed(request.client.host if request.client else "")
    forwarded = [part for line in request.headers.getlist("x-forwarded-for") for part in line.split(",")]
    while peer is not None and forwarded and any(peer in network for network in trusted_proxies):
        nearer = _parsed(forwarded.pop())
        if nearer is None:
            break
        peer = nearer
    if peer is None:
        return UNKNOWN
    if isinstance(peer, IPv6Address):
        return str(ip_network((int(peer), _CLIENT_NETWORK_BITS), strict=False))
    return str(peer)


def _parsed(text: str) -> _Address | None:
    """An address, with an IPv4 address in IPv6 form unwrapped; None for anything else."""
    try:
        address = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
