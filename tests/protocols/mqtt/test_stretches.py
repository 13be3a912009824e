"""Frames alike: taken together they are what they are one by one."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.protocols.mqtt.stretches import BLOCK, SPAN, Stretches, qos1_form
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness

TOPIC = "open/a"


def eager() -> Stretches:
    return Stretches(uses_before=1)


def one_size(frames: list[bytes], qos: int = 0, version: int = 4) -> int:
    """How many of the frames are found to be like the first."""
    data = b"".join(frames)
    head = 4 + len(TOPIC) + (version == 5 and not qos)
    form = qos and version - 3
    return eager().of_one_size(data, 0, head, len(frames[0]), len(data), form)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("size", [0, 1, 60])
def test_all_frames_of_one_size_are_found_up_to_the_first_other(
    count: int, version: int, size: int
) -> None:
    """Whatever the payloads are; another topic, size, first byte or flag ends it."""
    frames = [client.publish(TOPIC, bytes((n,)) * size, version=version) for n in range(count + 1)]
    others = (
        client.publish("open/b", b"x" * size, version=version),
        client.publish(TOPIC, b"x" * size, version=version, qos=1),
        client.publish(TOPIC, b"x" * size, version=version, retain=True),
        client.publish(TOPIC, b"x" * (size + 1), version=version),
    )
    for other in others:
        assert one_size([*frames, other, frames[0]], version=version) == count
    assert one_size([*frames, frames[0][:-1]], version=version) == count


@pytest.mark.parametrize("version", [4, 5])
def test_a_frame_of_qos_1_needs_an_identifier_and_no_properties(version: int) -> None:
    """[MQTT-2.2.1-3]; properties have to be decoded."""
    good = [
        client.publish(TOPIC, b"12345", version=version, qos=1, packet_id=n)
        for n in (1, 256, 65_535)
    ]
    zero = client.publish(TOPIC, b"12345", version=version, qos=1, packet_id=0)
    assert one_size([*good, zero], 1, version) == 2
    if version == 5:
        user = b"\x26" + client.text("") + client.text("")
        full = client.publish(TOPIC, b"", version=5, qos=1, packet_id=1, props=user)
        assert len(full) == len(good[0]), "or its length would tell them apart"
        assert one_size([*good, full], 1, version) == 2


@pytest.mark.parametrize("size", [1, 20, 140])
def test_frames_of_qos_1_with_the_same_properties_are_found(size: int) -> None:
    """Up to the first with other properties, or with an identifier of 0."""
    user = b"\x26" + client.text("k") + client.text("v" * size)
    other = user[:-1] + b"w"
    good = [
        client.publish(TOPIC, b"%05d" % n, version=5, qos=1, packet_id=n, props=user)
        for n in (1, 256, 2_570)
    ]
    form = qos1_form(len(client.properties(user, 5)))
    head = len(good[0]) - len(client.properties(user, 5)) - 5 - 2
    for last in (
        client.publish(TOPIC, b"12345", version=5, qos=1, packet_id=9, props=other),
        client.publish(TOPIC, b"12345", version=5, qos=1, packet_id=0, props=user),
    ):
        data = b"".join([*good, last, good[0]])
        assert eager().of_one_size(data, 0, head, len(good[0]), len(data), form) == 2


@settings(max_examples=100)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=60),
    st.sampled_from((0, 90, 110, 118, 16_340)),
    st.sampled_from((4, 5)),
)
def test_frames_of_several_sizes_are_found_in_blocks(
    sizes: list[int], least: int, version: int
) -> None:
    """As many blocks as there are without a frame of another topic or far longer.

    At the borders of one, two and three digits of a length as well.
    """
    frames = [client.publish(TOPIC, b"0" * (least + n), version=version) for n in sizes]
    data = b"".join(frames)
    digits = 1 if len(frames[0]) <= 129 else 2
    length = len(frames[0]) - 1 - digits
    if length > 16_383:
        return
    topic = frames[0][1 + digits : 3 + digits + len(TOPIC) + (version == 5)]
    count, end = eager().of_several_sizes(data, 0, length, topic)
    assert count % BLOCK == 0
    assert end == len(b"".join(frames[:count]))
    assert all(len(frame) < len(frames[0]) + SPAN for frame in frames[:count])
    near = [abs(len(frame) - len(frames[0])) < 8 for frame in frames]
    same = [(len(frame) > 129) == (digits == 2) for frame in frames]
    block = list(zip(near, same, strict=True))[count : count + BLOCK]
    assert len(block) < BLOCK or (False in near[count:] or False in same[count:])


def test_a_shape_is_compiled_when_it_has_come_often_and_no_earlier() -> None:
    """A peer that changes its sizes all the time costs no compilations."""
    stretches = Stretches(uses_before=3)
    frame = client.publish(TOPIC, b"x")
    data = frame * 10
    found = [stretches.of_one_size(data, 0, 10, len(frame), len(data), 0) for _ in range(4)]
    assert found == [0, 0, 9, 9]


def test_beyond_so_many_shapes_all_are_forgotten_and_found_again() -> None:
    """Memory is bounded whatever is sent."""
    stretches = Stretches(uses_before=1, max_shapes=4)
    for size in list(range(20)) * 2:
        frame = client.publish(TOPIC, b"x" * size)
        data = frame * 10
        assert stretches.of_one_size(data, 0, 10, len(frame), len(data), 0) == 9
        assert len(stretches._patterns) <= 4


def blind() -> Stretches:
    """Finds nothing, so that every frame is looked at."""
    return Stretches(uses_before=sys.maxsize)


@dataclass(frozen=True)
class Stretch:
    topic: str
    count: int
    sizes: tuple[int, ...]
    qos: int

    def frames(self, version: int, first_id: int) -> list[bytes]:
        return [
            client.publish(
                self.topic,
                b"%d" % (n % 10) * self.sizes[n % len(self.sizes)],
                version=version,
                qos=self.qos,
                packet_id=first_id + n,
            )
            for n in range(self.count)
        ]


STRETCH = st.builds(
    Stretch,
    topic=st.sampled_from((TOPIC, TOPIC, "open/b", "open/long" + "g" * 130, "Sensor/unheard")),
    count=st.integers(1, 70),
    sizes=st.sampled_from(
        ((5,), (0,), (1, 2, 3), (115, 116, 117, 118), (300, 301), (430, 431), (2, 400))
    ),
    qos=st.integers(0, 1),
)
FAULTS = (
    b"",
    client.publish(TOPIC, b"12345", qos=1, packet_id=0),
    client.publish(TOPIC, b"12345", version=5, props=b"\x7e"),
    client.packet(0x30, client.text(TOPIC)[:-1]),
    b"\x30\x89\x00" + client.text(TOPIC) + b"\x00",
    client.publish(TOPIC, b"x" * 440),
    client.publish(TOPIC, b"x" * 440, version=5),
    client.publish(TOPIC, b"x" * 500),
    client.publish(TOPIC, b"x" * 500, version=5),
    b"\x30",
)


@settings(max_examples=100)
@given(
    st.lists(STRETCH, min_size=1, max_size=5),
    st.sampled_from((4, 5)),
    st.sampled_from(FAULTS),
    st.integers(0, 6_000),
    st.sampled_from(("open/#", TOPIC)),
)
def test_whoever_looks_at_each_frame_finds_the_same(
    stretches: list[Stretch], version: int, fault: bytes, cut: int, heard: str
) -> None:
    """Messages, acknowledgements, counters and the end: with stretches and without.

    Around frames that are wrong or too large, at any border of two reads.
    """
    sent = b"".join(
        frame for n, one in enumerate(stretches) for frame in one.frames(version, 1 + 100 * n)
    )
    reads = (sent[:cut], sent[cut:] + fault + sent)

    async def outcome(found: Stretches) -> tuple[object, ...]:
        harness = Harness(max_inflight=1_000, max_packet_bytes=450)
        harness.service.stretches = found
        reader, writer = harness.connected(version, "r"), harness.connected(version, "w")
        reader.send(client.subscribe((heard, 1), version=version))
        for topic in {one.topic for one in stretches}:
            writer.send(client.publish(topic, b"", version=version))
        for read in reads:
            if not writer.is_closed:
                writer.send(read)
        await harness.tick()
        statistics = harness.service.statistics()
        return bytes(reader.transport.data), bytes(writer.transport.data), statistics

    assert asyncio.run(outcome(eager())) == asyncio.run(outcome(blind()))


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(0, 60), st.sampled_from((4, 5)))
def test_what_waits_for_a_commit_bounds_a_stretch_too(most: int, count: int, version: int) -> None:
    """Receive Maximum: a frame too many ends a v5 client, and a 3.1.1 one waits."""

    async def outcome(found: Stretches) -> tuple[object, ...]:
        harness = Harness(receive_maximum=most)
        harness.service.stretches = found
        reader, writer = harness.connected(version, "r"), harness.connected(version, "w")
        reader.send(client.subscribe(("open/#", 1), version=version))
        kept = client.publish("open/r", b"x", version=version, qos=1, packet_id=500, retain=True)
        plain = Stretch(TOPIC, count, (5,), 1).frames(version, 1)
        writer.send(client.publish(TOPIC, b"", version=version))
        writer.send(kept, *plain)
        early = bytes(writer.transport.data)
        harness.database.commit()
        await harness.tick()
        got = bytes(reader.transport.data), bytes(writer.transport.data)
        return early, got, harness.service.statistics()

    assert asyncio.run(outcome(eager())) == asyncio.run(outcome(blind()))


USER = b"\x26" + client.text("") + client.text("")
MIXED: dict[str, list[bytes]] = {
    "topics of one length, sizes in turn": [
        client.publish(topic, b"x" * (n % 3), version=5)
        for topic in (TOPIC, "open/b")
        for n in range(2 + 2 * BLOCK)
    ],
    "three of each size": [
        client.publish(TOPIC, b"x" * (n // 3 % 3), version=5) for n in range(6 + 2 * BLOCK)
    ],
    "too large by one, among others just below": [
        *(client.publish(TOPIC, b"x" * (430 + n % 2), version=5) for n in range(25)),
        client.publish(TOPIC, b"x" * 440, version=5),
        *(client.publish(TOPIC, b"x" * (430 + n % 2), version=5) for n in range(25)),
    ],
    "properties where the others have a payload": [
        *(client.publish(TOPIC, b"x" * 9, version=5) for _ in range(20)),
        client.publish(TOPIC, b"x" * (9 - len(USER)), version=5, props=USER),
        *(client.publish(TOPIC, b"x" * 9, version=5) for _ in range(20)),
    ],
    "a property that there is not": [
        *(client.publish(TOPIC, b"x" * 9, version=5) for _ in range(20)),
        client.publish(TOPIC, b"x" * 8, version=5, props=b"\x7e"),
    ],
}


@pytest.mark.parametrize("name", MIXED)
def test_what_is_not_alike_is_looked_at(name: str) -> None:
    """Cases that chance would find too seldom."""

    async def outcome(found: Stretches) -> tuple[object, ...]:
        harness = Harness(max_packet_bytes=450)
        harness.service.stretches = found
        reader, writer = harness.connected(5, "r"), harness.connected(5, "w")
        reader.send(client.subscribe(TOPIC, version=5))
        for topic in (TOPIC, "open/b"):
            writer.send(client.publish(topic, b"", version=5))
        writer.send(*MIXED[name])
        await harness.tick()
        got = bytes(reader.transport.data), bytes(writer.transport.data)
        return *got, harness.service.statistics()

    assert asyncio.run(outcome(eager())) == asyncio.run(outcome(blind()))
