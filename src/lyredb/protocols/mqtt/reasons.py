"""Reason codes of MQTT 5 and return codes of MQTT 3.1.1, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Reason codes that the server sends or understands (MQTT 5 §2.4)."""

    SUCCESS = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


PUBACK_REASONS = frozenset(
    (0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99),
)
"""What a PUBACK or PUBREC may say (MQTT 5 §3.4.2.1, §3.5.2.1)."""

PUBREL_REASONS = frozenset((0x00, 0x92))
"""What a PUBREL or PUBCOMP may say (MQTT 5 §3.6.2.1, §3.7.2.1)."""

SUBACK_REASONS = frozenset(
    (0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2),
)
"""What a SUBACK may say (MQTT 5 §3.9.3)."""

CONNACK_REASONS = frozenset(
    (0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F),
)
"""What a CONNACK may say (MQTT 5 §3.2.2.2)."""

DISCONNECT_REASONS = frozenset(
    (0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, *range(0x8D, 0x91), *range(0x93, 0xA3)),
)
"""What a DISCONNECT from the server may say (MQTT 5 §3.14.2.1)."""

CLIENT_DISCONNECT_REASONS = frozenset(
    (0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, *range(0x93, 0x9A)),
)
"""What a DISCONNECT from a client may say (MQTT 5 §3.14.2.1)."""


class ReturnCode(IntEnum):
    """CONNACK return codes of MQTT 3.1.1 §3.2.2.3."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL_VERSION = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USER_NAME_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


SUBSCRIBE_FAILURE = 0x80
"""The only failure that a 3.1.1 SUBACK knows (§3.9.3)."""

_RETURN_CODES = {
    Reason.UNSUPPORTED_PROTOCOL_VERSION: ReturnCode.UNACCEPTABLE_PROTOCOL_VERSION,
    Reason.CLIENT_IDENTIFIER_NOT_VALID: ReturnCode.IDENTIFIER_REJECTED,
    Reason.BAD_USER_NAME_OR_PASSWORD: ReturnCode.BAD_USER_NAME_OR_PASSWORD,
    Reason.NOT_AUTHORIZED: ReturnCode.NOT_AUTHORIZED,
    Reason.SERVER_UNAVAILABLE: ReturnCode.SERVER_UNAVAILABLE,
    Reason.SERVER_BUSY: ReturnCode.SERVER_UNAVAILABLE,
    Reason.BANNED: ReturnCode.NOT_AUTHORIZED,
    Reason.QUOTA_EXCEEDED: ReturnCode.SERVER_UNAVAILABLE,
    Reason.UNSPECIFIED_ERROR: ReturnCode.SERVER_UNAVAILABLE,
}


def return_code(reason: Reason) -> ReturnCode | None:
    """Say a refused CONNECT in the words of 3.1.1; None = close without a CONNACK.

    3.1.1 §3.2.2.3: where no return code applies, the connection is just closed.
    """
    return _RETURN_CODES.get(reason)


class Violation(Exception):
    """A packet that ends the connection.

    Attributes:
        reason: What a v5 peer is told; a 3.1.1 peer is just disconnected.
        sentence: The reason string: what was wrong and, where it helps, what to do.
        version: Protocol version of a refused CONNECT, 0 when it is not known.
        largest: The Maximum Packet Size that it had in bytes, 0 for any.
    """

    def __init__(self, reason: Reason, sentence: str, *, version: int = 0) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence
        self.version = version
        self.largest = 0


def malformed(sentence: str) -> Violation:
    """The packet cannot be parsed (MQTT 5 §4.13.1)."""
    return Violation(Reason.MALFORMED_PACKET, sentence)


def protocol_error(sentence: str) -> Violation:
    """The packet was parsed and holds what the protocol does not allow here."""
    return Violation(Reason.PROTOCOL_ERROR, sentence)


def too_many(what: str, most: int) -> Violation:
    """There is more in the packet than one packet may have: an administrative limit."""
    return Violation(Reason.QUOTA_EXCEEDED, f"There may be at most {most:,} {what}")
