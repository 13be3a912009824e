"""PUBLISH: to readers as it came, to the disk when retained, refused with its reason."""

from __future__ import annotations

import pytest

from lyredb.errors import DiskFull, InvalidRecord, LyreError
from lyredb.formats import CBOR, JSON
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, now_ms, run


def reader(harness: Harness, version: int = 4, qos: int = 1, *, props: bytes = b"") -> Peer:
    peer = harness.connected(version, f"reader-{version}-{qos}", props=props)
    peer.send(client.subscribe(("open/#", qos), ("Sensor/#", qos), version=version))
    peer.take()
    return peer


def messages(peer: Peer) -> list[tuple[str, bytes, int]]:
    return [(p.topic, p.payload, p.qos) for p in peer.take() if p.kind == 3]


@pytest.mark.parametrize("writing", [4, 5])
@pytest.mark.parametrize("reading", [4, 5])
def test_messages_reach_readers_of_both_versions_in_order(writing: int, reading: int) -> None:
    """QoS 0 and 1 over several topics in one chunk; granted is the lower of both."""

    async def body() -> None:
        harness = Harness()
        high, low = reader(harness, reading, 1), reader(harness, reading, 0)
        writer = harness.connected(writing, "writer")
        sent = [(f"open/{n % 3}", b"%d" % n, n % 2) for n in range(20)]
        chunk = b"".join(
            client.publish(topic, payload, version=writing, qos=qos, packet_id=index + 1)
            for index, (topic, payload, qos) in enumerate(sent)
        )
        for _ in range(2):  # the second time all topics are known
            writer.send(chunk)
            await harness.tick()
            assert messages(high) == sent
            assert messages(low) == [(topic, payload, 0) for topic, payload, _ in sent]
            acknowledged = [packet.packet_id for packet in writer.take()]
            assert acknowledged == [index + 1 for index, item in enumerate(sent) if item[2]]

    run(body)


def test_acknowledgements_of_a_chunk_leave_in_one_write() -> None:
    async def body() -> None:
        harness = Harness()
        writer = harness.connected(4, "writer")
        before = writer.transport.writes
        frames = [client.publish("open/a", qos=1, packet_id=n) for n in range(1, 101)]
        writer.send(*frames)
        assert len(writer.take()) == 100
        assert writer.transport.writes == before + 1

    run(body)


def test_the_acknowledgements_of_a_reader_open_its_window() -> None:
    """3.1.1: ``mqtt.maxInflight``; v5: the client's Receive Maximum [MQTT-3.3.4-9]."""

    async def body() -> None:
        harness = Harness(max_inflight=2)
        old = reader(harness, 4)
        new = reader(harness, 5, props=b"\x21\x00\x03")
        writer = harness.connected(4, "writer")
        writer.send(*[client.publish("open/a", b"%d" % n, qos=1, packet_id=n) for n in range(1, 8)])
        await harness.tick()
        assert [payload for _, payload, _ in messages(old)] == [b"1", b"2"]
        assert [payload for _, payload, _ in messages(new)] == [b"1", b"2", b"3"]
        old.send(client.puback(1), client.puback(2))
        new.send(client.packet(0x40, b"\x00\x02\x00"))
        assert [payload for _, payload, _ in messages(old)] == [b"3", b"4"]
        assert [payload for _, payload, _ in messages(new)] == [b"4"]

    run(body)


