"""Bad MQTT against the real server: each wrong packet ends its own connection and no other.

A v5 client hears the reason code and a sentence, a 3.1.1 client is disconnected. Around
every test a good client works on: see `bystander`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.bystander import Bystander, undisturbed
from tests.e2e.clients import rest
from tests.e2e.raw_http import LEAKS
from tests.e2e.raw_mqtt import RawMqtt, raw_mqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess
from tests.e2e.strict_server import resident_bytes, strict_server
from tests.protocols.mqtt import client_frames as frames

CONFIG = """
mqtt: {connectTimeout: 1s, maxPacketSize: 100kB, maxTopicLevels: 20, maxSubscriptions: 50}
"""
MALFORMED, PROTOCOL = 0x81, 0x82
MOST_MEMORY = 64_000_000
LOGIN = {"username": USER, "password": PASSWORD.encode()}


@pytest.fixture(scope="module")
def strict() -> Iterator[ServerProcess]:
    with strict_server(CONFIG) as server:
        yield server


@pytest.fixture(scope="module")
def bystander(strict: ServerProcess) -> Iterator[Bystander]:
    with undisturbed(strict) as good:
        yield good


@pytest.fixture(autouse=True)
def good_client_goes_on(bystander: Bystander) -> Iterator[None]:
    yield
    bystander.check()


def v5_publish(topic: bytes, properties: bytes, *, qos: int = 0) -> bytes:
    return frames.publish(topic, b"x", version=5, qos=qos, props=properties)


WRONG = {
    "PUBLISH QoS 3": (frames.packet(0x36, b"\x00\x01a\x00\x01"), MALFORMED),
    "PUBLISH QoS 2 with id 0": (
        frames.publish("Sensor/1", version=5, qos=2, packet_id=0),
        PROTOCOL,
    ),
    "PUBLISH DUP with QoS 0": (frames.publish("Sensor/1", version=5, dup=True), MALFORMED),
    "PUBLISH without topic": (frames.packet(0x30, b""), MALFORMED),
    "PUBLISH topic longer than packet": (frames.packet(0x30, b"\x00\x09a"), MALFORMED),
    "PUBLISH packet id 0": (frames.publish("Sensor/1", version=5, qos=1, packet_id=0), PROTOCOL),
    "PUBLISH cut before its id": (frames.packet(0x32, b"\x00\x01a\x00"), MALFORMED),
    "PUBLISH empty topic": (frames.publish("", version=5), PROTOCOL),
    "PUBLISH unknown property": (v5_publish(b"Sensor/1", b"\x7f\x01"), MALFORMED),
    "PUBLISH property twice": (v5_publish(b"Sensor/1", b"\x01\x00\x01\x00"), PROTOCOL),
    "PUBLISH property cut": (v5_publish(b"Sensor/1", b"\x03\x00\x09a"), MALFORMED),
    "PUBLISH topic alias 0": (v5_publish(b"Sensor/1", b"\x23\x00\x00"), 0x94),
    "PUBLISH topic alias too large": (v5_publish(b"Sensor/1", b"\x23\xff\xff"), 0x94),
    "PUBLISH topic alias without topic": (v5_publish(b"", b"\x23\x00\x01"), PROTOCOL),
    "PUBLISH subscription id": (v5_publish(b"Sensor/1", b"\x0b\x01"), PROTOCOL),
    "PUBLISH properties beyond packet": (
        frames.packet(0x30, frames.text("Sensor/1") + b"\x7f"),
        MALFORMED,
    ),
    "SUBSCRIBE wrong flags": (frames.packet(0x80, b"\x00\x01\x00\x00\x01a\x00"), MALFORMED),
    "SUBSCRIBE without filter": (frames.packet(0x82, b"\x00\x01\x00"), PROTOCOL),
    "SUBSCRIBE packet id 0": (frames.subscribe("Sensor/1", version=5, packet_id=0), PROTOCOL),
    "SUBSCRIBE reserved options": (
        frames.subscribe(("Sensor/1", 0xC0), version=5),
        None,
    ),
    "SUBSCRIBE QoS 3": (frames.subscribe(("Sensor/1", 3), version=5), None),
    "SUBSCRIBE cut": (frames.packet(0x82, b"\x00\x01\x00\x00\x09a"), MALFORMED),
    "SUBSCRIBE with identifier": (
        frames.subscribe("Sensor/1", version=5, props=b"\x0b\x00"),
        PROTOCOL,
    ),
    "UNSUBSCRIBE wrong flags": (frames.packet(0xA0, b"\x00\x01\x00\x00\x01a"), MALFORMED),
    "UNSUBSCRIBE without filter": (frames.packet(0xA2, b"\x00\x01\x00"), PROTOCOL),
    "PUBACK cut": (frames.packet(0x40, b"\x00"), MALFORMED),
    "PUBACK wrong flags": (frames.packet(0x41, b"\x00\x01"), MALFORMED),
    "PUBREL packet id 0": (frames.packet(0x62, b"\x00\x00"), PROTOCOL),
    "PUBREL wrong flags": (frames.packet(0x60, b"\x00\x01"), MALFORMED),
    "PUBREC cut": (frames.packet(0x50, b"\x00"), MALFORMED),
    "PUBCOMP wrong flags": (frames.packet(0x72, b"\x00\x01"), MALFORMED),
    "PINGREQ with body": (frames.packet(0xC0, b"x"), MALFORMED),
    "PINGREQ wrong flags": (b"\xc1\x00", MALFORMED),
    "DISCONNECT wrong flags": (b"\xe1\x00", MALFORMED),
    "CONNECT twice": (frames.connect(5, "x"), PROTOCOL),
    "CONNACK from a client": (frames.packet(0x20, b"\x00\x00\x00"), PROTOCOL),
    "SUBACK from a client": (frames.packet(0x90, b"\x00\x01\x00\x00"), PROTOCOL),
    "PINGRESP from a client": (b"\xd0\x00", PROTOCOL),
    "AUTH": (frames.packet(0xF0, b"\x18\x00"), PROTOCOL),
    "packet type 0": (b"\x00\x00", MALFORMED),
    "length of five bytes": (b"\x30\xff\xff\xff\xff\x01", MALFORMED),
    "packet too large": (b"\x30" + frames.remaining_length(200_000), 0x95),
    "topic not UTF-8": (frames.publish(b"Sensor/\xff", version=5), MALFORMED),
    "topic with surrogate": (frames.publish(b"Sensor/\xed\xa0\x80", version=5), MALFORMED),
    "topic with NUL": (frames.publish(b"Sensor/\x00", version=5), MALFORMED),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_packet_ends_its_v5_connection_with_a_sentence(
    strict: ServerProcess, name: str
) -> None:
    """Sent byte by byte as well, and what came before it is answered."""
    data, reason = WRONG[name]
    for pieces in ([frames.PINGREQ + data], [bytes([byte]) for byte in frames.PINGREQ + data]):
        with raw_mqtt(strict, 5) as client:
            for piece in pieces:
                client.send(piece)
            packets = client.to_the_end()
            assert [packet.kind for packet in packets] == [13, 14]
            found = packets[-1].reason
            assert found == reason if reason else found in (MALFORMED, PROTOCOL), hex(found)
            said = packets[-1].properties
            assert said[:1] == b"\x1f", "a reason string"
            assert not LEAKS.search(said.decode("utf-8", "replace")), said


V5_ONLY = ("property", "properties", "alias", "subscription id")
"""What is payload in 3.1.1, and so never wrong."""


@pytest.mark.parametrize(
    "name", [name for name in WRONG if not any(word in name for word in V5_ONLY)]
)
def test_wrong_packet_ends_its_311_connection_without_a_word(
    strict: ServerProcess, name: str
) -> None:
    """3.1.1 §4.8: the connection is closed, there is no packet that could say why."""
    data = WRONG[name][0]
    if name in (
        "PUBLISH subscription id",
        "PUBLISH properties beyond packet",
    ):
        pytest.skip("legal in 3.1.1: the bytes are payload")
    if name in ("SUBSCRIBE without filter", "UNSUBSCRIBE without filter"):
        data = frames.packet(data[0], b"\x00\x01")
    elif name == "SUBSCRIBE with identifier":
        data = frames.packet(0x82, b"\x00\x01\x00\x01a\x03")
    with raw_mqtt(strict, 4) as client:
        client.send(frames.PINGREQ + data)
        assert [packet.kind for packet in client.to_the_end()] == [13]


@pytest.mark.parametrize(
    "data",
    [
        frames.PINGREQ,
        frames.publish("Sensor/1", b"x"),
        frames.subscribe("#"),
        frames.DISCONNECT,
        frames.connect(4, "x", name=b"MQTX", **LOGIN),  # type: ignore[arg-type]
        frames.connect(4, "x", level=99, **LOGIN),  # type: ignore[arg-type]
        frames.connect(4, "x", flags=0xC3, **LOGIN),  # type: ignore[arg-type]
        frames.packet(0x11, b"\x00\x04MQTT\x04\xc2\x00\x00\x00\x00"),
        frames.packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00\x00\x09a"),
        frames.connect(4, "\x00", **LOGIN),  # type: ignore[arg-type]
        b"GET /Sensor/1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x10\xff\xff\xff\xff\x7f",
        b"\x10\xff\xff\xff\x7f",
    ],
)
def test_whatever_is_no_proper_connect_is_refused_at_once(
    strict: ServerProcess, data: bytes
) -> None:
    """Nothing before an accepted CONNECT has an effect [MQTT-3.1.0-1]."""
    with raw_mqtt(strict, login=False) as client:
        client.send(data)
        answers = client.to_the_end()
    assert all(packet.kind in (2, 14) and packet.reason for packet in answers), answers


def test_slow_connect_is_closed(strict: ServerProcess) -> None:
    """Neither silence nor a trickle holds a connection open."""
    with (
        raw_mqtt(strict, login=False) as silent,
        raw_mqtt(strict, login=False) as trickling,
    ):
        trickling.send(frames.connect(4, "slow")[:8])
        assert silent.to_the_end() == []
        assert trickling.to_the_end() == []


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("Nothing/1", 0x90),
        ("sensor/1", 0x90),
        ("Sensor", 0),
        ("Counter/abc", 0x90),
        ("Counter/01", 0x90),
        ("Sensor/" + "k" * 3_000, 0x90),
        ("/Sensor/1", 0x90),
        ("$SYS/x", 0x90),
        ("Sensor/" + "a/" * 30, 0x90),
    ],
)
def test_topic_that_names_nothing_is_refused_and_the_connection_stays(
    strict: ServerProcess, topic: str, reason: int
) -> None:
    """v5 0x90; 3.1.1 gets a PUBACK without effect, since it would send it for ever."""
    with raw_mqtt(strict, 5) as client:
        assert client.publish(topic, b"{}", 1) == reason
        client.ping()
    with raw_mqtt(strict, 4) as client:
        assert client.publish(topic, b"{}", 1) == 0
        client.ping()


@pytest.mark.parametrize("topic", ["Sensor/#", "Sensor/+", "#", "+"])
def test_wildcard_in_a_topic_ends_the_connection(strict: ServerProcess, topic: str) -> None:
    """[MQTT-3.3.2-2]."""
    with raw_mqtt(strict, 5) as client:
        client.send(frames.publish(topic, b"x", version=5))
        assert [packet.reason for packet in client.to_the_end()] == [0x90]


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (b'{"value":"x"}', "Sensor/retained"),
        (b'{"name":' + b"[" * 40_000 + b"]" * 40_000 + b"}", "Sealed/retained"),
        (b'{"name":"x"', "Sealed/retained"),
        (b'{"n":1.5}', "Counter/7"),
        (b"text", "Sealed/retained"),
    ],
)
def test_retained_payload_that_is_no_record_is_refused(
    strict: ServerProcess, payload: bytes, path: str
) -> None:
    """v5 0x99 with the sentence that REST says; nothing is written."""
    with raw_mqtt(strict, 5) as client:
        client.send(frames.publish(path, payload, version=5, qos=1, packet_id=9, retain=True))
        answer = client.until(4)
        assert answer.reason == 0x99, hex(answer.reason)
        assert answer.properties[:1] == b"\x1f"
        client.ping()
    with rest(strict) as http:
        assert http.get("/" + path).status_code == 404


def test_broken_json_never_replaces_a_record(strict: ServerProcess) -> None:
    """An open table keeps bytes that are no object, but not what begins as one."""
    said = b"\x03" + frames.text("application/json")
    sent = [(b'{"value":1}', b"", 0), (b'{"value":', b"", 0x99), (b'{"value":', said, 0x99)]
    with raw_mqtt(strict, 5) as client:
        for payload, properties, reason in sent:
            client.send(
                frames.publish(
                    "Sensor/broken", payload, version=5, qos=1, retain=True, props=properties
                )
            )
            assert client.until(4).reason == reason
    with rest(strict) as http:
        assert http.get("/Sensor/broken").json()["value"] == 1


@pytest.mark.parametrize(
    ("topic_filter", "reason"),
    [
        ("Sensor/#/x", 0x8F),
        ("Sensor/a#", 0x8F),
        ("Sensor/a+", 0x8F),
        ("", 0x8F),
        ("Nothing/#", 0x8F),
        ("Sensor/", 0x8F),
        ("Counter/abc", 0x8F),
        ("$share/g/", 0x8F),
        ("$share//Sensor/#", 0x8F),
        ("a/" * 30 + "#", 0x8F),
    ],
)
def test_wrong_filter_is_refused_in_the_suback(
    strict: ServerProcess, topic_filter: str, reason: int
) -> None:
    """And only that one: the good filter beside it is granted."""
    for version in (5, 4):
        with raw_mqtt(strict, version) as client:
            client.send(frames.subscribe((topic_filter, 1), ("Sensor/none/#", 1), version=version))
            try:
                codes = client.until(9).codes
            except EOFError:
                assert topic_filter == "" or version == 5, "closed for a filter that is legal"
                continue
            assert codes[1] == 1
            assert codes[0] in ((reason,) if version == 5 else (0x80,)), hex(codes[0])


def test_subscriptions_beyond_the_limit_get_0x97(strict: ServerProcess) -> None:
    with raw_mqtt(strict, 5) as client:
        wanted = [(f"Sensor/many/{number}", 0) for number in range(60)]
        client.send(frames.subscribe(*wanted, version=5))
        assert client.until(9).codes == [0] * 50 + [0x97] * 10


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("retain", [False, True], ids=["direct", "retained"])
def test_publisher_that_never_reads_its_pubacks_costs_bounded_memory(
    strict: ServerProcess, version: int, retain: bool
) -> None:
    """It is not read any more, or disconnected; others go on."""
    data = b"".join(
        frames.publish(
            f"Sensor/flood/{number % 50}",
            b'{"value":1}',
            version=version,
            qos=1,
            packet_id=number,
            retain=retain,
        )
        for number in range(1, 2_000)
    )
    before = resident_bytes(strict)
    client = RawMqtt(strict, version)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.log_in()
    client.flood(data, 1.0)
    client.socket.settimeout(10)
    assert resident_bytes(strict) - before < MOST_MEMORY
    client.close()


def test_ever_new_topics_cost_bounded_memory(strict: ServerProcess) -> None:
    """What is remembered about topics has an end: 30 MB of topics leave much less."""
    before = resident_bytes(strict)
    with raw_mqtt(strict) as client:
        for part in range(20):
            client.send(
                b"".join(
                    frames.publish(f"Sensor/new/{part}/{number}/" + "x" * 1_500, b"1")
                    for number in range(1_000)
                )
            )
        client.ping()
    assert resident_bytes(strict) - before < MOST_MEMORY


def test_subscriber_that_never_reads_costs_the_others_nothing(strict: ServerProcess) -> None:
    """Good ones get every message in order; the server's memory stays bounded.

    300 messages of 90 kB are 27 MB for each: more than all buffers of the stalled ones.
    """
    before = resident_bytes(strict)
    stalled = [RawMqtt(strict, version) for version in (4, 5) * 3]
    for number, client in enumerate(stalled):
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.log_in()
        client.send(frames.subscribe(("Sensor/wide/#", number % 2), version=client.version))
        client.until(9)
    with raw_mqtt(strict) as good, raw_mqtt(strict) as publisher:
        good.send(frames.subscribe(("Sensor/wide/#", 1)))
        good.until(9)
        heard: list[bytes] = []
        reader = threading.Thread(target=read_all, args=(good, heard, 300))
        reader.start()
        for number in range(300):
            payload = b"%06d" % number + b"x" * 90_000
            assert publisher.publish("Sensor/wide/1", payload, number + 1) == 0
        reader.join(20)
        assert heard == [b"%06d" % number for number in range(300)]
        assert resident_bytes(strict) - before < MOST_MEMORY
    for client in stalled:
        client.close()


def read_all(client: RawMqtt, heard: list[bytes], count: int) -> None:
    while len(heard) < count:
        message = client.until(3)
        heard.append(message.payload[:6])
        client.send(frames.puback(message.packet_id))
