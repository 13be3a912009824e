"""Makes routes and paths: which groups a topic has, what each may see, who may publish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lyredb.delivery.admission import Admission, View
from lyredb.delivery.group import Group
from lyredb.delivery.ingress import Ingress
from lyredb.delivery.routes import Address, Path, Route, RouteTable, raw_groups
from lyredb.delivery.subscriptions import Subscriptions, groups_of
from lyredb.plugins.context import Principal

_MAX_BUNDLES: Final = 4_096
"""Sets of groups that get the same raw frames; made again when there were too many."""


class Router:
    """Finds the route of a topic, and makes it when there is none."""

    def __init__(
        self, admission: Admission, subscriptions: Subscriptions, routes: RouteTable
    ) -> None:
        self._admission = admission
        self._subscriptions = subscriptions
        self._routes = routes
        self._bundles: dict[tuple[Group, ...], Group] = {}

    def route(self, topic: bytes, address: Address) -> Route:
        """Return the topic's route.

        Args:
            topic: On the wire.
            address: The record that it names.
        """
        route = self._routes.by_topic.get(topic)
        if route is not None:
            return route
        if self._routes.is_full:
            self._routes.drop_all()
        nodes = self._subscriptions.nodes_of(topic)
        groups, overlap = groups_of(nodes)
        route = Route(topic, address, nodes, overlap, self._targets(topic, groups))
        self._routes.add(route)
        return route

    def _targets(self, topic: bytes, groups: Sequence[Group]) -> tuple[tuple[Group, View], ...]:
        """The groups whose principal may read the topic, those with equal frames adjacent."""
        views: dict[tuple[Principal, str], View | None] = {}
        targets: dict[object, list[tuple[Group, View]]] = {}
        for group in groups:
            who = (group.service.principal, group.service.protocol)
            if who not in views:
                views[who] = self._admission.read(*who, topic)
            view = views[who]
            if view is not None:
                targets.setdefault(group.frame_key, []).append((group, view))
        return tuple(target for alike in targets.values() for target in alike)

    def path(self, ingress: Ingress, topic: bytes) -> Path:
        """Make and cache a path, closed.

        Raises:
            InvalidTopic, UnknownTopic, NotAuthorised: See `Admission.publish`.
        """
        destination = self._admission.publish(ingress.principal, ingress.protocol, topic)
        route = self.route(topic, (destination.slot, destination.key))
        solos = (self._solo(route, ingress.raw, 0), self._solo(route, ingress.raw, 1))
        path = Path(ingress, route, destination, solos)
        route.paths.append(path)
        ingress.paths[topic] = path
        return path

    def _solo(self, route: Route, raw: str, qos: int) -> Group | None:
        groups = raw_groups(route, raw, qos)
        if not groups:
            return None
        if len(groups) == 1:
            return groups[0]
        bundle = self._bundles.get(groups)
        if bundle is None:
            if len(self._bundles) >= _MAX_BUNDLES:
                self._bundles.clear()
            bundle = self._bundles[groups] = Group(groups[0].service, members=groups)
        return bundle
