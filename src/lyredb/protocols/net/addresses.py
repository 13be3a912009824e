"""Addresses as limits see them."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_REMEMBERED = 4_096
UNIX = "unix"
"""Stands for the address of whoever comes by a Unix socket, which has none."""


def read_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address, IPv4 out of its IPv6 form; ``None`` when it is none."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(_REMEMBERED)
def neighbourhood(host: str) -> str:
    """Return what counts as one address: an IPv4 address, the /64 of an IPv6 address.

    One customer has at least a /64 of IPv6 (RFC 6177), so single addresses limit nobody.
    """
    address = read_address(host)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return host if address is None else str(address)


@lru_cache(_REMEMBERED)
def is_loopback(host: str) -> bool:
    """True for 127.0.0.0/8, ::1, the former written as IPv6, and `UNIX`."""
    if host == UNIX:
        return True
    address = read_address(host)
    return address is not None and address.is_loopback
