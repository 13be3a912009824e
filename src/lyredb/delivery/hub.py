"""The hub: subscribers join filters, messages and log entries come in, batches go out.

One hub per event loop, used from that loop only. Its invariants:

* A message goes to those who were joined when it was pushed: every edit of the
  subscriptions writes out first what waits (`flush`).
* A subscriber gets one copy of a message however many of its filters match.
* What a subscriber gets is in the order in which it was pushed, over all topics.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from lyredb.delivery.admission import ALL, Admission, Topics, View
from lyredb.delivery.durable import DurableFilters
from lyredb.delivery.entries import Entries
from lyredb.delivery.fence import FAILED, HeldMessage, Hold
from lyredb.delivery.group import Group
from lyredb.delivery.ingress import Ingress
from lyredb.delivery.message import Message, RecordTable
from lyredb.delivery.outbox import Outbox
from lyredb.delivery.peers import DEFAULT_LIMITS, LANE_TYPES, OTHER_TYPE, PeerLimits, Peers
from lyredb.delivery.pressure import CallLater, Pressure, Timer
from lyredb.delivery.router import Router
from lyredb.delivery.routes import Address, Path, Route, RouteTable
from lyredb.delivery.statistics import HubStatistics
from lyredb.delivery.subscriptions import Subscriptions
from lyredb.delivery.terms import EVERY_CASE, Terms
from lyredb.plugins.context import Principal
from lyredb.plugins.delivery import Publisher, Subscriber
from lyredb.storage.entry import Entry

__all__ = ["Hub", "HubStatistics", "Ingress", "Path", "Terms"]

_MAX_INGRESSES: Final = 10_000
"""Classes of publishers that are shared; about 1 kB each with a path."""


class Hub:
    """See the module.

    Attributes:
        position: The last log entry that was delivered or passed over.
        log_id: Of the log that entries come from, hexadecimal; set by the tail.
        outbox: What waits in this tick.
        peers: The other workers of the node.
        durable: The filters of sessions that outlive their connections.
        tail_may_lead: The tail may tell two writes before the reply to the first has come,
            since the writer is another process.
    """

    def __init__(
        self,
        admission: Admission,
        topics: Topics,
        tables: Mapping[int, RecordTable],
        *,
        schedule_flush: Callable[[Callable[[], None]], object],
        now: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
        peer_limits: PeerLimits = DEFAULT_LIMITS,
    ) -> None:
        """Make a hub without subscribers.

        Args:
            admission: Decides access by topic.
            topics: Knows the topics of a record.
            tables: By slot; looked up at each use, so it may grow.
            schedule_flush: Calls its argument later in this tick of the loop, after
                all reads (``loop.call_soon``).
            now: A monotonic clock in seconds.
            call_later: As ``loop.call_later``; by default that of the running loop.
            peer_limits: What may wait for other workers, and what they are told.
        """
        call_later = call_later or _call_later
        self._pressure = Pressure(now, call_later)
        self.outbox = Outbox(schedule_flush, self._pressure)
        self._routes = RouteTable()
        self.peers = Peers(
            self,
            self._routes,
            self._pressure,
            schedule=schedule_flush,
            call_later=call_later,
            limits=peer_limits,
        )
        self._subscriptions = Subscriptions(
            self._routes,
            self.peers.interest,
            flush=self.outbox.flush,
            on_gone=self._pressure.forget,
        )
        self.durable = DurableFilters(self._routes, self.outbox.flush)
        self._router = Router(
            admission, self._subscriptions, self._routes, self.peers, self.durable
        )
        self._log = Entries(topics, tables, self._subscriptions, self._router)
        self._ingresses: dict[tuple[Principal, str, str, str, bool], Ingress] = {}
        self._holds: dict[Address, Hold] = {}
        self._entries = 0
        self.position = 0
        self.log_id = ""
        self.tail_may_lead = False

    # Subscriptions

    def join(self, filter: str, subscriber: Subscriber, terms: Terms) -> None:
        """Add a subscriber to a filter; messages pushed from now on are for it too.

        Joining a filter again replaces the terms.

        Args:
            filter: A topic filter; one that begins with NUL is internal.
            subscriber: Hashable; compared by identity.
            terms: Encoding, principal and protocol must be those of the subscriber's
                other filters.

        Raises:
            InvalidTopic: The filter is not legal.
            ValueError: Encoding, principal or protocol differ.
        """
        self._subscriptions.join(filter, subscriber, terms)

    def rejoin(self, filter: str, subscriber: Subscriber, terms: Terms) -> None:
        """Replace the terms of a subscriber that is joined to the filter.

        Raises:
            KeyError: It is not joined.
            ValueError: As `join`.
        """
        self._subscriptions.rejoin(filter, subscriber, terms)

    def leave(self, filter: str, subscriber: Subscriber) -> None:
        """Take a subscriber out of a filter; it gets what was pushed before.

        Leaving a filter that it is not joined to does nothing.
        """
        self._subscriptions.leave(filter, subscriber)

    def set_aside(
        self, filter: str, subscriber: Subscriber, stand_in: Subscriber, terms: Terms
    ) -> bool:
        """Put a stand-in in the place of a subscriber that is joined to a filter.

        The subscriber gets what was pushed before, which is all that the log has up to
        `position`; the stand-in gets what is pushed from now on; nothing comes between the
        two. Whoever waits for the subscriber goes on, and the credit that it has used up
        stays used when it joins again. It ends with `leave`, like a joined one.

        Args:
            filter: As it was joined.
            subscriber: Who makes room.
            stand_in: Joined to nothing else.
            terms: Of the stand-in.

        Returns:
            False when the subscriber is not joined, any more or at all.
        """
        return self._subscriptions.set_aside(filter, subscriber, stand_in, terms)

    def drained(self, subscriber: Subscriber) -> None:
        """Read again from the publishers that wait for this subscriber."""
        self._pressure.release(subscriber)

    def close_all(self, reason: Exception) -> None:
        """Close every subscriber, after what waits was written."""
        self.flush()
        for subscriber in self._subscriptions.subscribers:
            subscriber.close(reason)

    def flush_to_peers(self) -> None:
        """Let other workers have what was published by now, before a write that follows it.

        They tell what they have been sent before they tell more of the log
        (`Peers.take_waiting`), so a message stays before the write that came after it.
        """
        self.outbox.flush()
        self.peers.flush()

    def flush(self) -> None:
        """Write all that waits now, instead of at the end of the tick."""
        self.outbox.flush()

    # What is cached

    def access_changed(self, principal: Principal) -> None:
        """Ask again what principals of this name may read and publish."""
        self.flush()
        self._routes.drop(
            route
            for route in self._routes.by_topic.values()
            if any(path.ingress.principal.name == principal.name for path in route.paths)
            or any(
                group.service.principal.name == principal.name
                for node in route.nodes
                for group in node.groups
            )
        )

    def topics_changed(self) -> None:
        """Ask again which topics records have: a table was added or exported elsewhere."""
        self.flush()
        self._routes.drop_all()
        self._log.forget()

    def statistics(self) -> HubStatistics:
        """What the hub has and has done; see `HubStatistics`."""
        return HubStatistics(
            subscribers=len(self._subscriptions.subscribers),
            filters=self._subscriptions.filters,
            routes=len(self._routes.by_topic),
            holds=len(self._holds),
            aside=self._subscriptions.aside,
            waiting=self._pressure.waiting,
            frames=self.outbox.frames,
            writes=self.outbox.writes,
            pauses=self._pressure.pauses,
            entries=self._entries,
        )

    # Direct messages

    def ingress(
        self,
        principal: Principal,
        protocol: str,
        raw: str = "",
        content_type: str = "",
        *,
        is_relayed: bool = False,
    ) -> Ingress:
        """Return the way in that all publishers of this class share.

        Args:
            principal: Whose rights decide.
            protocol: As in `lyredb.plugins.context.Context`.
            raw: The kind of frame that they may hand over unparsed
                (`lyredb.plugins.delivery.Encoding.raw`), ``""`` for none.
            content_type: Of payloads in such frames that say none. Any that is not of
                a format of ours counts as one: other workers get these messages packed.
            is_relayed: They come from another worker, and go to none.
        """
        known_type = content_type if content_type in LANE_TYPES else OTHER_TYPE
        key = (principal, protocol, raw, known_type, is_relayed)
        ingress = self._ingresses.get(key)
        if ingress is None:
            lane = None if is_relayed else self.peers.lane(protocol, raw, known_type)
            ingress = Ingress(self, principal, protocol, raw, known_type, lane)
            if len(self._ingresses) >= _MAX_INGRESSES:
                self._forget_ingresses()
            self._ingresses[key] = ingress
        return ingress

    def _forget_ingresses(self) -> None:
        """Share no ingress of before any more.

        Those of single users and connections come, and nobody says when they go. Who still
        has one goes on with it: its paths are made anew by its next messages.
        """
        self.flush()
        self._routes.drop_all()
        self._ingresses.clear()

    def make_path(self, ingress: Ingress, topic: bytes) -> Path:
        """Make and cache a path; see `Ingress.path`."""
        path = self._router.path(ingress, topic)
        if path.route.address not in self._holds:
            path.open()
        return path

    def distribute(
        self,
        route: Route,
        message: Message,
        publisher: Publisher | None,
        raw_kind: str,
        raw: bytes,
        raw_id: int,
    ) -> None:
        """Give a message to the groups of a route; frames are made once per service."""
        outbox = self.outbox
        qos = message.qos
        if not raw_kind or message.retain:
            raw = b""
        made_for: Group | None = None
        made_view: View = ALL
        frame, id_at = b"", 0
        parts: dict[View, Message | None] | None = None
        for group, view in route.targets:
            if group.cases != EVERY_CASE and not group.admits(message):
                continue
            seen: Message | None = message
            if view is not ALL:
                if parts is None:
                    parts = {}
                if view not in parts:
                    parts[view] = view.apply(message)
                seen = parts[view]
            if seen is None:
                continue
            if raw and view is ALL and group.raw == raw_kind and group.qos >= qos:
                borders = (0, (len(raw),), (raw_id,)) if raw_id else None
                outbox.add_run(group, raw, 1, publisher, borders)
                continue
            if group.takes_messages:
                outbox.add_message(group, seen, publisher)
                continue
            if made_for is None or view is not made_view or made_for.frame_key != group.frame_key:
                service = group.service
                frame, id_at = group.encoding.frame(
                    seen,
                    qos=min(qos, group.qos),
                    retain=service.retain_as_published and seen.retain,
                    ids=service.ids,
                )
                made_for, made_view = group, view
            borders = (0, (len(frame),), (id_at,)) if id_at else None
            outbox.add_run(group, frame, 1, publisher, borders)

    # The fence

    def push_slowly(
        self, path: Path, message: Message, publisher: Publisher | None, raw: bytes, raw_id: int
    ) -> None:
        """Push on a path that is not open: it is out of date, or its record is held."""
        if path.destination.kind != "direct":
            raise ValueError(f"messages to {path.topic!r} are {path.destination.kind}, not direct")
        hold = self._holds.get(path.route.address)
        # What comes from another worker has stood behind its publisher's writes there, and the
        # tail has told those here. Behind a write of this worker, which is somebody else's, the
        # publisher's next write could overtake it.
        if hold is not None and path.ingress.lane is not None:
            hold.wait(HeldMessage(path, message, publisher, raw, raw_id))
            return
        self._distribute_late(path, message, publisher, raw, raw_id)

    def _distribute_late(
        self, path: Path, message: Message, publisher: Publisher | None, raw: bytes, raw_id: int
    ) -> None:
        """Distribute and forward a message whose path may have been made before an edit."""
        route, relay = path.route, path.relay
        if route.is_dropped:
            route = self._router.route(path.topic, route.address)
            relay = self._router.relay(path.ingress, route)
        self.distribute(route, message, publisher, path.ingress.raw, raw, raw_id)
        if relay is not None:
            relay.push(message, publisher, raw)

    def hold(self, slot: int, key: bytes) -> None:
        """Let direct messages of a record wait for a write that is being sent.

        Each call is answered by one `release`, in the same order per record.
        """
        address = (slot, key)
        hold = self._holds.get(address)
        if hold is None:
            hold = self._holds[address] = Hold()
            self._each_path(address, Path.close)
        hold.expect()

    def take_held(self, slot: int, key: bytes) -> list[HeldMessage]:
        """Take the messages that wait behind the last write of a record, if they are wanted.

        Called before the next write of it. Another worker reads both writes from the log,
        perhaps at once, and so does this one where its tail may lead; what was published
        between them has to go through it as well. Whoever takes them sends them there, or
        gives them back by `push_held`.
        """
        hold = self._holds.get((slot, key))
        if hold is None or not hold.ends_with_message or not self._must_be_logged((slot, key)):
            return []
        taken = hold.take_last()
        hold.resume()
        return taken

    def _must_be_logged(self, address: Address) -> bool:
        """Whether somebody would get what was published between two writes in another place."""
        routes = self._routes.by_address.get(address, {})
        if self.tail_may_lead and any(route.targets for route in routes.values()):
            return True
        return self.peers.want(routes)

    def push_held(self, held: HeldMessage) -> None:
        """Push a message that `take_held` gave and that could not be logged."""
        self.push_slowly(held.path, held.message, held.publisher, held.raw, held.raw_id)

    def release(self, slot: int, key: bytes, seq: int) -> None:
        """Let the messages behind a write go once the tail has passed it.

        Args:
            slot: As in `hold`.
            key: As in `hold`.
            seq: The write's position; 0 when nothing was written: they go at once.
        """
        address = (slot, key)
        hold = self._holds[address]
        hold.resolve(seq)
        if seq == FAILED or seq <= self.position:
            self._pass(address, hold)

    def _pass(self, address: Address, hold: Hold) -> None:
        if hold.has_queue:
            for held in hold.pass_to(self.position):
                self._distribute_late(
                    held.path, held.message, held.publisher, held.raw, held.raw_id
                )
        if hold.is_over(self.position):
            self._end_hold(address)
        hold.resume()

    def _end_hold(self, address: Address) -> None:
        del self._holds[address]
        self._each_path(address, Path.open)

    def _each_path(self, address: Address, act: Callable[[Path], None]) -> None:
        routes = self._routes.by_address.get(address)
        if routes:
            for route in routes.values():
                for path in route.paths:
                    act(path)

    # The log

    def deliver(self, entry: Entry) -> None:
        """Tell an entry of the log to whoever listens; called in order of positions."""
        if self.wants(entry.kind, entry.slot):
            self._tell(entry)
        self.pass_over(entry)

    def deliver_message(self, seq: int, stored: bytes, address: Address) -> bool:
        """As `deliver`, for a message that may be wanted, as the log has it.

        Returns:
            False when it was not told, as its record is not known here: `deliver` tells it.
        """
        record = self._log.known(address)
        table = self._log.table(address[0])
        if record is None or table is None:
            return False
        for route in record.routes:
            if route.targets:
                self._entries += 1
                message = Message.of_stored(seq, stored, table, route.topic, self.log_id, record.id)
                self.distribute(route, message, None, "", b"", 0)
        self.pass_by(seq, address)
        return True

    def pass_over(self, entry: Entry) -> None:
        """Note that an entry has been told, or never will be."""
        self.pass_by(entry.seq, (entry.slot, entry.key))

    def pass_by(self, seq: int, address: Address) -> bool:
        """As `pass_over`, for an entry that was not decoded since nobody wants it.

        Returns:
            Whether messages that had waited for it were let go.
        """
        self.position = seq
        hold = self._holds.get(address)
        if hold is None:
            return False
        if hold.is_over(seq):  # nearly always: nothing has waited
            self._end_hold(address)
            return False
        if hold.is_due(seq):
            self._pass(address, hold)
            return True
        return False

    def wants(self, kind: int, slot: int) -> bool:
        """Whether any filter could match a topic of the table; cheap, errs towards yes."""
        return self._log.wants(kind, slot)

    def _tell(self, entry: Entry) -> None:
        table = self._log.table(entry.slot)
        if table is None:
            return
        record = self._log.record(entry)
        for route in record.routes:
            if route.targets:
                self._entries += 1
                message = Message.of_entry(entry, table, route.topic, self.log_id, id=record.id)
                self.distribute(route, message, None, "", b"", 0)


def _call_later(delay_s: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, callback)
