"""What each packet of a client does; the packets of a read, one after the other.

Long runs of plain ones are taken at once by whoever knows them (`publishing`, `outbox`); all
others are decoded and validated in full.
"""

from __future__ import annotations

from typing import Protocol

from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.decode import decode, decode_connect
from lyredb.protocols.mqtt.intake import Intake
from lyredb.protocols.mqtt.packets import (
    Acknowledgement,
    Completion,
    Connect,
    Disconnect,
    Ping,
    Receipt,
    Release,
    Subscribe,
    Unsubscribe,
)
from lyredb.protocols.mqtt.reasons import protocol_error
from lyredb.protocols.mqtt.session import Session
from lyredb.protocols.mqtt.wire import read_header

_PLAIN = b"\x30\x32\x34"
"""The first bytes of a PUBLISH that is neither retained nor sent again."""
_REPLIES = b"\x40\x50\x70"
"""The first bytes of PUBACK, PUBREC and PUBCOMP, which come in long runs."""


class Owner(Protocol):
    """The connection, as the handlers need it."""

    @property
    def session(self) -> Session | None:
        """What the client has, once it was let in."""

    @property
    def is_ended(self) -> bool:
        """True when nothing is processed any more."""

    @property
    def is_open(self) -> bool:
        """True while answers can be sent."""

    def enter(self, connect: Connect) -> None:
        """Let the client in; pauses the intake until that is decided."""

    def answer(self, frame: bytes) -> None:
        """Send a packet of our own."""

    def leave(self, packet: Disconnect) -> None:
        """End, as the client said goodbye."""


def process(owner: Owner, intake: Intake, data: bytes, largest: int) -> tuple[int, int]:
    """Act on whole packets, until the intake is paused, the turn is over, or it has ended.

    Args:
        owner: Whose packets they are.
        intake: Says when to stop.
        data: What was read, from the first byte of a packet on.
        largest: Of a packet in bytes.

    Returns:
        As `intake.Processor.process`.

    Raises:
        Violation: A packet ends the connection.
    """
    position, size = 0, len(data)
    may_go_on = True  # whoever calls has looked
    while position < size and may_go_on:
        session = owner.session
        if session is not None:
            if data[position] in _PLAIN:
                position = session.publishing.take(data, position)
            if position < size and data[position] in _REPLIES:
                position = session.outbox.take_replies(data, position)
                session.backlog.pump()
            elif position < size and data[position] == 0x62:
                before = position
                position = session.publishing.take_releases(data, position)
                if position > before and not intake.is_turn_over:
                    may_go_on = not intake.is_paused and not owner.is_ended
                    continue
            # What could not go to the log may have ended it.
            if position >= size or not owner.is_open:
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
        _act(owner, data, position, body, end)
        position = end
        if intake.is_turn_over:
            break
        may_go_on = not intake.is_paused and not owner.is_ended
    return position, 0


def _act(owner: Owner, data: bytes, position: int, body: int, end: int) -> None:
    first = data[position]
    session = owner.session
    if session is None:
        owner.enter(decode_connect(data[body:end]))
    elif first >> 4 == 3:
        session.publishing.handle_publish(data, position, body, end)
    elif first >> 4 == 1:
        raise protocol_error("A second CONNECT")  # [MQTT-3.1.0-2]
    else:
        handle(owner, session, first, data[body:end])


def handle(owner: Owner, session: Session, first: int, body: bytes) -> None:
    """Decode one packet, and act on it.

    Args:
        owner: Whose packet it is.
        session: What the client has.
        first: The first byte of the fixed header.
        body: Everything after the Remaining Length.

    Raises:
        Violation: The packet ends the connection.
    """
    packet = decode(first, body, session.terms.version)
    match packet:
        case Acknowledgement():
            handle_puback(session, packet)
        case Release():
            session.publishing.handle_pubrel(packet)
        case Receipt():
            handle_pubrec(session, packet)
        case Completion():
            handle_pubcomp(session, packet)
        case Subscribe():
            session.subscriptions.handle_subscribe(packet)
        case Unsubscribe():
            session.subscriptions.handle_unsubscribe(packet)
        case Ping():
            owner.answer(encode.PINGRESP)
        case Disconnect():
            owner.leave(packet)
        case _:
            # No Authentication Method was agreed on, so no AUTH [MQTT-4.12.0-6].
            raise protocol_error("AUTH without an Authentication Method")


def handle_puback(session: Session, packet: Acknowledgement) -> None:
    """PUBACK (§3.4): its place in the window is free."""
    session.outbox.acknowledge(packet.packet_id)
    session.backlog.pump()


def handle_pubrec(session: Session, packet: Receipt) -> None:
    """PUBREC (§3.5): the client has the message, or does not want it."""
    session.outbox.receive(packet.packet_id, packet.reason)
    session.backlog.pump()


def handle_pubcomp(session: Session, packet: Completion) -> None:
    """PUBCOMP (§3.7): its place in the window is free."""
    session.outbox.complete(packet.packet_id)
    session.backlog.pump()
