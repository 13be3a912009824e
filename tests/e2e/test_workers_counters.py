"""Counters that clients of four workers count up at once: none is lost, none counts twice."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx

from tests.e2e.server_process import PASSWORD, USER, ServerProcess, running_server
from tests.e2e.worker_clients import kill

SCHEMA = "type Count @table @export { id: ID @primaryKey n: Int }"
WORKERS = "4"
CLIENTS = 8
EACH = 60
INCREMENT = {"n": {"__op__": "add", "value": 1}}


def count_up(server: ServerProcess, begun: Event) -> Counter[int]:
    """Send increments on one connection; return how often each status came."""
    statuses: Counter[int] = Counter()
    with httpx.Client(auth=(USER, PASSWORD), timeout=30) as client:
        for number in range(EACH):
            answer = client.patch(f"{server.http}/Count/a", json=INCREMENT)
            statuses[answer.status_code] += 1
            if number == EACH // 4:
                begun.set()
    return statuses


def value_of(server: ServerProcess) -> int:
    found = httpx.get(f"{server.http}/Count/a", auth=(USER, PASSWORD))
    assert found.status_code == 200
    return int(found.json()["n"])


def run_clients(server: ServerProcess, begun: Event) -> Counter[int]:
    statuses: Counter[int] = Counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for one in pool.map(lambda _: count_up(server, begun), range(CLIENTS)):
            statuses += one
    return statuses


def test_increments_through_four_workers_all_count() -> None:
    """The sum is exact, whichever worker each came to."""
    with running_server(SCHEMA, "--workers", WORKERS) as server:
        assert run_clients(server, Event()) == {204: CLIENTS * EACH}
        assert value_of(server) == CLIENTS * EACH


def test_increments_count_exactly_when_they_are_acknowledged_though_the_writer_dies() -> None:
    """One whose reply was lost with the writer is told as done or as not done, and is so."""
    with running_server(SCHEMA, "--workers", WORKERS) as server:
        begun = Event()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run_clients, server, begun)
            assert begun.wait(30)
            kill(server, "writer")
            statuses = running.result(60)
        assert statuses.keys() <= {204, 503}, statuses
        assert value_of(server) == statuses[204]


def test_lists_of_many_workers_are_whole_or_not_there() -> None:
    """Each list creates keys that others want too: one gets all of them, the others none."""
    with running_server(SCHEMA, "--workers", WORKERS) as server:
        keys = [f"k{number}" for number in range(20)]

        def create(writer: int) -> int:
            rows = [{"id": key, "n": writer} for key in keys]
            address = f"{server.http}/Count/"
            return httpx.post(address, json=rows, auth=(USER, PASSWORD), timeout=30).status_code

        with ThreadPoolExecutor(CLIENTS) as pool:
            statuses = Counter(pool.map(create, range(CLIENTS)))
        assert statuses == {201: 1, 409: CLIENTS - 1}
        rows = httpx.get(f"{server.http}/Count/", auth=(USER, PASSWORD)).json()
        assert [row["id"] for row in rows] == sorted(keys)
        assert len({row["n"] for row in rows}) == 1
