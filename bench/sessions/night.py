"""The night: who fell asleep, and what the log has got since.

All sessions fell asleep at one position, and the log got so many entries after it. Each case
has a filter and a number of messages that wait for it, spread evenly over the whole night;
everything else went to other records of the same table. So nothing is found by looking at the
log's end, and what a wake costs is what it costs to find a few messages among all.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

ROOT: Final = "Bench"
GROUP: Final = 2_000
"""Records below the prefix of a wildcard filter: more than are looked at one by one for free."""
PAYLOAD: Final = b"x" * 64
_PART: Final = 4
"""Messages that wait for somebody are at most this part of the log."""


@dataclass(frozen=True, slots=True)
class Case:
    """Sessions of one kind.

    Attributes:
        kind: ``topic``: each its own topic. ``prefix``: all ``Bench/<group>/#``, with
            `GROUP` records. ``inner``: all ``Bench/+/<name>``, which could be any record.
        waiting: Messages that wait for each.
        sessions: How many there are.
    """

    kind: str
    waiting: int
    sessions: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.waiting}"

    def client_id(self, number: int) -> str:
        """The client identifier of one of its sessions."""
        return f"{self.name}-{number:06d}"

    def filter(self, number: int) -> str:
        """The filter of one of its sessions."""
        if self.kind == "topic":
            return f"{ROOT}/{self._record(number)}"
        return f"{ROOT}/{self.name}/#" if self.kind == "prefix" else f"{ROOT}/+/{self.name}"

    def records(self) -> Iterator[str]:
        """The ids of its records, all of which were there before the night."""
        return map(self._record, range(self.sessions if self.kind == "topic" else GROUP))

    def messages(self, entries: int) -> Iterator[tuple[int, str]]:
        """Place in a log of so many entries, and record, of each message; in order."""
        readers = range(self.sessions if self.kind == "topic" else 1)
        for turn in range(self.waiting):
            for reader in readers:
                part = (turn + reader / len(readers)) / self.waiting
                number = reader if self.kind == "topic" else turn
                yield int(part * entries), self._record(number)

    def _record(self, number: int) -> str:
        if self.kind == "inner":
            return f"d{number:06d}/{self.name}"
        return f"{self.name}/{number:06d}"


@dataclass(frozen=True, slots=True)
class Night:
    """All of it.

    Attributes:
        entries: Of the log since the sessions fell asleep.
        records: Of the table besides those of the cases; each of them got messages.
        cases: Whose sessions sleep.
    """

    entries: int
    records: int
    cases: tuple[Case, ...]

    def others(self) -> Iterator[str]:
        """The ids of records that no filter matches."""
        return (f"d{number:06d}/value" for number in range(self.records))

    def messages(self) -> Iterator[str]:
        """The record of each message of the night, in order."""
        wanted = heapq.merge(*(case.messages(self.entries) for case in self.cases))
        following = next(wanted, None)
        for place in range(self.entries):
            if following is not None and following[0] <= place:
                yield following[1]
                following = next(wanted, None)
            else:
                yield f"d{place % self.records:06d}/value"
        while following is not None:
            yield following[1]
            following = next(wanted, None)


def night_of(entries: int, wakes: int, records: int) -> Night:
    """Return a night with sessions of each kind for which 0, 1, 20 and 1,000 messages wait.

    Fewer sessions where 1,000 wait for each, so that most of the log is other people's.
    """
    cases = []
    for waiting in (0, 1, 20, 1_000):
        room = entries // _PART // waiting if waiting else wakes
        fewer = wakes if waiting < 1_000 else max(1, wakes // 10)
        cases.append(Case("topic", waiting, max(1, min(fewer, room))))
        cases.append(Case("prefix", waiting, fewer))
    cases.append(Case("inner", 20, max(1, wakes // 10)))
    return Night(entries, records, tuple(cases))
