"""What was said, what was heard, and what of it breaks a promise.

A flow is numbered from 1: the messages of one speaker to one topic, or the values of one
record. Each reader has a `Hearing` per flow. Everything is judged as it comes, so that a run
of hours needs no more memory than one of minutes.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

MOST_TOLD: Final = 5
"""Examples of one kind of broken promise; all are counted."""


@dataclass
class Flow:
    """What one writer says at one place.

    Attributes:
        place: The topic, or the path of the record.
        qos: Of all of it; records are 1.
        sent: The last number.
        open: Numbers that are not acknowledged yet.
        unsure: Numbers that were refused, at least once: they may or may not be heard.
    """

    place: str
    qos: int
    sent: int = 0
    open: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)

    def send(self) -> int:
        """Take the next number."""
        self.sent += 1
        self.open.add(self.sent)
        return self.sent

    def settle(self, number: int, *, is_sure: bool = True) -> None:
        """Take note of an acknowledgement."""
        self.open.discard(number)
        if not is_sure:
            self.unsure.add(number)

    def is_promised(self, number: int) -> bool:
        """Everybody who was to hear it must."""
        return number not in self.open and number not in self.unsure


class Problems:
    """Broken promises, by kind, with a few examples of each. Any thread may add some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, what: str) -> None:
        with self._lock:
            self._counts[kind] += 1
            examples = self._examples.setdefault(kind, [])
            if len(examples) < MOST_TOLD:
                examples.append(what)

    @property
    def count(self) -> int:
        return sum(self._counts.values())

    def lines(self) -> list[str]:
        """The kinds with their counts and examples."""
        with self._lock:
            return [
                line
                for kind, count in self._counts.most_common()
                for line in (f"{kind}: {count}", *(f"  {one}" for one in self._examples[kind]))
            ]


class Hearing:
    """What one reader has heard of one flow.

    Args:
        reader: Its name.
        flow: What is said.
        problems: Where doubles and disorder go.
        is_whole: It is to hear all from number 1 on, and not from some number on.
    """

    def __init__(self, reader: str, flow: Flow, problems: Problems, *, is_whole: bool) -> None:
        self.reader = reader
        self.flow = flow
        self.last: int | None = 0 if is_whole else None
        self.heard = 0
        self.again = 0
        self.missing: set[int] = set()
        self._problems = problems

    def hear(self, number: int) -> None:
        """Take note of one message."""
        self.heard += 1
        if self.last is None or number == self.last + 1:
            self.last = number
        elif number > self.last:
            self.missing.update(range(self.last + 1, number))
            self.last = number
        else:
            self._hear_late(number)

    def _hear_late(self, number: int) -> None:
        what = f"{self.reader}: {self.flow.place} {number} after {self.last}"
        if number not in self.missing:
            self.again += 1
            if self.flow.qos != 1 and number not in self.flow.unsure:
                self._problems.add(f"twice at QoS {self.flow.qos}", what)
            return
        self.missing.discard(number)
        if number not in self.flow.unsure:
            self._problems.add("out of order", what)

    def lost(self) -> list[int]:
        """Numbers that it should have heard by now."""
        if self.last is None or self.flow.qos == 0:
            return []
        later = range(self.last + 1, self.flow.sent + 1)
        return sorted(one for one in (*self.missing, *later) if self.flow.is_promised(one))


class Sharing:
    """What the members of a shared subscription have heard of one flow, taken together."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.heard = 0
        self.again = 0
        self._lock = threading.Lock()
        self._below = 1
        """All below were heard."""
        self._above: set[int] = set()

    def hear(self, number: int) -> None:
        with self._lock:
            self.heard += 1
            if number < self._below or number in self._above:
                self.again += 1
                return
            self._above.add(number)
            while self._below in self._above:
                self._above.discard(self._below)
                self._below += 1

    def lost(self) -> list[int]:
        """Numbers that some member should have heard by now."""
        with self._lock:
            numbers = range(self._below, self.flow.sent + 1)
            return [one for one in numbers if one not in self._above and self.flow.is_promised(one)]


def lost_text(who: str, place: str, numbers: Iterable[int]) -> str:
    """A sentence about what was lost."""
    all_of_them = list(numbers)
    some = ", ".join(map(str, all_of_them[:8]))
    return f"{who}: {place} {some} ({len(all_of_them)} in all)"
