"""What a client has from its CONNACK on; all of it ends with the connection."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

from msgspec.structs import replace

from lyredb.errors import LyreError
from lyredb.operations.broker_requests import MAX_FILTERS, ClientEntry
from lyredb.plugins.context import Principal
from lyredb.plugins.delivery import Format
from lyredb.protocols.mqtt import backlog, handshake, publishing, subscribing
from lyredb.protocols.mqtt.aliases_out import AliasingWire
from lyredb.protocols.mqtt.backlog import Backlog
from lyredb.protocols.mqtt.durable_outbox import DurableOutbox
from lyredb.protocols.mqtt.encoding import MqttEncoding
from lyredb.protocols.mqtt.entrance import Admitted
from lyredb.protocols.mqtt.grants import Grants
from lyredb.protocols.mqtt.handshake import Terms
from lyredb.protocols.mqtt.keeping import Keeper
from lyredb.protocols.mqtt.outbox import Outbox, Wire
from lyredb.protocols.mqtt.packets import Connect, Disconnect
from lyredb.protocols.mqtt.properties import Property
from lyredb.protocols.mqtt.publishing import Publishing
from lyredb.protocols.mqtt.reasons import Reason
from lyredb.protocols.mqtt.service import Service
from lyredb.protocols.mqtt.statistics import Tally
from lyredb.protocols.mqtt.subscribing import Subscriptions
from lyredb.protocols.mqtt.transport import Transport
from lyredb.resources.in_process import ENCODING as MESSAGES
from lyredb.sessions.stored import SessionState, StoredSession

logger = logging.getLogger("lyredb.mqtt")

VERSION_NAMES: Final = {3: "MQTT 3.1", 4: "MQTT 3.1.1", 5: "MQTT 5"}
"""Protocol versions as people say them."""


class Session:
    """The parts of a connected client.

    Attributes:
        terms: What was agreed on.
        context: Whose rights decide.
        outbox: Messages to the client.
        backlog: What of them waits.
        publishing: Messages from the client.
        since_ms: When it was let in, epoch milliseconds.
        subscriptions: What it listens to.
        epoch: Of the claim of the client identifier.
        will: Published at the end, unless it is discarded before.
        stored: What outlives the connection; None when nothing does.
        expiry_s: For how long, from the end on.
    """

    __slots__ = (
        "_aliasing",
        "backlog",
        "context",
        "epoch",
        "expiry_s",
        "outbox",
        "publishing",
        "since_ms",
        "stored",
        "subscriptions",
        "terms",
        "will",
    )

    def __init__(
        self,
        terms: Terms,
        admitted: Admitted,
        *,
        outbox: Outbox | DurableOutbox,
        backlog: Backlog,
        publishing: Publishing,
        subscriptions: Subscriptions,
        since_ms: int,
        aliasing: AliasingWire | None,
    ) -> None:
        self._aliasing = aliasing
        self.terms = terms
        self.since_ms = since_ms
        self.context = admitted.context
        self.epoch = admitted.epoch
        self.will = admitted.will
        self.will.epoch = admitted.epoch
        self.stored = admitted.stored
        self.expiry_s = terms.expiry_s
        self.outbox = outbox
        self.backlog = backlog
        self.publishing = publishing
        self.subscriptions = subscriptions

    def report(self) -> ClientEntry:
        """What operators are told of this client."""
        return ClientEntry(
            client_id=self.terms.client_id,
            user=self.context.user,
            connected=True,
            address=self.context.address,
            protocol=VERSION_NAMES[self.terms.version],
            since_ms=self.since_ms,
            subscriptions=len(self.subscriptions),
            filters=tuple(self.subscriptions.filters()[:MAX_FILTERS]),
            in_flight=self.outbox.in_flight,
            queued=self.outbox.queued,
            sent=self.outbox.sent,
        )

    def count(self, tally: Tally) -> None:
        """Add what it has counted."""
        outbox = self.outbox
        tally.sent += outbox.sent
        tally.dropped += outbox.dropped
        tally.published_bytes += outbox.sent_bytes
        tally.subscriptions += len(self.subscriptions)
        tally.durable += self.stored is not None

    def greeting(self, service: Service, connect: Connect) -> bytes:
        """The CONNACK."""
        stored = self.stored
        return handshake.acceptance(
            connect,
            self.terms,
            service.limits,
            service.worker,
            is_present=stored is not None and stored.is_present,
            lost="" if stored is None else stored.lost,
        )

    def sentence(self, text: str, beside: int) -> str:
        """The text, or ``""`` when the client must not get it beside so many bytes."""
        if not self.terms.sentences:
            return ""
        return "" if 0 < self.terms.largest < handshake.ROOM_FOR_SENTENCE + beside else text

    def fall_behind(self) -> None:
        """Leave what comes to the log: as many messages wait as may."""
        self.backlog.expect()
        self.subscriptions.fall_behind()

    def leave(self, service: Service, packet: Disconnect) -> None:
        """Take a goodbye: only a normal one discards the will [MQTT-3.14.4-3].

        Raises:
            Violation: 0x82, it may not say what it says.
        """
        handshake.check_disconnect(self.terms, packet)
        if packet.reason == Reason.SUCCESS:
            self.will.discard()
        if packet.properties.has(Property.SESSION_EXPIRY):
            asked = packet.properties.number(Property.SESSION_EXPIRY)
            self.expiry_s = min(asked, service.limits.max_session_expiry_s)
            self.will.expiry_s = self.expiry_s

    def decide_will(self, service: Service) -> None:
        """Let the rights of the user as it is now decide the will: its login is void."""
        account = service.authenticator.by_name(self.context.user)
        if account is None:
            self.will.discard()
        else:
            context = replace(self.context, principal=account.principal)
            self.will.decide_for(service.database.identify(context))

    def is_outdated(self, service: Service, principal: Principal) -> bool:
        """Tell whether the client has to be told apart from others by now; decides its will."""
        mine = self.context.principal
        if mine.name != principal.name or not service.database.is_outdated(mine):
            return False
        self.will.decide_for(service.database.identify(self.context))
        return True

    def write_to(self, transport: Transport) -> None:
        """Send there from now on: to the same client, by way of what traces it or not."""
        if self._aliasing is None:
            self.outbox.write_to(transport)
        else:
            self._aliasing.write_to(transport)

    def access_changed(self, service: Service, principal: Principal) -> None:
        """Withdraw or renew what is kept of the will, as the rights to it are other ones.

        The will itself stays: it is decided again when it is published.
        """
        if self.context.principal.name != principal.name or not self.will.is_left:
            return
        try:
            kept = self.will.prepare()
        except LyreError:
            kept = None
        service.claims.set_will(self.terms.client_id, self.epoch, kept)

    def close(self, service: Service) -> None:
        """Give back everything; the will goes out unless it was discarded.

        The client identifier is free when the will is out: whoever takes over finds it told.
        One with a delay goes to the directory with the identifier.
        """
        client_id, epoch = self.terms.client_id, self.epoch

        def part() -> None:
            self.will.part(lambda delay_ms: service.release(client_id, epoch, delay_ms))

        if self.stored is None:
            self.subscriptions.close()
            part()
        else:
            # Before the subscriptions end: they know how far the client is. What delivery has
            # for it then counts as told, so the session has to get it.
            if isinstance(self.outbox, DurableOutbox):
                self.outbox.stop()
            self._close_stored(self.stored, service, part)
            self.subscriptions.close()
        self.outbox.close()
        self.backlog.close()
        service.counters.sent += self.outbox.sent
        service.counters.dropped += self.outbox.dropped
        service.counters.published_bytes += self.outbox.sent_bytes
        if service.flapping.note_end(self.context.user, client_id):
            logger.warning("mqtt client %r connects and leaves too often: banned", client_id)

    def _close_stored(
        self, stored: StoredSession, service: Service, part: Callable[[], None]
    ) -> None:
        """Write how far the client is; whoever comes next finds it there."""

        def closed(error: LyreError | None) -> None:
            service.end_write()
            if error is not None and stored.state is not SessionState.LOST:
                logger.warning(
                    "mqtt session %d is as it was a second ago: %s", stored.number, error
                )
            part()

        service.begin_write()
        stored.close(self.expiry_s, closed)

    def begin(self) -> None:
        """Go on where the session slept, if it did; the CONNACK was written."""
        if isinstance(self.outbox, DurableOutbox):
            self.outbox.begin()
            self.subscriptions.go_on()


class Owner(backlog.Owner, publishing.Owner, subscribing.Owner, Protocol):
    """The connection, as the parts of its session need it."""

    def on_queue_full(self) -> None:
        """As many messages wait for this client as may."""


def open_session(
    owner: Owner,
    transport: Transport,
    service: Service,
    terms: Terms,
    admitted: Admitted,
    *,
    format: Format,
    content_type: str,
) -> Session:
    """Make the parts of a client that is let in; nothing is sent yet."""
    stored, context = admitted.stored, admitted.context
    encoding = service.encoding(terms.version, format)
    aliasing: AliasingWire | None = None
    if terms.aliases:
        aliasing = AliasingWire(transport, terms.aliases, terms.largest)
    wire = aliasing or transport
    outbox: Outbox | DurableOutbox
    keeper: Keeper | None = None
    if stored is None:
        outbox = _outbox(owner, wire, service, terms, encoding)
        subscriptions = Subscriptions(owner, service, context, terms.version, encoding, outbox)
    else:
        grants = Grants()
        outbox = _durable_outbox(owner, wire, service, terms, encoding, stored, grants)
        keeper = Keeper(stored, outbox, grants)
        subscriptions = Subscriptions(
            owner, service, context, terms.version, MESSAGES, outbox, keeper
        )
    return Session(
        terms,
        admitted,
        outbox=outbox,
        backlog=Backlog(owner, transport, service, outbox, subscriptions.resume),
        publishing=Publishing(
            owner,
            service,
            context,
            terms.version,
            content_type=content_type,
            inbound=None if stored is None else stored.inbound,
        ),
        subscriptions=subscriptions,
        since_ms=service.now_ms(),
        aliasing=aliasing,
    )


def _outbox(
    owner: Owner, wire: Wire, service: Service, terms: Terms, encoding: MqttEncoding
) -> Outbox:
    limits = service.limits
    return Outbox(
        wire,
        encoding=encoding,
        version=terms.version,
        window=terms.window,
        largest=terms.largest,
        buffer_bytes=limits.buffer_bytes,
        max_queued=limits.max_queued,
        max_queued_bytes=limits.max_queued_bytes,
        owner=owner,
    )


def _durable_outbox(
    owner: Owner,
    wire: Wire,
    service: Service,
    terms: Terms,
    encoding: MqttEncoding,
    stored: StoredSession,
    grants: Grants,
) -> DurableOutbox:
    limits = service.limits
    return DurableOutbox(
        wire,
        stored.outbound,
        grants,
        encoding=encoding,
        number=stored.number,
        window=terms.window,
        largest=terms.largest,
        buffer_bytes=limits.buffer_bytes,
        max_queued=limits.max_queued,
        max_queued_bytes=limits.max_queued_bytes,
        owner=owner,
        now_ms=service.now_ms,
    )
