"""Clients of a certain worker of a server, and the processes of the workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.raw_mqtt import DEADLINE_S, RawMqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess, running_server
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.client_frames import Received
from tests.server.process_tree import children_of

TRIES = 200
"""The kernel spreads connections by a hash: of two workers one is missed so often with a
chance of 2**-200."""
_MARK = b"\x26" + frames.text("lyredb-worker")


def worker_in(connack: Received) -> int:
    """The worker that a CONNACK names."""
    assert (connack.kind, connack.reason) == (2, 0), connack
    _, _, named = connack.properties.partition(_MARK)
    assert named, "threads.tell is on"
    return int(named[2:])


class WorkerClient(RawMqtt):
    """An MQTT 5 client that knows which worker serves it.

    Attributes:
        worker: Its number.
    """

    def __init__(
        self,
        server: ServerProcess,
        client_id: str = "",
        *,
        will: tuple[str, bytes] | None = None,
        will_retain: bool = False,
        user: str = USER,
        password: str = PASSWORD,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        super().__init__(server, 5, deadline_s=deadline_s)
        self.send(
            frames.connect(
                5,
                client_id,
                will=will,
                will_retain=will_retain,
                username=user,
                password=password.encode(),
            )
        )
        try:
            self.worker = worker_in(self.next())
        except BaseException:
            self.close()
            raise

    def subscribe(self, *filters: str | tuple[str, int]) -> None:
        self.send(frames.subscribe(*filters, version=5))
        answer = self.until(9)
        assert all(code < 0x80 for code in answer.codes), answer

    def messages_to(self, last: bytes) -> list[bytes]:
        """The payloads of what comes, up to one; that is included."""
        found = [self.until(3).payload]
        while found[-1] != last:
            found.append(self.until(3).payload)
        return found


@contextmanager
def client_of(
    server: ServerProcess,
    worker: int,
    client_id: str = "",
    *,
    will: tuple[str, bytes] | None = None,
    deadline_s: float = DEADLINE_S,
) -> Iterator[WorkerClient]:
    """A client that a certain worker serves; those of others before it are closed."""
    for _ in range(TRIES):
        client = WorkerClient(server, client_id, will=will, deadline_s=deadline_s)
        try:
            if client.worker == worker:
                yield client
                return
            client.send(frames.disconnect(0))
        finally:
            client.close()
    raise AssertionError(f"worker {worker} was not reached in {TRIES} tries")


def kill(server: ServerProcess, name: str) -> None:
    """kill -9 one process of the server, such as ``writer`` or ``worker-1``."""
    os.kill(children_of(server.process.pid)[name], signal.SIGKILL)


@contextmanager
def two_workers(schema: str = "") -> Iterator[ServerProcess]:
    """A server of two workers that tell their numbers; by default with open topics."""
    tells = {"LYREDB_THREADS_TELL": "true"}
    with running_server(schema, "--workers", "2", environment=tells) as server:
        yield server
