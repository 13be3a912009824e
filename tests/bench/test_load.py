"""The load notices what a broker does wrong: a bench that cannot see loss proves nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.load import packets
from bench.load.check import AckCheck, DeliveryCheck, StoredCheck, StreamCheck
from bench.load.driver import Driver, flow_of
from bench.load.faults import Faults
from bench.load.flow import Flow, payload_of, place_of
from bench.load.frames import BadFrame, FrameReader
from bench.load.hold import Holder
from bench.load.pace import Pace
from bench.load.spec import Bounds, Hold, LoadResult, Shape, Target
from bench.load.wire import MqttWire, NatsReader, NatsWire, Wire
from bench.peers import mosquitto, nats
from bench.peers.certificate import make_certificate
from bench.peers.process import StartFailed

Frames = list[bytes]


def flow(*, qos: int = 0, level: int = 4, topics: int = 2) -> Flow:
    """A cycle of twelve small messages."""
    names = [f"Bench/k{number}" for number in range(topics)]
    return _flow(names, MqttWire(level), qos)


def _flow(names: list[str], wire: Wire, qos: int = 0) -> Flow:
    return Flow(names, burst=4, cycle=12, wire=wire, qos=qos, retain=False, payload_bytes=40)


def level_of(messages: Flow) -> int:
    assert isinstance(messages.wire, MqttWire)
    return messages.wire.level


def frames(messages: Flow, places: list[int], *, first_id: int = 500) -> Frames:
    """What a correct server sends for these places, with packet identifiers of its own."""
    return [
        packets.publish(
            messages.topic(place),
            payload_of(place, messages.payload_bytes),
            level=level_of(messages),
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
    built = flow_of(Shape(topics, "Bench/#", burst, in_flight), Target(0, 0))
    assert built.cycle > burst * in_flight
    assert b"".join(built.bursts()) == built.delivered(0, built.everything())


def test_packet_identifiers_of_a_long_cycle_repeat_and_fit() -> None:
    """More topics than identifiers: each is used again long after it was acknowledged."""
    names = [f"k{number:05d}" for number in range(80_000)]
    built = Flow(names, 500, 80_000, MqttWire(4), qos=1, retain=True, payload_bytes=40)
    check = AckCheck(built)
    for _ in range(3):
        check.feed(built.acknowledged())
    assert (built.ids, check.progress, check.faults) == (40_000, 120_000, Faults())


def test_shuffled_topics_are_the_same_in_each_run() -> None:
    """Both servers get the same order, and it is no order."""
    shape = Shape(100, "Bench/#", 10, shuffled=True)
    first, second = (flow_of(shape, Target(0, 0)).topics for _ in range(2))
    assert first == second != sorted(first)


def test_a_subscriber_of_its_own_topic_is_checked_for_these_messages_only() -> None:
    """Every second message is its; the last one is missing and named."""
    messages = flow()
    check = DeliveryCheck(messages, 0, messages.places_of(1))
    check.feed(b"".join(frames(messages, [1, 3, 5, 7, 9, 11, 1, 3])))
    check.finish(16)
    assert (check.progress, check.faults) == (8, Faults())
    check.finish(18)
    assert check.faults == Faults(lost=1)


def test_a_message_of_another_topic_is_foreign_to_such_a_subscriber() -> None:
    messages = flow()
    check = DeliveryCheck(messages, 0, messages.places_of(1))
    check.feed(b"".join(frames(messages, [1, 3, 4, 5])))
    check.finish(6)
    assert check.faults == Faults(foreign=1)


# NATS


def nats_frames(messages: Flow, places: list[int]) -> bytes:
    """What nats-server sends for these places."""
    return b"".join(
        messages.wire.delivered(messages.topic(place), payload_of(place, 40), qos=0)
        for place in places
    )


@pytest.mark.parametrize(
    ("places", "wanted"),
    [
        ([0, 1, 2, 3, 4, 5], Faults()),
        ([0, 1, 3, 4, 5], Faults(lost=1)),
        ([0, 1, 1, 2, 3, 4, 5], Faults(duplicated=1)),
        ([0, 2, 1, 3, 4, 5], Faults(disordered=1)),
    ],
)
def test_streams_of_nats_are_checked_like_those_of_mqtt(places: list[int], wanted: Faults) -> None:
    messages = _flow(["Bench/k0", "Bench/k1"], NatsWire())
    assert faults(messages, nats_frames(messages, places), 6) == wanted


def test_a_ping_between_messages_is_answered_and_no_fault() -> None:
    """nats-server sends the first one two seconds after a client has come."""
    messages = _flow(["Bench/k0"], NatsWire())
    stream = nats_frames(messages, [0, 1]) + b"PING\r\n" + nats_frames(messages, [2, 3])
    for cut in range(len(stream) + 1):
        check = DeliveryCheck(messages, 0)
        answers = check.feed(stream[:cut]) + check.feed(stream[cut:])
        assert (answers, check.progress, check.faults) == (b"PONG\r\n", 4, Faults())


def test_an_error_of_nats_is_a_fault() -> None:
    messages = _flow(["Bench/k0"], NatsWire())
    check = DeliveryCheck(messages, 0)
    check.feed(b"-ERR 'Slow Consumer'\r\n")
    assert check.faults == Faults(foreign=1)


def test_a_line_without_end_is_not_collected_for_ever() -> None:
    with pytest.raises(BadFrame):
        list(NatsReader().feed(b"x" * 10_000))


def stored(number: int) -> bytes:
    """JetStream's answer to a message that it has stored."""
    body = b'{"stream":"BENCH", "seq":%d}' % number
    return b"MSG _INBOX.bench 1 %d\r\n%b\r\n" % (len(body), body)


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ([7, 8, 9], Faults()),
        ([7, 9], Faults(lost=1)),
        ([7, 8, 8, 9], Faults(duplicated=1)),
        ([7, 8], Faults(lost=1)),
    ],
)
def test_what_jetstream_stored_is_counted_by_its_numbers(
    numbers: list[int], wanted: Faults
) -> None:
    """They go on from an earlier run, here after six."""
    check = StoredCheck(_flow(["Bench/k0"], NatsWire(), qos=1))
    for number in numbers:
        check.feed(stored(number)[:20])
        check.feed(stored(number)[20:])
    check.finish(3)
    assert check.faults == wanted


