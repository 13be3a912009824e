"""Real sockets: PROXY headers, TLS, limits and time, before any protocol."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import trustme
import uvloop

from lyredb.plugins.network import ClientCertificates, Peer
from lyredb.protocols.http import bind_socket
from lyredb.protocols.net import Admission, AdmissionLimits, Network
from lyredb.protocols.net.certificates import CertificateFiles
from tests.protocols.net.authority import client_context, write_server_files
from tests.protocols.net.proxy_frames import proxy4

DEADLINE_S = 10.0
STRANGER = "192.0.2.7"


class Echo(asyncio.Protocol):
    def __init__(self, peer: Peer, peers: list[Peer]) -> None:
        self.peer = peer
        peers.append(peer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.peer.leave()


@dataclass
class Served:
    network: Network
    port: int
    peers: list[Peer] = field(default_factory=list)

    async def say(
        self, data: bytes, *, before: bytes = b"", context: ssl.SSLContext | None = None
    ) -> bytes:
        """Connect, send, and return what comes back, ``b""`` when the server closes."""
        async with asyncio.timeout(DEADLINE_S):
            if before and context is not None:
                return await self._say_behind_proxy(data, before, context)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1",
                self.port,
                ssl=context,
                server_hostname=None if context is None else "localhost",
            )
            try:
                writer.write(before + data)
                return await reader.read(len(data))
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

    async def _say_behind_proxy(self, data: bytes, before: bytes, context: ssl.SSLContext) -> bytes:
        """The header and the first bytes of the handshake in one packet, as proxies do."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")

        async def exchange(step: Callable[[], bytes | None]) -> bytes | None:
            nonlocal before
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    writer.write(before + outgoing.read())
                    before = b""
                    incoming.write(await reader.read(65_536))

        try:
            await exchange(lambda: tls.do_handshake())
            tls.write(data)
            return await exchange(lambda: tls.read(len(data))) or b""
        finally:
            writer.close()

    @property
    def open(self) -> int:
        return self.network.admission.statistics().open

    async def is_empty(self) -> None:
        await until(lambda: not self.open)


@asynccontextmanager
async def serving(
    *,
    limits: AdmissionLimits | None = None,
    files: CertificateFiles | None = None,
    certificates: ClientCertificates | None = None,
    is_proxy: Callable[[str], bool] | None = None,
    timeout_s: float = DEADLINE_S,
) -> AsyncIterator[Served]:
    network = Network(
        Admission(limits or AdmissionLimits()),
        files=files,
        is_proxy=is_proxy,
        handshake_timeout_s=timeout_s,
    )
    sock = bind_socket("127.0.0.1", 0)
    served = Served(network, sock.getsockname()[1])
    listening = await network.serve(
        sock, lambda peer: Echo(peer, served.peers), certificates=certificates
    )
    try:
        yield served
    finally:
        listening.close()
        network.close()
        await served.is_empty()


async def until(holds: Callable[[], bool]) -> None:
    """Wait, with a deadline, for what no event tells."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.005)


def run(body: Callable[[], Coroutine[None, None, None]]) -> None:
    """On the loop that the server has."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body())


def everybody(host: str) -> bool:
    return True


def nobody(host: str) -> bool:
    return False


def test_a_plain_connection_is_handed_over_with_its_address() -> None:
    async def body() -> None:
        async with serving() as served:
            assert await served.say(b"hello") == b"hello"
            (peer,) = served.peers
            assert peer.host == "127.0.0.1"
            assert peer.port
            assert not peer.is_secure

    run(body)


def test_tls_tells_the_user_in_the_certificate(tmp_path: Path) -> None:
    async def body() -> None:
        files = write_server_files(tmp_path)
        async with serving(files=files, certificates="true") as served:
            assert await served.say(b"hello", context=client_context(name="alice")) == b"hello"
            assert await served.say(b"hello", context=client_context()) == b"hello"
            assert [peer.certificate_name for peer in served.peers] == ["alice", ""]
            assert all(peer.is_secure for peer in served.peers)

    run(body)


def test_without_a_certificate_nobody_gets_in_where_one_is_required(tmp_path: Path) -> None:
    async def body() -> None:
        files = write_server_files(tmp_path)
        async with serving(files=files, certificates="required") as served:
            try:
                assert await served.say(b"hello", context=client_context()) == b""
            except (ssl.SSLError, ConnectionError):
                pass  # as it comes: TLS 1.3 learns of it after its own handshake
            assert served.peers == []
            assert served.network.statistics().failed_handshakes == 1

    run(body)


def test_an_old_tls_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        files = write_server_files(tmp_path)
        context = client_context()
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        async with serving(files=files, certificates="false") as served:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await served.say(b"hello", context=context)
            assert served.peers == []

    run(body)


