"""The real server is killed in the middle of writing; what it acknowledged is there."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from lyredb.storage.check import check
from lyredb.storage.engine import Engine
from lyredb.storage.settings import StorageSettings
from tests.e2e.clients import rest
from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import SCHEMA, ServerProcess, start_server
from tests.protocols.mqtt import client_frames as frames

KILLS = 20
QUOTA_EXCEEDED = 0x97
KEYS = 15
GONE = None
"""The value of a record that was deleted."""


@dataclass
class Ledger:
    """What one client was told of each of its keys; no two clients share a key.

    Attributes:
        acknowledged: The last value that was acknowledged.
        unsure: What was asked later and not answered: it may be there or not.
        count: Acknowledgements in all.
    """

    acknowledged: dict[str, int | None] = field(default_factory=dict)
    unsure: dict[str, list[int | None]] = field(default_factory=dict)
    count: int = 0

    def ask(self, key: str, value: int | None) -> None:
        self.unsure.setdefault(key, []).append(value)

    def acknowledge(self, key: str, value: int | None) -> None:
        """The oldest unanswered request of the key is done; so are those before it."""
        waiting = self.unsure[key]
        del waiting[: waiting.index(value) + 1]
        self.acknowledged[key] = value
        self.count += 1

    def problems(self, found: Callable[[str], int | None]) -> list[str]:
        """Compare with what is there, which is then what the next round begins with."""
        wrong = []
        for key in sorted({*self.acknowledged, *self.unsure}):
            value = found(key)
            allowed = [self.acknowledged.get(key, GONE), *self.unsure.get(key, [])]
            if value not in allowed:
                wrong.append(f"{key}: one of {allowed} was written, {value} is there")
            self.acknowledged[key] = value
        self.unsure.clear()
        return wrong


def write_over_rest(
    server: ServerProcess, name: str, ledger: Ledger, begin: int, progress: Callable[[], None]
) -> None:
    """PUT, PATCH and DELETE until the server is gone."""
    rng = random.Random(f"{name} {begin}")
    with rest(server) as client:
        for value in range(begin, begin + 1_000_000):
            key = f"{name}-{rng.randrange(KEYS)}"
            method = rng.choice(("PUT", "PUT", "PATCH", "DELETE"))
            wanted = GONE if method == "DELETE" else value
            body = None if method == "DELETE" else {"value": value, "site": f"s{value % 5}"}
            ledger.ask(key, wanted)
            try:
                reply = client.request(method, f"/Sensor/{key}", json=body)
            except httpx.TransportError:
                return
            if reply.status_code == 503 and "writer" in reply.text:
                return  # of the processes that die together, the writer was first
            assert reply.status_code in (200, 204), reply.text
            ledger.acknowledge(key, wanted)
            progress()


def write_over_mqtt(
    server: ServerProcess, name: str, ledger: Ledger, begin: int, progress: Callable[[], None]
) -> None:
    """Retained QoS 1 messages, several on their way at a time, until the server is gone."""
    rng = random.Random(f"{name} {begin}")
    client = RawMqtt(server, 5)
    client.log_in()
    value = begin
    try:
        while True:
            burst = []
            for packet_id in range(1, rng.randint(2, 20)):
                value += 1
                key, wanted = f"{name}-{rng.randrange(KEYS)}", value if value % 5 else GONE
                payload = b"" if wanted is GONE else b'{"value":%d,"site":"m"}' % value
                burst.append((key, wanted))
                ledger.ask(key, wanted)
                client.send(
                    frames.publish(
                        f"Sensor/{key}",
                        payload,
                        version=5,
                        qos=1,
                        packet_id=packet_id,
                        retain=True,
                    )
                )
            for packet_id, (key, wanted) in enumerate(burst, 1):
                answer = client.until(4)
                if answer.reason == QUOTA_EXCEEDED:
                    return  # of the processes that die together, the writer was first
                assert (answer.packet_id, answer.reason) == (packet_id, 0)
                ledger.acknowledge(key, wanted)
                progress()
    except (EOFError, OSError):
        return
    finally:
        client.close()


WRITERS = {
    "rest1": write_over_rest,
    "rest2": write_over_rest,
    "mqtt1": write_over_mqtt,
    "mqtt2": write_over_mqtt,
}


def write_and_kill(
    server: ServerProcess, ledgers: dict[str, Ledger], turn: int, after: int
) -> None:
    """Let all clients write; kill the server once so many writes were acknowledged.

    Each client has one at least, so that every kill meets every way of writing.
    """
    enough = threading.Semaphore(0)
    begun = {name: threading.Event() for name in WRITERS}
    failures: list[BaseException] = []

    def work(name: str) -> None:
        def progress() -> None:
            begun[name].set()
            enough.release()

        try:
            WRITERS[name](server, name, ledgers[name], turn * 1_000_000, progress)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(name,)) for name in WRITERS]
    for thread in threads:
        thread.start()
    for _ in range(after):
        assert enough.acquire(timeout=20), "the server stopped acknowledging"
    for name, event in begun.items():
        assert event.wait(20), f"{name} got no acknowledgement"
    server.kill()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert server.process.stdout is not None
    server.process.stdout.close()
    assert not failures, failures


def is_sound(data: Path) -> list[str]:
    """What does not agree in the directory of a stopped server."""
    engine = Engine.open(data, settings=StorageSettings())
    try:
        return check(engine)
    finally:
        engine.close()


def reader(client: httpx.Client) -> Callable[[str], int | None]:
    """Looks a key up over REST."""

    def find(key: str) -> int | None:
        reply = client.get(f"/Sensor/{key}")
        if reply.status_code == 404:
            return GONE
        assert reply.status_code == 200, reply.text
        value = reply.json()["value"]
        assert isinstance(value, int)
        return value

    return find


@pytest.mark.slow
@pytest.mark.timeout(110)
def test_twenty_kills_of_the_server_lose_no_acknowledged_write(tmp_path: Path) -> None:
    """Records, indexes and log agree each time; clients use REST and MQTT at once."""
    application, data = tmp_path / "app", tmp_path / "data"
    application.mkdir()
    (application / "schema.graphql").write_text(SCHEMA)
    chance = random.Random(11)
    ledgers = {name: Ledger() for name in WRITERS}
    server = start_server(application, data)
    for turn in range(1, KILLS + 1):
        write_and_kill(server, ledgers, turn, chance.randint(5, 150))
        assert is_sound(data) == []
        server = start_server(application, data)
        with rest(server) as client:
            find = reader(client)
            lost = [problem for ledger in ledgers.values() for problem in ledger.problems(find)]
            assert lost == [], f"after kill {turn}"
            assert_index_agrees(client)
    server.kill()
    assert server.process.stdout is not None
    server.process.stdout.close()
    assert all(ledger.count >= KILLS for ledger in ledgers.values())
    assert "Traceback" not in server.errors()


def assert_index_agrees(client: httpx.Client) -> None:
    """The index on ``site`` finds exactly the records that a scan finds."""
    records = client.get("/Sensor/").json()
    for site in ("m", *(f"s{number}" for number in range(5))):
        found = {record["id"] for record in client.get(f"/Sensor/?site={site}").json()}
        assert found == {record["id"] for record in records if record["site"] == site}


def test_lost_write_is_caught(tmp_path: Path) -> None:
    """The test above can fail: acknowledgements of writes that never were are seen."""
    application = tmp_path / "app"
    application.mkdir()
    (application / "schema.graphql").write_text(SCHEMA)
    server = start_server(application, tmp_path / "data")
    try:
        with rest(server) as client:
            ledger = Ledger()
            for value, written in ((1, True), (2, False)):
                ledger.ask("doctored", value)
                ledger.acknowledge("doctored", value)
                if written:
                    client.put("/Sensor/doctored", json={"value": value})
            client.put("/Sensor/zombie", json={"value": 7})
            ledger.ask("zombie", GONE)
            ledger.acknowledge("zombie", GONE)
            assert ledger.problems(reader(client)) == [
                "doctored: one of [2] was written, 1 is there",
                "zombie: one of [None] was written, 7 is there",
            ]
    finally:
        server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()
