"""The hub: one copy each, in order, joined once, written once."""

from __future__ import annotations

import pytest

from lyredb.delivery.message import Message
from lyredb.errors import InvalidTopic, NotAuthorised
from tests.delivery.world import (
    ROOT,
    LineEncoding,
    Publisher,
    Reader,
    Someone,
    World,
    put,
    terms,
)

RAW = LineEncoding(wire="raw", raw="m4")


def test_messages_of_a_tick_arrive_in_one_write_in_order() -> None:
    """One join and one write per subscriber and tick."""
    world, reader = World(), Reader()
    world.join("a/#", reader)
    for number in range(5):
        world.send(f"a/{number % 2}", str(number))
    assert reader.lines == []
    world.tick()
    assert [line.split()[2] for line in reader.lines] == [b"0", b"1", b"2", b"3", b"4"]
    assert len(reader.batches) == 1
    assert reader.batches[0].count == 5


def test_a_group_shares_one_batch_object() -> None:
    """A fan-out of 100 makes one join, not 100."""
    world = World()
    readers = [Reader() for _ in range(100)]
    for reader in readers:
        world.join("a", reader)
    world.send("a", "x")
    world.tick()
    assert len({id(reader.batches[0].data) for reader in readers}) == 1


def test_a_join_takes_effect_between_two_messages() -> None:
    world, early, late = World(), Reader(), Reader()
    world.join("a", early)
    world.send("a", "1")
    world.join("a", late)
    world.send("a", "2")
    world.tick()
    assert [line.split()[2] for line in early.lines] == [b"1", b"2"]
    assert [line.split()[2] for line in late.lines] == [b"2"]


def test_a_leave_takes_effect_between_two_messages() -> None:
    world, reader = World(), Reader()
    world.join("a", reader)
    world.send("a", "1")
    world.hub.leave("a", reader)
    world.send("a", "2")
    world.tick()
    assert [line.split()[2] for line in reader.lines] == [b"1"]


def test_overlapping_filters_give_one_copy_with_the_highest_qos_and_all_ids() -> None:
    """MQTT 5 §3.3.4 allows one copy; it has the maximum QoS [MQTT-3.3.4-2] and all ids."""
    world, reader = World(), Reader()
    world.join("a/#", reader, ids=(7,))
    world.join("a/+", reader, qos=1, ids=(3,))
    world.join("a/b", reader)
    world.send("a/b", "x", qos=1)
    world.tick()
    assert reader.lines == [b"line a/b x q1 r0 3 7 .."]


def test_order_holds_over_all_topics_of_a_publisher() -> None:
    """A reader in several groups gets their runs merged by arrival."""
    world, reader, other = World(), Reader(), Reader()
    for topic in ("a", "b", "c"):
        world.join(topic, reader, ids=(ord(topic),))
    world.join("b", other)
    for number, topic in enumerate("abcabccba"):
        world.send(topic, str(number))
    world.tick()
    assert [line.split()[2] for line in reader.lines] == [b"%d" % n for n in range(9)]
    assert len(reader.batches) == 1
    assert [line.split()[2] for line in other.lines] == [b"1", b"4", b"7"]


def test_a_run_of_raw_frames_is_appended_as_it_came() -> None:
    world, reader = World(), Reader()
    world.join("a/+", reader, encoding=RAW)
    ingress = world.hub.ingress(ROOT, "mqtt", "m4")
    first, second = ingress.path(b"a/1").solo0, ingress.path(b"a/2").solo0
    assert first is not None
    assert first is second
    ingress.push_run(first, b"..one\ntwo\nrest", 2, 10, 2, None)
    world.tick()
    assert reader.lines == [b"one", b"two"]
    assert reader.batches[0].count == 2
    assert reader.batches[0].droppable


def test_several_raw_groups_are_one_bundle_for_publishers() -> None:
    """A dashboard beside a topic's own subscriber does not end the raw path."""
    world, dashboard, own = World(), Reader(), Reader()
    world.join("#", dashboard, encoding=RAW)
    world.join("a", own, encoding=RAW, qos=1)
    ingress = world.hub.ingress(ROOT, "mqtt", "m4")
    path = ingress.path(b"a")
    assert path.solo0 is not None
    assert path.solo1 is None
    ingress.push_run(path.solo0, b"one\n", 0, 4, 1, None)
    world.tick()
    assert dashboard.lines == own.lines == [b"one"]


