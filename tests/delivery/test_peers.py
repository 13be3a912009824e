"""Messages between workers: who gets them, in which order, and what they never overtake."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest

from lyredb.delivery.ingress import Ingress
from tests.delivery.workers import RAW_KIND, Node, Worker, told
from tests.delivery.world import ROOT, LineEncoding, Publisher, Reader, Someone

LINES = LineEncoding("line")
RAW = LineEncoding("line", raw=RAW_KIND)


@pytest.fixture
def node() -> Node:
    return Node(3).attach_all()


def test_a_message_reaches_each_worker_with_a_reader_once(node: Node) -> None:
    """A worker with two filters that match gets one copy, and forwards it to nobody."""
    readers = [Reader() for _ in range(3)]
    for worker, reader in zip(node.workers, readers, strict=True):
        worker.join("a/+", reader)
        worker.join("a/b", reader)
    node.settle()
    node.workers[0].send("a/b", "x")
    node.settle()
    assert [told(reader) for reader in readers] == [["a/b x"]] * 3
    assert node.workers[0].peers.statistics().forwarded == 2
    assert node.workers[1].peers.statistics().forwarded == 0


def test_nothing_is_forwarded_that_nobody_else_wants(node: Node) -> None:
    node.workers[1].join("a", Reader())
    node.settle()
    node.workers[0].send("b", "x")
    node.settle()
    assert node.workers[0].peers.statistics().forwarded == 0


@pytest.mark.parametrize("filter", ["a/b", "a/+", "#"])
def test_a_filter_reaches_topics_that_are_in_use(node: Node, filter: str) -> None:
    """Their way was found when nobody else wanted them."""
    reader, local = Reader(), Reader()
    node.workers[0].join("a/b", local)
    node.workers[0].send("a/b", "1")
    node.workers[0].send_raw("a/b", "2")
    node.workers[1].join(filter, reader)
    node.settle()
    node.workers[0].send("a/b", "3")
    node.workers[0].send_raw("a/b", "4")
    node.settle()
    assert told(reader) == ["a/b 3", "a/b 4"]
    assert told(local) == ["a/b 1", "a/b 2", "a/b 3", "a/b 4"]


def test_a_second_worker_with_a_filter_gets_its_messages_too(node: Node) -> None:
    """The way of the topic is known by then, and has to be found anew."""
    first, second = Reader(), Reader()
    node.workers[1].join("a/#", first)
    node.settle()
    node.workers[0].send("a/b", "1")
    node.workers[2].join("a/#", second)
    node.settle()
    node.workers[0].send("a/b", "2")
    node.settle()
    assert told(first) == ["a/b 1", "a/b 2"]
    assert told(second) == ["a/b 2"]


def test_a_filter_that_was_left_is_wanted_no_more(node: Node) -> None:
    first, second = Reader(), Reader()
    for reader in (first, second):
        node.workers[1].join("a", reader)
    node.settle()
    node.workers[1].hub.leave("a", first)
    node.settle()
    node.workers[0].send("a", "1")
    node.settle()
    node.workers[1].hub.leave("a", second)
    node.settle()
    node.workers[0].send("a", "2")
    node.settle()
    assert told(second) == ["a 1"]
    assert node.workers[0].peers.statistics().forwarded == 1


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("local", [None, RAW, LINES], ids=["peers only", "raw", "made"])
def test_raw_and_packed_messages_keep_their_order(
    node: Node, local: LineEncoding | None, qos: int
) -> None:
    """Runs, frames beside readers of another kind, and packed messages, in one stream."""
    if local is not None:
        node.workers[0].join("a", Reader(), encoding=local, qos=1)
    raw, made = Reader(), Reader()
    node.workers[1].join("#", raw, encoding=RAW, qos=1)
    node.workers[1].join("#", made, encoding=LineEncoding("other"), qos=1)
    node.settle()
    for number in range(10):
        if number % 3 == 2:
            node.workers[0].send("a", str(number), qos=qos)
        else:
            node.workers[0].send_raw("a" if number % 2 else "b", str(number), qos=qos)
    node.settle()
    wanted = [f"{'a' if n % 2 or n % 3 == 2 else 'b'} {n}" for n in range(10)]
    assert told(raw) == told(made) == wanted
    assert all(line.split()[3] == b"q%d" % qos for line in raw.lines)


def test_a_run_is_forwarded_as_it_came(node: Node) -> None:
    """No message is made for frames that only other workers want."""
    reader = Reader()
    node.workers[1].join("a", reader, encoding=RAW)
    node.settle()
    path = node.workers[0].hub.ingress(ROOT, "mqtt", RAW_KIND).path(b"a")
    assert path.solo0 is not None
    assert not path.idle
    for number in range(5):
        node.workers[0].send_raw("a", str(number))
    node.settle()
    assert told(reader) == [f"a {n}" for n in range(5)]
    assert len(reader.batches) == 1


def test_frames_of_an_unknown_content_type_are_forwarded_packed(node: Node) -> None:
    """The receiver could not know what their payloads are."""
    reader = Reader()
    messages = LineEncoding(takes_messages=True)
    node.workers[1].join("a", reader, encoding=messages)
    node.settle()
    hub = node.workers[0].hub
    typed = hub.ingress(ROOT, "mqtt", RAW_KIND, "image/png")
    known = hub.ingress(ROOT, "mqtt", RAW_KIND, "application/json")
    assert typed.path(b"a").solo0 is None
    assert known.path(b"a").solo0 is not None


def test_a_message_never_comes_before_the_write_it_followed(node: Node) -> None:
    """The sender has told the write; the receiver's own tail has not yet."""
    reader = Reader()
    node.workers[1].join("Sensor/#", reader)
    node.settle()
    seq = node.write("1", {"v": 1})
    node.workers[0].advance_to(seq)
    node.workers[0].send("Sensor/1", "after")
    node.settle()
    assert [line.split(b" ")[2:4] for line in reader.lines][1] == [b"after", b"q0"]
    assert reader.lines[0].startswith(b"line Sensor/1 {'id': '1'")


