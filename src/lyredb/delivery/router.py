"""Makes routes and paths: which groups a topic has, what each may see, who may publish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lyredb.delivery.admission import Admission, View
from lyredb.delivery.durable import DurableFilters
from lyredb.delivery.group import Bundle, Group
from lyredb.delivery.ingress import Ingress
from lyredb.delivery.peers import Peers
from lyredb.delivery.peers.relay import Relay
from lyredb.delivery.routes import Address, Path, Route, RouteTable, raw_groups
from lyredb.delivery.subscriptions import Subscriptions, groups_of
from lyredb.plugins.context import Principal

_MAX_BUNDLES: Final = 4_096
"""Sets of receivers of the same raw frames; made again when there were too many."""


class Router:
    """Finds the route of a topic, and makes it when there is none."""

    def __init__(
        self,
        admission: Admission,
        subscriptions: Subscriptions,
        routes: RouteTable,
        peers: Peers,
        durable: DurableFilters,
    ) -> None:
        self._admission = admission
        self._subscriptions = subscriptions
        self._routes = routes
        self._peers = peers
        self._durable = durable
        self._bundles: dict[tuple[tuple[Group, ...], Relay | None], Bundle] = {}

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
        targets = self._targets(topic, groups)
        wishes = self._peers.wishes_for(topic)
        is_logged = self._durable.match(topic)
        route = Route(topic, address, nodes, overlap, targets, wishes, is_logged=is_logged)
        self._routes.add(route)
        return route

    def _targets(self, topic: bytes, groups: Sequence[Group]) -> tuple[tuple[Group, View], ...]:
        """The groups whose principal may read the topic, those with equal frames adjacent.

        Equal views are one object: who distributes tells them apart by identity.
        """
        views: dict[tuple[Principal, str], View | None] = {}
        alike: dict[View, View] = {}
        targets: dict[object, list[tuple[Group, View]]] = {}
        for group in groups:
            who = (group.service.principal, group.service.protocol)
            if who not in views:
                seen = self._admission.read(*who, topic)
                views[who] = None if seen is None else alike.setdefault(seen, seen)
            view = views[who]
            if view is not None:
                targets.setdefault((group.frame_key, view), []).append((group, view))
        return tuple(target for adjacent in targets.values() for target in adjacent)

    def path(self, ingress: Ingress, topic: bytes) -> Path:
        """Make and cache a path, closed.

        Raises:
            InvalidTopic, UnknownTopic, NotAuthorised: See `Admission.publish`.
        """
        destination = self._admission.publish(ingress.principal, ingress.protocol, topic)
        route = self.route(topic, (destination.slot, destination.key))
        relay = self.relay(ingress, route)
        solo0 = self._solo(route, ingress, relay, 0)
        solo1 = solo2 = None
        if not route.is_logged:
            solo1 = self._solo(route, ingress, relay, 1)
            solo2 = self._solo(route, ingress, relay, 2)
        solos = (solo0, solo1, solo2)
        path = Path(ingress, route, destination, solos, relay)
        route.paths.append(path)
        ingress.paths[topic] = path
        return path

    def relay(self, ingress: Ingress, route: Route) -> Relay | None:
        """Return what forwards messages of an ingress, ``None`` when nobody else wants them."""
        if ingress.lane is None or not route.wishes:
            return None
        return self._peers.relay(ingress.lane, route.wishes)

    def _solo(self, route: Route, ingress: Ingress, relay: Relay | None, qos: int) -> Group | None:
        """The one group that raw frames have to be appended to; a bundle for several."""
        groups = raw_groups(route, ingress.raw, qos)
        if groups is None or (relay is not None and not relay.lane.carries_raw):
            return None
        if relay is None and len(groups) < 2:
            return groups[0] if groups else None
        key = (groups, relay)
        bundle = self._bundles.get(key)
        if bundle is None:
            if len(self._bundles) >= _MAX_BUNDLES:
                self._bundles.clear()
            bundle = self._bundles[key] = Bundle(groups, relay)
        return bundle
