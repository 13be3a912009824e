"""The stream between worker and writer, where it differs from a writer in the same process."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb import errors
from lyredb.errors import (
    InvalidRecord,
    LyreError,
    Overloaded,
    SchemaError,
    StorageFailed,
    UnsupportedOperation,
)
from lyredb.storage.failure import error_of, failure_of
from lyredb.storage.meta import request_row_name
from lyredb.storage.mutation import Applied, Outcome
from lyredb.storage.remote.channel import Channel, Splitter
from lyredb.storage.remote.client import PATIENCE_S, RemoteWriter
from lyredb.storage.remote.local import LocalCalls
from lyredb.storage.remote.service import WriterService
from lyredb.storage.remote.wire import (
    LENGTH,
    MAX_FRAME_BYTES,
    Hello,
    Told,
    Wanted,
    Welcome,
    Work,
    decode_downward,
    decode_upward,
    encode,
)
from lyredb.storage.request_row import Replied, RequestRow, decode_request_row
from lyredb.storage.sequencer import Answer, Calls, CallService
from tests.storage.sequencers import Room, connect, remote, writer_that_does_nothing
from tests.storage.store import ROOMY, SLOT, add, body_of, put


def client_of(room: Room) -> RemoteWriter:
    assert isinstance(room.sequencer, RemoteWriter)
    return room.sequencer


def service_of(room: Room) -> WriterService:
    assert room.service is not None
    return room.service


def row_of(room: Room, worker: int = 1) -> RequestRow:
    with room.engine.snapshot() as snapshot:
        row = snapshot.meta_row(request_row_name(worker))
    assert row is not None
    return decode_request_row(row)


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_frames_come_whole_however_the_stream_is_cut(
    frames: list[bytes], data: st.DataObject
) -> None:
    """Every cut, within lengths too."""
    stream = b"".join(LENGTH.pack(len(frame)) + frame for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    splitter = Splitter()
    came: list[bytes] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        came += [bytes(frame) for frame in splitter.feed(stream[start:stop])]
    assert came == frames


def test_a_length_that_no_frame_has_is_refused() -> None:
    """A damaged stream must not make us wait for half a gigabyte."""
    with pytest.raises(ValueError, match="announced"):
        Splitter().feed(LENGTH.pack(MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize(
    "error",
    [
        InvalidRecord("a is required", "b is not allowed"),
        SchemaError("bad", file="x", line=3),
        Overloaded("wait", retry_after_s=7),
        UnsupportedOperation("no", allowed=("GET", "PUT")),
        StorageFailed("broken"),
    ],
)
def test_an_error_arrives_as_it_was(error: LyreError) -> None:
    """Class, sentence and attributes: protocols make their answers of these."""
    there = error_of(failure_of(error))
    assert (type(there), there.args, vars(there)) == (type(error), error.args, vars(error))
    assert str(there) == str(error)


def test_every_error_of_ours_can_travel() -> None:
    """One that is added later needs no entry anywhere."""
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, LyreError)
    ]
    for kind in kinds:
        error = kind.__new__(kind, "sentence")
        assert type(error_of(failure_of(error))) is kind


def test_an_error_of_a_plugin_arrives_as_its_base() -> None:
    """The other process may not have the plugin's class."""

    class Special(InvalidRecord):
        pass

    assert type(error_of(failure_of(Special("no")))) is InvalidRecord


def test_a_tick_is_one_frame_in_each_direction(tmp_path: Path) -> None:
    """Batching is what makes a writer process cheap."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            before = room.writer.statistics()
            for number in range(100):
                room.submit(number, put(f"k{number}"))
            await room.answered(100)
            after = room.writer.statistics()
            assert after.transactions - before.transactions == 100
            assert after.groups - before.groups < 10  # one, unless its time is over before
            assert len(row_of(room).replies) == 100

    asyncio.run(body())


def test_a_row_holds_only_what_may_not_have_been_told(tmp_path: Path) -> None:
    """It does not grow with the age of a worker."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            for number in range(5):
                await room.sequencer.commit([put(f"k{number}")])
            assert [each.number for each in row_of(room).replies] == [5]

    asyncio.run(body())


