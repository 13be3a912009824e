"""Somebody subscribes to everything, 100,000 records: the others hardly feel it.

A million of them, and the latencies themselves, are measured by ``make worst``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.load.spec import Target
from bench.worst import scan
from bench.worst.cost import REMEMBER
from bench.worst.filling import fill
from tests.e2e.server_process import PASSWORD, USER, running_server
from tests.e2e.test_worst_bombs import SCHEMA

RECORDS = 100_000
WAITS_FOR_RECORDS = 400
"""How many records of the scan may be sent while a small request of somebody else waits, at the
median: 50 to 200 are, in the turns of the loop that it takes; with steps of 64 kB, 900. Both
times are of the same machine in the same mood."""


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with running_server(SCHEMA, environment=REMEMBER) as server:
        found = Target(
            port=server.mqtt_port,
            pid=server.process.pid,
            username=USER,
            password=PASSWORD,
            http_port=server.http_port,
        )
        fill(found, RECORDS)
        yield found


@pytest.mark.parametrize("kind", ["mqtt", "sse"])
def test_who_reads_everything_costs_the_others_neither_time_nor_memory(
    target: Target, kind: str
) -> None:
    found = scan.scan(target, kind, RECORDS)
    assert not found.reading.problem
    assert found.reading.bytes > RECORDS * 100
    assert found.growth_bytes < scan.GROWTH_BYTES
    a_record_ms = found.reading.wall_s * 1000 / RECORDS
    for name in ("GET", "publish"):  # a PUT waits for the disk, too
        waited = found.median_ms[name] / a_record_ms
        assert waited < WAITS_FOR_RECORDS, (name, found)
