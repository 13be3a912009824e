"""What the conformance tests share: peers of both versions, and how they are turned away."""

from __future__ import annotations

import pytest

from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.client_frames import Received
from tests.protocols.mqtt.harness import Harness, Peer

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 2, 3, 4, 5, 6, 7
SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 9, 11, 13, 14

MALFORMED, PROTOCOL_ERROR, TOPIC_NAME_INVALID = 0x81, 0x82, 0x90

both_versions = pytest.mark.parametrize("version", [4, 5])


def assert_ended(peer: Peer, reason: int) -> None:
    """The connection was closed: v5 heard why, 3.1.1 nothing (3.1.1 §4.8)."""
    assert peer.is_closed
    ends = [(one.kind, one.reason) for one in peer.take()]
    assert ends == ([(DISCONNECT, reason)] if peer.version == 5 else [])


def reader(harness: Harness, version: int, topic_filter: str = "open/#", options: int = 0) -> Peer:
    """A client that is subscribed."""
    peer = harness.connected(version, f"reader of {topic_filter}")
    peer.send(client.subscribe((topic_filter, options), version=version))
    (suback,) = peer.take()
    assert suback.codes == [options & 3]
    return peer


def messages(peer: Peer) -> list[Received]:
    """The PUBLISH packets that came."""
    return [one for one in peer.take() if one.kind == PUBLISH]


def payloads(peer: Peer) -> list[bytes]:
    return [one.payload for one in messages(peer)]