def test_a_worker_that_reads_no_replies_is_not_read_and_its_row_keeps_them(
    tmp_path: Path,
) -> None:
    """Back-pressure, and exact answers for all that the kernel did not take."""
    grouped = replace(ROOMY, group_mutations=5)

    def work(first: int, last: int) -> bytes:
        wanted = [Wanted(number, (put("k"),), (), False) for number in range(first, last + 1)]
        return encode(Work(wanted, []))

    async def body() -> None:
        async with remote(tmp_path, grouped) as room:
            service = service_of(room)
            ours, theirs = socket.socketpair()
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            theirs.setblocking(False)
            service.attach(7, ours)
            theirs.send(encode(Hello(5)))
            theirs.send(work(1, 300))
            await room.until(lambda: room.engine.position == 300)
            kept = [each.number for each in row_of(room, 7).replies]
            assert 10 < len(kept) < 300
            assert kept == list(range(kept[0], 301))
            theirs.send(work(301, 310))
            await room.sequencer.commit([put("another")])
            assert room.engine.position == 301, "it was read while it did not read"
            await room.until(lambda: _read_to(theirs, replies) == 310)
            assert replies == list(range(1, 311))
            theirs.close()

    replies: list[int] = []
    splitter = Splitter()

    def _read_to(sock: socket.socket, numbers: list[int]) -> int:
        """Read what is there and return the number of the last reply."""
        try:
            frames = splitter.feed(sock.recv(1 << 16))
        except BlockingIOError:
            frames = []
        for frame in map(decode_downward, frames):
            if isinstance(frame, Told):
                numbers += [each.number for each in frame.replies]
        return numbers[-1] if numbers else 0

    asyncio.run(body())


def test_a_new_stream_to_the_same_writer_loses_no_answer(tmp_path: Path) -> None:
    """What was taken over the old one is committed, and told, before anything is said undone."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            for number in range(50):
                room.submit(number, put(f"k{number}"))
            await asyncio.sleep(0)
            connect(service_of(room), client_of(room))
            for number in range(50, 60):
                room.submit(number, put(f"k{number}"))
            replies = await room.answered(60)
            assert [label for label, _ in replies] == list(range(60))
            for label, result in replies:
                stored = room.engine.record(16, put(f"k{label}").key)
                assert isinstance(result, Applied) == (stored is not None)
            assert client_of(room).statistics().attachments == 2

    asyncio.run(body())


def test_a_stream_that_does_not_end_does_not_keep_a_worker_from_the_next_writer(
    tmp_path: Path,
) -> None:
    """Somebody may hold the other end of a writer that is gone: nobody ever answers there."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            worker = RemoteWriter(room.engine, 9, loop=asyncio.get_running_loop())
            ours, theirs = socket.socketpair()
            worker.attach(ours)
            theirs.sendall(encode(Welcome(RequestRow(1))))
            await room.until(lambda: worker.is_attached)
            results: list[object] = []
            worker.submit([put("lost")], results.append)
            await asyncio.sleep(0)
            connect(service_of(room), worker)
            await room.until(lambda: len(results) == 1)
            assert isinstance(results[0], Applied)
            await worker.drain(1)
            theirs.close()

    asyncio.run(body())


def test_what_a_writer_left_undone_is_sent_once_more_before_what_came_later(
    tmp_path: Path,
) -> None:
    """A 3.1.1 client cannot be told no, and what it said after that must not pass it."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            worker = RemoteWriter(room.engine, 9, loop=asyncio.get_running_loop())
            end = await writer_that_does_nothing(room, worker)
            results: list[object] = []
            for name in ("first", "second"):
                worker.submit([put(name)], results.append)
            await asyncio.sleep(0)
            end.close()
            await room.until(lambda: not worker.is_attached)
            worker.submit([put("later")], results.append)
            connect(service_of(room), worker)
            await room.until(lambda: len(results) == 3)
            assert all(isinstance(result, Applied) for result in results)
            with room.engine.snapshot() as snapshot:
                entries = [entry.key for entry in snapshot.entries(0)]
            assert entries == [put(name).key for name in ("first", "second", "later")]
            await worker.drain(1)

    asyncio.run(body())


def test_what_two_writers_left_undone_is_not_sent_to_a_third(tmp_path: Path) -> None:
    """It may be what ends them."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            worker = RemoteWriter(room.engine, 9, loop=asyncio.get_running_loop())
            results: list[object] = []
            for attempt in range(2):
                end = await writer_that_does_nothing(room, worker)
                if not attempt:
                    worker.submit([put("deadly")], results.append)
                await asyncio.sleep(0)
                end.close()
                await room.until(lambda: not worker.is_attached)
            assert not results
            connect(service_of(room), worker)
            await room.until(lambda: len(results) == 1)
            assert isinstance(results[0], Overloaded)
            assert room.engine.position == 0
            await worker.drain(1)

    asyncio.run(body())


