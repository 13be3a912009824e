"""What one WebSocket sends is worked on in turns, so that nobody waits for all of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode

from lyredb.protocols.http import HttpLimits
from lyredb.protocols.http.framer import Framer
from lyredb.protocols.http.port import Port
from lyredb.protocols.http.request import CONNECTION, PEER
from lyredb.protocols.http.websocket import WebSocketConnection
from lyredb.protocols.net.flow import TURN_S, Turn

READ_BYTES = 262_144
"""Of uvloop's buffer: as much as one read has."""
LOOK_S = 0.0011
"""How long the work between two looks at the clock takes here: five looks are a turn."""
LOOKS = 5
LIMITS = HttpLimits(ping_interval_s=1_000.0, ping_timeout_s=1_000.0)


def client_frame(first: int, payload: bytes) -> bytes:
    """A short frame whose mask is zero."""
    return bytes((first, 0x80 | len(payload))) + bytes(4) + payload


def pong(payload: bytes) -> bytes:
    return bytes((0x8A, len(payload))) + payload


PING, LAST_PING = client_frame(0x89, b"x"), client_frame(0x89, b"last")
CLOSE, CLOSED = client_frame(0x88, b"\x03\xe8"), b"\x88\x02\x03\xe8"
FLOODS = {
    "pings": PING,
    "pongs": client_frame(0x8A, b""),
    "one-byte fragments": client_frame(0x00, b"x"),
    "empty fragments": client_frame(0x00, b""),
    "tiny messages": client_frame(0x82, b"x"),
}


