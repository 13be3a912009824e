"""Headers as a proxy sends them."""

from __future__ import annotations

import socket
import struct

from lyredb.protocols.net.proxy import SIGNATURE


def proxy4(host: str, port: int, values: bytes = b"") -> bytes:
    addresses = socket.inet_aton(host) + socket.inet_aton("192.0.2.1")
    return _header(0x11, addresses + struct.pack(">HH", port, 1883) + values)


def proxy6(host: str, port: int, values: bytes = b"") -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, host) + bytes(16)
    return _header(0x21, addresses + struct.pack(">HH", port, 1883) + values)


def _header(family: int, rest: bytes) -> bytes:
    return SIGNATURE + struct.pack(">BBH", 0x21, family, len(rest)) + rest