def test_log_entries_are_not_forwarded(node: Node) -> None:
    node.workers[1].join("#", Reader())
    node.settle()
    node.workers[0].advance_to(node.write("1", {}))
    node.settle()
    assert node.workers[0].peers.statistics().forwarded == 0


def test_what_only_others_want_costs_the_log_no_look() -> None:
    """No topics are looked up for an entry, and no route is made."""
    node = Node(2).attach_all()
    node.workers[1].join("Sensor/#", Reader())
    node.settle()
    before = node.workers[0].topics_asked
    for number in range(10):
        node.workers[0].advance_to(node.write(str(number), {}))
    assert node.workers[0].topics_asked - before <= 1  # the table's root, once
    assert node.workers[0].hub.statistics().routes == 0


def test_messages_of_others_do_not_wait_for_writes_of_this_worker(node: Node) -> None:
    """Packed ones and runs. Behind a write of somebody else they would be overtaken.

    By their own publisher's next write, which comes by the log and may have come before it.
    """
    worker, reader = node.workers[1], Reader()
    worker.join("Sensor/1", reader)
    node.settle()
    worker.hub.hold(16, worker.publish(ROOT, "mqtt", b"Sensor/1").key)
    node.workers[0].send("Sensor/1", "packed")
    node.workers[0].send_raw("Sensor/1", "raw")
    node.settle()
    assert [text.split()[2] for text in reader.lines] == [b"packed", b"raw"]
    seq = node.write("1", {})
    worker.hub.release(16, worker.publish(ROOT, "mqtt", b"Sensor/1").key, seq)
    worker.advance_to(seq)
    node.settle()
    assert [text.split()[2] for text in reader.lines] == [b"packed", b"raw", b"{'id':"]


def test_a_held_message_is_forwarded_after_its_write(node: Node) -> None:
    """The fence of the sender: it goes when the sender's tail has passed the write."""
    sender, reader = node.workers[0], Reader()
    node.workers[1].join("Sensor/1", reader)
    node.settle()
    key = sender.publish(ROOT, "mqtt", b"Sensor/1").key
    sender.hub.hold(16, key)
    sender.send("Sensor/1", "held")
    node.settle()
    assert reader.lines == []
    seq = node.write("1", {})
    sender.hub.release(16, key, seq)
    sender.advance_to(seq)
    node.settle()
    assert [text.split()[2] for text in reader.lines] == [b"{'id':", b"held"]


