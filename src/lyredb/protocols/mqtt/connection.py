"""One MQTT connection: bytes in, bytes out, and its life from CONNECT to close.

Works on anything with the few methods of `Transport`. No task and no await per
message: everything happens in `feed`, in callbacks of the writer and of delivery, and
while a client is let in (`entrance`), which is the one thing that waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from lyredb.errors import (
    LyreError,
    NotAuthorised,
    ServerStopping,
    SessionTakenOver,
    SlowSubscriber,
)
from lyredb.formats import JSON
from lyredb.operations.broker_requests import ClientEntry
from lyredb.plugins.context import Principal
from lyredb.plugins.delivery import Batch, Format, Message
from lyredb.protocols.mqtt import handlers, handshake
from lyredb.protocols.mqtt.durable_outbox import DurableOutbox
from lyredb.protocols.mqtt.entrance import Admitted, Entrance, Origin
from lyredb.protocols.mqtt.errors import answer_for, sentence_of
from lyredb.protocols.mqtt.intake import Intake
from lyredb.protocols.mqtt.life import CONNECTED, ENDED, State
from lyredb.protocols.mqtt.outbox import Outbox
from lyredb.protocols.mqtt.packets import Connect, Disconnect
from lyredb.protocols.mqtt.reasons import Reason, Violation
from lyredb.protocols.mqtt.service import LINGER_S, Service
from lyredb.protocols.mqtt.session import Session, open_session
from lyredb.protocols.mqtt.silence import Silence
from lyredb.protocols.mqtt.statistics import Tally
from lyredb.protocols.mqtt.tracing import Tap, tapped
from lyredb.protocols.mqtt.transport import Transport
from lyredb.protocols.mqtt.wheel import Wheel
from lyredb.security.authenticator import Account
from lyredb.security.elsewhere import watch_end

logger = logging.getLogger("lyredb.mqtt")


class Connection:
    """Speaks MQTT with one client; a `Subscriber` and a `Publisher` for delivery.

    Attributes:
        due: The tick at which the wheel looks at this connection.
        heard: The tick at which something came.

    Args:
        transport: Where bytes go.
        service: What all connections share.
        address: The peer's, for logs.
        host: The same without a port; failed logins are counted by it.
        account: Whom the listener knows the peer to be; used when the CONNECT has no
            credentials. None when it does not know.
        format: What structured values are sent as.
        content_type: Of the client's payloads that say none, ``""`` to look at them.
    """

    __slots__ = (
        "_answers_scheduled",
        "_clear_outbox",
        "_entrance",
        "_format",
        "_intake",
        "_origin",
        "_service",
        "_session",
        "_silence",
        "_state",
        "_tap",
        "_transport",
        "_watches",
        "due",
        "heard",
    )

    def __init__(
        self,
        transport: Transport,
        service: Service,
        *,
        address: str = "",
        host: str = "",
        account: Account | None = None,
        format: Format = JSON,
        content_type: str = "",
    ) -> None:
        self.due = -1
        self.heard = 0
        self._transport = transport
        self._service = service
        self._origin = Origin(address, host or address, account, content_type)
        self._format = format
        self._state = State.CONNECTING
        self._entrance: Entrance | None = None
        self._session: Session | None = None
        self._clear_outbox: Outbox | None = None  # while nothing keeps it from writing
        self._intake = Intake(transport, self, service.turn)
        self._silence = Silence()
        self._tap: Tap | None = None
        self._answers_scheduled = False
        self._watches: tuple[Callable[[], None], ...] = ()
        if account is not None and account.name:
            self.watch(account.name)
        service.connections.add(self)
        service.wheel.put(self, Wheel.ticks(service.limits.connect_timeout_s))

    # --- what comes in

    def feed(self, data: bytes) -> None:
        """Take what was read from the peer; in any pieces."""
        service = self._service
        self.heard = service.wheel.tick
        service.counters.received_bytes += len(data)
        if self._state is ENDED:
            return
        self._intake.feed(data)

    def process(self, data: bytes) -> tuple[int, int]:
        """Process whole packets (`intake.Processor`)."""
        left = len(data), 0
        if self._tap is not None:
            self._tap.processing()
        try:
            left = handlers.process(self, self._intake, data, self._service.limits.max_packet_bytes)
        except Violation as violation:
            self._end_by_violation(violation)
        except LyreError as error:
            self.fail(error)
        except Exception:
            self.fail_by_fault()
        self._send_answers()
        if self._tap is not None:
            self._tap.processed(data[: left[0]])
        return left

    def fail_by_fault(self) -> None:
        """End: the edge of a connection, where a fault of ours costs this one only."""
        logger.exception("mqtt connection %s failed", self._origin.address)
        self._end(Reason.UNSPECIFIED_ERROR, "Internal error")

    # --- CONNECT

    @property
    def session(self) -> Session | None:
        """What the client has, once it was let in."""
        return self._session

    def enter(self, connect: Connect) -> None:
        """Let the client in, which takes a while; what follows waits, unread."""
        tap = self._service.tap_for(connect.client_id)
        if tap is not None:
            self.tap(tap)
        self._entrance = Entrance(self, self._service, self._origin, connect)
        self._state = State.ENTERING
        self.pause_reading(State.ENTERING)
        self._entrance.begin()

    def let_in(self, admitted: Admitted) -> None:
        """Become CONNECTED: make what a client needs, and answer (`entrance.Gate`)."""
        self._entrance = None
        service, connect = self._service, admitted.connect
        terms = handshake.agree(connect, service.limits, admitted.client_id)
        self._session = open_session(
            self,
            self._transport,
            service,
            terms,
            admitted,
            format=self._format,
            content_type=self._origin.content_type,
        )
        self._state = CONNECTED
        service.counters.accepted += 1
        stored = admitted.stored
        greeting = self._session.greeting(service, connect)
        if greeting:
            self.answer(greeting)
        else:
            self._close_with(b"")  # no DISCONNECT before a CONNACK either [MQTT-3.14.0-1]
        if stored is not None:
            stored.on_lost = self.close
        if self.is_open:
            self._session.begin()
        if self.is_open:
            wheel, idle_s = service.wheel, service.limits.idle_timeout_s
            self._silence.start(self, wheel, terms.keep_alive_s, idle_s)
        self._choose_ways()
        self.resume_reading(State.ENTERING)

    def refuse(self, version: int, reason: Reason, sentence: str, largest: int = 0) -> None:
        """Answer a CONNECT with no, and close [MQTT-3.2.2-7] (`entrance.Gate`)."""
        if self._state is ENDED:
            return
        self._service.counters.refused_connects += 1
        logger.info(
            "mqtt connect from %s refused: 0x%02X %s", self._origin.address, reason, sentence
        )
        self._close_with(handshake.refusal(version, reason, sentence, largest))

    def on_time(self) -> None:
        """The wheel's call: a timeout, unless the peer was heard of meanwhile."""
        if self._state is ENDED:
            self._transport.abort()
        elif self._session is None:
            logger.info("mqtt connection %s sent no CONNECT in time", self._origin.address)
            self._close_with(b"")
        elif self._silence.is_too_long(
            self, self._service.wheel, is_read=not self._intake.is_paused
        ):
            self._end(*self._silence.verdict)

    # --- what goes out

    def answer(self, frame: bytes) -> None:
        """Send a packet of our own, unless the client cannot take it.

        Acknowledgements that are ready go first: answers keep the order of the questions.
        """
        if self._session is not None and 0 < self._session.terms.largest < len(frame):
            # [MQTT-3.1.2-24]: it may not be sent, and the client waits for it.
            self._end(Reason.PACKET_TOO_LARGE, "")
        elif self._state is not ENDED:
            self._send_answers()
            self._transport.write(frame)
            self._service.counters.sent_bytes += len(frame)

    def sentence(self, text: str, beside: int = 0) -> str:
        """The text, or ``""`` when this client must not get reason strings.

        Nor gets it one that may not fit into a packet beside so many bytes [MQTT-3.9.2-1].
        """
        return "" if self._session is None else self._session.sentence(text, beside)

    def answers_ready(self) -> None:
        """Send acknowledgements at the end of this tick, in one piece."""
        if not self._answers_scheduled:
            self._answers_scheduled = True
            self._service.call_soon(self._send_scheduled_answers)

    def _send_scheduled_answers(self) -> None:
        self._answers_scheduled = False
        self._send_answers()

    def _send_answers(self) -> None:
        if self._session is None or self._state is ENDED:
            return
        acks = self._session.publishing.acks
        if acks.ready:
            self._transport.write(acks.ready)
            self._service.counters.sent_bytes += len(acks.ready)
            acks.ready = b""

    def write(self, batch: Batch) -> bool:
        """Send the frames of a tick (`Subscriber`)."""
        outbox = self._clear_outbox
        if outbox is not None:
            # With many subscribers each object on the way is one more that is out of reach.
            outbox.write(batch)
            if not outbox.queued and self._clear_outbox is not None:
                return False
        session = self._session
        if session is not None and self._state is CONNECTED:
            if outbox is None:
                session.outbox.write(batch)
            session.backlog.grew()
        return True

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Send the messages of a tick: a session that lasts takes these (`Subscriber`).

        Also as the connection ends: they wait for the next one then.
        """
        session = self._session
        if session is not None:
            assert isinstance(session.outbox, DurableOutbox), "others take frames"
            session.outbox.write_messages(messages)
            if self._state is CONNECTED:
                session.backlog.grew()

    def on_queue_full(self) -> None:
        """As many messages wait for this client as may.

        A session that lasts reads the rest from the log later. Others had them dropped.
        """
        session = self._session
        if session is not None and session.stored is not None:
            session.fall_behind()
        elif self._service.limits.disconnect_when_full:
            # Not at once: delivery is in the middle of a flush.
            self.close(SlowSubscriber("Too many messages wait for this client"))

    # --- flow control

    @property
    def is_congested(self) -> bool:
        """True while more waits for the client than the high-water mark."""
        session = self._session
        if session is None or not (session.backlog.is_paused or session.outbox.queued):
            return False
        return session.backlog.is_congested

    def pause_writing(self) -> None:
        """The transport has more than its high-water mark."""
        if self._session is not None:
            self._session.backlog.pause()
            self._choose_ways()

    def resume_writing(self) -> None:
        """The transport is below its low-water mark again."""
        if self._session is not None and self._state is CONNECTED:
            self._session.backlog.resume()
            self._choose_ways()

    def cut_off(self) -> None:
        """End at once, as too much waits for all clients (`buffers.Holder`)."""
        self.abort()

    def pause_reading(self, why: object) -> None:
        """Stop reading until ``why`` is resumed (`Publisher`)."""
        self._intake.pause(why)

    def resume_reading(self, why: object) -> None:
        """Undo ``pause_reading``; what was read meanwhile is processed in the next tick."""
        self._intake.resume(why)

    # --- the end

    @property
    def is_ended(self) -> bool:
        """True when nothing is processed any more."""
        return self._state is ENDED

    @property
    def is_open(self) -> bool:
        """True while answers can be sent."""
        return self._state is CONNECTED

    def report(self) -> ClientEntry | None:
        """What operators are told of the client; None before it is let in and after its end."""
        session = self._session
        return None if session is None or not self.is_open else session.report()

    def tap(self, tap: Tap | None) -> None:
        """Have the client's packets pass a tap from now on; None: no more (`Traceable`)."""
        self._tap = tap
        self._transport = tapped(self._transport, tap)
        if self._session is not None:
            self._session.write_to(self._transport)
        self._choose_ways()

    def _choose_ways(self) -> None:
        """Say what may take the short way in, which no tap sees, and the short way out."""
        session = self._session
        self._intake.publishing = self._clear_outbox = None
        if session is not None and self._state is CONNECTED:
            if self._tap is None:
                self._intake.publishing = session.publishing
            if isinstance(session.outbox, Outbox) and not session.backlog.is_paused:
                self._clear_outbox = session.outbox

    def count(self, tally: Tally) -> None:
        """Add what it has counted, unless it has ended and it is in the totals."""
        if self._session is not None and self.is_open:
            self._session.count(tally)

    def kick(self, sentence: str) -> None:
        """End because an operator says so; the will goes out, a session that lasts stays."""
        self._end(Reason.ADMINISTRATIVE_ACTION, sentence)

    def leave(self, packet: Disconnect) -> None:
        """End, as the client said goodbye (`handlers.Owner`)."""
        assert self._session is not None, "a client that is connected has a session"
        self._session.leave(self._service, packet)
        self._close_with(b"")

    def _end_by_violation(self, violation: Violation) -> None:
        self._service.counters.violations += 1
        reason, sentence = violation.reason, violation.sentence
        if self._state is CONNECTED:
            logger.info("mqtt connection %s: 0x%02X %s", self._origin.address, reason, sentence)
            self._end(reason, sentence)
        else:
            self.refuse(violation.version, reason, sentence, violation.largest)

    def _end(self, reason: Reason, sentence: str) -> None:
        """End a connection from our side, with a DISCONNECT where there is one."""
        terms = None if self._session is None else self._session.terms
        self._close_with(b"" if terms is None else handshake.goodbye(terms, reason, sentence))

    def _close_with(self, frame: bytes) -> None:
        if self._state is ENDED:
            return
        self._send_answers()
        self._state = ENDED
        if frame:
            self._transport.write(frame)
        self._transport.close()
        self._release()
        # A peer that does not read its last bytes is cut off.
        self._service.wheel.put(self, Wheel.ticks(LINGER_S))

    def _release(self) -> None:
        if self._tap is not None:
            self._tap.ended()
        self._intake.close()
        self._clear_outbox = None
        if self._entrance is not None:
            self._entrance.give_up()
            self._entrance = None
        if self._session is not None:
            self._session.close(self._service)
        for end in self._watches:
            end()

    def publish_will(self) -> None:
        """Publish the will now, and never again, unless it has a delay."""
        if self._session is not None and not self._session.will.delay_ms:
            self._session.will.publish(lambda: None)

    def close(self, reason: Exception) -> None:
        """End in the next tick, with the protocol's word for ``reason`` (`Subscriber`)."""
        # Not at once: the end of our subscriptions would change delivery's work under it.
        self._service.call_soon(lambda: self.fail(reason))

    def fail(self, error: Exception) -> None:
        """End now, with the protocol's word for ``error``."""
        self._end(answer_for(error).end, sentence_of(error))

    def take_over(self) -> None:
        """End: another connection wants this one's client id [MQTT-3.1.4-3]."""
        if self._state is ENDED:
            return  # its will is being written; the identifier is free after that
        self._service.counters.takeovers += 1
        self.fail(SessionTakenOver("Another connection uses this client identifier"))

    def watch(self, user: str) -> None:
        """End when a login of this user becomes void, from now on (`entrance.Gate`)."""
        end = self._service.authenticator.revocations.watch(user, self.revoke)
        self._watches = (*self._watches, end)

    def watch_end(self, account: Account) -> None:
        """End when a login ends by itself (`entrance.Gate`)."""
        self._watches = (*self._watches, watch_end(account, self._end_login))

    def _end_login(self, reason: str) -> None:
        """End now; the will is still the client's, with the rights that it had."""
        if self.is_open:
            self.fail(NotAuthorised(reason))
        elif self._entrance is not None:
            self._entrance.revoke(reason)
        else:
            self._close_with(b"")  # no CONNECT yet: nobody to tell

    def revoke(self, reason: str) -> None:
        """End now, before anything later reaches it: the login is void.

        The will is still the client's, as far as the user may publish it as of now.
        """
        if self._session is not None and self.is_open:
            self._session.decide_will(self._service)
        self._end_login(reason)

    def access_changed(self, principal: Principal) -> None:
        """Decide the will again, if it is that of a client with these rights.

        Who cannot be decided for any more connects again, and is told apart then.
        """
        session = self._session
        if session is None or self._state is not CONNECTED:
            return
        session.access_changed(self._service, principal)
        if session.is_outdated(self._service, principal):
            self.fail(NotAuthorised("the rights are by user or client now: connect again"))

    def shutdown(self) -> None:
        """End because the server stops."""
        self.fail(ServerStopping("The server is shutting down"))

    def abort(self) -> None:
        """Close at once, without the last bytes."""
        self._close_with(b"")
        self._transport.abort()

    def connection_lost(self, error: Exception | None = None) -> None:
        """The transport is gone."""
        # A WebSocket's close frame may come in the same read as the last messages and the
        # DISCONNECT: they take effect, all at once since they are one read at most.
        self._intake.finish()
        if self._state is not ENDED:
            self._state = ENDED
            self._release()
        self._service.wheel.remove(self)
        self._service.discard(self)