def a_read(kind: str, end: bytes = LAST_PING) -> bytes:
    """As many as fit into a read, behind the beginning of a message for fragments."""
    begin = client_frame(0x02, b"") if "fragments" in kind else b""
    one = FLOODS[kind]
    return begin + one * ((READ_BYTES - len(begin) - len(end)) // len(one)) + end


class FakeTransport(asyncio.Transport):
    """Keeps what is written, and knows whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.is_reading_now = True
        self.is_closed = False
        self.resumed = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed, "written to after close"
        self.data += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        self.is_reading_now = False

    def resume_reading(self) -> None:
        self.is_reading_now = True
        self.resumed += 1

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def take(self) -> bytes:
        data = bytes(self.data)
        self.data.clear()
        return data


class Inside:
    """The connection inside of a framer."""

    def __init__(self) -> None:
        self.fed: list[bytes] = []
        self.act: Callable[[], None] = lambda: None
        self.framer: Framer
        self.shut = False
        self.lost = False

    def feed(self, data: bytes) -> None:
        assert not self.lost
        self.fed.append(data)
        self.act()

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def shutdown(self) -> None:
        self.shut = True
        self.framer.write(b"bye")
        self.framer.close()

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.lost
        self.lost = True


class Site:
    """A port whose clock runs by itself, as if everything between two looks took time."""

    def __init__(self) -> None:
        self.port = Port(LIMITS, None)
        self.turns = 0
        self.look_s = LOOK_S
        self.left: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.connection: WebSocketConnection
        self._now_s = 0.0
        self.port.turn = Turn(self._clock, self._call_soon)

    def _clock(self) -> float:
        self._now_s += self.look_s
        return self._now_s

    def _call_soon(self, callback: Callable[[], None]) -> None:
        self.turns += 1
        asyncio.get_running_loop().call_soon(callback)

    async def _ignore(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        scope["extensions"][CONNECTION].ignores_messages = True
        await asyncio.Event().wait()

    async def _collect(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            self.messages.append(await receive())

    def _peer(self, name: str) -> Any:
        return SimpleNamespace(leave=lambda: self.left.append(name))

    async def websocket(self, *, collects: bool = False) -> FakeTransport:
        """Open a WebSocket; `connection` is then it."""
        app = self._collect if collects else self._ignore
        config = uvicorn.Config(
            app,
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            ws_max_size=LIMITS.max_message_bytes,
        )
        config.load()
        transport = FakeTransport()
        connection = WebSocketConnection(config, self.port, {}, asyncio.get_running_loop())
        key = (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA==")
        request = {
            "client": ("203.0.113.7", 1),
            "headers": [key, (b"sec-websocket-version", b"13")],
            "path": "/x",
            "raw_path": b"/x",
            "query_string": b"",
            PEER: self._peer("websocket"),
        }
        connection.begin(transport, request, b"")
        for _ in range(5):
            await asyncio.sleep(0)
        assert transport.take().startswith(b"HTTP/1.1 101 ")
        self.connection = connection
        return transport

    def framer(self) -> tuple[Framer, FakeTransport, Inside]:
        """Open a framer."""
        transport, inside = FakeTransport(), Inside()
        framer = Framer(transport, self.port, self._peer("framer"))
        inside.framer = framer
        framer.attach(inside)
        return framer, transport, inside

    async def until_read(self, transport: FakeTransport) -> int:
        """Let ticks pass until a peer is read again; return how many turns that took."""
        before = self.turns
        for _ in range(10_000):
            if transport.is_reading_now:
                return self.turns - before
            await asyncio.sleep(0)
        raise AssertionError("never read again")


def run(body: Callable[[Site], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        await body(Site())
        mine = asyncio.current_task()
        for task in asyncio.all_tasks() - {mine}:
            task.cancel()

    # The library logs applications that are cancelled.
    logging.getLogger("uvicorn.error").disabled = True
    try:
        asyncio.run(all_of_it())
    finally:
        logging.getLogger("uvicorn.error").disabled = False


@pytest.mark.parametrize("kind", FLOODS)
def test_a_read_full_of_small_frames_takes_many_turns(kind: str) -> None:
    """One turn a tick, unread meanwhile; what came last is answered last, nothing before."""

    async def body(site: Site) -> None:
        transport = await site.websocket()
        site.connection.data_received(a_read(kind))
        assert not transport.is_reading_now
        assert site.turns == 1, "it has had a turn, and waits for one more"
        for ticks in range(2, 6):
            await asyncio.sleep(0)
            assert site.turns == ticks, "one turn a tick"
        assert pong(b"last") not in transport.data
        at_most = READ_BYTES // (LOOKS * 4_096)
        assert await site.until_read(transport) >= at_most // 2
        answers = transport.take()
        pings = a_read(kind).count(PING)
        assert answers == pong(b"x") * pings + pong(b"last")

    run(body)


@pytest.mark.parametrize("kind", FLOODS)
def test_frames_of_a_stream_take_many_turns_too(kind: str) -> None:
    """MQTT over WebSocket: every byte arrives, in order, a batch per look at the clock."""

    async def body(site: Site) -> None:
        framer, transport, inside = site.framer()
        read = a_read(kind, client_frame(0x80, b"") * ("frag" in kind) + LAST_PING)
        framer.data_received(read)
        assert not transport.is_reading_now
        assert site.turns == 1
        await asyncio.sleep(0)
        assert site.turns == 2, "one turn a tick"
        assert pong(b"last") not in transport.data
        assert await site.until_read(transport) >= 10
        assert transport.take() == pong(b"x") * read.count(PING) + pong(b"last")
        flood = FLOODS[kind]
        binary = read.count(flood) if flood[0] in (0x00, 0x82) and flood[1] & 0x7F else 0
        assert b"".join(inside.fed) == b"x" * binary

    run(body)


def test_others_are_served_between_the_turns_of_a_flood() -> None:
    """A flood of each kind on both kinds of connection, and everybody is answered at once."""

    async def body(site: Site) -> None:
        flooded = [await site.websocket()]
        site.connection.data_received(a_read("pings"))
        for kind in FLOODS:
            framer, transport, _ = site.framer()
            framer.data_received(a_read(kind))
            flooded.append(transport)
        bystander = await site.websocket()
        other, beside, inside = site.framer()
        for number in range(3):
            name = b"%d" % number
            for connection in (site.connection, other):
                connection.data_received(client_frame(0x89, name))
            other.data_received(client_frame(0x82, name))
            assert bystander.take() == beside.take() == pong(name)
            assert inside.fed[-1] == name
            assert not any(one.is_reading_now for one in flooded), "they are not done"
            await asyncio.sleep(0)
        for one in flooded:
            await site.until_read(one)
            assert one.take().endswith(pong(b"last"))

    run(body)


def test_a_handler_gets_every_message_in_order_and_does_not_end_the_pause() -> None:
    """It takes all that is there between two turns; its peer is read after the last one."""

    async def body(site: Site) -> None:
        transport = await site.websocket(collects=True)
        texts = [f"{number:05}" for number in range(20_000)]
        site.connection.data_received(b"".join(client_frame(0x81, t.encode()) for t in texts))
        # What a transport delivers although it was told to pause comes behind the rest.
        site.connection.data_received(client_frame(0x81, b"behind"))
        for _ in range(8):
            assert not transport.is_reading_now
            taken = len(site.messages)
            await asyncio.sleep(0)
            assert len(site.messages) - taken < 3_000, "a turn's worth"
        await site.until_read(transport)
        assert [one["text"] for one in site.messages] == [*texts, "behind"]
        assert site.turns > 8
        assert transport.resumed == 1, "not for a moment in between"

    run(body)


@pytest.mark.parametrize("first", [0x01, 0x02], ids=["text", "binary"])
def test_fragments_are_kept_as_one_piece(first: int) -> None:
    """A million of one byte would be 50 MB, and joining them is a step without an end."""

    async def body(site: Site) -> None:
        await site.websocket(collects=True)
        take = site.connection.data_received
        take(client_frame(first, b"a"))
        for _ in range(100):
            take(client_frame(0x00, b"b") * 100)
            assert len(site.connection.frames) == 1
        take(client_frame(0x80, b"c"))
        await asyncio.sleep(0)
        whole = "a" + "b" * 10_000 + "c"
        expected = {"text": whole} if first == 0x01 else {"bytes": whole.encode()}
        assert site.messages == [{"type": "websocket.receive", **expected}]
        assert all(not isinstance(one, bytearray) for one in site.messages[0].values())

    run(body)


def test_a_large_read_that_took_long_is_the_last_of_its_turn() -> None:
    """uvloop reads up to 32 times without anybody else having a turn."""

    async def body(site: Site) -> None:
        transport = await site.websocket()
        framer, other, inside = site.framer()
        large = b"\x82\xff" + (50_000).to_bytes(8, "big") + bytes(4 + 50_000)
        site.look_s = TURN_S / 15
        site.connection.data_received(large)
        site.look_s = TURN_S / 4
        framer.data_received(large)
        assert not transport.is_reading_now
        assert not other.is_reading_now
        assert inside.fed == [bytes(50_000)], "nothing of it waits"
        await site.until_read(transport)
        await site.until_read(other)
        framer.data_received(PING)
        site.connection.data_received(PING)
        assert transport.is_reading_now
        assert other.is_reading_now

    run(body)


def test_an_end_in_the_middle_of_a_flood_is_the_end() -> None:
    """Of a subscription that is closed: one close frame, and nothing is answered behind it."""

    async def body(site: Site) -> None:
        transport = await site.websocket()
        site.connection.data_received(a_read("pings"))
        transport.take()
        site.connection.end(1012, "bye")
        assert transport.take() == b"\x88\x05\x03\xf4bye"
        for _ in range(5):
            await asyncio.sleep(0)
        assert transport.take() == b""
        site.connection.connection_lost(None)
        assert site.left == ["websocket"]
        assert not site.port.connections

    run(body)


def test_a_close_behind_a_flood_is_answered_when_its_turn_comes() -> None:
    async def body(site: Site) -> None:
        transport = await site.websocket()
        framer, other, inside = site.framer()
        site.connection.data_received(a_read("pongs", CLOSE))
        framer.data_received(a_read("tiny messages", CLOSE))
        assert not transport.is_closed
        assert not other.is_closed
        for _ in range(100):
            await asyncio.sleep(0)
        assert transport.is_closed
        assert other.is_closed
        assert transport.take() == other.take() == CLOSED
        assert sum(map(len, inside.fed)) == (READ_BYTES - len(CLOSE)) // 7

    run(body)


def test_a_violation_behind_a_flood_comes_after_what_was_before_it() -> None:
    async def body(site: Site) -> None:
        framer, transport, inside = site.framer()
        framer.data_received(a_read("tiny messages", client_frame(0x81, b"text")))
        for _ in range(100):
            await asyncio.sleep(0)
        assert sum(map(len, inside.fed)) == (READ_BYTES - 10) // 7
        assert transport.is_closed
        assert transport.take()[2:4] == (1003).to_bytes(2, "big")

    run(body)


def test_a_shutdown_in_the_middle_says_goodbye_and_passes_nothing_on() -> None:
    """The peer's answer to our close, behind its flood, is still seen."""

    async def body(site: Site) -> None:
        framer, transport, inside = site.framer()
        framer.data_received(a_read("tiny messages", PING + CLOSE))
        framer.shutdown()
        assert inside.shut
        assert transport.take() == b"\x82\x03bye" + CLOSED
        fed = len(inside.fed)
        for _ in range(100):
            await asyncio.sleep(0)
        assert transport.is_closed
        assert transport.take() == b"", "neither a pong nor a second close"
        assert len(inside.fed) == fed
        framer.connection_lost(None)
        assert inside.lost

    run(body)


def test_what_was_read_before_the_peer_went_is_passed_on_first_and_in_turns() -> None:
    """A DISCONNECT may be in it; a reset must not be a way to get more than a turn."""

    async def body(site: Site) -> None:
        framer, transport, inside = site.framer()
        framer.data_received(a_read("tiny messages", client_frame(0x82, b"!")))
        framer.connection_lost(ConnectionResetError())
        assert site.left == ["framer"], "it holds no place any more"
        assert not site.port.connections
        assert not inside.lost
        fed = sum(map(len, inside.fed))
        await asyncio.sleep(0)
        assert 0 < sum(map(len, inside.fed)) - fed < 4_000, "one turn"
        for _ in range(100):
            await asyncio.sleep(0)
        assert inside.lost
        assert b"".join(inside.fed).endswith(b"x!")
        assert transport.take() == b""

    run(body)


def test_a_pause_of_the_connection_inside_holds_its_frames_back() -> None:
    async def body(site: Site) -> None:
        framer, transport, inside = site.framer()
        inside.act = framer.pause_reading
        framer.data_received(a_read("tiny messages"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(inside.fed) == 1, "it paused at once"
        inside.act = lambda: None
        framer.resume_reading()
        assert len(inside.fed) == 1, "not from within its call"
        assert not transport.is_reading_now
        await site.until_read(transport)
        assert sum(map(len, inside.fed)) == (READ_BYTES - len(LAST_PING)) // 7
        assert transport.take() == pong(b"last")

    run(body)


def test_a_peer_is_read_again_when_both_sides_of_a_framer_ended_their_turns_at_once() -> None:
    """Nothing is left of the read, so whoever is inside has nothing to be called for.

    The pause of the framer's own turn once stayed for ever: the peer's close was not read.
    """

    async def body(site: Site) -> None:
        framer, transport, inside = site.framer()
        site.look_s = TURN_S
        inside.act = framer.pause_reading
        framer.data_received(client_frame(0x82, b"x") * 400)
        assert b"".join(inside.fed) == b"x" * 400
        assert not transport.is_reading_now
        framer.resume_reading()
        await site.until_read(transport)
        framer.data_received(CLOSE)
        assert transport.take() == CLOSED

    run(body)


def test_the_time_of_the_connection_inside_counts() -> None:
    """Its own turn may be over with every batch; both together have one."""

    async def body(site: Site) -> None:
        framer, _, inside = site.framer()
        site.look_s = 0.0
        now = [0.0]
        site.port.turn = Turn(lambda: now[0], site._call_soon)

        def work() -> None:
            now[0] += TURN_S / 2

        inside.act = work
        framer.data_received(a_read("tiny messages"))
        assert len(inside.fed) == 2

    run(body)


def test_the_answer_to_a_ping_is_found_behind_a_flood_and_a_missing_one_ends_it() -> None:
    async def body(site: Site) -> None:
        transport = await site.websocket()
        connection = site.connection
        connection.send_keepalive_ping()
        payload = connection.pending_ping_payload
        assert payload is not None
        connection.data_received(a_read("tiny messages", client_frame(0x8A, payload)))
        assert connection.pending_ping_payload == payload
        await site.until_read(transport)
        assert connection.pending_ping_payload is None, "it answered"
        connection.send_keepalive_ping()
        connection.data_received(a_read("tiny messages"))
        transport.take()
        connection.keepalive_timeout()
        assert transport.is_closed
        assert transport.take()[2:4] == (1011).to_bytes(2, "big")
        for _ in range(100):
            await asyncio.sleep(0)

    run(body)


def test_who_pings_a_framer_and_never_reads_has_one_answer_waiting() -> None:
    async def body(site: Site) -> None:
        framer, transport, _ = site.framer()
        framer.pause_writing()
        framer.data_received(a_read("pings"))
        await site.until_read(transport)
        assert transport.take() == b""
        framer.resume_writing()
        assert transport.take() == pong(b"last")

    run(body)


def test_a_close_in_the_read_of_what_ends_the_connection_is_no_fault_of_ours() -> None:
    """The parser has met the close before what stands before it is acted on."""

    async def body(site: Site) -> None:
        transport = await site.websocket()
        site.connection.data_received(client_frame(0x81, b"\xff") + CLOSE)
        assert transport.is_closed
        assert transport.take() == CLOSED
        transport = await site.websocket()
        site.connection.pause_writing()
        site.connection.data_received(PING + CLOSE)
        assert transport.is_closed
        assert transport.take() == CLOSED

    run(body)


def test_early_frames_have_turns_too() -> None:
    """They came with the request, as many as a read holds."""

    async def body(site: Site) -> None:
        transport = await site.websocket()
        connection = site.connection
        connection.handshake_complete = False
        connection.data_received(a_read("pings"))
        assert site.turns == 0
        assert not transport.is_reading_now
        connection.handshake_complete = True
        connection._take_early()
        assert site.turns == 1
        await site.until_read(transport)
        assert transport.take().endswith(pong(b"last"))

    run(body)


def test_frames_of_the_library_are_what_these_tests_send() -> None:
    ours = client_frame(0x89, b"x")
    theirs = Frame(TheirOpcode.PING, b"x").serialize(mask=True)
    assert (ours[:2], len(ours)) == (theirs[:2], len(theirs))
