"""CONNECT to CONNACK: what is refused, what is granted, in both versions. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.outbox import MAX_ID_DISTANCE
from lyredb.protocols.mqtt.packets import V5, V311, Connect, Disconnect
from lyredb.protocols.mqtt.properties import Property, Value
from lyredb.protocols.mqtt.reasons import (
    Reason,
    ReturnCode,
    Violation,
    protocol_error,
    return_code,
)

LEAST_FOR_SENTENCES = 1_024
"""A client with a smaller Maximum Packet Size gets codes without reason strings."""

WORKER_PROPERTY = "lyredb-worker"
"""The user property of a CONNACK that says which worker serves the client."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What client and server have agreed on.

    Attributes:
        version: 4 or 5.
        client_id: The client's own, or the assigned one.
        keep_alive_s: In force, 0 for none.
        window: QoS 1 messages that may be in flight to the client.
        largest: Largest packet that the client takes in bytes, 0 for any.
        asked_expiry: Whether the client asked for a session that outlives the connection;
            it gets none, whatever it asked.
        sentences: Whether acknowledgements may have reason strings [MQTT-3.1.2-29].
    """

    version: int
    client_id: str
    keep_alive_s: int
    window: int
    largest: int
    sentences: bool
    asked_expiry: bool = False


def check_connect(connect: Connect) -> None:
    """Refuse what this server cannot do, before anybody is asked for a password.

    Raises:
        Violation: 0x9B for a v5 will with QoS 2 [MQTT-3.2.2-12], 0x8C for extended
            authentication, 0x85 for a 3.1.1 client without an identifier that asks
            for a session that lasts (3.1.1: [MQTT-3.1.3-8]).
    """
    if connect.version == V5:
        if connect.will is not None and connect.will.qos == 2:
            raise Violation(Reason.QOS_NOT_SUPPORTED, "A will may have QoS 0 or 1", version=V5)
        if connect.properties.has(Property.AUTHENTICATION_METHOD):
            raise Violation(
                Reason.BAD_AUTHENTICATION_METHOD,
                "Only user name and password are known here",
                version=V5,
            )
    elif not connect.client_id and not connect.clean_start:
        raise Violation(
            Reason.CLIENT_IDENTIFIER_NOT_VALID,
            "A session that lasts needs a client identifier",
            version=V311,
        )


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
        asked_expiry=bool(properties.number(Property.SESSION_EXPIRY)),
    )


def check_disconnect(terms: Terms, packet: Disconnect) -> None:
    """Refuse a Session Expiry Interval after a CONNECT that had none (§3.14.2.2.2).

    Whoever asked for one in the CONNECT may name it again, although the CONNACK said 0:
    the rule is about what the client sent.

    Raises:
        Violation: 0x82.
    """
    if packet.properties.number(Property.SESSION_EXPIRY) and not terms.asked_expiry:
        raise protocol_error("The session expires with the connection, as the CONNECT asked")


def _is_capped(connect: Connect, limits: Limits) -> bool:
    """Only v5 can be told (§3.2.2.3.14); a 3.1.1 client keeps what it asked for."""
    cap = limits.max_keep_alive_s
    return connect.keep_alive_s > cap or (not connect.keep_alive_s and cap < 65_535)


def acceptance(connect: Connect, terms: Terms, limits: Limits, worker: str = "") -> bytes:
    """The CONNACK that accepts, with everything that is not available (§3.2.2.3).

    Args:
        connect: What is accepted.
        terms: On which terms.
        limits: What v5 clients are told of.
        worker: A user property that says which worker serves the client, ``""`` for none.
    """
    if connect.version != V5:
        return encode.connack(ReturnCode.ACCEPTED)
    properties: list[tuple[Property, Value | tuple[str, str]]] = [
        (Property.RECEIVE_MAXIMUM, limits.receive_maximum),
        (Property.RETAIN_AVAILABLE, 1),
        (Property.MAXIMUM_PACKET_SIZE, limits.max_packet_bytes),
        (Property.TOPIC_ALIAS_MAXIMUM, limits.topic_alias_maximum),
        (Property.SHARED_AVAILABLE, 0),
        # Whatever the client asked for: the session ends with the connection.
        (Property.SESSION_EXPIRY, 0),
    ]
    if not connect.client_id:
        properties.append((Property.ASSIGNED_CLIENT_IDENTIFIER, terms.client_id))
    if terms.keep_alive_s != connect.keep_alive_s:
        properties.append((Property.SERVER_KEEP_ALIVE, terms.keep_alive_s))
    if worker:
        properties.append((Property.USER_PROPERTY, (WORKER_PROPERTY, worker)))
    return encode.connack5(Reason.SUCCESS, properties)


def refusal(version: int, reason: Reason, sentence: str) -> bytes:
    """The CONNACK that refuses; ``b""`` where the protocol wants none.

    3.1.1 has words for five reasons only; for others, and for a peer whose version
    is not known, the connection is just closed.
    """
    if version == V5:
        return encode.connack5(reason, sentence=sentence)
    code = return_code(reason) if version == V311 else None
    return b"" if code is None else encode.connack(code)


def goodbye(terms: Terms, reason: Reason, sentence: str) -> bytes:
    """The DISCONNECT for a client that is ended; ``b""`` for 3.1.1, which has none.

    It may have a reason string whatever the client asked for, if that fits (§3.14.2.2.3).
    """
    if terms.version != V5:
        return b""
    if 0 < terms.largest < LEAST_FOR_SENTENCES:
        sentence = ""
    frame = encode.disconnect(reason, sentence)
    return b"" if 0 < terms.largest < len(frame) else frame
