"""The load notices what a broker does wrong: a bench that cannot see loss proves nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.load import packets
from bench.load.check import AckCheck, DeliveryCheck, Faults
from bench.load.driver import Driver, flow_of
from bench.load.flow import Flow, payload_of, place_of
from bench.load.frames import BadFrame, FrameReader
from bench.load.spec import Bounds, LoadResult, Shape, Target
from bench.peers import mosquitto
from bench.peers.process import StartFailed

Frames = list[bytes]


def flow(*, qos: int = 0, level: int = 4, topics: int = 2) -> Flow:
    """A cycle of twelve small messages."""
    names = [f"Bench/k{number}" for number in range(topics)]
    return Flow(names, burst=4, cycle=12, level=level, qos=qos, retain=False, payload_bytes=40)


def frames(messages: Flow, places: list[int], *, first_id: int = 500) -> Frames:
    """What a correct server sends for these places, with packet identifiers of its own."""
    return [
        packets.publish(
            messages.topic(place),
            payload_of(place, messages.payload_bytes),
            level=messages.level,
            qos=messages.qos,
            packet_id=first_id + number,
        )
        for number, place in enumerate(places)
    ]


def faults(messages: Flow, received: bytes, sent: int) -> Faults:
    """What the check finds in a stream, read in pieces of odd size."""
    check = DeliveryCheck(messages, messages.qos)
    for start in range(0, len(received), 37):
        check.feed(received[start : start + 37])
    check.finish(sent)
    return check.faults


QOS_AND_LEVEL = pytest.mark.parametrize(("qos", "level"), [(0, 4), (1, 4), (0, 5), (1, 5)])


@QOS_AND_LEVEL
def test_a_correct_stream_has_no_faults_over_several_cycles(qos: int, level: int) -> None:
    """The end of the cycle is no seam: numbers begin again and nothing is counted."""
    messages = flow(qos=qos, level=level)
    received = b"".join(frames(messages, [place % 12 for place in range(30)]))
    assert faults(messages, received, 30) == Faults()


@QOS_AND_LEVEL
def test_every_split_of_the_reads_gives_the_same_count(qos: int, level: int) -> None:
    """Reads end anywhere; progress counts whole frames only."""
    messages = flow(qos=qos, level=level)
    received = b"".join(frames(messages, [0, 1, 2]))
    for cut in range(len(received) + 1):
        check = DeliveryCheck(messages, qos)
        check.feed(received[:cut])
        assert check.progress == cut * 3 // len(received)
        check.feed(received[cut:])
        assert (check.progress, check.faults) == (3, Faults())


@QOS_AND_LEVEL
@pytest.mark.parametrize(
    ("places", "wanted"),
    [
        ([0, 1, 3, 4, 5], Faults(lost=1)),
        ([1, 2, 3, 4, 5], Faults(lost=1)),
        ([0, 1, 2, 3], Faults(lost=2)),
        ([], Faults(lost=6)),
        ([0, 1, 1, 2, 3, 4, 5], Faults(duplicated=1)),
        ([0, 1, 2, 3, 4, 5, 3], Faults(duplicated=1)),
        ([0, 2, 1, 3, 4, 5], Faults(disordered=1)),
        ([0, 3, 1, 2, 4, 5], Faults(disordered=2)),
        ([0, 2, 1, 1, 4, 5], Faults(lost=1, disordered=1, duplicated=1)),
    ],
)
def test_loss_doubles_and_disorder_are_counted(
    qos: int, level: int, places: list[int], wanted: Faults
) -> None:
    """Six messages were sent; what a subscriber got instead is named exactly."""
    messages = flow(qos=qos, level=level)
    assert faults(messages, b"".join(frames(messages, places)), 6) == wanted


@QOS_AND_LEVEL
def test_faults_after_whole_cycles_are_counted(qos: int, level: int) -> None:
    """The comparison of bytes hands over to the careful reader at the right message."""
    messages = flow(qos=qos, level=level)
    places = [*range(12), 0, 1, 3, 2, 4, 4, 6]
    wanted = Faults(lost=1, duplicated=1, disordered=1)
    assert faults(messages, b"".join(frames(messages, places)), 19) == wanted


def test_a_changed_payload_is_foreign_and_its_message_lost() -> None:
    """One wrong byte anywhere in the number breaks the comparison."""
    messages = flow()
    received = b"".join(frames(messages, list(range(6)))).replace(b"10000002", b"10000902")
    assert faults(messages, received, 6) == Faults(lost=1, foreign=1)


def test_a_message_on_the_wrong_topic_is_foreign() -> None:
    """Right number, wrong place: not delivered to whom it belongs."""
    messages = flow()
    good = frames(messages, list(range(6)))
    good[2] = good[2].replace(b"Bench/k0", b"Bench/k1")
    assert faults(messages, b"".join(good), 6) == Faults(lost=1, foreign=1)


def test_properties_that_a_server_adds_are_no_fault() -> None:
    """MQTT 5 lets a server send more than it got; bytes differ, messages do not."""
    messages = flow(level=5)
    received = b""
    for place in range(6):
        name, payload = packets.text(messages.topic(place)), payload_of(place, 40)
        received += packets.packet(0x30, name + b"\x02\x01\x01" + payload)
    assert faults(messages, received, 6) == Faults()


@pytest.mark.parametrize("places", [[0, 1, 2, 3], [0, 2, 1, 3]])
def test_each_delivery_is_acknowledged_with_the_id_it_came_with(places: list[int]) -> None:
    """The server chooses identifiers; PUBACKs repeat them in order of arrival (§4.6)."""
    messages = flow(qos=1)
    check = DeliveryCheck(messages, 1)
    answers = check.feed(b"".join(frames(messages, places, first_id=0x1FE)))
    assert answers == b"".join(packets.puback(number) for number in range(0x1FE, 0x202))


@pytest.mark.parametrize(
    ("acknowledged", "wanted"),
    [
        ([1, 2, 3, 4, 5, 6], Faults()),
        ([1, 2, 4, 5, 6], Faults(lost=1)),
        ([1, 2, 3, 4], Faults(lost=2)),
        ([1, 3, 2, 4, 5, 6], Faults(disordered=1)),
        ([1, 2, 2, 3, 4, 5, 6], Faults(duplicated=1)),
        ([1, 2, 3, 4, 5, 6, 99], Faults(foreign=1)),
    ],
)
def test_acknowledgements_are_complete_and_in_order(
    acknowledged: list[int], wanted: Faults
) -> None:
    """A publisher of six messages counts what its PUBACKs leave open."""
    check = AckCheck(flow(qos=1))
    for number in acknowledged:
        whole = packets.puback(number)
        check.feed(whole[:3])
        check.feed(whole[3:])
    check.finish(6)
    assert check.faults == wanted


def test_a_refused_message_is_a_fault() -> None:
    """Reason 0x97, quota exceeded, is an answer but no acceptance; 0x10 is (§3.4.2.1)."""
    check = AckCheck(flow(qos=1, level=5))
    check.feed(b"\x40\x03\x00\x01\x10" + b"\x40\x04\x00\x02\x97\x00")
    assert (check.progress, check.faults) == (2, Faults(foreign=1))


def test_a_stream_that_is_not_mqtt_ends_the_walk() -> None:
    """A length of five bytes exists in no packet: guessing on would count nonsense."""
    with pytest.raises(BadFrame):
        FrameReader().feed(b"\x30\xff\xff\xff\xff\x01")


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b"7", b'{"seq":"a"}', b'{"other":1}'])
def test_a_payload_of_somebody_else_has_no_place(payload: bytes) -> None:
    """The careful reader sees whatever a broken server sends."""
    assert place_of(payload) == -1


@pytest.mark.parametrize(("topics", "burst", "in_flight"), [(1, 50, 1), (1000, 500, 2), (7, 3, 9)])
def test_fewer_messages_are_in_flight_than_a_cycle_has(
    topics: int, burst: int, in_flight: int
) -> None:
    """Otherwise a whole cycle could be lost, or come twice, unseen."""
    built = flow_of(Shape(topics, "Bench/#", burst, in_flight))
    assert built.cycle > burst * in_flight
    assert b"".join(built.bursts()) == built.delivered(0)


# A broker of one publisher and one subscriber whose faults the test chooses.


@contextmanager
def broker(forward: Callable[[int, bytes], bytes]) -> Iterator[Target]:
    """Serve one subscriber, then one publisher; each read passes through ``forward``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, forward))
        thread.start()
        yield Target(port=listener.getsockname()[1], pid=0)
        thread.join(10)
        assert not thread.is_alive()


