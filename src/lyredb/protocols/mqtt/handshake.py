"""CONNECT to CONNACK: what is refused, what is granted, in both versions. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.outbox import MAX_ID_DISTANCE
from lyredb.protocols.mqtt.packets import V5, V31, Connect, Disconnect
from lyredb.protocols.mqtt.properties import Property, Value
from lyredb.protocols.mqtt.reasons import (
    Reason,
    ReturnCode,
    Violation,
    protocol_error,
    return_code,
)
from lyredb.sessions.terms import NEVER_EXPIRES_S

LEAST_FOR_SENTENCES = 1_024
"""A client with a smaller Maximum Packet Size gets codes without reason strings."""

ROOM_FOR_SENTENCE = 512
"""The longest reason string, with all that stands around it in a packet but a list of codes."""

WORKER_PROPERTY = "lyredb-worker"
"""The user property of a CONNACK that says which worker serves the client."""

LOST_PROPERTY = "lyredb-session-lost"
"""The user property of a CONNACK that says why a session begins anew with current state."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What client and server have agreed on.

    Attributes:
        version: 4 or 5.
        client_id: The client's own, or the assigned one.
        keep_alive_s: In force, 0 for none.
        window: Messages above QoS 0 that may be in flight to the client.
        largest: Largest packet that the client takes in bytes, 0 for any.
        expiry_s: How long the session outlives the connection, `NEVER_EXPIRES_S` for ever.
        asked_expiry: Whether the client asked for that, whatever it got.
        aliases: How many topics it takes by a number.
        sentences: Whether acknowledgements may have reason strings [MQTT-3.1.2-29].
    """

    version: int
    client_id: str
    keep_alive_s: int
    window: int
    largest: int
    sentences: bool
    expiry_s: int = 0
    asked_expiry: bool = False
    aliases: int = 0


def check_connect(connect: Connect) -> None:
    """Refuse what this server cannot do, before anybody is asked for a password.

    Raises:
        Violation: 0x8C for extended authentication, 0x85 for a client of 3.1.1 without an
            identifier that asks for a session that lasts (3.1.1: [MQTT-3.1.3-8]), and for
            one of 3.1 without an identifier (3.1 §3.1).
    """
    if connect.version == V5:
        if connect.properties.has(Property.AUTHENTICATION_METHOD):
            raise Violation(
                Reason.BAD_AUTHENTICATION_METHOD,
                "Only user name and password are known here",
                version=V5,
            )
    elif not connect.client_id and (connect.version == V31 or not connect.clean_start):
        raise Violation(
            Reason.CLIENT_IDENTIFIER_NOT_VALID,
            "A client identifier is needed",
            version=connect.version,
        )


def expiry_of(connect: Connect, limits: Limits) -> int:
    """How long the session outlives the connection in seconds, `NEVER_EXPIRES_S` for ever.

    Clients of 3.1 and 3.1.1 ask for ever, or for not at all (MQTT 5 §3.1.2.11.2).
    """
    if connect.version == V5:
        asked = connect.properties.number(Property.SESSION_EXPIRY)
    else:
        asked = 0 if connect.clean_start else NEVER_EXPIRES_S
    return min(asked, limits.max_session_expiry_s)


def agree(connect: Connect, limits: Limits, client_id: str) -> Terms:
    """Work out the terms of a connection that is accepted."""
    keep_alive_s = connect.keep_alive_s
    if connect.version == V5 and _is_capped(connect, limits):
        keep_alive_s = limits.max_keep_alive_s
    properties = connect.properties
    largest = properties.number(Property.MAXIMUM_PACKET_SIZE)
    window = limits.max_inflight
    if connect.version == V5:
        window = min(properties.number(Property.RECEIVE_MAXIMUM, 65_535), MAX_ID_DISTANCE)
    return Terms(
        version=connect.version,
        client_id=client_id,
        keep_alive_s=keep_alive_s,
        window=window,
        largest=largest,
        sentences=bool(properties.number(Property.REQUEST_PROBLEM_INFORMATION, 1))
        and not 0 < largest < LEAST_FOR_SENTENCES,
        expiry_s=expiry_of(connect, limits),
        asked_expiry=bool(properties.number(Property.SESSION_EXPIRY)),
        aliases=min(properties.number(Property.TOPIC_ALIAS_MAXIMUM), limits.max_aliases_out),
    )


def check_disconnect(terms: Terms, packet: Disconnect) -> None:
    """Refuse a Session Expiry Interval after a CONNECT that had none (§3.14.2.2.2).

    Raises:
        Violation: 0x82.
    """
    if packet.properties.number(Property.SESSION_EXPIRY) and not terms.asked_expiry:
        raise protocol_error("The session expires with the connection, as the CONNECT asked")


def _is_capped(connect: Connect, limits: Limits) -> bool:
    """Only v5 can be told (§3.2.2.3.14); a 3.1.1 client keeps what it asked for."""
    cap = limits.max_keep_alive_s
    return connect.keep_alive_s > cap or (not connect.keep_alive_s and cap < 65_535)


def acceptance(
    connect: Connect,
    terms: Terms,
    limits: Limits,
    worker: str = "",
    *,
    is_present: bool = False,
    lost: str = "",
) -> bytes:
    """The CONNACK that accepts, with everything that is not available (§3.2.2.3).

    Args:
        connect: What is accepted.
        terms: On which terms.
        limits: What v5 clients are told of.
        worker: A user property that says which worker serves the client, ``""`` for none.
        is_present: The session was there before [MQTT-3.2.2-2] [MQTT-3.2.2-3].
        lost: A user property that says why it begins anew with current state, ``""`` for none.

    Returns:
        ``b""`` where the client's Maximum Packet Size has no room for it [MQTT-3.1.2-24];
        user properties are left out before that [MQTT-3.2.2-20].
    """
    if connect.version != V5:
        # A byte that 3.1 does not use (3.1 §3.2).
        return encode.connack(ReturnCode.ACCEPTED, is_present and connect.version != V31)
    properties: list[tuple[Property, Value | tuple[str, str]]] = [
        (Property.RECEIVE_MAXIMUM, limits.receive_maximum),
        (Property.RETAIN_AVAILABLE, 1),
        (Property.MAXIMUM_PACKET_SIZE, limits.max_packet_bytes),
        (Property.TOPIC_ALIAS_MAXIMUM, limits.topic_alias_maximum),
        (Property.SHARED_AVAILABLE, 1),
    ]
    if terms.expiry_s != connect.properties.number(Property.SESSION_EXPIRY):
        properties.append((Property.SESSION_EXPIRY, terms.expiry_s))
    if not connect.client_id:
        properties.append((Property.ASSIGNED_CLIENT_IDENTIFIER, terms.client_id))
    if terms.keep_alive_s != connect.keep_alive_s:
        properties.append((Property.SERVER_KEEP_ALIVE, terms.keep_alive_s))
    frame = _fitting(encode.connack5(Reason.SUCCESS, properties, is_present=is_present), terms)
    for name, value in ((WORKER_PROPERTY, worker), (LOST_PROPERTY, lost)):
        if frame and value:
            more = [*properties, (Property.USER_PROPERTY, (name, value))]
            larger = _fitting(encode.connack5(Reason.SUCCESS, more, is_present=is_present), terms)
            if larger:
                frame, properties = larger, more
    return frame


def _fitting(frame: bytes, terms: Terms) -> bytes:
    return b"" if 0 < terms.largest < len(frame) else frame


def refusal(version: int, reason: Reason, sentence: str, largest: int = 0) -> bytes:
    """The CONNACK that refuses; ``b""`` where the protocol wants none.

    3.1.1 has words for five reasons only; for others, and for a peer whose version
    is not known, the connection is just closed. So it is where ``largest``, the client's
    Maximum Packet Size, has no room [MQTT-3.1.2-24] [MQTT-3.2.2-19].
    """
    if version == V5:
        if 0 < largest < LEAST_FOR_SENTENCES:
            sentence = ""
        frame = encode.connack5(reason, sentence=sentence)
        return b"" if 0 < largest < len(frame) else frame
    code = return_code(reason) if version else None
    return b"" if code is None else encode.connack(code)


def goodbye(terms: Terms, reason: Reason, sentence: str) -> bytes:
    """The DISCONNECT for a client that is ended; ``b""`` for 3.1.1, which has none.

    It may have a reason string whatever the client asked for, if that fits (§3.14.2.2.3).
    """
    if terms.version != V5:
        return b""
    if 0 < terms.largest < LEAST_FOR_SENTENCES:
        sentence = ""
    return _fitting(encode.disconnect(reason, sentence), terms)