def test_borders_of_qos_1_runs_are_moved_to_their_place_in_the_batch() -> None:
    """`ends` and `ids` point into the joined bytes, whatever chunk a run came from."""
    world, reader = World(), Reader()
    world.join("a", reader, encoding=RAW, qos=1)
    ingress = world.hub.ingress(ROOT, "mqtt", "m4")
    path = ingress.path(b"a")
    assert path.solo0 is not None
    assert path.solo1 is not None
    ingress.push_run(path.solo0, b"zero", 0, 4, 1, None)
    ingress.push_run(path.solo1, b"xxPP1-PP2-", 2, 10, 2, None, ends=(6, 10), ids=(2, 6))
    ingress.push_run(path.solo1, b"PP3-", 0, 4, 1, None, ends=(4,), ids=(1,))
    world.tick()
    batch = reader.batches[0]
    assert batch.data == b"zeroPP1-PP2-PP3-"
    assert list(batch.ends) == [4, 8, 12, 16]
    assert list(batch.ids) == [0, 4, 8, 13]
    assert not batch.droppable


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": LineEncoding(wire="raw", raw="m5")},
        {"encoding": RAW, "ids": (1,)},
        {"encoding": RAW, "no_local": 5},
    ],
    ids=["another kind", "subscription identifier", "no local"],
)
def test_frames_are_not_forwarded_raw_to_who_needs_frames_of_its_own(
    options: dict[str, object],
) -> None:
    world = World()
    world.join("a", Reader(), **options)
    path = world.hub.ingress(ROOT, "mqtt", "m4").path(b"a")
    assert path.solo0 is None
    assert not path.idle


def test_no_local_leaves_out_the_own_session_only() -> None:
    """MQTT 5 §3.8.3.1: a message is not forwarded to the connection that published it."""
    world, reader = World(), Reader()
    world.join("a", reader, no_local=5)
    world.send("a", "own", session=5)
    world.send("a", "other", session=6)
    world.send("a", "nobody")
    world.tick()
    assert [line.split()[2] for line in reader.lines] == [b"other", b"nobody"]


def test_no_local_in_one_of_two_filters_leaves_the_other_in_force() -> None:
    world, reader = World(), Reader()
    world.join("a", reader, qos=1, no_local=5, ids=(1,))
    world.join("#", reader, ids=(2,))
    world.send("a", "own", session=5, qos=1)
    world.send("a", "other", session=6, qos=1)
    world.tick()
    assert reader.lines == [b"line a own q0 r0 2", b"line a other q1 r0 1 2 .."]


def test_a_scanning_subscriber_gets_direct_messages_only() -> None:
    """What the log gets is told by the scan itself, up to its position."""
    world, reader = World(), Reader()
    world.join("Sensor/#", reader, scanning=True)
    world.send("Sensor/1", "direct")
    world.hub.deliver(put(1, "1", {"value": 1}))
    world.hub.rejoin("Sensor/#", reader, terms())
    world.hub.deliver(put(2, "1", {"value": 2}))
    world.tick()
    assert [line.split()[2] for line in reader.lines[:1]] == [b"direct"]
    assert len(reader.lines) == 2
    assert b"'value': 2" in reader.lines[1]


def test_readers_in_process_get_messages() -> None:
    world, reader = World(), Reader()
    world.join("Sensor/#", reader, encoding=LineEncoding(takes_messages=True))
    world.hub.deliver(put(1, "1", {"value": 1}))
    world.send("Sensor/2", "direct")
    world.tick()
    first, second = reader.messages
    assert first.value() == {"id": "1", "value": 1}
    assert second.payload(LineEncodingFormat()) == b"direct"


class LineEncodingFormat:
    name = "any"
    media_type = "any/any"

    def encode(self, value: object) -> bytes:
        raise AssertionError("bytes pass unchanged")

    def decode(self, data: bytes) -> object:
        raise AssertionError("bytes pass unchanged")


