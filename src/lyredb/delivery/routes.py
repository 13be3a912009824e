"""Routes: for each topic in use, the groups that get its messages.

A route belongs to a topic and is shared by all publishers; a path is one publisher
class's way to it, with access decided. Both are caches: dropped when a subscription
changes what they say, and made again by the next message.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lyredb.delivery.admission import ALL, Destination, View
from lyredb.delivery.filters import Levels, literal_prefix, matches
from lyredb.delivery.group import Group
from lyredb.delivery.nodes import Node, Overlap
from lyredb.delivery.terms import DIRECT

if TYPE_CHECKING:
    from lyredb.delivery.ingress import Ingress
    from lyredb.delivery.peers.relay import Relay
    from lyredb.delivery.peers.wishes import Wish

MAX_ROUTES: Final = 65_536
"""About 60 MB with paths; beyond it all are dropped, so that topics that come once
cannot fill the memory."""
MAX_TOPIC_BYTES: Final = 8_000_000
"""All cached topics together, each of which is kept about three times: as topic, key and
id. Without it long topics would take 30 times as much memory as short ones."""
MAX_WALKED: Final = 1_000
"""Routes that a new wildcard filter looks at one by one; more are dropped unseen."""

Address = tuple[int, bytes]
"""Slot and key of a record."""


class Route:
    """Who gets the messages of one topic.

    Attributes:
        topic: On the wire.
        address: The record that it names.
        targets: The groups, with what each sees of the topic. Groups of equal services
            are adjacent, so that they share frames.
        paths: The cached paths to it.
        nodes: The filter nodes that match.
        overlap: What the groups come from when a reader is in several nodes.
        wishes: The filters of other workers that match.
        is_logged: A durable session wants the topic: what is published to it with QoS 1 or 2
            goes through the log, from which everybody gets it.
        is_dropped: True when it is in no cache any more and may be out of date.
    """

    __slots__ = (
        "address",
        "is_dropped",
        "is_logged",
        "nodes",
        "overlap",
        "paths",
        "targets",
        "topic",
        "wishes",
    )

    def __init__(
        self,
        topic: bytes,
        address: Address,
        nodes: tuple[Node, ...],
        overlap: Overlap | None,
        targets: tuple[tuple[Group, View], ...],
        wishes: tuple[Wish, ...] = (),
        *,
        is_logged: bool = False,
    ) -> None:
        self.topic = topic
        self.address = address
        self.nodes = nodes
        self.overlap = overlap
        self.targets = targets
        self.wishes = wishes
        self.paths: list[Path] = []
        self.is_logged = is_logged
        self.is_dropped = False


class Path:
    """How the messages of one ingress reach one topic.

    Attributes:
        topic: On the wire.
        destination: What the topic names; ``kind`` says whether messages go this way.
        route: Who gets them.
        ingress: Whose path it is.
        relay: Forwards to other workers, ``None`` when none wants the topic.
        is_logged: Messages of QoS 1 and 2 are not for this way: whoever publishes them hands
            them to the log (`lyredb.resources.database.Database.log`).
        solo0: Not ``None`` when unparsed QoS 0 frames of the ingress' kind only have to
            be appended to this group (`Ingress.push_run`).
        solo1: As ``solo0`` for QoS 1; always ``None`` where that is logged.
        solo2: The same for QoS 2.
        is_slow: True when a message may not simply be appended: messages wait for a
            write of the record, or the topic is not direct.
    """

    __slots__ = (
        "_solo0",
        "_solo1",
        "_solo2",
        "destination",
        "ingress",
        "is_logged",
        "is_slow",
        "relay",
        "route",
        "solo0",
        "solo1",
        "solo2",
        "topic",
    )

    def __init__(
        self,
        ingress: Ingress,
        route: Route,
        destination: Destination,
        solos: tuple[Group | None, Group | None, Group | None],
        relay: Relay | None,
    ) -> None:
        self.topic = route.topic
        self.destination = destination
        self.route = route
        self.ingress = ingress
        self.relay = relay
        self.is_logged = route.is_logged
        self._solo0, self._solo1, self._solo2 = solos
        self.solo0: Group | None = None
        self.solo1: Group | None = None
        self.solo2: Group | None = None
        self.is_slow = True

    @property
    def idle(self) -> bool:
        """True when nobody listens and nothing is held: a message would reach nobody."""
        return not (self.is_slow or self.is_logged or self.route.targets or self.relay)

    def close(self) -> None:
        """Have all messages go through `Ingress.push`, which holds them back."""
        self.solo0 = self.solo1 = self.solo2 = None
        self.is_slow = True

    def open(self) -> None:
        """Let messages go straight to the groups, unless the topic is not direct."""
        if self.destination.kind == "direct":
            self.solo0, self.solo1, self.solo2 = self._solo0, self._solo1, self._solo2
            self.is_slow = False


def raw_groups(route: Route, raw: str, qos: int) -> tuple[Group, ...] | None:
    """Return the groups that unparsed direct frames only have to be appended to.

    ``None`` when that is not all that has to be done: some group needs frames of its
    own, a lower QoS, a view, or a look at who published.
    """
    if not raw:
        return None
    groups: list[Group] = []
    for group, view in route.targets:
        cases = group.cases & DIRECT
        if not cases:
            continue
        if group.raw != raw or group.qos < qos or view is not ALL or cases != DIRECT:
            return None
        groups.append(group)
    return tuple(groups)


class RouteTable:
    """The cached routes, by topic and by record, and dropping them."""

    def __init__(self) -> None:
        self.by_topic: dict[bytes, Route] = {}
        self.by_address: dict[Address, dict[bytes, Route]] = {}
        self._topic_bytes = 0
        self._sorted: list[bytes] = []
        self._unsorted: list[bytes] = []

    def add(self, route: Route) -> None:
        """Cache a route whose topic has none."""
        self.by_topic[route.topic] = route
        self.by_address.setdefault(route.address, {})[route.topic] = route
        self._topic_bytes += len(route.topic)
        self._unsorted.append(route.topic)
        if len(self._unsorted) > len(self.by_topic) + MAX_WALKED:
            self._sort()  # most of them were dropped again, and must not pile up
        for node in route.nodes:
            node.note_route(route)
        for wish in route.wishes:
            wish.routes[route] = None
        if route.overlap is not None:
            route.overlap.routes[route] = None

    @property
    def is_full(self) -> bool:
        """True when one more route would be too many."""
        return len(self.by_topic) >= MAX_ROUTES or self._topic_bytes >= MAX_TOPIC_BYTES

    def drop(self, routes: Iterable[Route]) -> None:
        """Take routes and their paths out of all caches."""
        for route in tuple(routes):
            if route.is_dropped:
                continue
            route.is_dropped = True
            del self.by_topic[route.topic]
            self._topic_bytes -= len(route.topic)
            siblings = self.by_address[route.address]
            del siblings[route.topic]
            if not siblings:
                del self.by_address[route.address]
            for path in route.paths:
                path.close()
                path.ingress.paths.pop(route.topic, None)
            for node in route.nodes:
                node.forget_route(route)
            for wish in route.wishes:
                wish.routes.pop(route, None)
            if route.overlap is not None:
                route.overlap.routes.pop(route, None)
                if not route.overlap.routes:
                    route.overlap.forget()

    def drop_all(self) -> None:
        """Drop every route."""
        self.drop(self.by_topic.values())
        self._sorted = []
        self._unsorted = []

    def drop_topic(self, topic: bytes) -> None:
        """Drop the route of a topic, if there is one."""
        route = self.by_topic.get(topic)
        if route is not None:
            self.drop((route,))

    def drop_matching(self, levels: Levels) -> None:
        """Drop the routes of the topics that a filter matches; more where that is cheaper.

        Cost: O(log routes + the topics below the filter's literal levels).
        """
        prefix = literal_prefix(levels)
        if prefix == b"/".join(levels):
            self.drop_topic(prefix)
            return
        self._sort()
        # `0` follows `/`: between the two lies everything below the prefix.
        first = bisect_left(self._sorted, prefix)
        last = bisect_left(self._sorted, prefix + b"0") if prefix else len(self._sorted)
        topics = self._sorted[first:last]
        walked = len(topics) <= MAX_WALKED
        routes = (self.by_topic.get(topic) for topic in topics)
        self.drop(
            route
            for route in routes
            if route is not None and (not walked or matches(levels, route.topic))
        )

    def _sort(self) -> None:
        """Bring the sorted topics up to date. Dropped ones stay until half are dropped."""
        if len(self._sorted) > 2 * len(self.by_topic) + MAX_WALKED:
            self._sorted = sorted(self.by_topic)
        elif self._unsorted:
            self._sorted = sorted({*self._sorted, *self._unsorted})
        self._unsorted = []
