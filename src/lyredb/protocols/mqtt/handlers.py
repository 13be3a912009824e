"""What each packet of a connected client does, but for PUBLISH (`publishing`) and CONNECT."""

from __future__ import annotations

from typing import Protocol

from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.decode import decode
from lyredb.protocols.mqtt.packets import (
    Acknowledgement,
    Completion,
    Disconnect,
    Ping,
    Receipt,
    Release,
    Subscribe,
    Unsubscribe,
)
from lyredb.protocols.mqtt.reasons import protocol_error
from lyredb.protocols.mqtt.session import Session


class Owner(Protocol):
    """The connection, as the handlers need it."""

    def answer(self, frame: bytes) -> None:
        """Send a packet of our own."""

    def leave(self, packet: Disconnect) -> None:
        """The client says goodbye."""


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
