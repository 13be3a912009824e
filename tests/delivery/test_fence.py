"""The fence: direct messages keep their place between the writes of their record."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lyredb.delivery.fence import MAX_HELD_BYTES
from lyredb.storage.keys import encode_key
from tests.delivery.world import ROOT, SENSOR_SLOT, LineEncoding, Publisher, Reader, World, put

KEY = encode_key("1")
RAW = LineEncoding("raw", raw="m4")


def payloads(reader: Reader) -> list[bytes]:
    """What came, records as ``put``."""
    return [b"put" if b"{" in line else line.split()[2] for line in reader.lines]


def test_a_message_behind_a_write_of_its_record_comes_after_it() -> None:
    world, reader = World(), Reader()
    world.join("Sensor/#", reader)
    world.send("Sensor/1", "before")
    world.hub.hold(SENSOR_SLOT, KEY)
    world.send("Sensor/1", "after")
    world.send("Sensor/2", "elsewhere")
    world.tick()
    assert payloads(reader) == [b"before", b"elsewhere"]
    world.hub.release(SENSOR_SLOT, KEY, 1)
    world.tick()
    assert payloads(reader) == [b"before", b"elsewhere"]
    world.hub.deliver(put(1, "1", {}))
    world.tick()
    assert payloads(reader) == [b"before", b"elsewhere", b"put", b"after"]


def test_a_failed_write_lets_the_messages_go_at_once() -> None:
    world, reader = World(), Reader()
    world.join("Sensor/#", reader)
    world.hub.hold(SENSOR_SLOT, KEY)
    world.send("Sensor/1", "after")
    world.hub.release(SENSOR_SLOT, KEY, 0)
    world.tick()
    assert payloads(reader) == [b"after"]
    assert world.hub.statistics().holds == 0


def test_a_reply_after_the_tail_has_passed_lets_the_messages_go() -> None:
    world, reader = World(), Reader()
    world.join("Sensor/#", reader)
    world.hub.hold(SENSOR_SLOT, KEY)
    world.send("Sensor/1", "after")
    world.hub.deliver(put(1, "1", {}))
    world.hub.release(SENSOR_SLOT, KEY, 1)
    world.tick()
    assert payloads(reader) == [b"put", b"after"]


def test_raw_frames_are_held_too_and_flow_again_afterwards() -> None:
    """The publisher's cached path closes under it, and opens again."""
    world, reader = World(), Reader()
    world.join("Sensor/#", reader, encoding=RAW)
    path = world.hub.ingress(ROOT, "mqtt", "m4").path(b"Sensor/1")
    solo = path.solo0
    assert solo is not None
    world.hub.hold(SENSOR_SLOT, KEY)
    assert path.solo0 is None
    assert not path.idle
    world.send("Sensor/1", "m", raw_kind="m4", raw=b"raw x m\n")
    assert world.hub.ingress(ROOT, "mqtt", "m5").path(b"Sensor/1").solo0 is None
    world.hub.release(SENSOR_SLOT, KEY, 1)
    world.hub.deliver(put(1, "1", {}))
    world.tick()
    assert payloads(reader) == [b"put", b"m"]
    assert path.solo0 is solo


def test_a_topic_whose_path_was_made_while_held_opens_with_the_others() -> None:
    world, reader = World(), Reader()
    world.join("Sensor/#", reader, encoding=RAW)
    world.hub.hold(SENSOR_SLOT, KEY)
    path = world.hub.ingress(ROOT, "mqtt", "m4").path(b"Sensor/1")
    assert path.solo0 is None
    world.hub.release(SENSOR_SLOT, KEY, 0)
    assert path.solo0 is not None


def test_a_subscription_made_meanwhile_gets_what_is_released() -> None:
    """The route changed while the message waited."""
    world, reader = World(), Reader()
    world.hub.hold(SENSOR_SLOT, KEY)
    world.send("Sensor/1", "m")
    world.join("Sensor/1", reader)
    world.hub.release(SENSOR_SLOT, KEY, 0)
    world.tick()
    assert payloads(reader) == [b"m"]


def test_who_publishes_too_much_to_a_held_record_waits_for_its_write() -> None:
    """A slow disk must not fill the memory with messages that wait for it."""
    world, publisher = World(), Publisher()
    world.join("Sensor/#", Reader())
    world.hub.hold(SENSOR_SLOT, KEY)
    world.send("Sensor/1", "x" * (MAX_HELD_BYTES // 2), publisher=publisher)
    assert publisher.reasons == []
    world.send("Sensor/1", "x" * (MAX_HELD_BYTES // 2 + 1), publisher=publisher)
    assert len(publisher.reasons) == 1
    world.send("Sensor/1", "x", publisher=publisher)
    assert len(publisher.reasons) == 1
    world.hub.release(SENSOR_SLOT, KEY, 0)
    assert publisher.reasons == []


@given(
    st.lists(st.sampled_from(["write", "fail", "message", "commit", "tail"]), max_size=30),
    st.booleans(),
)
def test_every_message_keeps_its_place_between_the_writes(plan: list[str], joined: bool) -> None:
    """Commits answer all open writes in order; the tail follows some time later."""
    world, reader = World(), Reader()
    world.join("Sensor/#" if joined else "Sensor/1", reader)
    expected: list[bytes] = []
    waiting: list[bool] = []
    committed: list[int] = []
    seq = number = 0

    def commit() -> None:
        nonlocal seq
        for succeeds in waiting:
            seq += succeeds
            committed.extend([seq] if succeeds else [])
            world.hub.release(SENSOR_SLOT, KEY, seq if succeeds else 0)
        waiting.clear()

    def tail() -> None:
        for position in committed:
            world.hub.deliver(put(position, "1", {"n": position}))
        committed.clear()

    for step in plan:
        if step in ("write", "fail"):
            world.hub.hold(SENSOR_SLOT, KEY)
            waiting.append(step == "write")
            expected += [b"put"] if step == "write" else []
        elif step == "message":
            number += 1
            world.send("Sensor/1", str(number))
            expected.append(b"%d" % number)
        elif step == "commit":
            commit()
        else:
            tail()
    commit()
    tail()
    world.tick()
    assert payloads(reader) == expected
    assert world.hub.statistics().holds == 0
