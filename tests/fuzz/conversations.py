"""What clients say from CONNECT to DISCONNECT: every kind of packet of 3.1, 3.1.1 and 5.

Two client identifiers whose sessions last, and one that does not, so that broken connections
take over and take up what others have left behind.
"""

from __future__ import annotations

from typing import Final

from tests.e2e.server_process import PASSWORD, USER
from tests.protocols.mqtt import client_frames as frames

Packets = list[bytes]

LOGIN: Final = frames.text(USER) + frames.text(PASSWORD)
"""How every CONNECT ends."""

_USER_PROPERTY: Final = b"\x26" + frames.text("k") + frames.text("v")
_MESSAGE: Final = (
    b"\x01\x01\x02\x00\x00\x00\x3c"
    + (b"\x03" + frames.text("text/plain"))
    + (b"\x08" + frames.text("Sensor/fuzz/reply"))
    + (b"\x09" + frames.text(b"\x00\xff"))
    + _USER_PROPERTY
)
"""Payload format, expiry, content type, response topic, correlation data, user property."""
_CONNECT: Final = (
    b"\x11\x00\x00\x0e\x10\x21\x00\x04\x27\x00\x00\x40\x00\x22\x00\x10\x19\x01\x17\x01"
    + _USER_PROPERTY
)
"""Session expiry, Receive Maximum, Maximum Packet Size, topic aliases, response and problem
information, user property."""
_REASON: Final = b"\x1f" + frames.text("because") + _USER_PROPERTY
_ENDS_SOON: Final = b"\x11\x00\x00\x00\x02" + _REASON


def connect(version: int, client_id: str, *, clean: bool = False, props: bytes = b"") -> bytes:
    """A CONNECT with a will."""
    will_props = b"\x18\x00\x00\x00\x01" + _MESSAGE
    return frames.connect(
        version,
        client_id,
        clean=clean,
        keep_alive=60,
        will=("Sensor/fuzz/will", b"gone"),
        will_qos=len(client_id) % 3,
        will_retain=clean,
        will_properties=will_props if version == 5 else b"",
        username=USER,
        password=PASSWORD.encode(),
        props=props if version == 5 else b"",
        name=b"MQIsdp" if version == 3 else b"MQTT",
    )


def _publishes(version: int, props: bytes | None = None) -> Packets:
    """All qualities, plain, retained and repeated."""
    return [
        frames.publish(
            f"Sensor/fuzz/{qos}",
            b"some payload" * (qos + 1),
            version=version,
            qos=qos,
            packet_id=3 * flag + qos,
            retain=flag == 1,
            dup=flag == 2 and qos > 0,
            props=props,
        )
        for flag in range(3)
        for qos in range(3)
    ]


def _acknowledgements(ids: range) -> Packets:
    kinds = (frames.puback, frames.pubrec, frames.pubrel, frames.pubcomp)
    return [kind(packet_id) for packet_id in ids for kind in kinds]


def _of_every_version(version: int) -> list[Packets]:
    told = _acknowledgements(range(1, 4))
    retained = frames.publish("Sensor/fuzz/r", b"", version=version, retain=True)
    return [
        [
            connect(version, "fuzz-lasts"),
            frames.subscribe(("Sensor/fuzz/#", 2), ("Sensor/+/1", 1), version=version),
            *_publishes(version),
            *told,
            frames.PINGREQ,
            frames.DISCONNECT,
        ],
        [
            connect(version, "fuzz-other"),
            frames.subscribe(
                ("$share/fuzz/Sensor/fuzz/#", 2),
                ("$query/Sensor%2Ffuzz%2F1%3FpreviousCount=3/#", 1),
                ("$SYS/broker/clients/#", 0),
                version=version,
                packet_id=7,
            ),
            *told,
            retained,
            frames.unsubscribe("Sensor/fuzz/#", "$share/fuzz/Sensor/fuzz/#", version=version),
            *_publishes(version),
            frames.pubrel(3),
            frames.pubrel(5),
        ],
        [
            connect(version, "fuzz-clean", clean=True),
            *_publishes(version),
            *told,
            frames.subscribe(("Sensor/fuzz/#", 2), version=version, packet_id=65_535),
            *_publishes(version)[:4],
            *told,
        ],
    ]


def _of_version_5() -> list[Packets]:
    alias = b"\x23\x00\x01"
    flows = [
        frames.packet(kind, bytes([0, packet_id, reason]) + frames.properties(_REASON, 5))
        for packet_id in (1, 2)
        for kind, reason in ((0x40, 0x10), (0x50, 0x97), (0x50, 0), (0x62, 0x92), (0x70, 0))
    ]
    subscribing = b"\x0b\x81\x01" + _USER_PROPERTY
    replay = b"\x26" + frames.text("previousCount") + frames.text("5")
    return [
        [
            connect(5, "fuzz-lasts", props=_CONNECT),
            frames.subscribe(
                ("Sensor/fuzz/#", 0x2E), ("Sensor/#", 0x09), version=5, props=subscribing
            ),
            *_publishes(5, _MESSAGE),
            frames.publish("Sensor/fuzz/a", b"x", version=5, props=alias + _MESSAGE),
            frames.publish("", b"y", version=5, qos=2, packet_id=9, props=alias),
            *flows,
            frames.disconnect(4, _ENDS_SOON),
        ],
        [
            connect(5, "fuzz-other", props=_CONNECT),
            frames.subscribe(
                ("$share/fuzz/Sensor/fuzz/#", 2), version=5, packet_id=2, props=subscribing
            ),
            frames.subscribe(("Sensor/fuzz/1", 1), version=5, packet_id=3, props=replay),
            *_publishes(5, _MESSAGE),
            *flows,
            frames.packet(0xF0, b"\x19" + frames.properties(b"\x15" + frames.text("SCRAM"), 5)),
        ],
        [
            connect(5, "fuzz-clean", clean=True, props=b"\x15" + frames.text("SCRAM")),
            frames.packet(0xF0, b"\x18" + frames.properties(b"\x16" + frames.text(b"\x00"), 5)),
        ],
        [
            connect(5, "", clean=True, props=_CONNECT),
            *_publishes(5, _MESSAGE),
            *flows,
            frames.disconnect(0, _REASON),
        ],
    ]


CONVERSATIONS: Final[list[Packets]] = [
    *(one for version in (3, 4, 5) for one in _of_every_version(version)),
    *_of_version_5(),
]
