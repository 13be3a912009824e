"""Questions to all workers: who answers, who is too slow, who goes away meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec

from lyredb.operations.broker_requests import TraceLine
from lyredb.operations.rollcall import Answers, Attendant, RollCall, packed
from tests.sessions.streams import Streams


def asked(streams: Streams, *, within_s: float = 5.0, lost: int = 0) -> Answers:
    """Ask ``who`` of all workers; one of them may go away before it answers."""

    async def ask() -> Answers:
        call = RollCall(streams)
        waiting = asyncio.create_task(call.ask("who", b"?", within_s))
        await asyncio.sleep(0)
        if lost:
            streams.lose(lost)
        streams.run()
        return await waiting

    return asyncio.run(ask())


def told_by(worker: bytes, body: bytes) -> list[bytes]:
    return [worker, body]


def test_the_parts_of_all_workers_come_together() -> None:
    streams = Streams()
    for number in (1, 2):
        Attendant(streams.worker(number)).on("who", partial(told_by, b"%d" % number))
    answers = asked(streams)
    assert sorted(answers.parts) == [b"1", b"2", b"?", b"?"]
    assert answers.missing == 0


def test_a_worker_that_does_not_know_the_question_says_nothing() -> None:
    streams = Streams()
    Attendant(streams.worker(1))
    assert asked(streams) == Answers([], 0)


def test_a_silent_worker_is_counted_and_not_waited_for() -> None:
    streams = Streams()
    Attendant(streams.worker(1)).on("who", lambda _: [b"here"])
    streams.worker(2).handlers["rollcall/ask"] = lambda _: None
    assert asked(streams, within_s=0.05) == Answers([b"here"], 1)


def test_a_worker_that_goes_away_is_not_waited_for() -> None:
    streams = Streams()
    Attendant(streams.worker(1)).on("who", lambda _: [b"here"])
    streams.worker(2).handlers["rollcall/ask"] = lambda _: None
    assert asked(streams, lost=2) == Answers([b"here"], 1)


def test_without_workers_there_is_nothing_to_wait_for() -> None:
    assert asked(Streams()) == Answers([], 0)


def test_many_items_are_packed_into_parts() -> None:
    lines = [TraceLine(number, ">", "") for number in range(5)]
    parts = [msgspec.msgpack.decode(part, type=list[TraceLine]) for part in packed(lines, 2)]
    assert [len(part) for part in parts] == [2, 2, 1]
    assert [line for part in parts for line in part] == lines
