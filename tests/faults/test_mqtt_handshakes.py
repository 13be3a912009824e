"""Processes are killed between any two packets of the handshakes of QoS 1 and 2.

A publisher and a reader with sessions that last stop at each step; the writer, the worker
that serves them, or everything is killed there with SIGKILL, and they go on. Each message is
told in order, at QoS 2 exactly once, at QoS 1 at least once, whether its reader was there or
away.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.server_process import ServerProcess, start_server
from tests.e2e.worker_clients import kill
from tests.faults.durable_clients import Durable, Publisher, Reader, problems_of
from tests.server.process_tree import children_of, eventually

TOPIC = "Sensor/steps"
AT_ONCE = 2
"""Messages under way when something is killed: the order between them is kept too."""
STEPS = {
    1: ("PUBLISH", "PUBACK"),
    2: ("PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"),
}
VICTIMS = ("worker", "writer", "all")


class World:
    """One server of two workers through its lives, a publisher, and a reader."""

    def __init__(self, folder: Path, qos: int) -> None:
        self._application, self._data = folder / "app", folder / "data"
        self._application.mkdir()
        (self._application / "schema.graphql").write_text(
            "type Sensor @table @export { id: ID @primaryKey value: Float }"
        )
        self.server: ServerProcess
        self._start()
        self.qos = qos
        self._numbers = itertools.count(1)
        self.sent: list[bytes] = []
        self._lost: list[Durable] = []
        self.publisher = Publisher("publisher", TOPIC, qos)
        self.reader = Reader("reader")

    def connect(self) -> None:
        """Both connect, and the reader subscribes."""
        self.publisher.connect(self.current_server)
        self.reader.connect(self.current_server)
        self.reader.subscribe((TOPIC, self.qos))

    def _start(self) -> None:
        environment = {"LYREDB_THREADS_TELL": "true", "LYREDB_THREADS_COUNT": "2"}
        self.server = start_server(self._application, self._data, environment=environment)

    def current_server(self) -> ServerProcess:
        return self.server

    def close(self) -> None:
        for client in (self.publisher, self.reader):
            client.hang_up()
        if self.server.process.poll() is None:
            self.server.kill()
        assert self.server.process.stdout is not None
        self.server.process.stdout.close()

    def kill(self, victim: str, served: Durable) -> None:
        """Kill the writer, the worker of a client, or all; there are others afterwards."""
        for client in (self.publisher, self.reader):
            is_lost = victim == "all" or (victim == "worker" and client.worker == served.worker)
            if is_lost and client not in self._lost:
                client.hang_up()
                self._lost.append(client)
        if victim == "all":
            self.server.kill()
            assert self.server.process.stdout is not None
            self.server.process.stdout.close()
            self._start()
            return
        name = f"worker-{served.worker}" if victim == "worker" else victim
        old = children_of(self.server.process.pid)[name]
        kill(self.server, name)
        eventually(
            lambda: children_of(self.server.process.pid).get(name, old) != old, f"another {name}"
        )

    def send_reader_away(self) -> None:
        """It comes back at `finish`."""
        self.reader.leave()
        self._lost.append(self.reader)

    def messages(self) -> list[bytes]:
        """New ones, in the order in which they are to be told."""
        new = [b'{"value":%d}' % next(self._numbers) for _ in range(AT_ONCE)]
        self.sent += new
        return new

    def finish(self) -> None:
        """Connect who is away, and bring every handshake to its end."""
        for client in self._lost:
            client.connect(self.current_server)
        self._lost.clear()
        self._work(self.publisher, lambda: not self.publisher.open)
        self._work(self.reader, self._is_read)

    def _work(self, client: Durable, is_done: Callable[[], bool]) -> None:
        """Work, over another connection where the server ended one: it may be too busy."""
        while True:
            try:
                client.work(is_done)
            except EOFError:
                client.hang_up()
                client.connect(self.current_server)
            else:
                return

    def _is_read(self) -> bool:
        told = {payload for payload, _ in self.reader.got}
        return told.issuperset(self.publisher.acknowledged) and not self.reader.known

    def assert_told(self) -> None:
        """All was told, in order, and at QoS 2 once; also when one more has come after it."""
        self.publisher.publish(*self.messages())
        self.finish()
        refused = self.publisher.refused
        assert set(self.publisher.acknowledged) == set(self.sent)
        ordered = [payload for payload in self.sent if payload not in refused]
        got = [one for one in self.reader.got if one[0] not in refused]
        assert not problems_of(got, ordered, self.qos)
        again = [one for one in self.reader.got if one[0] in refused]
        assert not problems_of(again, list(dict.fromkeys(one for one, _ in again)), self.qos)
        assert {payload for payload, _ in self.reader.got} == set(self.sent)


@contextmanager
def world(folder: Path, qos: int) -> Iterator[World]:
    made = World(folder, qos)
    try:
        made.connect()
        yield made
    finally:
        made.close()


def take_all(client: Durable) -> None:
    """Take one packet of each message that is under way."""
    for _ in range(AT_ONCE):
        client.take_next()


def publish_up_to(step: str, made: World) -> None:
    """The publisher stops after it has sent, or taken, a packet."""
    publisher = made.publisher
    publisher.publish(*made.messages())
    if step == "PUBLISH":
        return
    take_all(publisher)  # PUBACK or PUBREC
    if step in ("PUBREL", "PUBCOMP"):
        publisher.pay()
    if step == "PUBCOMP":
        take_all(publisher)


def read_up_to(step: str, made: World) -> None:
    """The reader stops after it has taken, or sent, a packet."""
    reader = made.reader
    made.publisher.publish(*made.messages())
    made.publisher.finish()
    take_all(reader)  # PUBLISH
    if step == "PUBLISH":
        return
    reader.pay()
    if step in ("PUBREL", "PUBCOMP"):
        take_all(reader)
    if step == "PUBCOMP":
        reader.pay()


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("qos", STEPS)
def test_a_publisher_goes_on_after_each_of_its_packets(
    tmp_path: Path, qos: int, victim: str
) -> None:
    """In every other round the reader is away meanwhile."""
    with world(tmp_path, qos) as made:
        for number, step in enumerate(STEPS[qos]):
            if number % 2:
                made.send_reader_away()
            publish_up_to(step, made)
            made.kill(victim, made.publisher)
            made.finish()
        made.assert_told()


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("qos", STEPS)
def test_a_reader_goes_on_after_each_of_its_packets(tmp_path: Path, qos: int, victim: str) -> None:
    """What it has not answered is told again, under the same packet identifier at QoS 2."""
    with world(tmp_path, qos) as made:
        for step in STEPS[qos]:
            read_up_to(step, made)
            made.kill(victim, made.reader)
            made.finish()
        made.assert_told()
