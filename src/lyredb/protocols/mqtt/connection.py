"""One MQTT connection: bytes in, bytes out, and its life from CONNECT to close.

Works on anything with the few methods of `Transport`. No task and no await per
message: everything happens in `feed`, in callbacks of the writer and of delivery, and
at a login, which is the one thing that waits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lyredb.errors import LyreError, ServerStopping, SessionTakenOver, SlowSubscriber
from lyredb.formats import JSON
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Batch, Format, Message
from lyredb.protocols.mqtt import encode, handshake, login
from lyredb.protocols.mqtt.decode import decode, decode_connect
from lyredb.protocols.mqtt.errors import answer_for, sentence_of
from lyredb.protocols.mqtt.flow import Reading, Turn
from lyredb.protocols.mqtt.life import State
from lyredb.protocols.mqtt.packets import (
    Acknowledgement,
    Connect,
    Disconnect,
    Ping,
    Subscribe,
    Unsubscribe,
)
from lyredb.protocols.mqtt.pieces import Pieces
from lyredb.protocols.mqtt.reasons import Reason, Violation, protocol_error
from lyredb.protocols.mqtt.service import LINGER_S, Service
from lyredb.protocols.mqtt.session import Session, open_session
from lyredb.protocols.mqtt.transport import Transport
from lyredb.protocols.mqtt.wheel import Wheel
from lyredb.protocols.mqtt.wire import read_header
from lyredb.security.authenticator import Account

logger = logging.getLogger("lyredb.mqtt")


class Connection:
    """Speaks MQTT with one client; a `Subscriber` and a `Publisher` for delivery.

    Attributes:
        due: The tick at which the wheel looks at this connection.

    Args:
        transport: Where bytes go.
        service: What all connections share.
        address: The peer's, for logs.
        account: Whom the listener knows the peer to be; used when the CONNECT has no
            credentials. None when it does not know.
        format: What structured values are sent as.
        content_type: Of the client's payloads that say none, ``""`` to look at them.
    """

    __slots__ = (
        "_account",
        "_address",
        "_answers_scheduled",
        "_content_type",
        "_format",
        "_heard",
        "_keep_alive_ticks",
        "_pieces",
        "_reading",
        "_service",
        "_session",
        "_state",
        "_told_congested",
        "_transport",
        "_turn",
        "_writing_paused",
        "due",
    )

    def __init__(
        self,
        transport: Transport,
        service: Service,
        *,
        address: str = "",
        account: Account | None = None,
        format: Format = JSON,
        content_type: str = "",
    ) -> None:
        self.due = -1
        self._transport = transport
        self._service = service
        self._address = address
        self._account = account
        self._format = format
        self._content_type = content_type
        self._state = State.CONNECTING
        self._session: Session | None = None
        self._pieces = Pieces()
        self._reading = Reading(transport)
        self._turn = Turn(service.clock)
        self._heard = 0
        self._keep_alive_ticks = 0
        self._answers_scheduled = False
        self._told_congested = False
        self._writing_paused = False
        service.connections.add(self)
        service.wheel.put(self, Wheel.ticks(service.limits.connect_timeout_s))

    # --- what comes in

    def feed(self, data: bytes) -> None:
        """Take what was read from the peer; in any pieces."""
        self._heard = self._service.wheel.tick
        if self._state is State.ENDED:
            return
        if self._pieces or self._reading.is_paused:
            self._pieces.add(data)
            if self._reading.is_paused or not self._pieces.is_enough:
                return
            data = self._pieces.join()
        self._process(data)

    def _process(self, data: bytes) -> None:
        try:
            self._turn.begin()
            position, needed = self._process_packets(data)
            if position < len(data) and self._state is not State.ENDED:
                self._pieces.put_back(data[position:], needed)
            if self._turn.ends_after(len(data)):
                self._end_turn()
        except Violation as violation:
            self._end_by_violation(violation)
        except LyreError as error:
            self.fail(error)
        except Exception:
            # The edge of a connection: a fault of ours ends this one only.
            logger.exception("mqtt connection %s failed", self._address)
            self._end(Reason.UNSPECIFIED_ERROR, "Internal error")
        self._send_answers()

    def _process_packets(self, data: bytes) -> tuple[int, int]:
        """Process whole packets.

        Returns the position of the first byte that is left, and how many bytes there
        must be from there before it is worth looking again.
        """
        position, size = 0, len(data)
        largest = self._service.limits.max_packet_bytes
        while position < size and not self._reading.is_paused and self._state is not State.ENDED:
            session = self._session
            if session is not None:
                position = session.publishing.take(data, position)
                if position < size and data[position] == 0x40:
                    position = session.outbox.take_pubacks(data, position)
                    self._pump()
                if position >= size:
                    break
            elif data[position] != 0x10:
                # Said at the first byte: whatever speaks another protocol may never
                # send as much as its bytes would mean as a length [MQTT-3.1.0-1].
                raise protocol_error("The first packet must be a CONNECT")
            header = read_header(data, position, largest)
            if header is None:
                return position, size - position + 1
            body, end = header
            if end > size:
                return position, end - position
            self._handle(data, position, body, end)
            position = end
            if self._turn.is_over:
                break
        return position, 0

    def _end_turn(self) -> None:
        """Let others go first; the rest is processed in the next tick, in order.

        Until then nothing is read, so that the peer's end is not met before its bytes.
        """
        if self._state is not State.ENDED:
            self._reading.pause(self._turn)
            self._service.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        if self._reading.resume(self._turn):
            self._continue()

    def _handle(self, data: bytes, position: int, body: int, end: int) -> None:
        first = data[position]
        session = self._session
        if session is None:
            self._handle_connect(decode_connect(data[body:end]))
        elif first >> 4 == 3:
            session.publishing.handle_publish(data, position, body, end)
        elif first >> 4 == 1:
            raise protocol_error("A second CONNECT")  # [MQTT-3.1.0-2]
        else:
            self._handle_other(session, first, data[body:end])

    def _handle_other(self, session: Session, first: int, body: bytes) -> None:
        packet = decode(first, body, session.terms.version)
        match packet:
            case Acknowledgement():
                session.outbox.acknowledge(packet.packet_id)
                self._pump()
            case Subscribe():
                session.subscriptions.handle_subscribe(packet)
            case Unsubscribe():
                session.subscriptions.handle_unsubscribe(packet)
            case Ping():
                self.answer(encode.PINGRESP)
            case Disconnect():
                self._handle_disconnect(session, packet)
            case _:
                # No Authentication Method was agreed on, so no AUTH [MQTT-4.12.0-6].
                raise protocol_error("AUTH without an Authentication Method")

    # --- CONNECT

    def _handle_connect(self, connect: Connect) -> None:
        handshake.check_connect(connect)
        if self._service.is_full:
            raise Violation(
                Reason.SERVER_BUSY, "Too many clients are connected", version=connect.version
            )
        account = login.known_account(connect, self._service, self._account)
        if account is not None:
            self._accept(connect, account)
            return
        self._state = State.VERIFYING
        # What follows the CONNECT is legal and waits, unread beyond this chunk.
        self.pause_reading(State.VERIFYING)
        self._service.spawn(self._verify(connect))

    async def _verify(self, connect: Connect) -> None:
        try:
            account = await login.verify(connect, self._service)
            if self._state is State.VERIFYING:
                self._accept(connect, account)
        except LyreError as error:
            self._refuse(connect.version, answer_for(error).end, sentence_of(error))
        except Violation as violation:
            self._refuse(connect.version, violation.reason, violation.sentence)
        except Exception:
            logger.exception("mqtt login from %s failed", self._address)
            self._refuse(connect.version, Reason.UNSPECIFIED_ERROR, "Internal error")
        self.resume_reading(State.VERIFYING)

    def _accept(self, connect: Connect, account: Account) -> None:
        """Become CONNECTED: claim the client id, make what a client needs, answer."""
        service = self._service
        client_id = connect.client_id or service.new_client_id()
        try:
            service.claim(client_id, account.name, self)
        except Violation as violation:
            violation.version = connect.version
            raise
        terms = handshake.agree(connect, service.limits, client_id)
        context = Context(
            account.principal, "mqtt", account.name, service.new_session(), self._address
        )
        self._session = open_session(
            self,
            self._transport,
            service,
            terms,
            context,
            will=connect.will,
            format=self._format,
            content_type=self._content_type,
        )
        self._state = State.CONNECTED
        service.counters.accepted += 1
        self.answer(handshake.acceptance(connect, terms, service.limits))
        self._start_keep_alive(terms.keep_alive_s)

    def _refuse(self, version: int, reason: Reason, sentence: str) -> None:
        """Answer a CONNECT with no, and close [MQTT-3.2.2-7]."""
        if self._state is State.ENDED:
            return
        self._service.counters.refused_connects += 1
        logger.info("mqtt connect from %s refused: 0x%02X %s", self._address, reason, sentence)
        self._close_with(handshake.refusal(version, reason, sentence))

    # --- keep-alive (MQTT 5 §3.1.2.10)

    def _start_keep_alive(self, keep_alive_s: int) -> None:
        if self._state is not State.CONNECTED:
            return
        wheel = self._service.wheel
        wheel.remove(self)
        self._heard = wheel.tick
        if keep_alive_s:
            self._keep_alive_ticks = Wheel.ticks(keep_alive_s * 1.5)
            wheel.put(self, self._keep_alive_ticks)

    def on_time(self) -> None:
        """The wheel's call: a timeout, unless the peer was heard of meanwhile."""
        if self._state is State.ENDED:
            self._transport.abort()
        elif self._state is not State.CONNECTED:
            logger.info("mqtt connection %s sent no CONNECT in time", self._address)
            self._close_with(b"")
        else:
            self._check_keep_alive()

    def _check_keep_alive(self) -> None:
        wheel = self._service.wheel
        if self._reading.is_paused:
            # We do not read, so the peer cannot be heard of: the time stands still.
            self._heard = wheel.tick
        silent = wheel.tick - self._heard
        if silent < self._keep_alive_ticks:
            wheel.put(self, self._keep_alive_ticks - silent)
        else:
            self._end(Reason.KEEP_ALIVE_TIMEOUT, "No packet within 1.5 times the Keep Alive")

    # --- what goes out

    def answer(self, frame: bytes) -> None:
        """Send a packet of our own, unless the client cannot take it.

        Acknowledgements that are ready go first: answers keep the order of the questions.
        """
        if self._session is not None and 0 < self._session.terms.largest < len(frame):
            # [MQTT-3.1.2-24]: it may not be sent, and the client waits for it.
            self._end(Reason.PACKET_TOO_LARGE, "")
        elif self._state is not State.ENDED:
            self._send_answers()
            self._transport.write(frame)

    def sentence(self, text: str) -> str:
        """The text, or ``""`` when this client must not get reason strings."""
        return text if self._session is not None and self._session.terms.sentences else ""

    def answers_ready(self) -> None:
        """Send acknowledgements at the end of this tick, in one piece."""
        if not self._answers_scheduled:
            self._answers_scheduled = True
            self._service.call_soon(self._send_scheduled_answers)

    def _send_scheduled_answers(self) -> None:
        self._answers_scheduled = False
        self._send_answers()

    def _send_answers(self) -> None:
        if self._session is None or self._state is State.ENDED:
            return
        acks = self._session.publishing.acks
        if acks.ready:
            self._transport.write(acks.ready)
            acks.ready = bytearray()

    def write(self, batch: Batch) -> None:
        """Send the frames of a tick (`Subscriber`)."""
        if self._session is not None and self._state is State.CONNECTED:
            self._session.outbox.write(batch)

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Never called: the encoding takes frames."""
        raise TypeError("an MQTT connection takes frames")

    def on_queue_full(self) -> None:
        """QoS 1 messages were dropped, as too many wait for this client."""
        if self._service.limits.disconnect_when_full:
            # Not at once: delivery is in the middle of a flush.
            self.close(SlowSubscriber("Too many messages wait for this client"))

    # --- flow control

    @property
    def is_congested(self) -> bool:
        """True while more waits for the client than the high-water mark."""
        session = self._session
        congested = self._writing_paused or (session is not None and session.outbox.is_filling)
        if congested:
            self._told_congested = True
        return congested

    def pause_writing(self) -> None:
        """The transport has more than its high-water mark."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The transport is below its low-water mark again."""
        self._writing_paused = False
        self._pump()

    def _pump(self) -> None:
        """Send what waited for the window, and tell who waited for us."""
        session = self._session
        if session is None or self._state is not State.CONNECTED:
            return
        if session.outbox.queued:
            session.outbox.pump()
        if self._told_congested and not (self._writing_paused or session.outbox.is_filling):
            self._told_congested = False
            self._service.database.drained(self)
            session.subscriptions.resume()

    def pause_reading(self, why: object) -> None:
        """Stop reading until ``why`` is resumed (`Publisher`)."""
        if self._state is not State.ENDED:
            self._reading.pause(why)

    def resume_reading(self, why: object) -> None:
        """Undo ``pause_reading``; what was read meanwhile is processed in the next tick."""
        if self._state is not State.ENDED and self._reading.resume(why) and self._pieces:
            self._service.call_soon(self._continue)

    def _continue(self) -> None:
        if self._state is State.ENDED or self._reading.is_paused:
            return
        if self._pieces.is_enough:
            self._process(self._pieces.join())

    # --- the end

    @property
    def is_open(self) -> bool:
        """True while answers can be sent."""
        return self._state is State.CONNECTED

    def _handle_disconnect(self, session: Session, packet: Disconnect) -> None:
        """DISCONNECT (§3.14): only a normal one discards the will [MQTT-3.14.4-3]."""
        handshake.check_disconnect(session.terms, packet)
        if packet.reason == Reason.SUCCESS:
            session.will = None
        self._close_with(b"")

    def _end_by_violation(self, violation: Violation) -> None:
        self._service.counters.violations += 1
        reason, sentence = violation.reason, violation.sentence
        if self._state is State.CONNECTED:
            logger.info("mqtt connection %s: 0x%02X %s", self._address, reason, sentence)
            self._end(reason, sentence)
        else:
            self._refuse(violation.version, reason, sentence)

    def _end(self, reason: Reason, sentence: str) -> None:
        """End a connection from our side, with a DISCONNECT where there is one."""
        terms = None if self._session is None else self._session.terms
        self._close_with(b"" if terms is None else handshake.goodbye(terms, reason, sentence))

    def _close_with(self, frame: bytes) -> None:
        if self._state is State.ENDED:
            return
        self._send_answers()
        self._state = State.ENDED
        if frame:
            self._transport.write(frame)
        self._transport.close()
        self._release()
        # A peer that does not read its last bytes is cut off.
        self._service.wheel.put(self, Wheel.ticks(LINGER_S))

    def _release(self) -> None:
        self._pieces.clear()
        self._reading.forget()
        if self._session is not None:
            self._session.close(self._service)
            self._service.release(self._session.terms.client_id, self)

    def publish_will(self) -> None:
        """Publish the will now, and never again."""
        if self._session is not None:
            self._session.publish_will()

    def close(self, reason: Exception) -> None:
        """End in the next tick, with the protocol's word for ``reason`` (`Subscriber`)."""
        # Not at once: the end of our subscriptions would change delivery's work under it.
        self._service.call_soon(lambda: self.fail(reason))

    def fail(self, error: Exception) -> None:
        """End now, with the protocol's word for ``error``."""
        self._end(answer_for(error).end, sentence_of(error))

    def take_over(self) -> None:
        """End: another connection has this one's client id now [MQTT-3.1.4-3]."""
        self.fail(SessionTakenOver("Another connection uses this client identifier"))

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
        while self._reading.resume(self._turn):
            self._continue()
        if self._state is not State.ENDED:
            self._state = State.ENDED
            self._release()
        self._service.wheel.remove(self)
        self._service.discard(self)
