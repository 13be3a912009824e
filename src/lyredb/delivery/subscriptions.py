"""Who is joined to which filter, and which groups a topic has because of it.

Every edit takes effect between two messages: what waits is written first. Then the
routes are dropped that the edit makes wrong, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lyredb.delivery.filters import INTERNAL, FilterIndex, Levels, parse_filter
from lyredb.delivery.group import Group, Reader
from lyredb.delivery.nodes import Node, Overlap, readers_in_several
from lyredb.delivery.peers.interest import Interest
from lyredb.delivery.routes import RouteTable
from lyredb.delivery.terms import Terms
from lyredb.plugins.delivery import Subscriber


class Subscriptions:
    """Filters with their members."""

    def __init__(
        self,
        routes: RouteTable,
        interest: Interest,
        flush: Callable[[], None],
        on_gone: Callable[[Reader], None],
    ) -> None:
        """Make it empty.

        Args:
            routes: Where what an edit makes wrong is dropped.
            interest: Told of the first and the last member of each filter.
            flush: Writes all that waits; called before each edit.
            on_gone: Called when a subscriber has left its last filter.
        """
        self._routes = routes
        self._interest = interest
        self._flush = flush
        self._on_gone = on_gone
        self._index: FilterIndex[Node] = FilterIndex()
        self._nodes: dict[str, Node] = {}
        self._next_number = 0
        self._readers: dict[Subscriber, Reader] = {}
        self._aside: dict[Subscriber, Reader] = {}

    @property
    def filters(self) -> int:
        """How many different filters have members."""
        return len(self._nodes)

    @property
    def aside(self) -> int:
        """How many have made room for a stand-in and not come back yet."""
        return len(self._aside)

    @property
    def subscribers(self) -> list[Subscriber]:
        """Who is joined to any filter."""
        return list(self._readers)

    def join(self, filter: str, subscriber: Subscriber, terms: Terms) -> None:
        """See `lyredb.delivery.hub.Hub.join`."""
        self._flush()
        node = self._nodes.get(filter)
        reader = self._readers.get(subscriber)
        if node is not None and reader is not None and reader in node.members:
            self._replace(node, reader, terms)
            return
        levels = parse_filter(filter, allow_internal=filter[:1] == INTERNAL)
        if reader is None:
            reader = self._aside.pop(subscriber, None) or Reader(subscriber, terms)
            reader.take_over(terms)
        else:
            reader.check(terms)
        self._readers[subscriber] = reader
        if node is None:
            node = self._make_node(filter, levels)
        self._add(node, reader, terms)

    def rejoin(self, filter: str, subscriber: Subscriber, terms: Terms) -> None:
        """See `lyredb.delivery.hub.Hub.rejoin`."""
        self._flush()
        node = self._nodes.get(filter)
        reader = self._readers.get(subscriber)
        if node is None or reader is None or reader not in node.members:
            raise KeyError(filter)
        self._replace(node, reader, terms)

    def set_aside(
        self, filter: str, subscriber: Subscriber, stand_in: Subscriber, terms: Terms
    ) -> bool:
        """See `lyredb.delivery.hub.Hub.set_aside`."""
        self._flush()
        node = self._nodes.get(filter)
        reader = self._readers.get(subscriber)
        if node is None or reader is None or reader not in node.members:
            return False  # the flush may have closed it
        self._remove(node, reader)
        self._readers[stand_in] = Reader(stand_in, terms)
        self._add(node, self._readers[stand_in], terms)
        if not reader.filters:
            del self._readers[subscriber]
            self._aside[subscriber] = reader
            self._on_gone(reader)
        return True

    def leave(self, filter: str, subscriber: Subscriber) -> None:
        """See `lyredb.delivery.hub.Hub.leave`."""
        self._flush()
        self._aside.pop(subscriber, None)
        node = self._nodes.get(filter)
        reader = self._readers.get(subscriber)
        if node is None or reader is None or reader not in node.members:
            return
        self._remove(node, reader)
        if not node.members:
            del self._nodes[filter]
            self._index.remove(node.levels)
            self._interest.remove(filter)
            self._routes.drop(node.routes)
        if not reader.filters:
            del self._readers[subscriber]
            self._on_gone(reader)

    def _replace(self, node: Node, reader: Reader, terms: Terms) -> None:
        if reader.filters > 1:
            reader.check(terms)
        if node.members[reader] == terms:
            return
        self._remove(node, reader)
        reader.take_over(terms)
        self._add(node, reader, terms)

    def _add(self, node: Node, reader: Reader, terms: Terms) -> None:
        reader.filters += 1
        is_new = node.add(reader, terms)
        if is_new or reader.filters > 1:
            self._routes.drop(node.routes)
        self._drop_overlaps(node)

    def _remove(self, node: Node, reader: Reader) -> None:
        if node.remove(reader):
            self._routes.drop(node.routes)
        self._drop_overlaps(node)
        reader.filters -= 1

    def _drop_overlaps(self, node: Node) -> None:
        """Drop what was combined from the node's members; its routes drop it with them."""
        for overlap in list(node.overlaps.values()):
            self._routes.drop(overlap.routes)

    def _make_node(self, filter: str, levels: Levels) -> Node:
        self._next_number += 1
        node = self._nodes[filter] = Node(levels, self._next_number)
        self._index.add(levels, node)
        self._interest.add(filter)
        self._routes.drop_matching(levels)
        return node

    def may_match_below(self, head: bytes) -> bool:
        """Whether any filter could match a topic with this first level, ``b""`` for any."""
        return bool(self._nodes) and (not head or self._index.may_match_below(head))

    def nodes_of(self, topic: bytes) -> tuple[Node, ...]:
        """Return the nodes of the filters that match, in an order that does not vary."""
        nodes = self._index.match(topic)
        if len(nodes) > 1:
            nodes.sort(key=_number)
        return tuple(nodes)


def _number(node: Node) -> int:
    return node.number


def groups_of(nodes: tuple[Node, ...]) -> tuple[Sequence[Group], Overlap | None]:
    """Return the groups of the topics that these nodes match, each reader in one of them.

    The groups come with the overlap that they were taken from when a reader is in
    several nodes. Topics with the same nodes share one overlap.
    """
    if len(nodes) > 1:
        overlap = nodes[0].overlaps.get(nodes)
        if overlap is not None:
            return overlap.groups, overlap
        shared = readers_in_several(nodes)
        if shared:
            overlap = Overlap(nodes, shared)
            return overlap.groups, overlap
    return [group for node in nodes for group in node.groups.values()], None