def test_a_stream_that_is_left_is_read_first(tmp_path: Path) -> None:
    """A loop that was late gets to the deadline first: what was done would be done again."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            worker = RemoteWriter(room.engine, 9, loop=asyncio.get_running_loop())
            end = await writer_that_does_nothing(room, worker)
            results: list[object] = []
            worker.submit([put("done")], results.append)
            await asyncio.sleep(0)
            applied = Applied(1, (Outcome(1, 1, True),))
            end.sendall(encode(Told(1, "", [Replied(1, applied)], [], [])))
            channel = channel_of(worker)
            channel.finish_output()
            channel.abandon()
            assert results == [applied]
            assert not worker.is_attached
            await worker.drain(0)
            end.close()

    asyncio.run(body())


def channel_of(worker: RemoteWriter) -> Channel:
    channel = worker._channel
    assert channel is not None
    return channel


def test_requests_wait_for_a_writer_only_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then they are answered that nothing was written, and new ones are refused at once."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            loop = asyncio.get_running_loop()
            worker = RemoteWriter(room.engine, 9, loop=loop)
            results: list[object] = []
            worker.submit([put("a")], results.append)
            worker.calls.call("x", b"", results.append)
            assert worker.failure == ""
            now = loop.time()
            monkeypatch.setattr(loop, "time", lambda: now + PATIENCE_S + 1)
            await room.until(lambda: len(results) == 2)
            assert {type(result) for result in results} == {Overloaded}
            assert worker.failure != ""
            with pytest.raises(Overloaded):
                worker.submit([put("a")], results.append)
            monkeypatch.undo()
            await worker.drain(0)
            assert room.engine.position == 0

    asyncio.run(body())


def test_what_is_open_at_the_end_of_a_drain_is_said_to_be_unknown(tmp_path: Path) -> None:
    """A worker that ends without a writer cannot know more."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            worker = RemoteWriter(room.engine, 9, loop=asyncio.get_running_loop())
            results: list[object] = []
            worker.submit([put("a")], results.append)
            assert not await worker.drain(0.01)
            assert [type(result) for result in results] == [StorageFailed]

    asyncio.run(body())


def test_a_position_comes_without_a_poke_too(tmp_path: Path) -> None:
    """Pokes are hints: the position is looked at every second."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            worker = RemoteWriter(room.engine, 9, loop=asyncio.get_running_loop())
            seen: list[int] = []
            worker.on_commit(seen.append)
            await room.sequencer.commit([put("a")])
            await room.until(lambda: bool(seen))
            assert seen == [1]
            await worker.drain(0)

    asyncio.run(body())


def test_garbage_from_a_worker_ends_its_stream_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The writer serves the others."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            service = service_of(room)
            ours, theirs = socket.socketpair()
            service.attach(7, ours)
            theirs.send(LENGTH.pack(3) + b"\xc1\xc1\xc1")
            loop = asyncio.get_running_loop()
            theirs.setblocking(False)
            assert await asyncio.wait_for(loop.sock_recv(theirs, 10), 5) == b""
            assert "no frame" in caplog.text
            await room.sequencer.commit([put("a")])
            theirs.close()

    asyncio.run(body())


async def _exercise(calls: Calls, service: CallService, worker: int) -> None:
    """What `Calls` and `CallService` promise, whichever process they are in."""
    got: list[Answer] = []
    told: list[tuple[int, bytes]] = []
    notices: list[bytes] = []
    attached: list[str] = []
    later: list[object] = []

    def refuse(_: int, body: bytes, reply: object) -> None:
        raise InvalidRecord(body.decode())

    def broken(_: int, body: bytes, reply: object) -> None:
        raise RuntimeError("broken handler")

    service.serve("double", lambda _, body, reply: reply(body * 2))
    service.serve("refuse", refuse)
    service.serve("broken", broken)
    service.serve("note", lambda number, body, reply: told.append((number, body)))
    service.serve("later", lambda _, body, reply: later.append(reply))
    calls.on_notice("news", notices.append)
    calls.on_attach(lambda: attached.append("attached"))
    for kind in ("double", "refuse", "broken", "nothing", "later"):
        calls.call(kind, b"ab", got.append)
    calls.notify("note", b"n")
    service.notify(worker, "news", b"1")
    service.notify(worker, "news", b"2")
    service.notify(99, "news", b"lost")
    assert got == []
    async with asyncio.timeout(5):
        while len(got) < 4 or len(notices) < 2 or not attached or not told:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert got[0] == b"abab"
    assert [type(answer) for answer in got[1:]] == [
        InvalidRecord,
        errors.StorageError,
        UnsupportedOperation,
    ]
    assert (told, notices, attached) == ([(worker, b"n")], [b"1", b"2"], ["attached"])
    assert worker in service.workers
    (reply,) = later
    assert callable(reply)
    reply(b"at last")
    async with asyncio.timeout(5):
        while len(got) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert got[4] == b"at last"


def test_calls_between_processes(tmp_path: Path) -> None:
    """Answers, errors, notices in both directions, and the announcement."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            await _exercise(client_of(room).calls, service_of(room).calls, 1)

    asyncio.run(body())


