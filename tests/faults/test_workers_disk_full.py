"""A disk that fills under two workers and their load: nothing acknowledged is lost, nobody dies.

The server finds the way back by itself, several times over, with the same processes.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lyredb.storage.check import check
from lyredb.storage.engine import Engine
from lyredb.storage.settings import StorageSettings
from tests.e2e.clients import rest
from tests.e2e.raw_http import ask
from tests.e2e.raw_mqtt import raw_mqtt
from tests.e2e.server_process import ServerProcess
from tests.faults.test_server_disk_full import REASON, SmallDisk, copy_of, small_disk
from tests.protocols.mqtt import client_frames as frames
from tests.server.process_tree import eventually

pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "mounts are possible")

WORKERS = 2
ROUNDS = 3
KEYS = 8
QUOTA_EXCEEDED = 0x97
BIG = "x" * 3_000
PAUSE_S = 0.01
"""After a write, so that the log does not fill the disk before we do; it is not trimmed here,
since the pages of what is trimmed would be enough to go on without any space."""


@dataclass
class Writer:
    """Writes numbers to keys that nobody else writes, each after the answer to the last.

    Attributes:
        name: Begins its keys.
        last: By key the number that was acknowledged last.
        acknowledged: How many were.
        refused: How many were said not to be written, for want of space.
        workers: Who answered, where that is told.
        wrong: What must not be.
    """

    name: str
    last: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    refused: int = 0
    workers: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def key(self, number: int) -> str:
        return f"{self.name}/{number % KEYS}"

    def settle(self, number: int, *, is_written: bool) -> None:
        if is_written:
            self.acknowledged += 1
            self.last[self.key(number)] = number
        else:
            self.refused += 1

    def over_http(self, server: ServerProcess, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            with rest(server) as client:  # anew, so that both workers get some
                for _ in range(20):
                    number += 1
                    path = f"/Sensor/{self.key(number)}"
                    reply = client.put(path, json={"value": number, "site": BIG})
                    self.workers.add(reply.headers["x-lyredb-worker"])
                    self.judge(number, reply.status_code, reply.text)
                    stop.wait(PAUSE_S)

    def judge(self, number: int, status: int, text: str) -> None:
        if status == 503 and "DiskFull" in text:
            self.settle(number, is_written=False)
        elif status in (201, 204):
            self.settle(number, is_written=True)
        else:
            self.wrong.append(f"{number}: {status} {text[:100]}")

    def over_mqtt(self, server: ServerProcess, stop: threading.Event) -> None:
        number = 0
        with raw_mqtt(server, 5) as client:
            while not stop.is_set():
                number += 1
                body = json.dumps({"value": number, "site": BIG}).encode()
                topic = f"Sensor/{self.key(number)}"
                client.send(
                    frames.publish(
                        topic, body, version=5, qos=1, packet_id=number % 60_000 + 1, retain=True
                    )
                )
                reason = client.until(4).reason
                if reason not in (0, 0x10, QUOTA_EXCEEDED):
                    self.wrong.append(f"{number}: 0x{reason:02X}")
                self.settle(number, is_written=reason != QUOTA_EXCEEDED)
                stop.wait(PAUSE_S)


class Load:
    """Four writers, two of each kind, until they are stopped."""

    def __init__(self, server: ServerProcess) -> None:
        self.writers = [Writer(name) for name in ("rest-1", "rest-2", "mqtt-1", "mqtt-2")]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(
                target=one.over_http if one.name.startswith("rest") else one.over_mqtt,
                args=(server, self._stop),
                daemon=True,
            )
            for one in self.writers
        ]
        for thread in self._threads:
            thread.start()

    def each_gets(self, what: str) -> None:
        """Wait until every writer has got some more of ``acknowledged`` or ``refused``."""
        before = [getattr(one, what) for one in self.writers]

        def has_more() -> bool:
            assert all(thread.is_alive() for thread in self._threads), "a writer failed"
            return all(
                getattr(one, what) >= had + 3 for one, had in zip(self.writers, before, strict=True)
            )

        try:
            eventually(has_more, f"every writer gets more {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.writers}") from None

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive(), "a writer hangs"


@pytest.fixture(params=["4MB", "0"], ids=["below the minimum", "no space at all"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    config = f"storage: {{minFree: {request.param}}}\nthreads: {{tell: true}}\n"
    with small_disk(tmp_path, config, "--workers", str(WORKERS)) as small:
        yield small


def test_workers_find_the_way_back_from_a_full_disk_and_lose_nothing(disk: SmallDisk) -> None:
    server = disk.server
    pids = server.pids
    assert len(pids) == WORKERS + 2
    load = Load(server)
    try:
        for _ in range(ROUNDS):
            load.each_gets("acknowledged")
            disk.fill(leave=random.randrange(0, 200_000))
            load.each_gets("refused")
            disk.free()
            load.each_gets("acknowledged")
    finally:
        load.stop()
    for writer in load.writers:
        assert not writer.wrong, writer.wrong[:5]
        for key, number in writer.last.items():
            found = json.loads(ask(server, "GET", f"/Sensor/{key}").body)
            assert found["value"] == number, f"{key}: {found['value']} is not the last, {number}"
    assert {"1", "2"} <= set().union(*(one.workers for one in load.writers))
    assert server.pids == pids, "nobody was restarted"
    assert "Traceback" not in server.errors(), server.errors()
    engine = Engine.open(copy_of(disk), settings=StorageSettings())
    try:
        assert check(engine) == []
    finally:
        engine.close()
