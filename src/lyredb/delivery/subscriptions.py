"""Who is joined to which filter, and which groups a topic has because of it.

Every edit takes effect between two messages: what waits is written first. Then the
routes are dropped that the edit makes wrong, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lyredb.delivery.filters import (
    INTERNAL,
    FilterIndex,
    has_wildcard,
    parse_exact,
    parse_filter,
)
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
        self._wildcards: dict[str, Node] = {}
        self._next_number = 0
        self._readers: dict[Subscriber, Reader] = {}
        self._aside: dict[Subscriber, Reader] = {}

    @property
    def filters(self) -> int:
        """How many different filters have members."""
        return len(self._index)

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
        node = self._find(filter)
        reader = self._readers.get(subscriber)
        if node is None:
            self._make_node(filter, subscriber, reader, terms)
            return
        if reader is not None and node.terms_of(reader) is not None:
            self._replace(node, reader, terms)
            return
        reader = self._admitted(subscriber, reader, terms)
        reader.filters += 1
        is_new = node.add(reader, terms)
        if is_new or reader.filters > 1:
            self._routes.drop(node.routes)
        self._drop_overlaps(node)

    def rejoin(self, filter: str, subscriber: Subscriber, terms: Terms) -> None:
        """See `lyredb.delivery.hub.Hub.rejoin`."""
        self._flush()
        node = self._find(filter)
        reader = self._readers.get(subscriber)
        if node is None or reader is None or node.terms_of(reader) is None:
            raise KeyError(filter)
        self._replace(node, reader, terms)

    def set_aside(
        self, filter: str, subscriber: Subscriber, stand_in: Subscriber, terms: Terms
    ) -> bool:
        """See `lyredb.delivery.hub.Hub.set_aside`."""
        self._flush()
        node = self._find(filter)
        reader = self._readers.get(subscriber)
        if node is None or reader is None or node.terms_of(reader) is None:
            return False  # the flush may have closed it
        successor = self._readers[stand_in] = Reader(stand_in, terms)
        successor.filters = 1
        self._put(node, reader, successor, terms)
        reader.filters -= 1
        if not reader.filters:
            del self._readers[subscriber]
            self._aside[subscriber] = reader
            self._on_gone(reader)
        return True

    def leave(self, filter: str, subscriber: Subscriber) -> None:
        """See `lyredb.delivery.hub.Hub.leave`."""
        self._flush()
        self._aside.pop(subscriber, None)
        node = self._find(filter)
        reader = self._readers.get(subscriber)
        if node is None or reader is None or node.terms_of(reader) is None:
            return
        if node.is_all_of(reader):
            self._end_node(filter, node)
        else:
            if node.remove(reader):
                self._routes.drop(node.routes)
            self._drop_overlaps(node)
        reader.filters -= 1
        if not reader.filters:
            del self._readers[subscriber]
            self._on_gone(reader)

    def _replace(self, node: Node, reader: Reader, terms: Terms) -> None:
        """Serve a member on other terms."""
        if reader.filters > 1:
            reader.check(terms)
        if node.terms_of(reader) != terms:
            reader.take_over(terms)
            self._put(node, reader, reader, terms)

    def _put(self, node: Node, reader: Reader, successor: Reader, terms: Terms) -> None:
        """Put a reader into the place of a member."""
        if node.replace(reader, successor, terms) or successor.filters > 1:
            self._routes.drop(node.routes)
        self._drop_overlaps(node)

    def _admitted(self, subscriber: Subscriber, reader: Reader | None, terms: Terms) -> Reader:
        """Who is to be joined, as the hub keeps it."""
        if reader is not None:
            reader.check(terms)
            return reader
        reader = self._aside.pop(subscriber, None)
        if reader is None:
            reader = Reader(subscriber, terms)
        else:
            reader.take_over(terms)
        self._readers[subscriber] = reader
        return reader

    def _drop_overlaps(self, node: Node) -> None:
        """Drop what was combined from the node's members; its routes drop it with them."""
        if node.overlaps:
            for overlap in list(node.overlaps.values()):
                self._routes.drop(overlap.routes)

    def _find(self, filter: str) -> Node | None:
        """The node of a filter; none for what is no legal filter."""
        if has_wildcard(filter):
            return self._wildcards.get(filter)
        return self._index.exact(filter.encode("utf-8", "surrogatepass"))

    def _make_node(
        self, filter: str, subscriber: Subscriber, reader: Reader | None, terms: Terms
    ) -> None:
        """Join a subscriber to a filter that nobody is joined to."""
        is_internal = filter[:1] == INTERNAL
        if has_wildcard(filter):
            levels = parse_filter(filter, allow_internal=is_internal)
            node = self._new_node(subscriber, reader, terms)
            self._wildcards[filter] = node
            self._index.add(levels, node)
            self._interest.add(filter)
            self._routes.drop_matching(levels)
        else:
            topic = parse_exact(filter, allow_internal=is_internal)
            self._index.add_exact(topic, self._new_node(subscriber, reader, terms))
            self._interest.add(filter)
            self._routes.drop_topic(topic)

    def _new_node(self, subscriber: Subscriber, reader: Reader | None, terms: Terms) -> Node:
        reader = self._admitted(subscriber, reader, terms)
        reader.filters += 1
        self._next_number += 1
        return Node(self._next_number, reader, terms)

    def _end_node(self, filter: str, node: Node) -> None:
        """Forget a filter whose only member leaves."""
        if has_wildcard(filter):
            del self._wildcards[filter]
            self._index.remove(parse_filter(filter, allow_internal=filter[:1] == INTERNAL))
        else:
            self._index.remove_exact(filter.encode())
        self._interest.remove(filter)
        if node.routes:
            self._routes.drop(node.routes)

    def may_match_below(self, head: bytes) -> bool:
        """Whether any filter could match a topic with this first level, ``b""`` for any."""
        return bool(len(self._index)) and (not head or self._index.may_match_below(head))

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
    return [group for node in nodes for group in node.groups], None
