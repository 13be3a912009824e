"""Questions to tables beside SQLite in process, whose answers have to be the same."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from bench.load.spec import Target
from bench.peers.memory import memory_bytes
from bench.peers.process import StartFailed
from bench.result import Comparison, Figure, Round
from bench.scenarios.plan import Contender, Plan, compete
from bench.tables.contenders import (
    CONNECTIONS,
    ask,
    embedded,
    filled,
    import_s,
    load,
    served,
)
from bench.tables.questions import KINDS, Asked, Kind
from bench.tables.sqlite import sqlite
from bench.tables.streaming import stream

RECORDS: Final = 100_000
PEER: Final = "SQLite in process"
IMPORT_RATE: Final = 30_000
EXPORT_BYTES: Final = 100_000_000
IN_PROCESS_S: Final = 3.0
"""Of a round without a server, at most: this process knows its CPU to the microsecond."""
_OWN: Final = "Pss_Anon"
_QUESTIONS: Final = 5_000
_COMPARED: Final = 20
_ANSWERS: Final = 5
"""Of a question that has to look at all, in a round of the load."""
_SEED: Final = 20240517

Answer = Callable[[Kind, Asked], bytes]


@dataclass(frozen=True, slots=True)
class TableScenario:
    """All kinds of questions to so many records, then a whole export."""

    name: str = "tables"
    records: int = RECORDS

    def run(self, plan: Plan) -> list[Comparison | Figure]:
        """Fill both, ask both, and compare their answers first."""
        found: list[Comparison | Figure] = []
        try:
            home = filled(plan.folder, self.records)
            with sqlite(plan.folder, self.records) as yardstick:
                with embedded(home) as answer:
                    for kind in KINDS:
                        found.append(self._in_process(plan, kind, answer, yardstick.answer))
                with served(home) as target:
                    found.append(self._export(target))
                    for kind in KINDS:
                        found.append(self._over_http(plan, kind, target, yardstick.answer))
        except StartFailed as error:
            return [Figure(f"{self.name}", "", "", None, {}, trouble=str(error))]
        return found

    def _title(self, kind: Kind, way: str) -> str:
        return f"{kind.name} of {self.records:,}, {way}"

    def _in_process(self, plan: Plan, kind: Kind, answer: Answer, yardstick: Answer) -> Comparison:
        questions = _questions(kind, self.records)
        wrong = _different(kind, questions, lambda asked: answer(kind, asked), yardstick)
        round_s = min(plan.round_s, IN_PROCESS_S)
        mine, other = compete(
            plan,
            _asking("LyreDB", kind, questions, answer, round_s, wrong),
            _asking(PEER, kind, questions, yardstick, round_s, ""),
        )
        conditions = f"{self.records:,} records, both in the process that asks, answers as JSON"
        return Comparison(self._title(kind, "in process"), "answers", conditions, mine, other)

    def _over_http(self, plan: Plan, kind: Kind, target: Target, yardstick: Answer) -> Comparison:
        questions = _questions(kind, self.records)
        wrong = _different(kind, questions, lambda asked: ask(target, asked.path), yardstick)
        paths = [asked.path for asked in questions]
        connections, seconds = CONNECTIONS, math.ceil(plan.round_s)
        if kind.wanted is None:
            # One at a time, and long enough for some: what is not answered counts for nothing.
            connections, began = 1, time.monotonic()
            ask(target, paths[0])
            seconds = max(seconds, math.ceil(_ANSWERS * (time.monotonic() - began)))

        def measure() -> Round:
            if wrong:
                return Round(trouble=wrong)
            result = load(target, paths, plan.folder, seconds, connections)
            errors = f"{result.errors} errors" if result.errors else ""
            return Round(
                work=result.requests,
                wall_s=result.wall_s,
                server_cpu_s=result.server_cpu_s,
                load_cpu_s=result.load_cpu_s,
                p50_ms=result.p50_ms,
                p99_ms=result.p99_ms,
                trouble=result.failure or errors,
            )

        mine, other = compete(
            plan,
            Contender("LyreDB", lambda: _as_it_is(measure)),
            _asking(PEER, kind, questions, yardstick, plan.round_s, ""),
        )
        conditions = (
            f"{self.records:,} records; LyreDB by wrk over HTTP, keep-alive connections: "
            f"{connections}, Basic credentials, all processes counted; {PEER} answers with JSON, "
            "without a server"
        )
        return Comparison(self._title(kind, "over HTTP"), "answers", conditions, mine, other)

    def _export(self, target: Target) -> Figure:
        idle = memory_bytes(target.pid, _OWN)
        streamed = stream(target, "/Reading/", watch=lambda: memory_bytes(target.pid, _OWN))
        over = streamed.most_bytes - idle
        return Figure(
            name=f"memory of a full export of {self.records:,} records",
            unit="MB over idle",
            conditions=(
                f"GET /Reading/ as JSON, {streamed.size_bytes / 1e6:,.0f} MB in "
                f"{streamed.took_s:.1f} s; anonymous memory of all processes at most, without "
                "the pages of the data file that the kernel has in its cache, which LMDB maps"
            ),
            subject=max(0.0, over / 1e6),
            peers={},
            wanted=f"at most {EXPORT_BYTES / 1e6:g} MB",
            is_met=over <= EXPORT_BYTES and streamed.records == self.records,
            trouble=""
            if streamed.records == self.records
            else f"{streamed.records:,} of {self.records:,} records came",
        )


@dataclass(frozen=True, slots=True)
class ImportScenario:
    """An import of so many records."""

    name: str = "import"
    records: int = RECORDS

    def run(self, plan: Plan) -> list[Figure]:
        """Import a file, once."""
        rate, trouble = 0.0, ""
        try:
            rate = self.records / import_s(plan.folder, self.records)
        except StartFailed as error:
            trouble = str(error)
        figure = Figure(
            name=f"import of {self.records:,} records",
            unit="records/s of wall time",
            conditions=(
                "lyredb import of NDJSON into a new table with one index, whose order is not that "
                "of the file; start of the command included, no server running"
            ),
            subject=rate or None,
            peers={},
            wanted=f"at least {IMPORT_RATE:,}",
            is_met=rate >= IMPORT_RATE,
            trouble=trouble,
        )
        return [figure]


def _questions(kind: Kind, records: int) -> list[Asked]:
    random = Random(_SEED)
    count = _QUESTIONS if kind.wanted is not None else 1
    return [kind.ask(random, records) for _ in range(count)]


def _different(
    kind: Kind, questions: Sequence[Asked], answer: Callable[[Asked], bytes], yardstick: Answer
) -> str:
    """Return what is wrong: a quick wrong answer must not win."""
    rows = 0
    for asked in questions[:_COMPARED]:
        mine, wanted = json.loads(answer(asked)), json.loads(yardstick(kind, asked))
        rows += len(wanted)
        if _in_order(mine) != _in_order(wanted):
            return f"{asked.path} has another answer than SQLite's: {str(mine)[:200]}"
    return "" if rows else "no question has an answer"


def _in_order(answer: object) -> object:
    """Lists without an order of their own, in one."""
    if isinstance(answer, list):
        return sorted(json.dumps(each, sort_keys=True) for each in answer)
    return answer


def _asking(
    name: str,
    kind: Kind,
    questions: Sequence[Asked],
    answer: Answer,
    round_s: float,
    wrong: str,
) -> Contender:
    def measure() -> Round:
        if wrong:
            return Round(trouble=wrong)
        return _asked_for(round_s, questions, partial(answer, kind))

    return Contender(name, lambda: _as_it_is(measure))


def _asked_for(
    seconds: float, questions: Sequence[Asked], answer: Callable[[Asked], bytes]
) -> Round:
    """Ask one question after the other for so long."""
    began, cpu = time.monotonic(), time.process_time()
    work = 0
    while (wall_s := time.monotonic() - began) < seconds:
        answer(questions[work % len(questions)])
        work += 1
    return Round(work=work, wall_s=wall_s, server_cpu_s=time.process_time() - cpu)


@contextmanager
def _as_it_is(measure: Callable[[], Round]) -> Iterator[Callable[[], Round]]:
    """Give what runs already."""
    yield measure


def growth(found: Sequence[Comparison | Figure], few: int, many: int) -> list[Figure]:
    """Return what questions cost at many records, in multiples of the cost at few."""
    by_name = {each.name: each.subject for each in found if isinstance(each, Comparison)}
    figures = []
    for kind in KINDS:
        for way in ("in process", "over HTTP"):
            small = by_name.get(f"{kind.name} of {few:,}, {way}")
            large = by_name.get(f"{kind.name} of {many:,}, {way}")
            if small is None or large is None or not large.per_cpu_s or kind.wanted is None:
                continue
            ratio = small.per_cpu_s / large.per_cpu_s
            figures.append(
                Figure(
                    name=f"cost of {kind.name}, {way}",
                    unit=f"times, {many:,} to {few:,}",
                    conditions=f"CPU an answer at {many:,} records by that at {few:,}",
                    subject=ratio,
                    peers={},
                    wanted=f"at most {kind.wanted:g}",
                    is_met=ratio <= kind.wanted,
                )
            )
    return figures


SCENARIOS: Final = (ImportScenario(), TableScenario())
