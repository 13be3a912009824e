"""TLS over a transport that is no socket: each byte is the test's."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from pathlib import Path
from typing import Any

import pytest
import trustme

from lyredb.protocols.net.certificates import Certificates, common_name
from lyredb.protocols.net.secure import SecureTransport
from tests.protocols.net.authority import client_context, write_server_files


class FakeTransport(asyncio.Transport):
    """Keeps what is written until the test takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = bytearray()
        self.is_closed = self.is_aborted = self.has_ended = False

    def write(self, data: Any) -> None:
        self.waiting += data

    def take(self) -> bytes:
        data = bytes(self.waiting)
        self.waiting.clear()
        return data

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def write_eof(self) -> None:
        self.has_ended = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_closed


class Inner(asyncio.Protocol):
    """The protocol on top."""

    def __init__(self, *, stays: bool = False) -> None:
        self.stays = stays
        self.heard: list[bytes] = []
        self.events: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def eof_received(self) -> bool:
        self.events.append("end")
        return self.stays

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")


class Client:
    """The other end."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def heard(self) -> bytes:
        parts = []
        try:
            while part := self.ssl.read(65_536):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)

    def has_heard_the_end(self) -> bool:
        try:
            return self.ssl.read(1) == b""
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLZeroReturnError:
            return True


class Pair:
    """Both ends, joined by hand."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, inner: Inner) -> None:
        self.tcp, self.inner = FakeTransport(), inner
        self.failures: list[str] = []
        self.secure = SecureTransport(
            self.tcp, server, secured=lambda _: inner, failed=self.failures.append
        )
        self.client = Client(client)

    def step(self, size: int = 0) -> None:
        """Carry what waits in both directions, to the server in pieces of ``size``."""
        data = self.client.outgoing.read()
        for at in range(0, len(data), size or len(data) or 1):
            self.secure.data_received(data[at : at + size] if size else data)
        self.client.incoming.write(self.tcp.take())

    def shake_hands(self, size: int = 0) -> None:
        for _ in range(4):
            try:
                self.client.ssl.do_handshake()
            except ssl.SSLWantReadError:
                pass
            self.step(size)


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    return Certificates(write_server_files(tmp_path)).context("true")()


def tls12(context: ssl.SSLContext) -> ssl.SSLContext:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize("size", [0, 1, 7, 1_000])
@pytest.mark.parametrize("old", [False, True])
def test_both_directions_are_carried_whatever_the_pieces(
    server: ssl.SSLContext, size: int, old: bool
) -> None:
    context = tls12(client_context()) if old else client_context()
    pair = Pair(server, context, Inner())
    pair.shake_hands(size)
    pair.client.ssl.write(b"question")
    pair.step(size)
    assert pair.inner.heard == [b"question"]
    pair.secure.write(b"answer")
    pair.step()
    assert pair.client.heard() == b"answer"


def test_data_that_comes_with_the_end_of_the_handshake_is_heard(server: ssl.SSLContext) -> None:
    pair = Pair(server, client_context(), Inner())
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.ssl.do_handshake()
    pair.step()
    pair.client.ssl.do_handshake()
    pair.client.ssl.write(b"early")
    pair.step()
    assert pair.inner.events == ["made"]
    assert pair.inner.heard == [b"early"]


def test_large_writes_come_whole_and_count_until_they_are_taken(server: ssl.SSLContext) -> None:
    """asyncio's own count is 0 once a write is encrypted: a stuck reader looks like a good one."""
    pair = Pair(server, client_context(), Inner())
    pair.shake_hands()
    data = bytes(range(256)) * 4_000
    pair.secure.write(memoryview(data))
    assert pair.secure.get_write_buffer_size() > len(data)
    pair.step()
    assert pair.secure.get_write_buffer_size() == 0
    assert pair.client.heard() == data


def test_the_name_in_a_certificate_is_known(server: ssl.SSLContext) -> None:
    pair = Pair(server, client_context(name="alice"), Inner())
    pair.shake_hands()
    assert common_name(pair.secure.ssl_object) == "alice"
    other = Pair(server, client_context(), Inner())
    other.shake_hands()
    assert common_name(other.secure.ssl_object) == ""


