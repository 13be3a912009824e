"""Bad WebSocket frames, and who may use the server at all: pages of other origins may not.

Frames are written by hand, as no client library lets wrong ones through.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.bystander import Bystander, undisturbed
from tests.e2e.raw_http import RawHttp, Reply, assert_clean, raw_http, request
from tests.e2e.server_process import PASSWORD, USER, ServerProcess
from tests.e2e.strict_server import strict_server
from tests.protocols.mqtt import client_frames as frames

CONFIG = "ws: {maxMessageSize: 10kB}\nmqtt: {maxPacketSize: 10kB}\n"
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
MQTT = (*UPGRADE, "Sec-WebSocket-Protocol: mqtt")
MASK = b"\x01\x02\x03\x04"


@pytest.fixture(scope="module")
def strict() -> Iterator[ServerProcess]:
    with strict_server(CONFIG) as server:
        yield server


@pytest.fixture(scope="module")
def local() -> Iterator[ServerProcess]:
    """``lyredb dev``: loopback needs no login."""
    with strict_server(command="dev", web={"index.html": "hello"}) as server:
        yield server


@pytest.fixture(scope="module")
def bystander(strict: ServerProcess) -> Iterator[Bystander]:
    with undisturbed(strict) as good:
        yield good


def frame(first: int, payload: bytes, *, mask: bytes = MASK, length: int = -1) -> bytes:
    """A frame; ``first`` is its first byte, an empty mask leaves it unmasked."""
    length = len(payload) if length < 0 else length
    flag = 0x80 if mask else 0
    if length < 126:
        head = bytes((first, flag | length))
    elif length < 65_536:
        head = bytes((first, flag | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, flag | 127)) + length.to_bytes(8, "big")
    if not mask:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def close_code(connection: RawHttp) -> int:
    """The code of the close frame that has to come; then the connection ends."""
    while True:
        first, second = connection.exactly(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(connection.exactly(2), "big")
        payload = connection.exactly(length)
        if first & 0x0F == 8:
            text = payload[2:].decode()
            assert_clean(Reply(0, {}, text.encode()))
            return int.from_bytes(payload[:2], "big")


WRONG = {
    "not masked": (frame(0x82, b"x", mask=b""), 1002),
    "reserved bit 1": (frame(0xC2, b"x"), 1002),
    "reserved bit 3": (frame(0x92, b"x"), 1002),
    "unknown opcode": (frame(0x83, b"x"), 1002),
    "unknown control opcode": (frame(0x8B, b"x"), 1002),
    "fragmented ping": (frame(0x09, b"x"), 1002),
    "long ping": (frame(0x89, b"x" * 126), 1002),
    "continuation of nothing": (frame(0x80, b"x"), 1002),
    "message inside of a message": (frame(0x02, b"") + frame(0x82, b""), 1002),
    "too large": (frame(0x82, b"", length=10_001), 1009),
    "far too large": (frame(0x82, b"", length=1 << 62), 1009),
}


@pytest.mark.parametrize("lines", [UPGRADE, MQTT], ids=["events", "mqtt"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_frame_closes_with_its_code(
    strict: ServerProcess, bystander: Bystander, name: str, lines: tuple[str, ...]
) -> None:
    """RFC 6455 §5, §7.4.1, in both of our readers of frames."""
    data, code = WRONG[name]
    with raw_http(strict) as connection:
        connection.send(request("GET", "/Sensor/ws/", *lines))
        assert connection.reply().status == 101
        connection.send(data)
        assert close_code(connection) == code
    bystander.check()


def test_fragments_that_grow_too_large_together_close_with_1009(
    strict: ServerProcess, bystander: Bystander
) -> None:
    with raw_http(strict) as connection:
        connection.send(request("GET", "/Sensor/ws/", *UPGRADE))
        assert connection.reply().status == 101
        connection.send(frame(0x02, b"x" * 9_000) + frame(0x00, b"x" * 9_000) * 3)
        assert close_code(connection) == 1009
    bystander.check()


def test_text_to_the_mqtt_sub_protocol_closes_with_1003(
    strict: ServerProcess, bystander: Bystander
) -> None:
    """[MQTT-6.0.0-1]."""
    with raw_http(strict) as connection:
        connection.send(request("GET", "/mqtt", *MQTT))
        assert connection.reply().status == 101
        connection.send(frame(0x81, b"hello"))
        assert close_code(connection) == 1003
    bystander.check()


def test_text_that_is_not_utf8_closes_with_1007(
    strict: ServerProcess, bystander: Bystander
) -> None:
    with raw_http(strict) as connection:
        connection.send(request("GET", "/Sensor/ws/", *UPGRADE))
        assert connection.reply().status == 101
        connection.send(frame(0x81, b"\xff"))
        assert close_code(connection) == 1007
    bystander.check()


def test_mqtt_inside_a_websocket_is_held_to_its_own_limits(
    strict: ServerProcess, bystander: Bystander
) -> None:
    """A packet may span frames, so the limit of a frame is not the limit of a packet."""
    login = frames.connect(5, "inside", username=USER, password=PASSWORD.encode())
    with raw_http(strict) as connection:
        connection.send(request("GET", "/mqtt", *MQTT))
        assert connection.reply().status == 101
        connection.send(frame(0x82, login) + frame(0x82, b"\x30\xff\xff\x7f"))
        assert close_code(connection) == 1000
    bystander.check()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Connection: Upgrade", "Upgrade: websocket"), 426),
        ((*UPGRADE[:2], "Sec-WebSocket-Version: 12", UPGRADE[3]), 426),
        ((*UPGRADE[:3], "Sec-WebSocket-Key: short"), 400),
        ((*UPGRADE[:2], "Sec-WebSocket-Protocol: mqtt"), 426),
        ((*MQTT[:2], "Sec-WebSocket-Version: 12", *MQTT[3:]), 426),
        ((*MQTT[:3], "Sec-WebSocket-Key: short", MQTT[4]), 400),
        ((*MQTT[:3], "Sec-WebSocket-Key: \xff" + "A" * 21 + "==", MQTT[4]), 400),
        ((*UPGRADE, "Host: twice"), 400),
        ((*MQTT, "Host: twice"), 400),
    ],
)
def test_wrong_upgrade_is_refused_in_http(
    strict: ServerProcess, bystander: Bystander, lines: tuple[str, ...], status: int
) -> None:
    with raw_http(strict) as connection:
        connection.send(request("GET", "/Sensor/ws/", *lines))
        reply = connection.reply()
    assert reply.status == status, reply.body
    assert_clean(reply)
    bystander.check()


def asked(server: ServerProcess, kind: str, *lines: str, host: str = "127.0.0.1") -> int:
    """The status that a request without a login gets, by one of the ways in."""
    head = f"GET /Sensor/ HTTP/1.1\r\nHost: {host}\r\n"
    match kind:
        case "PUT":
            head = f"PUT /Sensor/page HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n"
        case "stream":
            head += "Accept: text/event-stream\r\n"
        case "WebSocket":
            head += "".join(f"{line}\r\n" for line in UPGRADE)
        case "MQTT":
            head += "".join(f"{line}\r\n" for line in MQTT)
        case _:
            pass
    with raw_http(server) as connection:
        text = head + "".join(f"{line}\r\n" for line in lines) + "\r\n"
        connection.send(text.encode() + (b"{}" if kind == "PUT" else b""))
        return connection.head()[0]


WAYS_IN = ("GET", "PUT", "stream", "WebSocket", "MQTT")
SUCCESS = {"GET": 200, "PUT": 204, "stream": 200, "WebSocket": 101, "MQTT": 101}
FOREIGN = {
    "other origin": ("127.0.0.1", ("Origin: http://evil.example",)),
    "other port": ("127.0.0.1", ("Origin: http://127.0.0.1:1",)),
    "opaque origin": ("127.0.0.1", ("Origin: null",)),
    "origin that begins alike": ("127.0.0.1", ("Origin: http://127.0.0.1.evil.example",)),
    "rebound name": ("evil.example", ()),
    "rebound name with its own origin": ("evil.example", ("Origin: http://evil.example",)),
    "localhost as a part": ("localhost.evil.example", ()),
    "no host": ("", ()),
    "cross-site": ("127.0.0.1", ("Sec-Fetch-Site: cross-site",)),
    "same-site": ("127.0.0.1", ("Sec-Fetch-Site: same-site",)),
    "proxy": ("127.0.0.1", ("X-Forwarded-For: 10.0.0.1",)),
}


@pytest.mark.parametrize("kind", WAYS_IN)
def test_dev_lets_loopback_in_without_a_login(local: ServerProcess, kind: str) -> None:
    for host in ("127.0.0.1", "localhost", f"localhost:{local.http_port}", "[::1]"):
        assert asked(local, kind, host=host) == SUCCESS[kind]
    own = f"127.0.0.1:{local.http_port}"
    lines = (f"Origin: http://{own}", "Sec-Fetch-Site: same-origin")
    assert asked(local, kind, *lines, host=own) == SUCCESS[kind]


@pytest.mark.parametrize("kind", WAYS_IN)
@pytest.mark.parametrize("name", FOREIGN)
def test_dev_lets_no_page_of_another_origin_in(local: ServerProcess, name: str, kind: str) -> None:
    """Neither to read, nor to write, nor to listen: it has the developer's browser only."""
    host, lines = FOREIGN[name]
    assert asked(local, kind, *lines, host=host) in (401, 403)


@pytest.mark.parametrize("kind", WAYS_IN)
def test_run_wants_a_login_of_everybody(strict: ServerProcess, kind: str) -> None:
    """MQTT is upgraded, and then asks for the login in its CONNECT."""
    status = asked(strict, kind)
    if kind != "MQTT":
        assert status == 401
        return
    with raw_http(strict) as connection:
        connection.send(request("GET", "/mqtt", *MQTT, login=False))
        assert connection.reply().status == 101
        connection.send(frame(0x82, frames.connect(4, "nobody")))
        assert connection.exactly(6)[2:] == b"\x20\x02\x00\x05"


@pytest.mark.parametrize("kind", ["PUT", "WebSocket", "MQTT"])
def test_page_of_another_site_cannot_use_a_stored_login(strict: ServerProcess, kind: str) -> None:
    """A browser sends it along by itself; such pages may neither write nor listen."""
    login = request("GET", "/").split(b"\r\n")[2].decode()
    lines = (login, "Origin: http://evil.example", "Sec-Fetch-Site: cross-site")
    assert asked(strict, kind, *lines) == 403