def test_a_retained_message_is_acknowledged_after_its_commit_and_in_order() -> None:
    """[MQTT-4.6.0-2]: what came after it waits behind it."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(4, "writer")
        writer.send(
            client.publish("open/a", b"1", qos=1, packet_id=1),
            client.publish("open/a", b"2", qos=1, packet_id=2, retain=True),
            client.publish("open/a", b"3", qos=1, packet_id=3),
            client.PINGREQ,
        )
        assert [(p.kind, p.packet_id if p.kind == 4 else 0) for p in writer.take()] == [
            (4, 1),
            (13, 0),
        ]
        harness.database.commit()
        await harness.tick()
        assert [packet.packet_id for packet in writer.take()] == [2, 3]
        assert harness.database.records == {"open/a": b"2"}

    run(body)


def test_a_retained_message_becomes_a_write_with_all_that_it_says() -> None:
    async def body() -> None:
        harness = Harness()
        writer = harness.connected(5, "writer")
        kept = b"\x03" + client.text("text/plain") + b"\x26" + client.text("k") + client.text("v")
        writer.send(
            client.publish(
                "open/a",
                b"hi",
                version=5,
                qos=1,
                retain=True,
                props=b"\x02\x00\x00\x00\x3c" + kept,
            )
        )
        (submitted,) = harness.database.waiting
        write = submitted.write
        assert (write.operation, write.target.topic) == ("put", "open/a")
        assert (write.payload, write.content_type) == (b"hi", "text/plain")
        assert (write.properties, write.retain, write.qos) == (kept, True, 1)
        assert 0 < write.expires_ms - now_ms() <= 60_000
        assert submitted.context.user == "local"

    run(body)


def test_an_empty_retained_message_deletes() -> None:
    """[MQTT-3.3.1-6]."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected()
        writer.send(client.publish("open/a", b"", retain=True))
        assert harness.database.waiting[0].write.operation == "delete"

    run(body)


def test_unlike_readers_get_their_own_frames() -> None:
    """v5 properties go on to v5 readers unchanged and in order; 3.1.1 has none."""

    async def body() -> None:
        harness = Harness()
        old, new = reader(harness, 4), reader(harness, 5)
        writer = harness.connected(5, "writer")
        props = b"\x08" + client.text("re/ply") + b"\x26" + client.text("k") + client.text("v")
        writer.send(client.publish("open/a", b"1", version=5, props=props))
        await harness.tick()
        (plain,) = old.take()
        (full,) = new.take()
        assert (plain.payload, full.payload) == (b"1", b"1")
        assert full.properties == props

    run(body)


def test_what_is_left_of_the_expiry_goes_on() -> None:
    """[MQTT-3.3.2-6]."""

    async def body() -> None:
        harness = Harness()
        new = reader(harness, 5)
        writer = harness.connected(5, "writer")
        writer.send(client.publish("open/a", b"1", version=5, props=b"\x02\x00\x00\x00\x3c"))
        await harness.tick()
        (message,) = new.take()
        assert message.properties in (b"\x02\x00\x00\x00\x3c", b"\x02\x00\x00\x00\x3b")

    run(body)


def test_a_duplicate_goes_on_without_its_flag() -> None:
    """[MQTT-3.3.1-3]: DUP is set anew for each reader."""

    async def body() -> None:
        harness = Harness()
        old = reader(harness, 4)
        writer = harness.connected()
        for _ in range(2):
            writer.send(client.publish("open/a", b"1", qos=1, dup=True))
            await harness.tick()
        assert [packet.flags for packet in old.take()] == [2, 2]
        assert len(writer.take()) == 2

    run(body)


def test_each_reader_gets_its_own_format() -> None:
    """A structured value is told in the reader's format; v5 hears of it."""

    async def body() -> None:
        harness = Harness()
        binary = harness.connected(5, "cbor", format=CBOR)
        text = harness.connected(5, "json")
        for peer in (binary, text):
            peer.send(client.subscribe("open/#", version=5))
            peer.take()
        writer = harness.connected(5, "writer", content_type="application/cbor")
        writer.send(client.publish("open/a", CBOR.encode({"v": 1}), version=5))
        await harness.tick()
        (first,), (second,) = binary.take(), text.take()
        assert CBOR.decode(first.payload) == {"v": 1}
        assert JSON.decode(second.payload) == {"v": 1}
        assert second.properties == b"\x03" + client.text("application/json")

    run(body)