def test_who_may_not_read_a_topic_gets_nothing_of_it_by_wildcard() -> None:
    world, reader, nobody = World(), Reader(), Someone("nobody")
    world.denied.add(("nobody", b"secret"))
    world.join("#", reader, principal=nobody)
    world.send("secret", "x")
    world.send("open", "y")
    world.tick()
    assert reader.lines == [b"line open y q0 r0"]


def test_a_change_of_access_holds_for_the_next_message() -> None:
    """Both ways, for readers and publishers; messages before the change are delivered."""
    world, reader, someone = World(), Reader(), Someone("someone")
    world.join("a", reader, principal=someone)
    world.send("a", "1", principal=someone)
    world.denied.add(("someone", b"a"))
    world.hub.access_changed(someone)
    world.send("a", "2")
    with pytest.raises(NotAuthorised):
        world.send("a", "3", principal=someone)
    world.denied.clear()
    world.hub.access_changed(someone)
    world.send("a", "4", principal=someone)
    world.tick()
    assert [line.split()[2] for line in reader.lines] == [b"1", b"4"]


def test_a_view_shapes_or_hides_what_a_principal_sees() -> None:
    class Shouting:
        def apply(self, message: Message) -> Message | None:
            payload = message.payload(LineEncodingFormat())
            if payload == b"hide":
                return None
            destination = world.publish(ROOT, "mqtt", message.topic)
            return Message.direct(message.topic, payload.upper(), destination)

    world, reader, plain = World(), Reader(), Reader()
    world.views["limited", b"a"] = Shouting()
    world.join("a", reader, principal=Someone("limited"))
    world.join("a", plain)
    world.send("a", "hide")
    world.send("a", "show")
    world.tick()
    assert reader.lines == [b"line a SHOW q0 r0"]
    assert [line.split()[2] for line in plain.lines] == [b"hide", b"show"]


def test_who_sees_a_part_never_gets_a_frame_as_it_came() -> None:
    """A view other than that of everything closes the raw way."""

    class Nothing:
        def apply(self, message: Message) -> Message | None:
            return None

    world, reader = World(), Reader()
    world.views["limited", b"a"] = Nothing()
    world.join("a", reader, encoding=RAW, principal=Someone("limited"))
    assert world.hub.ingress(ROOT, "mqtt", "m4").path(b"a").solo0 is None
    world.send("a", "x", raw_kind="m4", raw=b"raw a x\n")
    world.tick()
    assert reader.lines == []


def test_a_topic_without_listeners_is_idle_until_somebody_joins() -> None:
    world, reader = World(), Reader()
    paths = world.hub.ingress(ROOT, "mqtt").paths
    assert world.hub.ingress(ROOT, "mqtt").path(b"a/b").idle
    world.join("a/+", reader)
    assert b"a/b" not in paths
    assert not world.hub.ingress(ROOT, "mqtt").path(b"a/b").idle
    world.hub.leave("a/+", reader)
    assert world.hub.ingress(ROOT, "mqtt").path(b"a/b").idle


def test_an_overlap_that_arises_in_existing_groups_gives_one_copy() -> None:
    """Both joins go into groups that were there, and the route was cached."""
    world, both = World(), Reader()
    for topic_filter in ("a", "#"):
        world.join(topic_filter, Reader())
    world.send("a", "1")
    world.join("#", both)
    world.join("a", both)
    world.send("a", "2")
    world.tick()
    assert [line.split()[2] for line in both.lines] == [b"2"]


def test_who_joins_an_overlap_later_is_served_by_it_too() -> None:
    """The groups made for subscribers in several filters follow their filters."""
    world, both, later = World(), Reader(), Reader()
    world.join("a", both)
    world.join("#", both, qos=1)
    world.send("a", "1", qos=1)
    world.join("a", later)
    world.send("a", "2", qos=1)
    world.hub.leave("#", both)
    world.send("a", "3", qos=1)
    world.hub.leave("a", both)
    world.send("a", "4", qos=1)
    world.tick()
    assert [line.split()[2:4] for line in both.lines] == [
        [b"1", b"q1"],
        [b"2", b"q1"],
        [b"3", b"q0"],
    ]
    assert [line.split()[2] for line in later.lines] == [b"2", b"3", b"4"]


