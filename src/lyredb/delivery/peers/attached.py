"""The workers beside this one, as the hub has them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from lyredb.delivery.peers import wire
from lyredb.delivery.peers.announcing import Announcing
from lyredb.delivery.peers.incoming import RELAYED, Incoming, RawReader
from lyredb.delivery.peers.interest import COARSE_ABOVE, FINE_BELOW, Interest
from lyredb.delivery.peers.link import Link, SocketLink
from lyredb.delivery.peers.notes import Notes
from lyredb.delivery.peers.peer import LIMIT_BYTES, Peer
from lyredb.delivery.peers.relay import Lane, Lanes, Relay
from lyredb.delivery.peers.wishes import Wish, Wishes, peers_of

if TYPE_CHECKING:
    from lyredb.delivery.ingress import Ingress
    from lyredb.delivery.pressure import CallLater, Pressure
    from lyredb.delivery.routes import Route, RouteTable
    from lyredb.plugins.context import Principal

_log = logging.getLogger(__name__)


class Host(Protocol):
    """What peers need of their hub."""

    position: int

    def ingress(
        self,
        principal: Principal,
        protocol: str,
        raw: str = "",
        content_type: str = "",
        *,
        is_relayed: bool = False,
    ) -> Ingress:
        """See `lyredb.delivery.hub.Hub.ingress`."""


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """What is bounded between workers.

    Attributes:
        buffer_bytes: What may wait for one worker (`lyredb.delivery.peers.peer`).
        coarse_above: More filters below one parent are announced as one
            (`lyredb.delivery.peers.interest`).
        fine_below: Less are announced one by one again.
    """

    buffer_bytes: int = LIMIT_BYTES
    coarse_above: int = COARSE_ABOVE
    fine_below: int = FINE_BELOW


DEFAULT_LIMITS: Final = PeerLimits()


@dataclass(frozen=True, slots=True)
class PeersStatistics:
    """What there is between this worker and the others, and what went over it.

    Attributes:
        attached: Workers.
        silent: Those that do not answer.
        interest: Filters that the others know of here.
        coarse: Those of them that stand for many.
        wishes: Different filters of the others.
        forwarded: Messages given to others, each counted once per worker.
        batches: Writes in which they went.
        dropped: Messages of QoS 0 that a slow worker did not get.
        dropped_acknowledged: As ``dropped`` of QoS 1 and 2.
        received: Messages that came from others.
        refused: Those among them that could not be told here.
        waiting_bytes: What waits for slow workers now.
    """

    attached: int
    silent: int
    interest: int
    coarse: int
    wishes: int
    forwarded: int
    batches: int
    dropped: int
    dropped_acknowledged: int
    received: int
    refused: int
    waiting_bytes: int


class Peers:
    """Attaches workers, forwards to them, and takes what they forward.

    Attributes:
        interest: What this worker wants of the others.
        notes: Who takes notes, and who is told of workers.
        on_broken: Called with a sentence when a stream to a worker has failed here, and
            not because that worker ended. The two are apart then, and what each of them
            publishes never reaches the other: whoever is told has to put an end to that.
    """

    def __init__(
        self,
        host: Host,
        routes: RouteTable,
        pressure: Pressure,
        *,
        schedule: Callable[[Callable[[], None]], object],
        call_later: CallLater,
        limits: PeerLimits = DEFAULT_LIMITS,
    ) -> None:
        """Have no peers.

        Args:
            host: The hub.
            routes: What changes when a peer's wishes do.
            pressure: Pauses publishers for slow peers.
            schedule: Calls its argument later in this tick.
            call_later: As ``loop.call_later``.
            limits: What may wait, and what is announced.
        """
        self._host = host
        self._pressure = pressure
        self._schedule = schedule
        self._limit_bytes = limits.buffer_bytes
        self._is_scheduled = False
        self._peers: dict[int, Peer] = {}
        self._incoming: dict[int, Incoming] = {}
        self._links: dict[Peer, Link] = {}
        self._feeding: set[Peer] = set()
        self._dirty: list[Peer] = []
        self._readers: dict[str, RawReader] = {}
        self._lanes = Lanes()
        self._wishes = Wishes(routes)
        self._advance_to: Callable[[int], None] | None = None
        self._gone = _Totals()
        self.on_broken: Callable[[str], None] | None = None
        self.notes = Notes()
        self.interest = Interest(
            self._wake, coarse_above=limits.coarse_above, fine_below=limits.fine_below
        )
        self._announcing = Announcing(self.interest, self._peers, call_later)

    # Attaching

    def attach(self, number: int, sock: socket.socket) -> None:
        """Exchange messages with another worker from now on; on the running loop.

        A worker that is attached under the number is detached first.

        Args:
            number: The worker's.
            sock: Connected to it (a stream); owned by this from now on.
        """
        self.attach_link(number, SocketLink(sock, asyncio.get_running_loop()))

    def attach_link(self, number: int, link: Link) -> None:
        """As `attach`, over any link."""
        self.detach(number)
        peer = Peer(number, link, self._pressure, self._touch, limit_bytes=self._limit_bytes)
        incoming = Incoming(
            advance_to=self._follow_log,
            ingress_of=self._ingress_of,
            readers=self._readers,
            on_interest=lambda interest: self._take_interest(peer, interest),
            on_known=lambda known: self._announcing.acknowledge(peer, known),
            on_note=lambda note: self.notes.take(number, note),
        )
        self._peers[number] = peer
        self._incoming[number] = incoming
        self._links[peer] = link
        link.begin(
            lambda data: self._feed(peer, incoming, data), peer.drained, lambda: self._lost(peer)
        )
        self._announcing.attach(peer)
        self.notes.tell_attached(number)

    def detach(self, number: int) -> None:
        """Forget a worker; what waits for it is lost. Does nothing when there is none."""
        peer = self._peers.pop(number, None)
        if peer is None:
            return
        peer.close()
        del self._links[peer]
        self._wishes.forget(peer)
        self._lanes.forget(peer)
        self._gone.add(peer, self._incoming.pop(number))
        self._announcing.settle()
        self.notes.tell_detached(number)

    def close(self) -> None:
        """Detach all."""
        for number in list(self._peers):
            self.detach(number)

    def note(self, number: int, kind: str, body: bytes) -> None:
        """Tell a worker something behind all messages of now; lost when it is not there."""
        peer = self._peers.get(number)
        if peer is not None:
            self.flush()
            peer.send([wire.note_frame(wire.Note(kind, body))])

    def _lost(self, peer: Peer) -> None:
        if self._peers.get(peer.number) is peer:
            self.detach(peer.number)

    def _break_off(self, peer: Peer) -> None:
        self._lost(peer)
        if self.on_broken is not None:
            self.on_broken(f"what worker {peer.number} sent failed")

    def follow(self, advance_to: Callable[[int], None]) -> None:
        """Take what tells the log up to a position; called by the tail."""
        self._advance_to = advance_to

    def _follow_log(self, position: int) -> None:
        if self._advance_to is not None and position > self._host.position:
            self._advance_to(position)

    # What is wanted

    def when_known(self, callback: Callable[[], None]) -> None:
        """Call back once every filter wanted by now is known to all attached workers.

        At once when they know already, or when there are none. A worker that is
        detached or silent for 2 s does not count, so it never hangs. As everybody
        begins with what it wants itself, this worker has then been told, too, what the
        others wanted when they were attached.
        """
        self._announcing.when_known(callback)

    def _take_interest(self, peer: Peer, change: wire.Interest) -> None:
        if not peer.is_attached:
            return
        for filter in change.unwanted:
            self._wishes.remove(filter, peer)
        for filter in change.wanted:
            self._wishes.add(filter, peer)
        if change.number:
            peer.send([wire.known_frame(change.number)])

    # Forwarding

    @staticmethod
    def want(routes: Mapping[bytes, Route]) -> bool:
        """Tell whether any other worker wants the messages of one of these topics."""
        return any(route.wishes for route in routes.values())

    def lane(self, protocol: str, raw: str, content_type: str) -> Lane:
        """Return what tells another worker how to read such publishers' messages."""
        return self._lanes.lane(protocol, raw, content_type)

    def wishes_for(self, topic: bytes) -> tuple[Wish, ...]:
        """Return the filters of others that match a topic."""
        return self._wishes.matching(topic)

    def relay(self, lane: Lane, wishes: tuple[Wish, ...]) -> Relay | None:
        """Return what forwards to those who have one of these wishes, ``None`` for nobody."""
        return self._lanes.relay(lane, peers_of(wishes)) if wishes else None

    def _touch(self, peer: Peer) -> None:
        self._dirty.append(peer)
        self._wake()

    def _wake(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(self._flush)

    def _flush(self) -> None:
        """End of the tick: one batch per peer, and what has changed of the interest."""
        self._is_scheduled = False
        dirty, self._dirty = self._dirty, []
        for peer in dirty:
            peer.flush(self._host.position)
        self._announcing.flush()

    # What comes

    def read_raw(self, kind: str, reader: RawReader) -> None:
        """Have frames of a kind that come from other workers read by this.

        Args:
            kind: As in `lyredb.plugins.delivery.Encoding.raw`.
            reader: Gets an ingress and whole frames, which were valid when they came;
                feeds them and returns how many were refused.
        """
        self._readers[kind] = reader

    def _ingress_of(self, lane: wire.PackedLane) -> Ingress:
        return self._host.ingress(
            RELAYED, lane.protocol, lane.raw, lane.content_type, is_relayed=True
        )

    def take_waiting(self) -> None:
        """Tell what other workers have sent by now; called before the log is told further.

        A message that was published before a write was sent before it, so it is here when
        the write can be read. Whoever is being read from already is passed over: of its
        own, what comes later was sent later than what is being read.
        """
        for peer, link in list(self._links.items()):
            if peer not in self._feeding:
                link.read_waiting()

    def flush(self) -> None:
        """Send what waits for other workers now, instead of at the end of the tick."""
        if self._dirty:
            self._flush()

    def _feed(self, peer: Peer, incoming: Incoming, data: bytes) -> None:
        self._feeding.add(peer)
        try:
            incoming.feed(data)
        except Exception:
            # Whatever it was, what follows cannot be read: the worker that is attached
            # next under the number starts anew, and this one counts as gone.
            _log.exception("worker %d is detached: what it sent failed", peer.number)
            self._break_off(peer)
        finally:
            self._feeding.discard(peer)

    def statistics(self) -> PeersStatistics:
        """What there is and what went; see `PeersStatistics`."""
        totals = _Totals()
        totals.take(self._gone)
        for number, peer in self._peers.items():
            totals.add(peer, self._incoming[number])
        return PeersStatistics(
            attached=len(self._peers),
            silent=sum(peer.is_silent for peer in self._peers.values()),
            interest=len(self.interest.announced),
            coarse=self.interest.coarse,
            wishes=len(self._wishes),
            forwarded=totals.forwarded,
            batches=totals.batches,
            dropped=totals.dropped,
            dropped_acknowledged=totals.dropped_acknowledged,
            received=totals.received,
            refused=totals.refused,
            waiting_bytes=sum(peer.waiting_bytes for peer in self._peers.values()),
        )


class _Totals:
    """Sums over workers, those that are gone included: counters only grow."""

    def __init__(self) -> None:
        self.forwarded = self.batches = self.dropped = self.dropped_acknowledged = 0
        self.received = self.refused = 0

    def add(self, peer: Peer, incoming: Incoming) -> None:
        self.forwarded += peer.forwarded
        self.batches += peer.batches
        self.dropped += peer.dropped
        self.dropped_acknowledged += peer.dropped_acknowledged
        self.received += incoming.received
        self.refused += incoming.refused

    def take(self, other: _Totals) -> None:
        self.forwarded += other.forwarded
        self.batches += other.batches
        self.dropped += other.dropped
        self.dropped_acknowledged += other.dropped_acknowledged
        self.received += other.received
        self.refused += other.refused
