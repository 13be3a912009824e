"""The whole server is killed and started again: wills, and groups whose members sleep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.e2e.server_process import ServerProcess, start_server
from tests.e2e.test_workers_shared import Sleeper, collect, numbers
from tests.e2e.worker_clients import WorkerClient, client_of, two_workers
from tests.protocols.mqtt import client_frames as frames

GRACE = {"LYREDB_MQTT_WILL_GRACE": "3s", "LYREDB_THREADS_TELL": "true"}


@contextmanager
def started_again(server: ServerProcess) -> Iterator[ServerProcess]:
    """The same server after its processes were killed."""
    server.kill()
    application = server.data.parent / "app"
    again = start_server(application, server.data, "--workers", "2", environment=GRACE)
    try:
        yield again
    finally:
        again.kill()
        assert again.process.stdout is not None
        again.process.stdout.close()


def publish_and_sleep(server: ServerProcess) -> None:
    """A durable group has acknowledged 10 messages, and 20 have come since."""
    with client_of(server, 1) as publisher:
        sleeper = Sleeper(server, "night")
        sleeper.subscribe("$share/kept/work/#", 1)
        for number in range(10):
            publisher.publish("work/a", b"%d" % number, 1 + number)
        collect([sleeper], numbers(0, 10))
        sleeper.ping()
        sleeper.sleep()
        for number in range(10, 30):
            publisher.publish("work/a", b"%d" % number, 1 + number)


def test_wills_and_sleeping_groups_survive_the_whole_server() -> None:
    """Who does not come back is told as gone, and who does is not; a group goes on."""
    with ExitStack() as stack:
        first = stack.enter_context(two_workers())
        publish_and_sleep(first)
        for name in ("gone", "back", "left"):
            client = stack.enter_context(
                WorkerClient(first, name, will=(f"wills/{name}", name.encode()))
            )
        client.send(frames.disconnect(0))
        assert client.to_the_end() == []
        second = stack.enter_context(started_again(first))
        watcher = stack.enter_context(client_of(second, 2))
        watcher.subscribe(("wills/#", 1))
        back = stack.enter_context(WorkerClient(second, "back", will=("wills/back", b"again")))
        with Sleeper(second, "night") as woken:
            late = sum(collect([woken], numbers(10, 30)), Counter())
        assert late == Counter(dict.fromkeys(numbers(10, 30), 1))
        assert watcher.messages_to(b"gone") == [b"gone"]
        back.close()
        assert watcher.messages_to(b"again") == [b"again"]