def test_the_address_of_a_proxy_header_counts() -> None:
    async def body() -> None:
        limits = AdmissionLimits(per_second=1)
        async with serving(is_proxy=everybody, limits=limits) as served:
            for _ in range(10):
                assert await served.say(b"hi", before=proxy4(STRANGER, 51_000)) == b"hi"
            assert await served.say(b"hi", before=proxy4(STRANGER, 51_000)) == b""
            assert await served.say(b"hi", before=proxy4("192.0.2.8", 51_000)) == b"hi"
            assert {peer.host for peer in served.peers} == {STRANGER, "192.0.2.8"}
            assert served.network.statistics().connections.refused_rate == 1

    run(body)


def test_a_proxy_header_may_come_in_the_packet_of_the_handshake(tmp_path: Path) -> None:
    async def body() -> None:
        files = write_server_files(tmp_path)
        async with serving(is_proxy=everybody, files=files, certificates="true") as served:
            answer = await served.say(
                b"hi", before=proxy4(STRANGER, 51_000), context=client_context(name="alice")
            )
            assert answer == b"hi"
            (peer,) = served.peers
            assert (peer.address, peer.certificate_name) == (f"{STRANGER}:51000", "alice")

    run(body)


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_without_a_proxy_header_nothing_is_heard(before: bytes) -> None:
    async def body() -> None:
        async with serving(is_proxy=everybody) as served:
            assert await served.say(b"hello", before=before) == b""
            assert served.peers == []
            assert served.network.statistics().failed_headers == 1

    run(body)


def test_a_header_of_somebody_else_is_not_believed() -> None:
    async def body() -> None:
        async with serving(is_proxy=nobody) as served:
            assert await served.say(b"hi", before=proxy4(STRANGER, 1)) == b""
            assert served.peers == []

    run(body)


@pytest.mark.parametrize("is_secure", [False, True])
def test_who_says_nothing_is_cut_off(tmp_path: Path, is_secure: bool) -> None:
    """In the PROXY header as in the handshake: neither holds a place for longer."""

    async def body() -> None:
        async with serving(
            is_proxy=None if is_secure else everybody,
            files=write_server_files(tmp_path),
            certificates="false" if is_secure else None,
            timeout_s=0.05,
        ) as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            async with asyncio.timeout(DEADLINE_S):
                try:
                    assert await reader.read() == b""
                except ConnectionResetError:
                    pass
            writer.close()
            statistics = served.network.statistics()
            assert statistics.failed_headers == (not is_secure)
            assert statistics.failed_handshakes == is_secure
            assert served.peers == []

    run(body)


def test_more_than_the_total_are_closed_unheard_and_places_come_back() -> None:
    async def body() -> None:
        async with serving(limits=AdmissionLimits(connections=1)) as served:
            _, first = await asyncio.open_connection("127.0.0.1", served.port)
            await until(lambda: bool(served.peers))
            assert await served.say(b"hi") == b""
            first.close()
            await served.is_empty()
            assert await served.say(b"hi") == b"hi"

    run(body)


def test_a_full_server_can_still_be_asked_how_it_is() -> None:
    """Else a flood would pass for a dead server, and be answered with a restart."""

    async def body() -> None:
        async with serving(limits=AdmissionLimits(connections=1), is_proxy=everybody) as served:
            sock = bind_socket("127.0.0.1", 0)
            port = sock.getsockname()[1]
            operations = await served.network.serve(
                sock, lambda peer: Echo(peer, []), is_proxied=False
            )
            _, first = await asyncio.open_connection("127.0.0.1", served.port)
            await until(lambda: served.open == 1)
            assert await served.say(b"hi") == b""
            assert await Served(served.network, port).say(b"how are you") == b"how are you"
            first.close()
            operations.close()

    run(body)


def test_a_new_certificate_serves_the_next_connection_and_the_old_goes_on(tmp_path: Path) -> None:
    async def body() -> None:
        ca = trustme.CA()
        files = write_server_files(tmp_path)
        async with serving(files=files, certificates="false") as served:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", served.port, ssl=client_context(), server_hostname="localhost"
            )
            write_server_files(tmp_path, ca)
            assert served.network.certificates.refresh()
            assert await served.say(b"new", context=client_context(ca)) == b"new"
            with pytest.raises(ssl.SSLCertVerificationError):
                await served.say(b"old", context=client_context())
            writer.write(b"still")
            assert await reader.readexactly(5) == b"still"
            writer.close()

    run(body)


def test_closing_cuts_off_who_is_still_in_the_entrance(tmp_path: Path) -> None:
    async def body() -> None:
        files = write_server_files(tmp_path)
        async with serving(files=files, certificates="false") as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            await until(lambda: bool(served.open))
        async with asyncio.timeout(DEADLINE_S):
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
        writer.close()

    run(body)
