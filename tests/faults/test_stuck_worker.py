"""A worker stands still with what a client has sent, while another one takes the session over.

When it goes on it reads a message that the client has sent again meanwhile, and which its
successor has told: it may not tell it once more.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess, running_server
from tests.e2e.worker_clients import TRIES, client_of, worker_in
from tests.protocols.mqtt import client_frames as frames
from tests.server.process_tree import children_of, eventually

FOREVER = b"\x11\xff\xff\xff\xff"
STUCK, OTHER = 1, 2
PUBLISHERS = 8
VARIABLES = {"LYREDB_THREADS_TELL": "true", "LYREDB_THREADS_MAX_SILENCE": "60s"}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_stuck_owner_tells_nothing_that_its_successor_has_told() -> None:
    """QoS 2 is once also when an owner wakes up after its time, with the message unread."""
    with running_server("", "--workers", "2", environment=VARIABLES) as server, ExitStack() as all_:
        reader = all_.enter_context(client_of(server, OTHER))
        reader.subscribe(("once/#", 2))
        others = served_by(OTHER, server, all_)
        old = [all_.enter_context(logged_in_at(STUCK, server, n)) for n in range(PUBLISHERS)]
        marker = all_.enter_context(client_of(server, STUCK))
        new = [next(others) for _ in range(PUBLISHERS)]
        worker = children_of(server.process.pid)[f"worker-{STUCK}"]
        os.kill(worker, signal.SIGSTOP)
        try:
            for number, client in enumerate(old):
                client.send(message(number))
            for number, client in enumerate(new):
                log_in(client, number)
            for number, client in enumerate(new):
                accepted = client.next()
                assert worker_in(accepted) == OTHER
                assert accepted.body[0] & 1, "the session is there"
                client.send(message(number, dup=True))
                answer = client.until(5)
                assert (answer.packet_id, answer.reason) == (1, 0)
            # Retained, so that it goes to the writer behind what the old connections have sent.
            end = frames.publish("once/end", b"end", version=5, qos=1, packet_id=1, retain=True)
            marker.send(end)
        finally:
            os.kill(worker, signal.SIGCONT)
        told: list[bytes] = []
        while not told or told[-1] != b"end":
            packet = reader.next()
            if packet.kind == 3:
                told.append(packet.payload)
            elif packet.kind == 6:
                reader.send(frames.pubcomp(packet.packet_id))
            if packet.kind == 3 and packet.qos == 2:
                reader.send(frames.pubrec(packet.packet_id))
        assert sorted(told[:-1]) == [b"%d" % number for number in range(PUBLISHERS)]


def message(number: int, *, dup: bool = False) -> bytes:
    payload = b"%d" % number
    return frames.publish(f"once/{number}", payload, version=5, qos=2, packet_id=1, dup=dup)


def log_in(client: RawMqtt, number: int) -> None:
    """Send the CONNECT of a publisher with a session that lasts."""
    client.send(
        frames.connect(
            5,
            f"publisher-{number}",
            clean=False,
            username=USER,
            password=PASSWORD.encode(),
            props=FOREVER,
        )
    )


def logged_in_at(worker: int, server: ServerProcess, number: int) -> RawMqtt:
    with ExitStack() as stack:
        client = next(served_by(worker, server, stack))
        log_in(client, number)
        assert worker_in(client.next()) == worker
        stack.pop_all()
    return client


def served_by(worker: int, server: ServerProcess, stack: ExitStack) -> Iterator[RawMqtt]:
    """Connections that a certain worker has accepted, and that have said nothing yet.

    What a worker says of itself comes with its CONNACK; before that only the system knows.
    """
    pid = children_of(server.process.pid)[f"worker-{worker}"]
    pids = children_of(server.process.pid).values()
    for _ in range(TRIES):
        client = stack.enter_context(RawMqtt(server, 5, deadline_s=20))
        link = f"socket:[{peer_inode(client, server)}]"
        eventually(partial(is_held, link, pids), "a worker that accepts it")
        if link in links_of(pid):
            yield client
        else:
            client.close()


def peer_inode(client: RawMqtt, server: ServerProcess) -> str:
    """The server's end of a connection, as the system calls it."""
    ends = (f"{server.mqtt_port:04X}", f"{client.socket.getsockname()[1]:04X}")
    found: list[str] = []

    def is_there() -> bool:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, *_, inode = line.split()[:10]
            if (local[-4:], remote[-4:]) == ends and inode != "0":
                found.append(inode)
        return bool(found)

    eventually(is_there, "the server's end")
    return found[0]


def is_held(link: str, pids: Iterable[int]) -> bool:
    return any(link in links_of(pid) for pid in pids)


def links_of(pid: int) -> set[str]:
    folder = Path(f"/proc/{pid}/fd")
    found = set()
    for each in folder.iterdir():
        try:
            found.add(os.readlink(each))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found