def test_held_messages_that_others_want_are_taken_before_the_next_write(node: Node) -> None:
    """Others may read both writes at once; messages of other workers have not waited."""
    sender, other = node.workers[0], node.workers[1]
    key = sender.publish(ROOT, "mqtt", b"Sensor/1").key
    sender.join("Sensor/1", Reader())
    node.settle()
    sender.hub.hold(16, key)
    sender.send("Sensor/1", "alone")
    assert sender.hub.take_held(16, key) == []  # nobody else wants it: it waits as ever
    other.join("Sensor/1", Reader())
    node.settle()
    other.send("Sensor/1", "foreign")
    node.settle()
    sender.send("Sensor/1", "last")
    taken = sender.hub.take_held(16, key)
    assert [held.message.data for held in taken] == [b"alone", b"last"]
    assert sender.hub.take_held(16, key) == []
    for held in taken:
        sender.hub.push_held(held)
    sender.hub.hold(16, key)
    assert sender.hub.take_held(16, key) == []  # behind the second write there is nothing


def test_a_held_message_reaches_a_worker_that_came_meanwhile(node: Node) -> None:
    """It goes to those who listen when it goes."""
    sender, reader = node.workers[0], Reader()
    key = sender.publish(ROOT, "mqtt", b"Sensor/1").key
    sender.hub.hold(16, key)
    sender.send("Sensor/1", "held")
    node.workers[1].join("Sensor/1", reader)
    node.settle()
    sender.hub.release(16, key, 0)
    node.settle()
    assert told(reader) == ["Sensor/1 held"]


def test_the_senders_rights_count_and_the_receivers_views(node: Node) -> None:
    allowed, limited = Reader(), Reader()
    node.workers[1].denied = {("limited", b"a"), ("peers", b"nothing")}
    node.workers[1].join("#", allowed)
    node.workers[1].join("#", limited, principal=Someone("limited"))
    node.settle()
    node.workers[0].send("a", "1")
    node.workers[0].send("b", "2")
    node.settle()
    assert told(allowed) == ["a 1", "b 2"]
    assert told(limited) == ["b 2"]


def test_what_cannot_be_told_here_is_counted_and_costs_nothing_else(node: Node) -> None:
    reader = Reader()
    node.workers[1].denied = {("peers", b"gone")}
    node.workers[1].join("#", reader)
    node.settle()
    node.workers[0].send("gone", "1")
    node.workers[0].send("a", "2")
    node.settle()
    assert told(reader) == ["a 2"]
    statistics = node.workers[1].peers.statistics()
    assert (statistics.received, statistics.refused) == (2, 1)