def test_a_certificate_of_another_authority_is_refused(server: ssl.SSLContext) -> None:
    context = client_context()
    trustme.CA().issue_cert("alice.example", common_name="alice").configure_cert(context)
    pair = Pair(server, context, Inner())
    pair.shake_hands()
    assert pair.failures
    assert pair.tcp.is_closed
    assert pair.inner.events == []


def test_what_is_no_tls_fails_at_once(server: ssl.SSLContext) -> None:
    pair = Pair(server, client_context(), Inner())
    pair.secure.data_received(b"GET / HTTP/1.1\r\n\r\n")
    assert len(pair.failures) == 1
    assert pair.tcp.is_closed
    pair.secure.data_received(b"more")
    pair.secure.connection_lost(None)
    assert len(pair.failures) == 1


def test_a_peer_that_leaves_during_the_handshake_is_told_of(server: ssl.SSLContext) -> None:
    pair = Pair(server, client_context(), Inner())
    pair.secure.connection_lost(None)
    assert pair.failures == ["the peer left during the handshake of TLS"]
    assert pair.inner.events == []


def test_the_buffers_of_tls_do_not_wait_for_the_garbage_collector(server: ssl.SSLContext) -> None:
    pair = Pair(server, client_context(), Inner())
    pair.shake_hands()
    tls = weakref.ref(pair.secure.ssl_object)
    gc.disable()
    try:
        pair.secure.connection_lost(None)
        assert tls() is None, "the transport itself is still held"
    finally:
        gc.enable()
    pair.secure.data_received(b"late")
    pair.secure.write(b"late")
    pair.secure.close()
    assert pair.secure.get_extra_info("ssl_object", "nothing") == "nothing"


def test_a_changed_byte_ends_the_connection(server: ssl.SSLContext) -> None:
    pair = Pair(server, client_context(), Inner())
    pair.shake_hands()
    pair.client.ssl.write(b"question")
    data = bytearray(pair.client.outgoing.read())
    data[-1] ^= 1
    pair.secure.data_received(bytes(data))
    assert pair.tcp.is_aborted
    assert pair.inner.heard == []


def test_close_tells_the_peer_that_nothing_is_missing(server: ssl.SSLContext) -> None:
    pair = Pair(server, client_context(), Inner())
    pair.shake_hands()
    pair.secure.write(b"last")
    pair.secure.close()
    pair.step()
    assert pair.client.heard() == b"last" or pair.client.has_heard_the_end()
    assert pair.client.has_heard_the_end()
    assert pair.tcp.is_closed
    pair.secure.write(b"too late")
    assert not pair.tcp.waiting


def test_our_end_leaves_the_socket_open_for_what_still_comes(server: ssl.SSLContext) -> None:
    """As HTTP needs it after a refusal: closing would make a reset of unread bytes."""
    pair = Pair(server, client_context(), Inner())
    pair.shake_hands()
    pair.secure.write_eof()
    pair.step()
    assert pair.client.has_heard_the_end()
    assert pair.tcp.has_ended
    assert not pair.tcp.is_closed
    pair.secure.data_received(b"x" * 1_000_000)
    assert not pair.tcp.is_closed
    assert pair.inner.heard == []
    for _ in range(8):
        pair.secure.data_received(b"x" * 1_000_000)
    assert pair.tcp.is_aborted


@pytest.mark.parametrize("stays", [False, True])
def test_the_end_of_the_peer_is_the_protocols_business_once(
    server: ssl.SSLContext, stays: bool
) -> None:
    pair = Pair(server, client_context(), Inner(stays=stays))
    pair.shake_hands()
    pair.client.ssl.write(b"request")
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.ssl.unwrap()
    pair.step()
    assert pair.secure.eof_received() is stays
    assert pair.inner.heard == [b"request"]
    assert pair.inner.events == ["made", "end"]
    assert pair.tcp.is_closed is not stays
    if stays:
        pair.secure.write(b"answer")
        assert pair.tcp.waiting
