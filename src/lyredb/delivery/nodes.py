"""Filter nodes: one topic filter with everybody who subscribed to it.

Most edits happen in place: who joins a group that exists changes no route. An edit that
changes which groups a topic has (a first or last member, a subscriber in several nodes)
says so, and the routes of the node are dropped and made again when they are needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lyredb.delivery.filters import Levels
from lyredb.delivery.group import Group, Reader
from lyredb.delivery.terms import Service, Terms, service_of, services

if TYPE_CHECKING:
    from lyredb.delivery.routes import Route


class Node:
    """One filter.

    Attributes:
        levels: The filter.
        number: Orders nodes, by age.
        members: Who is joined, on which terms.
        groups: The members by service; none is empty.
        routes: The cached routes that the filter matches.
        overlaps: For topics that this and other nodes match with a subscriber in
            several of them, by all these nodes.
    """

    __slots__ = ("groups", "levels", "members", "number", "overlaps", "routes")

    def __init__(self, levels: Levels, number: int) -> None:
        self.levels = levels
        self.number = number
        self.members: dict[Reader, Terms] = {}
        self.groups: dict[Service, Group] = {}
        self.routes: dict[Route, None] = {}
        self.overlaps: dict[tuple[Node, ...], Overlap] = {}

    def add(self, reader: Reader, terms: Terms) -> bool:
        """Join a reader that is no member; True when the node has a new group now."""
        self.members[reader] = terms
        service = service_of(terms)
        group = self.groups.get(service)
        is_new = group is None
        if group is None:
            group = self.groups[service] = Group(service)
        group.readers[reader] = None
        return is_new

    def remove(self, reader: Reader) -> bool:
        """Let a member leave; True when the node has a group less now."""
        service = service_of(self.members.pop(reader))
        group = self.groups[service]
        del group.readers[reader]
        if group.readers:
            return False
        del self.groups[service]
        return True


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
            for group in node.groups.values():
                if shared.isdisjoint(group.readers):
                    groups.append(group)
                    continue
                for reader in group.readers:
                    if reader not in shared:
                        _add(made, group.service, reader)
        # In order of joining, so that equal sets make equal signatures.
        for reader in dict.fromkeys(one for node in nodes for one in node.members):
            if reader in shared:
                terms = [node.members[reader] for node in nodes if reader in node.members]
                for service in services(terms):
                    _add(made, service, reader)
        self.groups: tuple[Group, ...] = (*groups, *made.values())
        for node in nodes:
            node.overlaps[nodes] = self

    def forget(self) -> None:
        """Not be found any more."""
        for node in self.nodes:
            node.overlaps.pop(self.nodes, None)


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
