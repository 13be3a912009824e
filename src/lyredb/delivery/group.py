"""Groups of subscribers that get the same bytes, and the runs that wait for them.

A run is a piece of joined frames with an arrival number. A subscriber in one group with
runs gets them joined; one in several gets the runs of all of them joined in order of
arrival, so that the order of a publisher holds over all its topics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lyredb.delivery.pressure import Awaited
from lyredb.delivery.terms import EVERY_CASE, Service, Terms
from lyredb.plugins.context import Principal
from lyredb.plugins.delivery import Batch, Encoding, Message, Publisher, Subscriber

if TYPE_CHECKING:
    from lyredb.delivery.peers.relay import Relay

Borders = tuple[int, Sequence[int], Sequence[int]]
"""Of a run with packet identifiers: where the run began in the bytes that the offsets
count from, the end of each frame, and the offset of its identifier (0 = none)."""

Run = tuple[int, bytes, Borders | None]
"""Arrival number, frames, borders. A run without borders has no packet identifiers."""


class Reader(Awaited):
    """A subscriber as the hub keeps it.

    Attributes:
        subscriber: Where batches go.
        encoding: The same for all its filters, as are principal and protocol.
        filters: How many filters it is joined to.
        first: A group with a load for it, while a flush collects them.
        dirty: All groups with loads for it, when there are several.
    """

    __slots__ = (
        "dirty",
        "encoding",
        "filters",
        "first",
        "principal",
        "protocol",
        "subscriber",
    )

    def __init__(self, subscriber: Subscriber, terms: Terms) -> None:
        super().__init__(subscriber)
        self.subscriber = subscriber
        self.take_over(terms)
        self.filters = 0
        self.first: Group | None = None
        self.dirty: list[Group] | None = None

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
        is_bundle: Whether this is a `Bundle`.
        load: What waits in this tick, ``None`` for nothing.
        taken: What waited when the flush under way began.
        alone: The readers that get only this group's load in that flush.
    """

    __slots__ = (
        "alone",
        "cases",
        "encoding",
        "frame_key",
        "is_bundle",
        "load",
        "qos",
        "raw",
        "readers",
        "service",
        "session",
        "taken",
        "takes_messages",
    )

    def __init__(self, service: Service) -> None:
        self.is_bundle = False
        self.service = service
        self.encoding = service.encoding
        self.qos = service.qos
        self.cases = service.cases
        self.session = service.session
        self.raw = "" if service.ids else service.encoding.raw
        self.takes_messages = service.encoding.takes_messages
        self.frame_key = (service.encoding, service.qos, service.ids, service.retain_as_published)
        self.readers: dict[Reader, None] = {}
        self.load: Load | None = None
        self.taken: Load = NOTHING
        self.alone: list[Reader] = []

    def admits(self, message: Message) -> bool:
        """Tell whether the message is one of the cases that the service covers."""
        if self.cases == EVERY_CASE:
            return True
        is_own = self.session != 0 and message.session == self.session
        return bool(self.cases & (1 << (2 * (message.seq != 0) + is_own)))

    def take(self) -> None:
        """Move the load to ``taken``; what is pushed from now on waits for the next flush."""
        assert self.load is not None, "only groups with a load are taken"
        self.taken = self.load
        self.load = None


class Bundle(Group):
    """Stands for several receivers of the same raw frames where publishers see one group.

    It has no service, no readers and no load of its own.

    Attributes:
        members: The groups that each run is meant for.
        relay: What forwards it to other workers, ``None`` for nothing.
    """

    __slots__ = ("members", "relay")

    def __init__(self, members: tuple[Group, ...], relay: Relay | None) -> None:
        # None of the group's own attributes: whoever uses one of them has a fault.
        self.is_bundle = True
        self.members = members
        self.relay = relay


class Load:
    """What waits for a group: runs, or messages for an encoding that takes them.

    Attributes:
        runs: In order of arrival.
        messages: Number and message, in order of arrival.
        count: How many frames or messages.
        has_borders: Whether any run has packet identifiers.
        publisher: Who pushed last, ``None`` for the log.
        publishers: Who else pushed; mostly there is one only.
    """

    __slots__ = ("count", "has_borders", "messages", "publisher", "publishers", "runs")

    def __init__(self, publisher: Publisher | None) -> None:
        self.runs: list[Run] = []
        self.messages: list[tuple[int, Message]] | None = None
        self.count = 0
        self.has_borders = False
        self.publisher = publisher
        self.publishers: dict[Publisher, None] | None = None

    def change_publisher(self, publisher: Publisher | None) -> None:
        """Note that somebody else pushed."""
        if self.publisher is not None:
            if self.publishers is None:
                self.publishers = {}
            self.publishers[self.publisher] = None
        self.publisher = publisher

    def all_publishers(self) -> list[Publisher]:
        """Everybody who pushed, each once."""
        found = [] if self.publisher is None else [self.publisher]
        if self.publishers is not None:
            found += [one for one in self.publishers if one is not self.publisher]
        return found


NOTHING: Final = Load(None)


def _number(item: tuple[int, object] | Run) -> int:
    return item[0]


def merge(loads: Sequence[Load]) -> Load:
    """Return several loads as one, in order of arrival."""
    merged = Load(None)
    runs = merged.runs
    messages: list[tuple[int, Message]] = []
    publishers: dict[Publisher, None] = {}
    for load in loads:
        runs += load.runs
        if load.messages is not None:
            messages += load.messages
        merged.count += load.count
        if load.has_borders:
            merged.has_borders = True
        if load.publisher is not None:
            publishers[load.publisher] = None
        if load.publishers is not None:
            publishers.update(load.publishers)
    # Each load is in order already: sorting them together only merges.
    runs.sort(key=_number)
    messages.sort(key=_number)
    merged.messages = messages
    merged.publishers = publishers
    return merged


def join(load: Load) -> Batch:
    """Return the frames of all runs as one batch.

    A run without packet identifiers beside one that has them counts as one piece: its
    end stands in ``ends`` with identifier offset 0, even when it has several frames.
    """
    runs = load.runs
    data = runs[0][1] if len(runs) == 1 else b"".join([run[1] for run in runs])
    if not load.has_borders:
        return Batch(data, load.count)
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
    return Batch(data, load.count, ends, ids)