def serve(listener: socket.socket, forward: Callable[[int, bytes], bytes]) -> None:
    """Log both in, acknowledge the subscription, then forward until the publisher leaves."""
    with listener.accept()[0] as subscriber:
        subscriber.recv(1000)
        subscriber.sendall(b"\x20\x02\x00\x00")
        subscriber.recv(1000)
        subscriber.sendall(b"\x90\x03\x00\x01\x00")
        with listener.accept()[0] as publisher:
            publisher.recv(1000)
            publisher.sendall(b"\x20\x02\x00\x00")
            number = 0
            while (data := publisher.recv(1 << 16)) != packets.DISCONNECT_PACKET and data:
                subscriber.sendall(forward(number, data))
                number += 1


def load(target: Target) -> LoadResult:
    """Run a small load of QoS 0 one to one."""
    shape = Shape(topics=1, topic_filter="Bench/#", burst=10)
    return Driver(target, shape, Bounds(cpu_s=1, wall_s=0.2, stall_s=0.3)).run()


def test_a_run_beside_a_correct_broker_reports_no_fault() -> None:
    """The counterpart of the next two: the fake broker itself adds none."""
    with broker(lambda _, data: data) as target:
        result = load(target)
    assert (result.faults, result.failure) == (Faults(), "")
    assert result.deliveries == result.messages > 0


def test_a_run_reports_the_one_message_that_a_broker_dropped() -> None:
    """One frame of the third burst is missing, in the middle of thousands."""
    size = len(flow_of(Shape(1, "Bench/#", 10)).bursts()[0]) // 10

    def drop(number: int, data: bytes) -> bytes:
        return data[: 4 * size] + data[5 * size :] if number == 3 else data

    with broker(drop) as target:
        result = load(target)
    assert (result.faults, result.failure) == (Faults(lost=1), "")


def test_a_run_whose_broker_falls_silent_ends_and_says_so() -> None:
    """The closed loop would wait for ever; the bound on stalls ends it."""
    with broker(lambda n, data: data if n < 3 else b"") as target:
        result = load(target)
    assert "no progress" in result.failure
    assert result.faults == Faults(lost=10)


@pytest.mark.mosquitto
@pytest.mark.parametrize("level", [4, 5])
def test_durable_writes_are_read_back(tmp_path: Path, level: int) -> None:
    """The real peer: acknowledgements in order, and the final state of each topic."""
    shape = Shape(5, "Bench/#", 10, 2, subscribers=0, qos=1, retain=True, level=level)
    try:
        with mosquitto.mosquitto(tmp_path, persistent=True) as target:
            result = Driver(target, shape, Bounds(cpu_s=1, wall_s=0.2)).run()
    except StartFailed as error:
        pytest.skip(str(error))
    assert (result.faults, result.failure) == (Faults(), "")
    assert result.acknowledged == result.messages > 0
