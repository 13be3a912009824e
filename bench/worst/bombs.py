"""Inputs made to cost far more than their bytes, and what each costs the whole server."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import brotli
import zstandard

from bench.load.client import LoadFailed, MqttLogin, connect
from bench.load.packets import length, packet
from bench.load.spec import Target
from bench.load.wrk import basic
from bench.peers.cpu import tree
from bench.peers.lyredb import lyredb
from bench.result import Figure
from bench.worst.cost import REMEMBER, Watch

BODY_BYTES: Final = 3_900_000
"""Nearly as large as a body may be (``http.maxBodySize``)."""
PACKET_BYTES: Final = 1_150_000
"""Nearly as large as a packet may be (``mqtt.maxPacketSize``)."""
CPU_MS: Final = 100.0
GROWTH_BYTES: Final = 32_000_000
LEVEL: Final = 5
DEFLATE: Final = {"LYREDB_WS_PER_MESSAGE_DEFLATE": "true"}
_PATIENCE_S: Final = 30.0

JSON, CBOR, MSGPACK = "application/json", "application/cbor", "application/x-msgpack"


def bodies(size: int) -> dict[str, tuple[str, bytes]]:
    """Return bodies of at most so many bytes by name, each with its media type."""
    count = size.to_bytes(4, "big")
    return {
        "nested JSON lists": (JSON, b'{"text":' + b"[" * (size - 8)),
        "nested JSON objects": (JSON, b'{"a":' * (size // 5)),
        "a JSON number of a million digits": (JSON, b'{"seq":' + b"1" * 1_000_000 + b"}"),
        "the JSON number 1e999999": (JSON, b'{"seq":1e999999}'),
        "long JSON numbers": (
            JSON,
            b'{"x":[' + b",".join([b"7" * 4_000] * (size // 4_200)) + b"]}",
        ),
        "very many JSON names": (
            JSON,
            b"{" + b",".join(b'"%x":0' % number for number in range(size // 11)) + b"}",
        ),
        "very many empty JSON lists": (
            JSON,
            b'{"x":[' + b",".join([b"[]"] * (size // 3 - 9)) + b"]}",
        ),
        "as many empty JSON objects as allowed": (
            JSON,
            b'{"x":[' + b",".join([b"{}"] * 149_000) + b"]}",
        ),
        "a CBOR list of 2**64 - 1": (CBOR, b"\xa1\x61x\x9b" + b"\xff" * 8),
        "a CBOR map of 2**32 - 1": (CBOR, b"\xbb\x00\x00\x00\x00" + b"\xff" * 4),
        "nested CBOR lists": (CBOR, b"\xa1\x61x" + b"\x81" * (size - 3)),
        "nested CBOR tags": (CBOR, b"\xc0" * size),
        "one large CBOR number": (CBOR, b"\xa1\x61x\xc2\x5a" + count + b"\xff" * (size - 9)),
        "very many empty CBOR lists": (CBOR, b"\xa1\x61x\x9a" + count + b"\x80" * (size - 8)),
        "a CBOR text in empty pieces": (CBOR, b"\xa1\x61x\x7f" + b"\x60" * (size - 5) + b"\xff"),
        "shared CBOR references": (CBOR, b"\xd8\x1c\x82\x00\xd8\x1d\x00"),
        "a MessagePack list of 2**32 - 1": (MSGPACK, b"\x81\xa1x\xdd" + b"\xff" * 4),
        "a MessagePack map of 2**32 - 1": (MSGPACK, b"\xdf" + b"\xff" * 4),
        "nested MessagePack lists": (MSGPACK, b"\x81\xa1x" + b"\x91" * (size - 3)),
        "very many empty MessagePack maps": (
            MSGPACK,
            b"\x81\xa1x\xdd" + count + b"\x80" * (size - 8),
        ),
        "very many MessagePack nulls": (MSGPACK, b"\x81\xa1x\xdd" + count + b"\xc0" * (size - 8)),
    }


Throw: TypeAlias = Callable[[Target], None]


def http_bombs() -> dict[str, Throw]:
    """Requests, each on a connection of its own."""
    found = {name: put(kind, body) for name, (kind, body) in bodies(BODY_BYTES).items()}
    for coding, packed in _packed(bytes(100_000_000)).items():
        head = f"Content-Encoding: {coding}\r\n"
        found[f"100 MB compressed as {coding}"] = put(JSON, packed, head)
    for coding, packed in _packed(b'{"x":[' + b"[]," * 1_330_000).items():
        head = f"Content-Encoding: {coding}\r\n"
        found[f"empty lists compressed as {coding}"] = put(JSON, packed, head)
    members = gzip.compress(b"", 1, mtime=0) * (BODY_BYTES // 20)
    found["very many gzip members"] = put(JSON, members, "Content-Encoding: gzip\r\n")
    found["very many lines of NDJSON"] = put("application/x-ndjson", b"1\n" * (BODY_BYTES // 2))
    found["chunks of one byte"] = put_in_chunks(b'{"text":"' + b"x" * 1_000_000 + b'"}')
    found["a thousand headers"] = put(JSON, b"{}", "a: b\r\n" * 1_000)
    return found


def _packed(data: bytes) -> dict[str, bytes]:
    """The same in each content coding."""
    deflated = zlib.compressobj(9, zlib.DEFLATED, 31)
    return {
        "deflate": zlib.compress(data, 9),
        "gzip": deflated.compress(data) + deflated.flush(),
        "br": brotli.compress(data, quality=5),
        "zstd": zstandard.compress(data, 3),
    }


def websocket_bombs() -> dict[str, Throw]:
    """Messages on the WebSocket of a record, and MQTT over one."""
    text = bodies(BODY_BYTES)["nested JSON lists"][1]
    small = client_frame(0x00, b"x")
    return {
        "nested JSON lists": over_websocket(client_frame(0x81, text)),
        "100 MB compressed": over_websocket(client_frame(0xC2, _deflate(bytes(100_000_000)))),
        "a frame of 2**63 bytes": over_websocket(b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4)),
        "10,000 fragments": over_websocket(client_frame(0x01, b"x") + small * 10_000),
        "10,000 pings": over_websocket(client_frame(0x89, b"x") * 10_000),
    }


def mqtt_bombs() -> dict[str, Throw]:
    """Packets of MQTT 5: retained payloads of a content type, and odd packets."""
    found = {name: store(kind, body) for name, (kind, body) in bodies(PACKET_BYTES).items()}
    pairs = b"\x26\x00\x00\x00\x00" * (PACKET_BYTES // 5)
    deep = "/".join(["x"] * 30_000).encode()
    filters = b"\x00\x01#\x00" * (PACKET_BYTES // 4)
    own = b"\x00\x0aBench/bomb"
    found["very many user properties"] = over_mqtt(
        packet(0x32, own + b"\x00\x01" + length(len(pairs)) + pairs)
    )
    found["a topic of 30,000 levels"] = over_mqtt(
        packet(0x32, len(deep).to_bytes(2, "big") + deep + b"\x00\x01\x00")
    )
    found["very many filters"] = over_mqtt(packet(0x82, b"\x00\x01\x00" + filters))
    found["a packet of 268 MB"] = over_mqtt(b"\x32\xff\xff\xff\x7f" + own)
    return found


@dataclass(frozen=True, slots=True)
class Cost:
    """What one bomb took."""

    cpu_ms: float
    growth_bytes: int


def cost_of(target: Target, throw: Callable[[Target], None]) -> Cost:
    """Measure what a bomb costs all processes of a server, from its first byte to its end.

    Raises:
        LoadFailed: The server did not react.
    """
    with Watch(target.pid) as watch:
        before = cpu_ns(target.pid)
        throw(target)
        used = cpu_ns(target.pid) - before
    return Cost(used / 1e6, watch.growth_bytes)


def cpu_ns(root: int) -> int:
    """Return the CPU time of all threads of a process and of all below it.

    From ``schedstat``, which counts nanoseconds; ``stat`` counts 10 ms. A process that has
    ended is not in it.
    """
    total = 0
    for pid in tree(root):
        with suppress(OSError):  # it has ended
            for thread in Path(f"/proc/{pid}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
    return total


def put(media_type: str, body: bytes, headers: str = "") -> Throw:
    """PUT a body, and wait for the answer."""
    return over_http(
        f"{headers}Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n", body
    )


def put_in_chunks(body: bytes) -> Throw:
    """PUT a body, each byte of which is a chunk of its own."""
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    return over_http(f"Content-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n", chunks)


def over_http(headers: str, data: bytes) -> Throw:
    """PUT what ends in some bytes, and wait for the answer."""

    def throw(target: Target) -> None:
        head = f"PUT /Bench/bomb HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic(target)}\r\n"
        connection = connect(target, target.http_port)
        _send_and_wait(connection.socket, f"{head}{headers}\r\n".encode() + data)
        connection.close()

    return throw


def over_websocket(data: bytes) -> Throw:
    """Send frames on the WebSocket of a record, and wait until they were read."""

    def throw(target: Target) -> None:
        connection = connect(target, target.http_port)
        opened = connection.socket
        opened.settimeout(_PATIENCE_S)
        opened.sendall(
            f"GET /Bench/bomb HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic(target)}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
        )
        said = b""
        while b"ready" not in said:
            more = opened.recv(65_536)
            if not more:
                raise LoadFailed(f"no WebSocket: {said[:200]!r}")
            said += more
        reading = threading.Thread(target=_read_until, args=(opened, PONG), daemon=True)
        reading.start()
        with suppress(ConnectionResetError, BrokenPipeError):
            opened.sendall(data + client_frame(0x89, LAST))
        reading.join(_PATIENCE_S)
        if reading.is_alive():
            raise LoadFailed("the server does not read")
        connection.close()

    return throw


def client_frame(first: int, payload: bytes) -> bytes:
    """Return a frame as a client sends it (RFC 6455 §5.2), masked with zeros."""
    if len(payload) < 126:
        return bytes([first, 0x80 | len(payload)]) + bytes(4) + payload
    return bytes([first, 0xFF]) + len(payload).to_bytes(8, "big") + bytes(4) + payload


LAST: Final = b"that was it"
PONG: Final = b"\x8a\x0b" + LAST


def _read_until(opened: socket.socket, mark: bytes) -> None:
    """Read up to a mark, or to the end of the connection."""
    tail = b""
    with suppress(OSError):
        while mark not in tail:
            data = opened.recv(65_536)
            if not data:
                return
            tail = tail[-len(mark) :] + data


def store(media_type: str, body: bytes) -> Throw:
    """Publish a retained message of a content type."""
    content_type = b"\x03" + len(media_type).to_bytes(2, "big") + media_type.encode()
    head = b"\x00\x0aBench/bomb\x00\x01" + bytes([len(content_type)]) + content_type
    return over_mqtt(packet(0x33, head + body))


def over_mqtt(data: bytes) -> Throw:
    """Send a packet, and wait for its acknowledgement, or for the end."""

    def throw(target: Target) -> None:
        connection = MqttLogin(LEVEL).open(target, "bomb")
        _send_and_wait(connection.socket, data)
        connection.close()

    return throw


def _deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (compressor.compress(body) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _send_and_wait(opened: socket.socket, data: bytes) -> None:
    """Send all that is taken, and wait for the first words, or for the end."""
    opened.settimeout(_PATIENCE_S)
    try:
        opened.sendall(data)
        opened.recv(65_536)
    except TimeoutError as error:
        raise LoadFailed("the server says nothing") from error
    except (ConnectionResetError, BrokenPipeError):
        pass  # it has said enough


def bombs(folder: Path) -> list[Figure]:
    """Throw all of them at one server with default settings but compression on WebSockets."""
    figures = []
    with lyredb(folder, extra=DEFLATE | REMEMBER) as running:
        put(JSON, b"{}")(running.mqtt)  # the first login hashes a password: 64 MB, 0.1 s
        for way, thrown in (
            ("HTTP", http_bombs()),
            ("WebSocket", websocket_bombs()),
            ("MQTT", mqtt_bombs()),
        ):
            costs = {name: cost_of(running.mqtt, throw) for name, throw in thrown.items()}
            figures += _figures(way, costs)
    return figures


def _figures(way: str, costs: Mapping[str, Cost]) -> list[Figure]:
    cpu = {name: cost.cpu_ms for name, cost in costs.items()}
    growth = {name: cost.growth_bytes / 1e6 for name, cost in costs.items()}
    return [
        _figure(f"CPU for the worst bomb over {way}", "ms", cpu, CPU_MS),
        _figure(f"memory for the worst bomb over {way}", "MB", growth, GROWTH_BYTES / 1e6),
    ]


def _figure(name: str, unit: str, values: Mapping[str, float], limit: float) -> Figure:
    ordered = sorted(values, key=lambda bomb: -values[bomb])
    listed = ", ".join(f"{bomb} {values[bomb]:.1f}" for bomb in ordered)
    worst = values[ordered[0]]
    conditions = f"all processes of the server, in {unit}: {listed}"
    return Figure(name, unit, conditions, worst, {}, f"at most {limit:g} {unit}", worst <= limit)
