"""The load notices what is wrong with QoS 2, shared subscriptions and user properties."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import packets
from bench.load.check import DeliveryCheck
from bench.load.client import LoadFailed, MqttLogin
from bench.load.driver import Driver
from bench.load.exactly import ExactlyOnceCheck, ReleaseCheck
from bench.load.faults import Faults
from bench.load.flow import Flow
from bench.load.frames import BadFrame
from bench.load.shared import MemberCheck, Share
from bench.load.spec import Bounds, Shape
from bench.load.wire import MqttWire
from bench.peers import mosquitto
from bench.peers.bare import bare_forwarder
from bench.peers.process import StartFailed

TOPIC = "Bench/k0"


def flow(qos: int, *, level: int = 4, is_traced: bool = False) -> Flow:
    """A cycle of twelve messages on one topic."""
    wire = MqttWire(level, is_traced)
    return Flow([TOPIC], burst=4, cycle=12, wire=wire, qos=qos, retain=False, payload_bytes=40)


def frame(messages: Flow, place: int, packet_id: int) -> bytes:
    """What a correct server sends for this place."""
    return packets.publish(
        TOPIC, messages.payload(place), level=4, qos=messages.qos, packet_id=packet_id
    )


def answers(first: int, ids: list[int]) -> bytes:
    return b"".join(bytes((first, 2)) + each.to_bytes(2, "big") for each in ids)


# QoS 2, at the subscriber


def received(messages: Flow, places: list[int], releases: list[int] | None = None) -> bytes:
    """Publications with identifiers from 500 on, then what releases them."""
    published = b"".join(frame(messages, place, 500 + n) for n, place in enumerate(places))
    ids = [500 + n for n in range(len(places))] if releases is None else releases
    return published + answers(packets.PUBREL, ids)


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_message_has_arrived_when_it_was_released(piece: int) -> None:
    """Every PUBLISH is answered by PUBREC, every PUBREL by PUBCOMP, wherever reads end."""
    messages = flow(2)
    check = ExactlyOnceCheck(messages)
    stream = received(messages, [0, 1, 2])
    said = [check.feed(stream[start : start + piece]) for start in range(0, len(stream), piece)]
    wanted = answers(packets.PUBREC, [500, 501, 502]) + answers(packets.PUBCOMP, [500, 501, 502])
    assert b"".join(said) == wanted
    assert (check.progress, check.faults) == (3, Faults())


@pytest.mark.parametrize(
    ("places", "releases", "wanted"),
    [
        ([0, 1, 3], None, Faults(lost=1)),
        ([0, 1, 1, 2, 3], None, Faults(duplicated=1)),
        ([0, 2, 1, 3], None, Faults(disordered=1)),
        ([0, 1, 2, 3], [500, 502, 501, 503], Faults(disordered=4)),
        ([0, 1, 2, 3], [500, 501], Faults(lost=2)),
    ],
)
def test_faults_of_qos_2_are_counted(
    places: list[int], releases: list[int] | None, wanted: Faults
) -> None:
    """Four messages were sent; what a subscriber got instead is named."""
    messages = flow(2)
    check = ExactlyOnceCheck(messages)
    check.feed(received(messages, places, releases))
    check.finish(4)
    assert check.faults == wanted


def test_a_packet_that_is_none_of_the_handshake_ends_the_run() -> None:
    with pytest.raises(BadFrame, match="no packet of a QoS 2 handshake"):
        ExactlyOnceCheck(flow(2)).feed(b"\x40\x02\x00\x01" * 100)


# QoS 2, at the publisher


def test_a_publisher_releases_what_was_received_and_counts_what_is_complete() -> None:
    """PUBREC and PUBCOMP in one read, of different messages."""
    check = ReleaseCheck(flow(2))
    assert check.feed(answers(packets.PUBREC, [1, 2])) == answers(packets.PUBREL, [1, 2])
    mixed = answers(packets.PUBCOMP, [1]) + answers(packets.PUBREC, [3])
    assert check.feed(mixed) == answers(packets.PUBREL, [3])
    assert (check.progress, check.faults) == (1, Faults())
    check.finish(3)
    assert check.faults == Faults(lost=2)


def test_a_handshake_out_of_order_is_a_fault_of_the_publisher_s() -> None:
    check = ReleaseCheck(flow(2))
    check.feed(answers(packets.PUBREC, [1, 3, 2]))
    assert check.faults == Faults(disordered=1)


# A shared subscription


def fed(*members: list[int]) -> tuple[Share, list[MemberCheck]]:
    """Members that got these places each, one member after the other."""
    messages = flow(1)
    share = Share(messages, 1)
    checks = [MemberCheck(share) for _ in members]
    for check, places in zip(checks, members, strict=True):
        check.feed(b"".join(frame(messages, place, 9) for place in places))
    return share, checks


def test_a_message_at_any_one_member_has_arrived() -> None:
    share, checks = fed([0, 3], [1, 2, 4])
    share.finish(5)
    assert (share.faults, [check.progress for check in checks]) == (Faults(), [2, 3])
    assert all(check.faults == Faults() for check in checks)


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        (([0, 3], [1, 4]), Faults(lost=1)),
        (([0, 2], [1, 2, 3, 4]), Faults(duplicated=1)),
    ],
)
def test_what_all_members_miss_or_two_have_is_counted(
    members: tuple[list[int], ...], wanted: Faults
) -> None:
    share, _ = fed(*members)
    share.finish(5)
    assert share.faults == wanted


def test_a_member_s_own_messages_are_in_order_and_answered() -> None:
    """What goes to others may come between, an earlier one may not come later."""
    share, (check,) = fed([0, 4, 2])
    assert check.faults == Faults(disordered=1)
    assert check.feed(frame(share.flow, 5, 77)) == packets.puback(77)


def test_another_payload_is_foreign_to_a_member() -> None:
    messages = flow(1)
    check = MemberCheck(Share(messages, 1))
    check.feed(frame(messages, 0, 1).replace(b"xxx", b"xyx"))
    assert check.faults == Faults(foreign=1)


# User properties


def test_a_changed_user_property_is_a_fault_and_an_added_one_is_none() -> None:
    """They are part of the message; a server may add its own."""
    messages = flow(0, level=5, is_traced=True)
    good = messages.wire.delivered(TOPIC, messages.payload(0), qos=0)
    check = DeliveryCheck(messages, 0)
    check.feed(good.replace(b"celsius", b"kelvins"))
    assert check.faults == Faults(foreign=1)
    other = DeliveryCheck(messages, 0)
    about = messages.wire.about(messages.payload(0)) + b"\x23\x00\x07"
    longer = bytes((len(about),)) + about
    other.feed(packets.publish(TOPIC, messages.payload(0), level=5, about=longer))
    assert (other.progress, other.faults) == (1, Faults())


def test_each_message_is_traced_by_another_identifier() -> None:
    messages = flow(0, level=5, is_traced=True)
    abouts = {messages.wire.about(messages.payload(place)) for place in range(12)}
    assert len(abouts) == 12
    assert len({about[:20] for about in abouts}) == 1  # the other property


# The real peer


@pytest.mark.mosquitto
@pytest.mark.parametrize(
    ("shape", "each"),
    [
        (Shape(1, "Bench/#", 20, is_traced=True, level=5), 1),
        (Shape(1, "Bench/#", 20, qos=2, subscriber_qos=2), 1),
        (Shape(1, "Bench/#", 20, qos=2, subscriber_qos=2, durable=True, level=5), 1),
        (Shape(1, "$share/g/Bench/#", 20, subscribers=4, qos=1, subscriber_qos=1, level=5), 1),
        (Shape(1, "Bench/#", 20, qos=1, subscribers=0, away=2), 0),
        (Shape(6, "Bench/#", 1, publishers=6, pace_hz=500), 1),
    ],
)
def test_every_shape_runs_without_faults_beside_the_real_peer(
    tmp_path: Path, shape: Shape, each: int
) -> None:
    try:
        with mosquitto.mosquitto(tmp_path, persistent=True) as target:
            result = Driver(target, shape, Bounds(wall_s=0.2)).run()
    except StartFailed as error:
        pytest.skip(str(error))
    assert (result.faults, result.failure) == (Faults(), "")
    assert result.deliveries == each * result.messages
    assert result.messages > 0


@pytest.mark.mosquitto
def test_who_was_away_has_to_find_a_session(tmp_path: Path) -> None:
    """Else a broker that keeps nothing would look fast, and wait in vain at the end."""
    try:
        with mosquitto.mosquitto(tmp_path) as target, pytest.raises(LoadFailed, match="session"):
            MqttLogin(4, durable=True).resume(target, "never-seen")
    except StartFailed as error:
        pytest.skip(str(error))


def test_the_bare_forwarder_is_measured_as_a_broker_is() -> None:
    """Each message reaches all subscribers; else its figure would be no floor."""
    with bare_forwarder() as target:
        result = Driver(target, Shape(1, "Bench/#", 1, subscribers=3), Bounds(wall_s=0.2)).run()
    assert (result.faults, result.failure) == (Faults(), "")
    assert result.deliveries == 3 * result.messages > 0