def test_a_refusal_of_jetstream_is_a_fault() -> None:
    check = StoredCheck(_flow(["Bench/k0"], NatsWire(), qos=1))
    check.feed(b'MSG _INBOX.bench 1 25\r\n{"error":{"code":503} etc}\r\n')
    assert check.faults == Faults(foreign=1)


# Streams over HTTP


@pytest.mark.parametrize(
    ("places", "wanted"),
    [
        ([0, 1, 2, 3], Faults()),
        ([0, 1, 3], Faults(lost=1)),
        ([0, 1, 1, 2, 3], Faults(duplicated=1)),
        ([0, 2, 1, 3], Faults(disordered=1)),
    ],
)
def test_numbers_are_found_in_a_stream_wherever_reads_end(
    places: list[int], wanted: Faults
) -> None:
    """Whatever frames are around the JSON: SSE's lines, a WebSocket's lengths."""
    messages = flow()
    stream = b"".join(b"data: " + payload_of(place, 40) + b"\n\n" for place in places)
    for cut in range(len(stream) + 1):
        check = StreamCheck(messages)
        check.feed(stream[:cut])
        check.feed(stream[cut:])
        check.finish(4)
        assert check.faults == wanted


def test_a_late_message_counts_from_when_it_was_due() -> None:
    """One that waits for its turn is as slow for its reader as one that is under way."""
    pace = Pace(rate_hz=100)
    pace.begin()
    pace.wait()
    threading.Event().wait(0.05)  # the first takes 50 ms; five others become due meanwhile
    pace.note_arrival()
    pace.wait()
    pace.note_arrival()  # the second comes at once, 40 ms after its time
    p50, p99 = pace.quantiles_ms()
    assert p99 >= p50 >= 39


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
    return Driver(target, shape, Bounds(wall_s=0.2, stall_s=0.3)).run()


def test_a_run_beside_a_correct_broker_reports_no_fault() -> None:
    """The counterpart of the next two: the fake broker itself adds none."""
    with broker(lambda _, data: data) as target:
        result = load(target)
    assert (result.faults, result.failure) == (Faults(), "")
    assert result.deliveries == result.messages > 0


def test_a_run_reports_the_one_message_that_a_broker_dropped() -> None:
    """One frame of the third burst is missing, in the middle of thousands."""
    size = len(flow_of(Shape(1, "Bench/#", 10), Target(0, 0)).bursts()[0]) // 10

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
            result = Driver(target, shape, Bounds(wall_s=0.2)).run()
    except StartFailed as error:
        pytest.skip(str(error))
    assert (result.faults, result.failure) == (Faults(), "")
    assert result.acknowledged == result.messages > 0


@pytest.mark.mosquitto
def test_own_topics_and_a_dashboard_beside_the_real_peer(tmp_path: Path) -> None:
    """Each message arrives at the subscriber of its topic and at the one of all."""
    shape = Shape(10, "Bench/#", 5, own_subscribers=True, shuffled=True)
    try:
        with mosquitto.mosquitto(tmp_path) as target:
            result = Driver(target, shape, Bounds(wall_s=0.2)).run()
    except StartFailed as error:
        pytest.skip(str(error))
    assert (result.faults, result.failure) == (Faults(), "")
    assert result.deliveries == 2 * result.messages > 0


@pytest.mark.mosquitto
def test_the_load_speaks_tls_with_the_real_peer(tmp_path: Path) -> None:
    """Decrypted bytes that no poll knows of are read too: a closed loop would stall."""
    shape = Shape(1, "Bench/#", 200, subscribers=3)
    try:
        certificate = make_certificate(tmp_path)
        with mosquitto.mosquitto(tmp_path, certificate=certificate) as target:
            result = Driver(target, shape, Bounds(wall_s=0.2)).run()
    except StartFailed as error:
        pytest.skip(str(error))
    assert (result.faults, result.failure) == (Faults(), "")
    assert result.deliveries == 3 * result.messages > 0


@pytest.mark.mosquitto
@pytest.mark.parametrize("prove", [True, False])
def test_connections_are_held_and_counted(tmp_path: Path, prove: bool) -> None:
    try:
        with mosquitto.mosquitto(tmp_path) as target:
            result = Holder(target, Hold(250, prove, hold_s=0.0)).run()
    except StartFailed as error:
        pytest.skip(str(error))
    assert (result.opened, result.alive, result.failure) == (250, 250, "")


@pytest.mark.parametrize("qos", [0, 1])
def test_the_load_speaks_with_the_real_nats_server(tmp_path: Path, qos: int) -> None:
    """At QoS 1 JetStream stores; the last message of each subject is read back."""
    listeners = 0 if qos else 2
    shape = Shape(5, "Bench/#", 10, 2, subscribers=listeners, qos=qos, retain=bool(qos))
    try:
        with nats.nats(tmp_path, stores=bool(qos)) as target:
            result = Driver(target, shape, Bounds(wall_s=0.2)).run()
    except StartFailed as error:
        pytest.skip(str(error))
    assert (result.faults, result.failure) == (Faults(), "")
    assert result.messages > 0
