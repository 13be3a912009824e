"""The packets that a client sends, decoded. Frozen data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from lyredb.protocols.mqtt.properties import NONE, Properties

V31 = 3
V311 = 4
V5 = 5


@dataclass(frozen=True, slots=True)
class Will:
    """What is published when the connection ends without a DISCONNECT (§3.1.2.5)."""

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    properties: Properties = NONE


@dataclass(frozen=True, slots=True)
class Connect:
    """CONNECT (§3.1).

    Attributes:
        version: 3 for 3.1, 4 for 3.1.1, 5 for 5.
        client_id: ``""`` when the server is to choose one.
        clean_start: Clean Session in 3.1.1.
        keep_alive_s: 0 for none.
        username: None when absent.
        password: None when absent.
    """

    version: int
    client_id: str
    clean_start: bool
    keep_alive_s: int
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    properties: Properties = NONE

    def __repr__(self) -> str:
        return f"Connect(version={self.version}, client_id={self.client_id!r})"


class Publish(msgspec.Struct, frozen=True, gc=False):
    """PUBLISH (§3.3); ``id_offset`` is where the packet id stands in the body.

    A struct, since one is made for each retained message: a frozen dataclass takes 1 µs.
    """

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    packet_id: int = 0
    id_offset: int = 0
    properties: Properties = NONE


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """PUBACK (§3.4)."""

    packet_id: int
    reason: int = 0
    properties: Properties = NONE


@dataclass(frozen=True, slots=True)
class Receipt:
    """PUBREC (§3.5): the reader has our message of QoS 2, or does not want it."""

    packet_id: int
    reason: int = 0
    properties: Properties = NONE


@dataclass(frozen=True, slots=True)
class Release:
    """PUBREL (§3.6): the publisher will not send its message of QoS 2 again."""

    packet_id: int
    reason: int = 0
    properties: Properties = NONE


@dataclass(frozen=True, slots=True)
class Completion:
    """PUBCOMP (§3.7): the reader has forgotten the packet identifier."""

    packet_id: int
    reason: int = 0
    properties: Properties = NONE


@dataclass(frozen=True, slots=True)
class Request:
    """One topic filter of a SUBSCRIBE with its options (§3.8.3.1)."""

    filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE (§3.8)."""

    packet_id: int
    requests: tuple[Request, ...]
    properties: Properties = NONE


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE (§3.10)."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NONE


@dataclass(frozen=True, slots=True)
class Ping:
    """PINGREQ (§3.12)."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """DISCONNECT (§3.14)."""

    reason: int = 0
    properties: Properties = NONE


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH (§3.15)."""

    reason: int = 0
    properties: Properties = NONE


Packet: TypeAlias = (
    Connect
    | Publish
    | Acknowledgement
    | Receipt
    | Release
    | Completion
    | Subscribe
    | Unsubscribe
    | Ping
    | Disconnect
    | Auth
)
