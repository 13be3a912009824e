"""The PROXY protocol, version 2, byte by byte (haproxy's proxy-protocol.txt)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.errors import SettingError
from lyredb.protocols.net.proxy import (
    MAX_BYTES,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderError,
    parse_header,
    trusted_proxies,
)
from tests.protocols.net.proxy_frames import proxy4, proxy6


def test_ipv4_source_is_who_connects() -> None:
    data = proxy4("192.0.2.7", 51_000)
    assert parse_header(data + b"rest") == ProxyHeader("192.0.2.7", 51_000, len(data))


def test_ipv6_source_is_who_connects() -> None:
    data = proxy6("2001:db8::7", 51_000)
    assert parse_header(data) == ProxyHeader("2001:db8::7", 51_000, len(data))


def test_values_behind_the_addresses_are_passed_over() -> None:
    """Such as PP2_TYPE_NOOP and PP2_TYPE_UNIQUE_ID (section 2.2.5)."""
    values = b"\x04\x00\x03abc" + b"\x05\x00\x02id"
    data = proxy4("192.0.2.7", 51_000, values)
    assert parse_header(data) == ProxyHeader("192.0.2.7", 51_000, len(data))


@pytest.mark.parametrize("family", [0x00, 0x11, 0x77])
def test_a_proxy_that_speaks_for_itself_leaves_the_address(family: int) -> None:
    """LOCAL: the receiver ignores the family and skips what follows (section 2.2)."""
    data = SIGNATURE + struct.pack(">BBH", 0x20, family, 12) + bytes(12)
    assert parse_header(data) == ProxyHeader("", 0, 28)


@pytest.mark.parametrize(("family", "length"), [(0x00, 0), (0x00, 7), (0x31, 216)])
def test_an_unknown_or_unix_address_leaves_that_of_the_connection(family: int, length: int) -> None:
    data = SIGNATURE + struct.pack(">BBH", 0x21, family, length) + bytes(length)
    assert parse_header(data) == ProxyHeader("", 0, 16 + length)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n",
        SIGNATURE[:11] + b"X",
        SIGNATURE + struct.pack(">BBH", 0x11, 0x11, 12) + bytes(12),  # version 1
        SIGNATURE + struct.pack(">BBH", 0x22, 0x11, 12) + bytes(12),  # no such command
        SIGNATURE + struct.pack(">BBH", 0x21, 0x12, 12) + bytes(12),  # UDP
        SIGNATURE + struct.pack(">BBH", 0x21, 0x11, 11) + bytes(11),  # cut addresses
        SIGNATURE + struct.pack(">BBH", 0x21, 0x21, 35) + bytes(35),
        SIGNATURE + struct.pack(">BBH", 0x21, 0x11, MAX_BYTES + 1),
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parse_header(data)


def test_other_protocols_are_refused_at_their_first_byte() -> None:
    with pytest.raises(ProxyHeaderError):
        parse_header(b"G")


@given(st.sampled_from([proxy4("192.0.2.7", 1), proxy6("2001:db8::7", 2, b"\x04\x00\x01x")]))
def test_each_beginning_asks_for_more(data: bytes) -> None:
    for end in range(len(data)):
        assert parse_header(data[:end]) is None


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for begin in (b"", SIGNATURE, SIGNATURE + b"\x21"):
        try:
            parse_header(begin + data)
        except ProxyHeaderError:
            pass


def test_proxies_are_told_by_address_and_network() -> None:
    is_proxy = trusted_proxies("127.0.0.1, 10.0.0.0/8,2001:db8::/32")
    assert all(map(is_proxy, ["127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::9"]))
    assert not any(map(is_proxy, ["127.0.0.2", "11.0.0.1", "", "2001:db9::1"]))


@pytest.mark.parametrize("written", ["", "10.0.0.0/33", "proxy.example", "10.0.0.1/8"])
def test_what_is_no_network_is_refused_at_the_start(written: str) -> None:
    with pytest.raises(SettingError, match=r"network\.proxyTrusted"):
        trusted_proxies(written)