def test_frames_that_fail_here_cost_the_following_ones_nothing(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(ingress: Ingress, frames: bytes) -> int:
        raise ValueError("no frame")

    reader = Reader()
    node.workers[1].join("#", reader)
    node.workers[1].peers.read_raw(RAW_KIND, fail)
    node.settle()
    node.workers[0].send_raw("a", "1")
    node.workers[0].send("a", "2")
    node.settle()
    assert told(reader) == ["a 2"]
    assert node.workers[1].peers.statistics().refused == 1
    assert "failed" in caplog.text


def test_no_local_leaves_out_a_session_of_another_worker(node: Node) -> None:
    """Session numbers are unique over workers, and a packed message carries its own."""
    reader = Reader()
    node.workers[1].join("a", reader, no_local=7)
    node.settle()
    for session in (7, 8):
        node.workers[0].send("a", str(session), session=session)
    node.settle()
    assert told(reader) == ["a 8"]


# When it is known


def test_known_is_told_at_once_without_workers() -> None:
    called: list[int] = []
    worker = Node(1).workers[0]
    worker.join("a", Reader())
    worker.peers.when_known(lambda: called.append(1))
    assert called == [1]


def test_known_means_that_every_later_message_arrives(node: Node) -> None:
    """Called back only when the last worker has acknowledged."""
    called: list[int] = []
    reader = Reader()
    node.workers[0].join("a", reader)
    node.workers[0].peers.when_known(lambda: called.append(1))
    node.workers[0].tick()
    node.wires[0, 1].arrive()
    node.wires[1, 0].arrive()
    assert called == []
    node.wires[0, 2].arrive()
    assert called == []
    node.wires[2, 0].arrive()
    assert called == [1]
    for worker in node.workers[1:]:
        worker.send("a", "x")
    node.settle()
    assert told(reader) == ["a x", "a x"]


def test_known_is_told_at_once_when_nothing_is_new(node: Node) -> None:
    node.workers[0].join("a", Reader())
    node.settle()
    called: list[int] = []
    node.workers[0].join("a", Reader())
    node.workers[0].peers.when_known(lambda: called.append(1))
    assert called == [1]


def test_who_greets_several_workers_waits_for_each_one_s_own_greeting() -> None:
    """A worker of three or more begins when the others have answered what each was told."""
    node = Node(4).attach_all()
    called: list[int] = []
    for number, worker in enumerate(node.workers):
        worker.peers.when_known(partial(called.append, number))
    assert called == []
    node.settle()
    assert sorted(called) == [0, 1, 2, 3]


def test_a_silent_worker_is_not_waited_for(node: Node) -> None:
    called: list[int] = []
    node.settle()
    sender = node.workers[0]
    sender.join("a", Reader())
    sender.peers.when_known(lambda: called.append(1))
    sender.tick()
    sender.pass_time(1.9)
    assert called == []
    sender.pass_time(0.2)
    assert called == [1]
    assert sender.peers.statistics().silent == 2
    node.settle()
    assert sender.peers.statistics().silent == 0


def test_a_detached_worker_is_not_waited_for(node: Node) -> None:
    called: list[int] = []
    sender = node.workers[0]
    node.settle()
    sender.join("a", Reader())
    sender.peers.when_known(lambda: called.append(1))
    sender.tick()
    for number in (1, 2):
        assert called == []
        sender.peers.detach(number)
    assert called == [1]


def test_a_worker_that_waits_although_nothing_changed_in_the_end_is_answered(node: Node) -> None:
    """A filter that came and went within the tick leaves nothing to tell."""
    called: list[int] = []
    reader = Reader()
    node.settle()
    node.workers[0].join("a", reader)
    node.workers[0].peers.when_known(lambda: called.append(1))
    node.workers[0].hub.leave("a", reader)
    node.settle()
    assert called == [1]


def test_a_worker_that_comes_back_learns_everything_anew(node: Node) -> None:
    """Filters of before and of meanwhile; what it wanted before is forgotten."""
    before, meanwhile = Reader(), Reader()
    node.workers[0].join("before", before)
    node.workers[1].join("theirs", Reader())
    node.settle()
    node.workers[0].peers.detach(1)
    node.workers[1].peers.detach(0)
    node.workers[0].join("meanwhile", meanwhile)
    node.workers[0].send("theirs", "lost")
    assert node.workers[0].peers.statistics().forwarded == 0
    node.attach(0, 1)
    node.settle()
    node.workers[1].send("before", "1")
    node.workers[1].send("meanwhile", "2")
    node.settle()
    assert told(before) == ["before 1"]
    assert told(meanwhile) == ["meanwhile 2"]


# Workers that do not keep up


def test_a_slow_worker_costs_the_others_nothing_and_loses_qos_0() -> None:
    """Beyond the limit messages are dropped for it, counted, and flow again when it drains."""
    node = Node(3, buffer_bytes=1_000)
    node.attach(0, 1, kernel_bytes=100)
    node.attach(0, 2)
    slow, good, local = Reader(), Reader(), Reader()
    for worker, reader in zip(node.workers, (local, slow, good), strict=True):
        worker.join("#", reader)
    node.settle()
    publisher = Publisher()
    for number in range(200):
        node.workers[0].send("a", f"{number:03d}", publisher=publisher)
        node.workers[0].tick()
        node.wires[0, 2].arrive()
        node.workers[2].tick()
    assert publisher.reasons == []
    statistics = node.workers[0].peers.statistics()
    assert 100 < statistics.dropped < 200
    assert statistics.dropped_acknowledged == 0
    assert statistics.waiting_bytes <= 1_100
    assert len(local.lines) == len(good.lines) == 200
    node.settle()
    node.workers[0].send("a", "last")
    node.settle()
    assert len(slow.lines) == 201 - statistics.dropped
    assert told(slow)[-1] == "a last"


def test_publishers_of_qos_1_wait_for_a_slow_worker_within_its_credit() -> None:
    """They are paused above the limit, resume by time or when it drains, and then lose."""
    node = Node(2, buffer_bytes=1_000)
    node.attach(0, 1, kernel_bytes=100)
    reader = Reader()
    node.workers[1].join("#", reader, qos=1)
    node.settle()
    sender, publisher = node.workers[0], Publisher()
    sent = 0
    while not publisher.reasons:
        sender.send("a", f"{sent:03d}", qos=1, publisher=publisher)
        sent += 1
        sender.tick()
    assert sender.peers.statistics().dropped_acknowledged == 0
    node.settle()
    assert publisher.reasons == []
    assert len(reader.lines) == sent

    while not publisher.reasons:
        sender.send("a", "again", qos=1, publisher=publisher)
        sender.tick()
    sender.pass_time(0.3)
    assert publisher.reasons == []  # the credit is used up, though nothing has drained
    for _ in range(100):
        sender.send("a", "flood", qos=1, publisher=publisher)
        sender.tick()
    assert publisher.reasons == []
    assert sender.peers.statistics().dropped_acknowledged > 0
    assert sender.peers.statistics().waiting_bytes <= 2_100


# Sockets


def test_workers_talk_over_sockets() -> None:
    """The real link: partial writes of more than a socket holds, and the end of a worker."""

    async def body() -> None:
        loop = asyncio.get_running_loop()
        one, other = (Worker(Node(0), schedule=loop.call_soon) for _ in range(2))
        here, there = socket.socketpair()
        one.peers.attach(2, here)
        other.peers.attach(1, there)
        reader = Reader()
        other.join("#", reader)
        known = loop.create_future()
        other.peers.when_known(lambda: known.set_result(None))
        async with asyncio.timeout(5):
            await known
            for number in range(40):
                one.send("a", f"{number:02d}" + "x" * 100_000)
            assert one.peers.statistics().forwarded == 40
            while len(reader.lines) < 40:  # noqa: ASYNC110  # the sockets have no event
                await asyncio.sleep(0)
            assert [text[2:4] for text in told(reader)] == [f"{n:02d}" for n in range(40)]
            other.peers.close()
            while one.peers.statistics().attached:  # noqa: ASYNC110
                await asyncio.sleep(0)
        one.peers.close()

    asyncio.run(body())


def test_a_stream_that_is_damaged_detaches_its_worker_alone(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader()
    node.workers[2].join("a", reader)
    node.settle()
    told_of: list[str] = []
    node.workers[0].peers.on_broken = told_of.append
    node.wires[1, 0].other.on_data(b"\xff" * 20)
    assert told_of == ["what worker 1 sent failed"]
    assert node.workers[0].peers.statistics().attached == 1
    assert "detached" in caplog.text
    node.workers[0].send("a", "x")
    node.settle()
    assert told(reader) == ["a x"]


def test_a_log_that_cannot_be_told_breaks_off_and_a_worker_that_ends_does_not(node: Node) -> None:
    """Only who is at fault here is told of: the supervisor knows of an end by itself."""
    reader = Reader()
    node.workers[0].join("a", reader)
    node.settle()
    told_of: list[str] = []
    for worker in node.workers:
        worker.peers.on_broken = told_of.append

    def fail(position: int) -> None:
        raise OSError("the store cannot be read")

    node.workers[2].peers.close()
    node.wires[0, 2].on_lost()
    assert told_of == []
    node.workers[0].peers.follow(fail)
    node.workers[1].advance_to(node.write("1", {}))
    node.workers[1].send("a", "x")
    node.settle()
    assert told_of == ["what worker 1 sent failed"]
