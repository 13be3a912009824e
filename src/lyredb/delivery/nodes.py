"""Filter nodes: one topic filter with everybody who subscribed to it.

Most edits happen in place: who joins a group that exists changes no route. An edit that
changes which groups a topic has (a first or last member, a subscriber in several nodes)
says so, and the routes of the node are dropped and made again when they are needed.

There may be a million nodes, most of them with one member and without messages just now.
Such a node is one object: its group is made for its first route, and its dicts for its
second member.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from lyredb.delivery.group import Group, Reader
from lyredb.delivery.terms import Service, Terms, service_of, services

if TYPE_CHECKING:
    from lyredb.delivery.routes import Route


class Node:
    """One filter, from its first member on until its last one leaves.

    Attributes:
        number: Orders nodes, by age.
        routes: The cached routes that the filter matches; see `note_route`.
        overlaps: For topics that this and other nodes match with a subscriber in
            several of them, by all these nodes; see `note_overlap`.
    """

    __slots__ = ("_group", "_groups", "_members", "_only", "_terms", "number", "overlaps", "routes")

    def __init__(self, number: int, reader: Reader, terms: Terms) -> None:
        """Begin with one member.

        Args:
            number: See the class.
            reader: Who is joined.
            terms: On which terms.
        """
        self.number = number
        self.routes: dict[Route, None] = _NO_ROUTES
        self.overlaps: dict[tuple[Node, ...], Overlap] = _NO_OVERLAPS
        self._only: Reader | None = reader
        self._terms: Terms | None = terms
        self._group: Group | None = None
        # In place of these three from the second member on.
        self._members: dict[Reader, Terms] = _NO_MEMBERS
        self._groups: dict[Service, Group] = _NO_GROUPS

    @property
    def members(self) -> Collection[Reader]:
        """Who is joined, in order of joining."""
        return self._members if self._only is None else (self._only,)

    @property
    def groups(self) -> Collection[Group]:
        """The members by service; none is empty."""
        if self._only is None or self._terms is None:
            return self._groups.values()
        if self._group is None:
            self._group = Group(service_of(self._terms))
            self._group.readers[self._only] = None
        return (self._group,)

    def terms_of(self, reader: Reader) -> Terms | None:
        """On which terms a reader is joined, ``None`` when it is no member."""
        if self._only is None:
            return self._members.get(reader)
        return self._terms if reader is self._only else None

    def is_all_of(self, reader: Reader) -> bool:
        """Whether this member is the only one."""
        return self._only is reader or (self._only is None and len(self._members) == 1)

    def add(self, reader: Reader, terms: Terms) -> bool:
        """Join a reader that is no member; True when the node has a new group now."""
        if self._only is not None:
            self._make_room()
        self._members[reader] = terms
        service = service_of(terms)
        group = self._groups.get(service)
        is_new = group is None
        if group is None:
            group = self._groups[service] = Group(service)
        group.readers[reader] = None
        return is_new

    def _make_room(self) -> None:
        """Keep the only member as one of several."""
        assert self._only is not None
        assert self._terms is not None
        self._groups = {group.service: group for group in self.groups}
        self._members = {self._only: self._terms}
        self._only = self._terms = self._group = None

    def remove(self, reader: Reader) -> bool:
        """Let a member leave that is not the only one; True when a group goes with it."""
        service = service_of(self._members.pop(reader))
        group = self._groups[service]
        del group.readers[reader]
        if group.readers:
            return False
        del self._groups[service]
        return True

    def replace(self, reader: Reader, successor: Reader, terms: Terms) -> bool:
        """Put a reader, maybe the same, in the place of a member; True when groups change."""
        if self._only is not None:
            self._only, self._terms, self._group = successor, terms, None
            return True
        is_gone = self.remove(reader)
        is_new = self.add(successor, terms)
        return is_gone or is_new

    def note_route(self, route: Route) -> None:
        """Note a cached route that the filter matches."""
        if self.routes is _NO_ROUTES:
            self.routes = {}
        self.routes[route] = None

    def forget_route(self, route: Route) -> None:
        """Undo `note_route`, which may not have been called."""
        self.routes.pop(route, None)
        if not self.routes:
            self.routes = _NO_ROUTES

    def note_overlap(self, overlap: Overlap) -> None:
        """Let an overlap be found from here."""
        if self.overlaps is _NO_OVERLAPS:
            self.overlaps = {}
        self.overlaps[overlap.nodes] = overlap

    def forget_overlap(self, overlap: Overlap) -> None:
        """Undo `note_overlap`, which may not have been called."""
        self.overlaps.pop(overlap.nodes, None)
        if not self.overlaps:
            self.overlaps = _NO_OVERLAPS


class Overlap:
    """The groups for topics that a set of nodes matches, when a reader is in several.

    Groups without such a reader are the nodes' own; the others are replaced by groups
    made for this set, in which each reader stands with its combined terms, so that it
    gets one copy.

    Attributes:
        nodes: Which nodes.
        groups: For their common topics.
        routes: The cached routes made from it; without any it is forgotten.
    """

    __slots__ = ("groups", "nodes", "routes")

    def __init__(self, nodes: tuple[Node, ...], shared: set[Reader]) -> None:
        """Combine the members of the nodes and be found from each of them.

        Args:
            nodes: At least two.
            shared: The readers that are members of several of them.
        """
        self.nodes = nodes
        self.routes: dict[Route, None] = {}
        made: dict[Service, Group] = {}
        groups: list[Group] = []
        for node in nodes:
            for group in node.groups:
                if shared.isdisjoint(group.readers):
                    groups.append(group)
                    continue
                for reader in group.readers:
                    if reader not in shared:
                        _add(made, group.service, reader)
        # In order of joining, so that equal sets make equal signatures.
        for reader in dict.fromkeys(one for node in nodes for one in node.members):
            if reader in shared:
                terms = [node.terms_of(reader) for node in nodes]
                for service in services([one for one in terms if one is not None]):
                    _add(made, service, reader)
        self.groups: tuple[Group, ...] = (*groups, *made.values())
        for node in nodes:
            node.note_overlap(self)

    def forget(self) -> None:
        """Not be found any more."""
        for node in self.nodes:
            node.forget_overlap(self)


def _add(groups: dict[Service, Group], service: Service, reader: Reader) -> None:
    group = groups.get(service)
    if group is None:
        group = groups[service] = Group(service)
    group.readers[reader] = None


def readers_in_several(nodes: Iterable[Node]) -> set[Reader]:
    """Return who is a member of more than one of these nodes.

    Such a reader is a member of at least one node besides the largest, so the members
    of the largest are not walked: one dashboard on ``#`` beside a topic with thousands
    of subscribers costs one look.
    """
    ordered = sorted(nodes, key=lambda node: len(node.members))
    return {
        reader
        for number, node in enumerate(ordered[:-1])
        for reader in node.members
        if reader.filters > 1 and any(reader in larger.members for larger in ordered[number + 1 :])
    }


# What nodes share that have nothing of a kind; never changed.
_NO_ROUTES: Final[dict[Route, None]] = {}
_NO_OVERLAPS: Final[dict[tuple[Node, ...], Overlap]] = {}
_NO_MEMBERS: Final[dict[Reader, Terms]] = {}
_NO_GROUPS: Final[dict[Service, Group]] = {}
