"""Groups of subscribers that get the same bytes, and the runs that wait for them.

A run is a piece of joined frames with an arrival number. A subscriber in one group with
runs gets them joined; one in several gets the runs of all of them joined in order of
arrival, so that the order of a publisher holds over all its topics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lyredb.delivery.terms import EVERY_CASE, Service, Terms
from lyredb.plugins.context import Principal
from lyredb.plugins.delivery import Batch, Encoding, Message, Publisher, Subscriber

Borders = tuple[int, Sequence[int], Sequence[int]]
"""Of a run with packet identifiers: where the run began in the bytes that the offsets
count from, the end of each frame, and the offset of its identifier (0 = none)."""

Run = tuple[int, bytes, Borders | None]
"""Arrival number, frames, borders. A run without borders has no packet identifiers."""


class Reader:
    """A subscriber as the hub keeps it.

    Attributes:
        subscriber: Where batches go.
        encoding: The same for all its filters, as are principal and protocol.
        filters: How many filters it is joined to.
        dirty: The groups with runs for it, while a flush collects them.
        paused: Publishers that wait for it.
        pause_began: When they began to wait, in seconds of the hub's clock.
        credit_began: When its present credit period began.
        credit_used_s: How long publishers have waited for it in that period.
    """

    __slots__ = (
        "credit_began",
        "credit_used_s",
        "dirty",
        "encoding",
        "filters",
        "pause_began",
        "paused",
        "principal",
        "protocol",
        "subscriber",
    )

    def __init__(self, subscriber: Subscriber, terms: Terms) -> None:
        self.subscriber = subscriber
        self.take_over(terms)
        self.filters = 0
        self.dirty: list[Group] = []
        self.paused: dict[Publisher, None] = {}
        self.pause_began = 0.0
        self.credit_began = float("-inf")
        self.credit_used_s = 0.0

    def take_over(self, terms: Terms) -> None:
        """Have the encoding, principal and protocol of these terms."""
        self.encoding: Encoding = terms.encoding
        self.principal: Principal = terms.principal
        self.protocol = terms.protocol

    def check(self, terms: Terms) -> None:
        """Refuse terms that would make the subscriber two readers in one.

        Raises:
            ValueError: Encoding, principal or protocol differ.
        """
        mine = (self.encoding, self.principal, self.protocol)
        if mine != (terms.encoding, terms.principal, terms.protocol):
            raise ValueError(
                "a subscriber has one encoding, principal and protocol for all filters"
            )


class Group:
    """Subscribers with one service, and what waits for them in this tick.

    Attributes:
        service: What they get.
        readers: Who they are, in order of joining.
        frame_key: Groups with equal ones get equal frames of a message seen alike.
        raw: The kind of frame that they take unparsed, ``""`` for none: frames with
            subscription identifiers have to be made.
        members: Of a bundle: the groups that each run is meant for; else empty. A
            bundle has no readers and no runs of its own.
        runs: What waits, in order of arrival.
        count: How many frames wait.
        has_borders: Whether any run has packet identifiers.
        publishers: Who pushed what waits.
        messages: What waits, for encodings that take messages: number and message.
    """

    __slots__ = (
        "cases",
        "count",
        "encoding",
        "frame_key",
        "has_borders",
        "last_publisher",
        "members",
        "messages",
        "publishers",
        "qos",
        "raw",
        "readers",
        "runs",
        "service",
        "session",
        "taken",
        "takes_messages",
    )

    def __init__(self, service: Service, members: tuple[Group, ...] = ()) -> None:
        self.service = service
        self.encoding = service.encoding
        self.qos = service.qos
        self.cases = service.cases
        self.session = service.session
        self.raw = "" if service.ids else service.encoding.raw
        self.takes_messages = service.encoding.takes_messages
        self.frame_key = (service.encoding, service.qos, service.ids, service.retain_as_published)
        self.readers: dict[Reader, None] = {}
        self.members = members
        self.runs: list[Run] = []
        self.messages: list[tuple[int, Message]] = []
        self.count = 0
        self.has_borders = False
        self.publishers: dict[Publisher, None] = {}
        self.last_publisher: Publisher | None = None
        self.taken: Taken = NOTHING

    def admits(self, message: Message) -> bool:
        """Tell whether the message is one of the cases that the service covers."""
        if self.cases == EVERY_CASE:
            return True
        is_own = self.session != 0 and message.session == self.session
        return bool(self.cases & (1 << (2 * (message.seq != 0) + is_own)))

    def take(self) -> None:
        """Move what waits to ``taken``; what is pushed from now on waits for the next flush."""
        self.taken = Taken(self.runs, self.messages, self.count, self.has_borders, self.publishers)
        self.runs = []
        self.messages = []
        self.count = 0
        self.has_borders = False
        self.publishers = {}
        self.last_publisher = None


class Taken:
    """What a group had when a flush began."""

    __slots__ = ("batch", "count", "has_borders", "messages", "publishers", "runs")

    def __init__(
        self,
        runs: list[Run],
        messages: list[tuple[int, Message]],
        count: int,
        has_borders: bool,
        publishers: dict[Publisher, None],
    ) -> None:
        self.runs = runs
        self.messages = messages
        self.count = count
        self.has_borders = has_borders
        self.publishers = publishers


NOTHING: Final = Taken([], [], 0, False, {})


def _number(item: tuple[int, object] | Run) -> int:
    return item[0]


def merge(parts: Sequence[Taken]) -> Taken:
    """Return what several groups had, in order of arrival."""
    if len(parts) == 1:
        return parts[0]
    runs: list[Run] = []
    messages: list[tuple[int, Message]] = []
    publishers: dict[Publisher, None] = {}
    count, has_borders = 0, False
    for part in parts:
        runs += part.runs
        messages += part.messages
        count += part.count
        has_borders = has_borders or part.has_borders
        publishers.update(part.publishers)
    # Each part is in order already: sorting them together only merges.
    runs.sort(key=_number)
    messages.sort(key=_number)
    return Taken(runs, messages, count, has_borders, publishers)


def join(taken: Taken) -> Batch:
    """Return the frames of all runs as one batch.

    A run without packet identifiers beside one that has them counts as one piece: its
    end stands in ``ends`` with identifier offset 0, even when it has several frames.
    """
    runs = taken.runs
    data = runs[0][1] if len(runs) == 1 else b"".join([run[1] for run in runs])
    if not taken.has_borders:
        return Batch(data, taken.count)
    ends: list[int] = []
    ids: list[int] = []
    at = 0
    for _, frames, borders in runs:
        if borders is None:
            ends.append(at + len(frames))
            ids.append(0)
        else:
            start, run_ends, run_ids = borders
            shift = at - start
            ends += [end + shift for end in run_ends]
            ids += [offset + shift if offset else 0 for offset in run_ids]
        at += len(frames)
    return Batch(data, taken.count, ends, ids)
