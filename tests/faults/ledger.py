"""What clients asked and were told, held against what the log of the server has.

Every written value is a number of its own, so each entry of the log names its request.
No two clients share a key, and each sends the requests of a key in order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple, TypeAlias

from lyredb.storage.check import check
from lyredb.storage.engine import Engine
from lyredb.storage.entry import Entry
from lyredb.storage.keys import decode_key
from lyredb.storage.mutation import Kind
from tests.storage.store import body_of

TABLES = ("Sensor", "Counter")
GONE = None
"""The value of a record that was deleted."""
Place: TypeAlias = tuple[str, str]
"""A table and a key."""


class Fate(Enum):
    """What its client was told of a request."""

    OPEN = "not answered"
    DONE = "acknowledged"
    REFUSED = "refused: nothing was written"


@dataclass
class Ask:
    """One request. The key is empty until the server has made one."""

    table: str
    key: str
    value: int | None
    fate: Fate = Fate.OPEN


class Change(NamedTuple):
    """One entry of the log."""

    seq: int
    table: str
    key: str
    value: int | None


@dataclass
class Log:
    """All changes of the tables since the server was new."""

    position: int = 0
    changes: list[Change] = field(default_factory=list)
    by_place: dict[Place, list[Change]] = field(default_factory=lambda: defaultdict(list))

    def read_on(self, data: Path) -> tuple[list[Change], list[str]]:
        """Read what is new, and check that records, indexes and log agree.

        Beside the server, or without one.
        """
        engine = Engine.open(data, readonly=True)
        try:
            problems = check(engine)
            new = list(self._new(engine))
        finally:
            engine.close()
        self.changes += new
        for change in new:
            self.by_place[change.table, change.key].append(change)
        return new, problems

    def _new(self, engine: Engine) -> Iterable[Change]:
        names = {slot: layout.name for slot, layout in engine.layouts.items()}
        with engine.snapshot() as snapshot:
            while self.position < snapshot.position:
                for entry in snapshot.entries(self.position):
                    self.position = entry.seq
                    database, _, table = names.get(entry.slot, "").partition(".")
                    is_schema = entry.kind is Kind.SCHEMA
                    if database == "data" and table in TABLES and not is_schema:
                        yield change_of(entry, table)

    def state(self) -> dict[Place, int]:
        """The records that there are by the log."""
        last = {place: changes[-1].value for place, changes in self.by_place.items()}
        return {place: value for place, value in last.items() if value is not None}


def change_of(entry: Entry, table: str) -> Change:
    """Take an entry of the log apart."""
    assert entry.kind in (Kind.PUT, Kind.PATCH, Kind.DELETE), entry
    value = None if entry.kind is Kind.DELETE else body_of(entry.image)["value"]
    assert value is None or isinstance(value, int)
    return Change(entry.seq, table, str(decode_key(entry.key)), value)


def problems_of(
    asks: Sequence[Ask], new: Sequence[Change], before: Mapping[Place, int]
) -> list[str]:
    """What was acknowledged and is not in the log, or twice, or was refused and is there.

    Args:
        asks: Of all clients since the last look, those of a key in order.
        new: What the log has got since.
        before: The records at the last look.
    """
    counts = Counter(change.value for change in new if change.value is not None)
    wrong = [f"{value} is {count} times in the log" for value, count in counts.items() if count > 1]
    asked: dict[Place, list[Ask]] = defaultdict(list)
    found: dict[Place, list[Change]] = defaultdict(list)
    for change in new:
        found[change.table, change.key].append(change)
    keys = {change.value: change.key for change in new if change.table == "Counter"}
    for ask in asks:
        if not ask.key and ask.value not in keys and ask.fate is not Fate.DONE:
            continue  # the server made a key, or did not, of which nobody knows
        asked[ask.table, ask.key or keys.get(ask.value, "")].append(ask)
    for place in {*asked, *found}:
        values = [change.value for change in found[place]]
        problem = first_problem(asked[place], values, is_there=place in before)
        if problem:
            wrong.append(f"{'/'.join(place)}: {problem}")
    return wrong


def first_problem(asks: Sequence[Ask], values: Sequence[int | None], *, is_there: bool) -> str:
    """Explain the values that a key got by its requests; empty when that is possible.

    An acknowledged one is among them, a refused one is not, one that was not answered may
    be; each at its turn. A delete of what is not there leaves no trace.
    """
    possible = {0}
    for number, ask in enumerate(asks):
        reached = {
            at + 1
            for at in possible
            if at < len(values) and values[at] == ask.value and ask.fate is not Fate.REFUSED
        }
        if ask.fate is not Fate.DONE:
            reached |= possible
        elif ask.value is GONE:
            reached |= {at for at in possible if not _exists(values, at, is_there=is_there)}
        if not reached:
            before = [(one.value, one.fate.name) for one in asks[max(0, number - 3) : number]]
            return f"{ask.value} was {ask.fate.value} after {before}, the log has {values}"
        possible = reached
    if len(values) not in possible:
        told = [(ask.value, ask.fate.name) for ask in asks]
        return f"the log has {values}, asked was {told}"
    return ""


def _exists(values: Sequence[int | None], at: int, *, is_there: bool) -> bool:
    return values[at - 1] is not None if at else is_there


Find: TypeAlias = Callable[[str], Mapping[str, int]]
"""The records of a table as some reader finds them."""


def read_problems(log: Log, find: Find) -> list[str]:
    """Where what a reader finds is not what the log says."""
    wrong = []
    state = log.state()
    for table in TABLES:
        wanted = {key: value for (name, key), value in state.items() if name == table}
        found = find(table)
        wrong += [
            f"{table}/{key}: the log says {wanted.get(key)}, a reader {found.get(key)}"
            for key in {*wanted, *found}
            if wanted.get(key) != found.get(key)
        ]
    return wrong