@pytest.mark.parametrize(("topic", "reason"), [("nowhere/a", 0x90), ("a/" * 100 + "b", 0x90)])
def test_a_v5_message_to_no_topic_is_refused_in_its_puback(topic: str, reason: int) -> None:
    async def body() -> None:
        harness = Harness()
        writer = harness.connected(5)
        writer.send(
            client.publish(topic, b"1", version=5, qos=1),
            client.publish(topic, b"1", version=5, qos=1, packet_id=2, retain=True),
            client.publish(topic, b"1", version=5),
        )
        await harness.tick()
        first, second = writer.take()
        assert (first.packet_id, first.reason) == (1, reason)
        assert (second.packet_id, second.reason) == (2, reason)
        assert first.properties[:1] == b"\x1f"
        assert not writer.is_closed
        assert harness.service.statistics().refused == 3

    run(body)


def test_a_client_that_wants_no_sentences_gets_none() -> None:
    """[MQTT-3.1.2-29]: Request Problem Information 0."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(5, props=b"\x17\x00")
        writer.send(client.publish("nowhere", b"1", version=5, qos=1))
        (answer,) = writer.take()
        assert answer.reason == 0x90
        assert not answer.properties

    run(body)


@pytest.mark.parametrize(
    ("error", "reason"), [(InvalidRecord("Property x is required"), 0x99), (DiskFull("full"), 0x97)]
)
def test_a_v5_client_hears_why_its_write_failed(error: LyreError, reason: int) -> None:
    async def body() -> None:
        harness = Harness()
        writer = harness.connected(5)
        writer.send(client.publish("Sensor/a", b"{}", version=5, qos=1, retain=True))
        harness.database.reject(error)
        await harness.tick()
        (answer,) = writer.take()
        assert (answer.kind, answer.reason) == (4, reason)
        assert not writer.is_closed

    run(body)


def test_a_3_1_1_refusal_that_lasts_is_acknowledged_without_effect() -> None:
    """The client could only repeat it for ever."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(4)
        writer.send(client.publish("nowhere", b"1", qos=1))
        writer.send(client.publish("Sensor/a", b"{}", qos=1, packet_id=2, retain=True))
        harness.database.reject(InvalidRecord("Property x is required"))
        await harness.tick()
        assert [packet.packet_id for packet in writer.take()] == [1, 2]
        assert harness.service.statistics().refused == 2

    run(body)