def test_calls_within_a_process() -> None:
    """The same, without a stream."""

    async def body() -> None:
        local = LocalCalls(asyncio.get_running_loop())
        await _exercise(local.calls, local.service, 0)

    asyncio.run(body())


def test_state_is_announced_to_each_writer_before_calls_that_waited(tmp_path: Path) -> None:
    """The service knows what a worker has before it is asked about it."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            service, client = service_of(room), client_of(room)
            heard: list[bytes] = []
            gone: list[int] = []
            service.calls.serve("say", lambda _, body, reply: heard.append(body))
            service.calls.on_detach(gone.append)
            client.calls.on_attach(lambda: client.calls.notify("say", b"state"))
            await room.until(lambda: heard == [b"state"])
            service.detach(1)
            assert gone == [1]
            await room.until(lambda: not client.is_attached)
            client.calls.call("say", b"question", lambda _: None)
            connect(service, client)
            await room.until(lambda: len(heard) == 3)
            assert heard == [b"state", b"state", b"question"]

    asyncio.run(body())


def test_a_call_without_an_answer_ends_with_its_writer(tmp_path: Path) -> None:
    """Nobody waits for ever; whether it was done is not known."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            service, client = service_of(room), client_of(room)
            asked: list[bytes] = []
            service.calls.serve("slow", lambda _, body, reply: asked.append(body))
            got: list[Answer] = []
            client.calls.call("slow", b"x", got.append)
            await room.until(lambda: bool(asked))
            service.detach(1)
            await room.until(lambda: bool(got))
            assert type(got[0]) is Overloaded

    asyncio.run(body())


def test_a_hello_says_which_life_it_is() -> None:
    """Frames are what the other end reads."""
    assert decode_upward(encode(Hello(5))[LENGTH.size :]) == Hello(5)


def test_increments_whose_reply_was_lost_count_exactly_once(tmp_path: Path) -> None:
    """A stream that ends between commit and reply: the next one tells what was done.

    What is answered as not done is not in the sum, all else is, once.
    """

    async def body() -> None:
        async with remote(tmp_path) as room:
            for number in range(400):
                room.submit(number, add("n", value=1))
                if number % 3 == 0:
                    await asyncio.sleep(0)
                if number % 40 == 0:
                    # Takes what is on its way in both directions with it.
                    connect(service_of(room), client_of(room))
            replies = await room.answered(400)
            done = sum(isinstance(result, Applied) for _, result in replies)
            assert all(isinstance(result, (Applied, Overloaded)) for _, result in replies)
            stored = room.engine.record(SLOT, add("n").key)
            assert stored is not None
            assert body_of(stored) == {"value": done}
            assert done > 100
            assert client_of(room).statistics().attachments > 2

    asyncio.run(body())
