"""What a trace shows of a client's packets, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.operations.broker_requests import TraceLine
from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.trace_text import describe, split
from lyredb.protocols.mqtt.tracing import Tap, Tapped
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.harness import FakeTransport


def told(data: bytes, version: int = 4) -> list[str]:
    return [describe(first, body, version) for first, body in split(data)]


@pytest.mark.parametrize(
    ("data", "version", "text"),
    [
        (
            frames.connect(4, "me", username="ada", password=b"secret"),
            4,
            "CONNECT MQTT 3.1.1, client 'me', keep alive 0 s, clean, user 'ada', password",
        ),
        (
            frames.connect(5, "me", will=("gone", b"bye")),
            5,
            "CONNECT MQTT 5, client 'me', keep alive 0 s, clean, will 'gone' q0 r0 3 bytes 'bye'",
        ),
        (frames.publish("a/b", b"hi"), 4, "PUBLISH 'a/b' q0 r0 d0 2 bytes 'hi'"),
        (
            frames.publish("a", b"\xff\x00", qos=1, packet_id=7, retain=True),
            4,
            "PUBLISH 'a' q1 r1 d0 m7 2 bytes ff00",
        ),
        (
            frames.publish("a", b"", version=5, props=b"\x03" + frames.text("text/plain")),
            5,
            "PUBLISH 'a' q0 r0 d0 0 bytes content-type='text/plain'",
        ),
        (frames.subscribe(("a/#", 1), "b"), 4, "SUBSCRIBE m1 'a/#' q1, 'b' q0"),
        (frames.unsubscribe("a"), 4, "UNSUBSCRIBE m1 'a'"),
        (frames.puback(3), 4, "PUBACK m3"),
        (frames.PINGREQ, 4, "PINGREQ"),
        (frames.disconnect(4), 5, "DISCONNECT 0x04 disconnect with will"),
        (encode.PINGRESP, 5, "PINGRESP"),
        (encode.suback(1, [0, 0x80], 4, ""), 4, "SUBACK m1 0x00, 0x80"),
        (
            frames.publish("a", b"x" * 100),
            4,
            f"PUBLISH 'a' q0 r0 d0 100 bytes '{'x' * 60}'…",
        ),
    ],
)
def test_a_packet_in_words(data: bytes, version: int, text: str) -> None:
    assert told(data, version) == [text]


def test_a_password_is_not_shown() -> None:
    assert "secret" not in told(frames.connect(4, "me", username="ada", password=b"secret"))[0]


@given(st.binary(max_size=60), st.sampled_from([3, 4, 5]))
def test_whatever_comes_is_told_and_nothing_raised(data: bytes, version: int) -> None:
    """A trace is about what is wrong, so it may not fail at it."""
    assert all(isinstance(line, str) for line in told(data, version))


@given(st.lists(st.sampled_from([frames.PINGREQ, frames.publish("a", b"x"), frames.puback(1)])))
def test_each_packet_is_a_line(packets: list[bytes]) -> None:
    assert len(told(b"".join(packets))) == len(packets)


class Lines(list[TraceLine]):
    """What a tap told."""

    def texts(self) -> list[str]:
        return [f"{line.direction} {line.text.split()[0]}" for line in self]


def test_answers_stand_after_what_they_answer() -> None:
    """Although they are written while it is processed."""
    lines = Lines()
    tap = Tap(lines.append, 4)
    wire = Tapped(FakeTransport(), tap)
    tap.processing()
    wire.write(encode.PINGRESP)
    tap.processed(frames.PINGREQ)
    wire.write(frames.publish("a", b"x"))
    tap.ended()
    assert lines.texts() == ["> PINGREQ", "< PINGRESP", "< PUBLISH", "- the"]


def test_a_connect_says_how_what_follows_is_read() -> None:
    lines = Lines()
    tap = Tap(lines.append, 0, is_processing=True)
    tap.processed(frames.connect(5, "me"))
    tap.sent(frames.publish("a", b"", version=5, props=b"\x26" + frames.text("k") * 2))
    assert lines[-1].text.endswith("0 bytes 'k'='k'")
