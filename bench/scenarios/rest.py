"""REST beside a bare uvicorn handler: reading a record, and writing one durably."""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from bench.load.flow import payload_of
from bench.load.spec import Bounds, Shape, Target
from bench.load.start import run_load
from bench.load.wrk import HttpResult, HttpShape, basic, run_wrk
from bench.peers.bare import bare_handler
from bench.peers.lyredb import lyredb
from bench.peers.process import StartFailed
from bench.result import Comparison, Round
from bench.scenarios.plan import Contender, Plan, compete, measuring

RECORDS = 10_000
CONNECTIONS = 32
PROBE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class RestScenario:
    """One HTTP method; ``put`` is what the bare handler does with a body."""

    name: str
    method: str
    peer: str
    put: str
    durability: str
    wanted: float | None = None

    def run(self, plan: Plan) -> list[Comparison]:
        """Measure LyreDB and the bare handler."""
        text = json.loads(payload_of(0, plan.payload_bytes))["text"]
        shape = HttpShape(self.method, CONNECTIONS, RECORDS, text)
        seconds = math.ceil(plan.round_s)

        def measure(target: Target, *, stores: bool = True) -> Round:
            wrong = probe(target, text, stores=stores)
            return Round(trouble=wrong) if wrong else _round(run_wrk(target, shape, seconds))

        measure_peer = partial(measure, stores=self.put == "commit")
        peer = bare_handler(plan.folder, records=RECORDS, text=text, put=self.put)
        mine, other = compete(
            plan,
            Contender("LyreDB", lambda: measuring(_lyredb_http(plan), measure)),
            Contender(self.peer, lambda: measuring(peer, measure_peer)),
        )
        conditions = (
            f"wrk, {CONNECTIONS} keep-alive connections, random keys of {RECORDS:,} records,"
            f" body {plan.payload_bytes} bytes of JSON, Basic credentials; {self.durability}"
        )
        return [Comparison(self.name, "requests", conditions, mine, other, self.wanted)]


@contextmanager
def _lyredb_http(plan: Plan) -> Iterator[Target]:
    """LyreDB with its records, written over MQTT because that is the quickest way."""
    with lyredb(plan.folder) as running:
        writes = Shape(
            topics=RECORDS,
            topic_filter="Bench/#",
            burst=500,
            in_flight=2,
            subscribers=0,
            qos=1,
            retain=True,
            payload_bytes=plan.payload_bytes,
        )
        bounds = Bounds(wall_s=60.0, messages=RECORDS)
        written = run_load(running.mqtt, writes, bounds)
        if written.failure or written.faults.total:
            raise StartFailed(f"LyreDB was not filled: {written.failure or written.faults}")
        yield running.http


def probe(target: Target, text: str, *, stores: bool) -> str:
    """Write and read one record; return what is wrong, or an empty string.

    A fast server that answers nonsense must not win.
    """
    headers = {"Authorization": basic(target), "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(target.host, target.port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("PUT", "/Bench/k00000", json.dumps({"seq": 7, "text": text}), headers)
        put = connection.getresponse()
        put.read()
        connection.request("GET", "/Bench/k00000", headers=headers)
        got = connection.getresponse()
        body = got.read()
    except (OSError, http.client.HTTPException) as error:
        return f"the probe failed: {error!r}"
    finally:
        connection.close()
    if put.status // 100 != 2 or got.status != 200 or not got.getheader("ETag"):
        return f"the probe got {put.status} for PUT, {got.status} for GET: {body[:200]!r}"
    return _compare(json.loads(body), {"id": "k00000", "seq": 7, "text": text}, stores=stores)


def _compare(record: dict[str, object], wanted: dict[str, object], *, stores: bool) -> str:
    if not stores:  # it only parses what is put: the record is the one it was filled with
        wanted = wanted | {"seq": record.get("seq")}
    return "" if record == wanted else f"the probe read {record}"


def _round(result: HttpResult) -> Round:
    return Round(
        work=result.requests,
        wall_s=result.wall_s,
        server_cpu_s=result.server_cpu_s,
        load_cpu_s=result.load_cpu_s,
        trouble=result.failure or (f"{result.errors} errors" if result.errors else ""),
    )


SCENARIOS = (
    RestScenario(
        "rest get of a record",
        "GET",
        "bare uvicorn",
        "parse",
        "the bare handler does the same look-up in LMDB",
        wanted=0.7,
    ),
    RestScenario(
        "rest put, beside parsing alone",
        "PUT",
        "bare uvicorn, parses",
        "parse",
        "LyreDB answers after fsync; the bare handler only decodes the body",
        wanted=0.5,
    ),
    RestScenario(
        "rest put, beside a group commit",
        "PUT",
        "bare uvicorn, commits",
        "commit",
        "both answer after fsync; the bare handler writes one key in LMDB, without log or index",
    ),
)
