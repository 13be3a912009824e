"""The writer of a real server is killed under load; its workers go on and tell the truth."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

import pytest

from tests.e2e.clients import rest
from tests.e2e.server_process import SCHEMA, ServerProcess
from tests.e2e.worker_clients import kill, two_workers
from tests.server.process_tree import children_of, eventually

KILLS = 7
"""The pause before a restart grows with each; twenty kills are in ``test_writer_process.py``."""
CLIENTS = 6


@dataclass
class Client:
    """Creates records without a key, each with a number of its own, one after the other.

    Attributes:
        made: The key that each acknowledged number got.
        refused: The numbers that were said not to be written.
        workers: Which of them answered.
        wrong: Answers that must not be.
    """

    made: dict[int, int] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)
    workers: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def run(self, server: ServerProcess, first: int, stop: threading.Event) -> None:
        with rest(server) as client:
            for number in range(first, first + 1_000_000):
                if stop.is_set():
                    return
                reply = client.post("/Counter/", json={"n": number})
                self.workers.add(reply.headers["x-lyredb-worker"])
                if reply.status_code == 201:
                    self.made[number] = int(reply.headers["location"].rpartition("/")[2])
                elif reply.status_code == 503 and "retry-after" in reply.headers:
                    self.refused.append(number)
                else:
                    self.wrong.append(f"{reply.status_code} {reply.text}")


@pytest.mark.slow
@pytest.mark.timeout(110)
def test_kills_of_the_writer_lose_and_repeat_nothing() -> None:
    """With two workers: what was acknowledged is there once, under the key that was told; what
    was refused is not; and no two records were given the same key.
    """
    clients = [Client() for _ in range(CLIENTS)]
    stop = threading.Event()
    with two_workers(SCHEMA) as server:
        threads = [
            threading.Thread(target=client.run, args=(server, number * 1_000_000 + 1, stop))
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        chance = random.Random(4)
        for _ in range(KILLS):
            _kill_after_progress(server, clients, chance.uniform(0.0, 0.1))
        stop.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        with rest(server) as client:
            found = {record["n"]: record["id"] for record in client.get("/Counter/").json()}
            count = len(client.get("/Counter/").json())
    assert [problem for client in clients for problem in client.wrong] == []
    made = {number: key for client in clients for number, key in client.made.items()}
    assert len(set(made.values())) == len(made), "a key was given twice"
    assert {number: key for number, key in made.items() if found.get(number) != key} == {}
    assert [number for client in clients for number in client.refused if number in found] == []
    assert count == len(found) == len(made)
    assert {worker for client in clients for worker in client.workers} == {"1", "2"}


def _kill_after_progress(server: ServerProcess, clients: list[Client], wait_s: float) -> None:
    """Kill the writer a moment after each client was acknowledged something by it."""
    before = [len(client.made) for client in clients]
    eventually(
        lambda: all(len(one.made) > old for one, old in zip(clients, before, strict=True)),
        "an acknowledgement to each client",
    )
    time.sleep(wait_s)
    old = children_of(server.process.pid)["writer"]
    kill(server, "writer")
    eventually(lambda: children_of(server.process.pid).get("writer", old) != old, "another writer")