def test_a_3_1_1_message_that_may_succeed_later_is_not_acknowledged() -> None:
    """Disk full or overload: no PUBACK, and the connection is closed."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(4, "one")
        writer.send(client.publish("Sensor/a", b"{}", qos=1, retain=True))
        harness.database.reject(DiskFull("the disk is full"))
        await harness.tick()
        assert writer.is_closed
        assert not writer.take()
        harness.database.full = True
        other = harness.connected(4, "two")
        other.send(client.publish("Sensor/a", b"{}", qos=1, retain=True), client.PINGREQ)
        assert other.is_closed
        assert not other.take()

    run(body)


def test_a_v5_client_beyond_the_receive_maximum_is_disconnected() -> None:
    """[MQTT-3.3.4-7], 0x93; messages behind a commit count, also plain ones."""

    async def body() -> None:
        harness = Harness(receive_maximum=3)
        writer = harness.connected(5)
        writer.send(client.publish("open/a", b"0", version=5, qos=1))
        writer.take()
        frames = [client.publish("open/a", b"1", version=5, qos=1, packet_id=9, retain=True)]
        frames += [
            client.publish("open/a", b"2", version=5, qos=1, packet_id=n) for n in range(10, 12)
        ]
        writer.send(*frames)
        assert not writer.is_closed
        writer.send(client.publish("open/a", b"3", version=5, qos=1, packet_id=12))
        (ended,) = writer.take()
        assert (ended.kind, ended.reason) == (14, 0x93)

    run(body)


@pytest.mark.parametrize("qos", [0, 1])
def test_a_3_1_1_client_far_ahead_of_the_disk_is_not_read(qos: int) -> None:
    """3.1.1 has no Receive Maximum; and QoS 0 writes are bounded for both."""

    async def body() -> None:
        harness = Harness(receive_maximum=4)
        writer = harness.connected(4)
        writer.send(
            *[
                client.publish(f"open/{n}", b"1", qos=qos, packet_id=n, retain=True)
                for n in range(1, 11)
            ]
        )
        assert len(harness.database.waiting) == 4
        assert not writer.transport.is_reading
        for _ in range(5):
            harness.database.commit()
            await harness.tick()
        assert len(harness.database.records) == 10
        assert writer.transport.is_reading
        assert len(writer.take()) == (10 if qos else 0)

    run(body)


def test_a_publisher_waits_for_a_congested_reader_and_goes_on() -> None:
    """The hub pauses those who publish to it; others are read on."""

    async def body() -> None:
        harness = Harness()
        slow = reader(harness, 4, 0)
        writer, other = harness.connected(4, "writer"), harness.connected(4, "other")
        slow.connection.pause_writing()
        writer.send(client.publish("open/a", b"1"))
        await harness.tick()
        assert not writer.transport.is_reading
        assert other.transport.is_reading
        writer.send(client.publish("open/a", b"2"))
        slow.connection.resume_writing()
        await harness.tick()
        assert writer.transport.is_reading
        assert [payload for _, payload, _ in messages(slow)] == [b"1", b"2"]

    run(body)


def test_a_client_is_not_read_while_too_many_of_its_bytes_wait_for_the_disk() -> None:
    """1,000 messages are allowed to wait, but not 1,000 of the largest."""

    async def body() -> None:
        harness = Harness(unacknowledged_bytes=10_000)
        for version, qos in ((4, 0), (5, 1)):
            peer = harness.connected(version, f"c{version}")
            for number in (1, 2, 3):
                frame = client.publish(
                    "open/a", b"x" * 4_000, version=version, qos=qos, packet_id=number, retain=True
                )
                assert peer.transport.is_reading
                peer.send(frame)
            assert not peer.transport.is_reading
            harness.database.commit(1)
            assert not peer.transport.is_reading, "not yet half"
            harness.database.commit()
            assert peer.transport.is_reading

    run(body)


def test_a_topic_has_a_length_and_a_long_one_is_no_reason_to_disconnect() -> None:
    async def body() -> None:
        harness = Harness(max_topic_bytes=100)
        peer = harness.connected(5)
        for length, reason in ((95, 0), (96, 0x90)):
            topic = "open/" + "x" * length
            for retain in (False, True):
                peer.send(client.publish(topic, b"", version=5, qos=1, packet_id=1, retain=retain))
                harness.database.commit()
                await harness.tick()
                assert [packet.reason for packet in peer.take()] == [reason]

    run(body)


def test_a_3_1_client_publishes_as_one_of_3_1_1() -> None:
    """MQTT 3.1 §3.3, §3.6: DUP of a PUBREL that is sent again is not wrong there."""

    async def body() -> None:
        harness = Harness()
        hears = reader(harness, 4, 1)
        writer = harness.peer(3)
        writer.send(client.connect(3, "old", name=b"MQIsdp"))
        writer.take()
        for _ in range(2):  # the second time the topic is known
            writer.send(
                client.publish("open/a", b"0"),
                client.publish("open/a", b"1", qos=1, packet_id=1),
                client.publish("open/a", b"2", qos=2, packet_id=2),
                client.packet(0x6A, b"\x00\x02"),
            )
            await harness.tick()
            assert [payload for _, payload, _ in messages(hears)] == [b"0", b"1", b"2"]
            assert [(p.kind, p.packet_id) for p in writer.take()] == [(4, 1), (5, 2), (7, 2)]

    run(body)