def test_joining_an_existing_group_keeps_the_paths_of_publishers() -> None:
    """A thousand more subscribers of the same kind cost no route."""
    world = World()
    world.join("a", Reader())
    path = world.hub.ingress(ROOT, "mqtt").path(b"a")
    world.join("a", Reader())
    assert world.hub.ingress(ROOT, "mqtt").path(b"a") is path


def test_an_old_path_still_delivers_to_who_listens_now() -> None:
    """A publisher that kept a path too long loses nothing."""
    world, reader = World(), Reader()
    ingress = world.hub.ingress(ROOT, "mqtt")
    path = ingress.path(b"a")
    world.join("a", reader)
    ingress.push(path, Message.direct(b"a", b"x", path.destination), None)
    world.tick()
    assert reader.lines == [b"line a x q0 r0"]


def test_messages_of_a_logged_topic_are_refused_here() -> None:
    """Direct or logged, never both."""
    world = World()
    world.kinds[b"a"] = "logged"
    with pytest.raises(ValueError, match="logged"):
        world.send("a", "x")


def test_a_subscriber_that_fails_to_write_is_closed_and_costs_nobody_else() -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    world, bad, good = World(), Reader(on_write=fail), Reader()
    world.join("a", bad)
    world.join("a", good)
    world.send("a", "x")
    world.tick()
    assert good.lines == [b"line a x q0 r0"]
    assert len(bad.closed) == 1


def test_a_subscriber_may_leave_and_others_publish_while_it_is_written_to() -> None:
    """A flush inside of a flush writes what was taken earlier first."""
    world, first, second, third = World(), Reader(), Reader(), Reader()

    def leave() -> None:
        first.on_write = None
        world.send("a", "will")
        world.hub.leave("a", first)

    for reader in (first, second):
        world.join("a", reader)
    for reader in (second, third):
        world.join("b", reader)
    first.on_write = leave
    world.send("a", "x")
    world.send("b", "y")
    world.tick()
    assert [line.split()[2] for line in first.lines] == [b"x", b"will"]
    assert [line.split()[2] for line in second.lines] == [b"x", b"y", b"will"]
    assert [line.split()[2] for line in third.lines] == [b"y"]


def test_an_illegal_filter_changes_nothing() -> None:
    world, reader = World(), Reader()
    with pytest.raises(InvalidTopic):
        world.join("a/#/b", reader)
    assert world.hub.statistics().subscribers == 0


def test_one_subscriber_has_one_encoding() -> None:
    world, reader = World(), Reader()
    world.join("a", reader)
    with pytest.raises(ValueError, match="one encoding"):
        world.join("b", reader, encoding=LineEncoding(wire="other"))


def test_entries_nobody_listens_to_are_not_looked_at() -> None:
    """Neither key nor image is decoded for a table without any filter near it."""
    world = World()
    world.join("Other/#", Reader())
    for seq in range(1, 100):
        world.hub.deliver(put(seq, str(seq), {}))
    assert world.topics_asked == 1
    assert world.hub.position == 99


def test_internal_topics_are_reached_by_internal_filters_only() -> None:
    """Tables that are not exported are invisible to `#`."""
    world, everything, code = World(), Reader(), Reader()
    world.join("#", everything)
    world.join("\0" + "16/#", code)
    world.send("\0" + "16/1", "x")
    world.tick()
    assert everything.lines == []
    assert len(code.lines) == 1


def test_statistics_count_what_was_done() -> None:
    world = World()
    publisher = Publisher()
    world.join("a", Reader(congested=True))
    world.send("a", "x", publisher=publisher)
    world.hub.hold(16, b"k")
    world.tick()
    found = world.hub.statistics()
    assert (found.subscribers, found.filters, found.routes, found.holds) == (1, 1, 1, 1)
    assert (found.frames, found.writes, found.pauses, found.waiting) == (1, 1, 1, 1)


def test_closing_all_ends_every_subscriber_after_its_messages() -> None:
    world, reader = World(), Reader()
    world.join("a", reader)
    world.send("a", "x")
    world.hub.close_all(RuntimeError("the end"))
    assert len(reader.lines) == len(reader.closed) == 1
