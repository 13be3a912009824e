"""Streams on a server of two workers: whichever has a stream, nothing passes it by."""

from __future__ import annotations

from contextlib import ExitStack

from tests.e2e.clients import receive, sse, websocket
from tests.e2e.worker_clients import client_of, two_workers
from tests.protocols.mqtt import client_frames as frames

STREAMS = 6
"""Of each kind: all on one worker with a chance of 2**-11."""
MESSAGES = 50


def test_each_stream_gets_what_is_published_on_either_worker_in_order() -> None:
    """From ``ready`` on, once, and the messages of each publisher in their order."""
    with ExitStack() as stack:
        server = stack.enter_context(two_workers())
        publishers = [stack.enter_context(client_of(server, number)) for number in (1, 2)]
        streams = [stack.enter_context(sse(server, "/stream/a")) for _ in range(STREAMS)]
        sockets = [stack.enter_context(websocket(server, "/stream/a")) for _ in range(STREAMS)]
        for stream in streams:
            stream.until_ready()
        for socket in sockets:
            while receive(socket)["type"] != "ready":
                pass
        for number in range(MESSAGES):
            for publisher in publishers:
                payload = b"w%d-%d" % (publisher.worker, number)
                publisher.send(frames.publish("stream/a", payload, version=5))
        for source in streams:
            assert_complete([source.next().envelope["value"] for _ in range(2 * MESSAGES)])
        for socket in sockets:
            assert_complete([receive(socket)["value"] for _ in range(2 * MESSAGES)])


def assert_complete(values: list[object]) -> None:
    """Everything from both publishers, in the order of each."""
    for worker in (1, 2):
        own = [value for value in values if str(value).startswith(f"w{worker}-")]
        assert own == [f"w{worker}-{number}" for number in range(MESSAGES)]


def test_a_burst_to_the_other_worker_loses_nothing_and_keeps_its_order() -> None:
    """Far more than a socket holds, in runs that go on as they came."""
    with two_workers() as server, client_of(server, 1) as one, client_of(server, 2) as two:
        two.subscribe("burst/#")
        for start in range(0, 20_000, 500):
            one.send(
                b"".join(
                    frames.publish(f"burst/{number % 7}", b"%d" % number, version=5)
                    for number in range(start, start + 500)
                )
            )
        assert two.messages_to(b"19999") == [b"%d" % number for number in range(20_000)]
