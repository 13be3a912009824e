"""What the other workers want: their filters, and the routes that depend on these.

An index of its own beside that of the local subscriptions: what only others want costs
the log's delivery nothing, and a local filter's groups do not change with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lyredb.delivery.filters import INTERNAL, FilterIndex, Levels, parse_filter

if TYPE_CHECKING:
    from lyredb.delivery.peers.peer import Peer
    from lyredb.delivery.routes import Route, RouteTable


class Wish:
    """One filter that others have.

    Attributes:
        levels: The filter.
        peers: Who has it; not empty.
        routes: The cached routes that it matches.
    """

    __slots__ = ("levels", "peers", "routes")

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self.peers: dict[Peer, None] = {}
        self.routes: dict[Route, None] = {}


class Wishes:
    """The filters of all peers. Saying a thing twice changes nothing."""

    def __init__(self, routes: RouteTable) -> None:
        self._routes = routes
        self._index: FilterIndex[Wish] = FilterIndex()
        self._by_filter: dict[str, Wish] = {}

    def __len__(self) -> int:
        return len(self._by_filter)

    def add(self, filter: str, peer: Peer) -> None:
        """Note that a peer wants what a filter matches.

        Raises:
            InvalidTopic: It is no filter.
        """
        wish = self._by_filter.get(filter)
        if wish is None:
            levels = parse_filter(filter, allow_internal=filter[:1] == INTERNAL)
            wish = self._by_filter[filter] = Wish(levels)
            self._index.add(levels, wish)
            self._routes.drop_matching(levels)
        elif peer not in wish.peers:
            self._routes.drop(wish.routes)
        wish.peers[peer] = None

    def remove(self, filter: str, peer: Peer) -> None:
        """Note that a peer does not want it any more."""
        wish = self._by_filter.get(filter)
        if wish is None or peer not in wish.peers:
            return
        del wish.peers[peer]
        self._routes.drop(wish.routes)
        if not wish.peers:
            del self._by_filter[filter]
            self._index.remove(wish.levels)

    def forget(self, peer: Peer) -> None:
        """Note that a peer wants nothing any more. O(filters of all peers)."""
        for filter in [one for one, wish in self._by_filter.items() if peer in wish.peers]:
            self.remove(filter, peer)

    def matching(self, topic: bytes) -> tuple[Wish, ...]:
        """Return the wishes that match a topic."""
        return tuple(self._index.match(topic)) if self._by_filter else ()


def peers_of(wishes: tuple[Wish, ...]) -> tuple[Peer, ...]:
    """Return who has any of these wishes, each once, in an order that does not vary."""
    if len(wishes) == 1 and len(wishes[0].peers) == 1:
        return tuple(wishes[0].peers)
    found = {peer for wish in wishes for peer in wish.peers}
    return tuple(sorted(found, key=lambda peer: peer.number))
