"""The PROXY protocol, version 2: what a proxy says before the first byte of its client.

Without I/O. Specification: haproxy's ``doc/proxy-protocol.txt``, sections 2.2 to 2.5. What
follows the addresses (type-length-values, the checksum among them) is passed over: it says
nothing that limits or logins use, and a proxy that is trusted is not checked by a checksum.
Version 1, a line of text, is not taken: its end has to be searched for.

The package `proxy-protocol` reads from asyncio streams, which would put a task and a copy
between every connection and its protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from lyredb.errors import SettingError
from lyredb.protocols.net.addresses import read_address

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
HEADER_BYTES: Final = 16
MAX_BYTES: Final = 4_096
"""Of addresses and values behind the header. 536 have to be taken; values that proxies add
(host name, identifiers, checksum, subject of a certificate) are some hundred bytes."""

_LOCAL, _PROXY = 0x20, 0x21
_UNKNOWN, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_SIZES: Final = {_UNKNOWN: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}


class ProxyHeaderError(Exception):
    """What came is no header of the PROXY protocol, version 2."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy said.

    Attributes:
        host: The client's address, ``""`` when the proxy speaks for itself (a health
            check) or does not know: then the address of the connection counts.
        port: The client's port.
        size: Bytes of the header; the client's own begin behind them.
    """

    host: str
    port: int
    size: int


def parse_header(data: bytes) -> ProxyHeader | None:
    """Return the header that the bytes begin with; ``None`` when more have to come.

    Raises:
        ProxyHeaderError: They cannot be the beginning of one; said at the first wrong byte.
    """
    if not SIGNATURE.startswith(data[:12]):
        raise ProxyHeaderError("no signature of the PROXY protocol, version 2")
    if len(data) < HEADER_BYTES:
        return None
    command, family, length = struct.unpack_from(">BBH", data, 12)
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"unknown version and command 0x{command:02x}")
    if length > MAX_BYTES:
        raise ProxyHeaderError(f"{length} bytes follow the header, at most {MAX_BYTES} are taken")
    size = HEADER_BYTES + length
    if len(data) < size:
        return None
    if command == _LOCAL:  # whatever family it has is ignored (section 2.2)
        return ProxyHeader("", 0, size)
    return _addresses(data, family, length, size)


def _addresses(data: bytes, family: int, length: int, size: int) -> ProxyHeader:
    if family not in _SIZES:
        raise ProxyHeaderError(f"address family and protocol 0x{family:02x} are not for TCP")
    if length < _SIZES[family]:
        raise ProxyHeaderError("the addresses are cut off")
    if family == _TCP4:
        source, _, port, _ = struct.unpack_from(">4s4sHH", data, HEADER_BYTES)
        return ProxyHeader(str(IPv4Address(source)), port, size)
    if family == _TCP6:
        source, _, port, _ = struct.unpack_from(">16s16sHH", data, HEADER_BYTES)
        return ProxyHeader(str(IPv6Address(source)), port, size)
    return ProxyHeader("", 0, size)


def trusted_proxies(written: str) -> Callable[[str], bool]:
    """Return what tells whether an address is that of a proxy.

    Args:
        written: The setting ``network.proxyTrusted``.

    Raises:
        SettingError: It names no network, or something that is none.
    """
    networks: list[IPv4Network | IPv6Network] = []
    for part in written.split(","):
        try:
            networks.append(ip_network(part.strip()))
        except ValueError as error:
            raise SettingError(
                "network.proxyTrusted",
                f"got {written!r}: {error}",
                allowed="addresses and networks such as 10.0.0.0/8, with commas between",
            ) from error

    def is_trusted(host: str) -> bool:
        address = read_address(host)
        return address is not None and any(address in network for network in networks)

    return is_trusted
