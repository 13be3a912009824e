"""CONNECT to CONNACK: who is let in, on which terms, and what the others are told."""

from __future__ import annotations

import logging

import pytest

from lyredb.errors import Overloaded
from lyredb.security.authenticator import Account
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import FakeAuthenticator, Harness, run

FOUR_BYTES = 4


def properties_of(connack: client.Received) -> dict[int, bytes]:
    """Property identifier → encoded value, of the properties that a CONNACK has."""
    sizes = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x29: 1, 0x2A: 1}
    found: dict[int, bytes] = {}
    rest = connack.properties
    while rest:
        size = sizes.get(rest[0]) or 2 + int.from_bytes(rest[1:3], "big")
        found[rest[0]] = rest[1 : 1 + size]
        rest = rest[1 + size :]
    return found


def test_3_1_1_is_accepted_without_a_session() -> None:
    """[MQTT-3.2.2-1] and -2: clean = 0 is accepted, and there is never a session."""

    async def body() -> None:
        harness = Harness()
        for clean in (True, False):
            peer = harness.peer()
            peer.send(client.connect(4, "c", clean=clean))
            assert bytes(peer.transport.data) == b"\x20\x02\x00\x00"

    run(body)


def test_connack_of_v5_says_what_is_not_available() -> None:
    """§3.2.2.3: each honest answer, and nothing that is the default."""

    async def body() -> None:
        harness = Harness()
        peer = harness.peer(5)
        peer.send(client.connect(5, "c", clean=False, props=b"\x11\x00\x00\x0e\x10"))
        (connack,) = peer.take()
        assert connack.body[:2] == b"\x00\x00", "session present 0, success"
        assert properties_of(connack) == {
            0x21: (1_000).to_bytes(2, "big"),  # Receive Maximum
            0x22: b"\x00\x64",  # Topic Alias Maximum
            0x25: b"\x01",  # Retain Available
            0x27: (1_200_000).to_bytes(4, "big"),  # Maximum Packet Size
            0x2A: b"\x01",  # Shared Subscription Available
        }

    run(body)


def test_a_v5_client_without_an_identifier_is_told_the_assigned_one() -> None:
    """[MQTT-3.1.3-6] [MQTT-3.2.2-16]."""

    async def body() -> None:
        peer = Harness().peer(5)
        peer.send(client.connect(5, "", clean=False))
        (connack,) = peer.take()
        assert properties_of(connack)[0x12] == client.text("auto-1")

    run(body)


def test_a_3_1_1_client_without_an_identifier_needs_a_clean_session() -> None:
    """3.1.1 [MQTT-3.1.3-7] and -8: return code 2 and close, else accepted."""

    async def body() -> None:
        harness = Harness()
        refused, accepted = harness.peer(), harness.peer()
        refused.send(client.connect(4, "", clean=False))
        assert bytes(refused.transport.data) == b"\x20\x02\x00\x02"
        assert refused.is_closed
        accepted.send(client.connect(4, "", clean=True))
        assert bytes(accepted.transport.data) == b"\x20\x02\x00\x00"

    run(body)


@pytest.mark.parametrize(
    ("frame", "version", "answer"),
    [
        (client.connect(4, level=3), 4, b"\x20\x02\x00\x01"),
        (client.connect(4, name=b"MQIsdp", level=4), 4, b"\x20\x02\x00\x01"),
        (client.connect(4, name=b"HTTP"), 4, b""),
        (client.connect(4, flags=0x03), 4, b""),
        (client.connect(4, password=b"x"), 4, b""),
    ],
)
def test_a_3_1_1_connect_is_refused_in_its_own_words(
    frame: bytes, version: int, answer: bytes
) -> None:
    """[MQTT-3.1.2-2]; where there is no return code the connection is just closed."""

    async def body() -> None:
        peer = Harness().peer(version)
        peer.send(frame)
        assert bytes(peer.transport.data) == answer
        assert peer.is_closed

    run(body)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (client.connect(5, level=6), 0x84),
        (client.connect(5, flags=0x03), 0x81),
        (client.connect(5, "a\0"), 0x81),
        (client.connect(5, props=b"\x21\x00\x00"), 0x82),
        (client.connect(5, props=b"\x15" + client.text("SCRAM")), 0x8C),
        (client.connect(5, will=("open/#", b"")), 0x90),
    ],
)
def test_a_v5_connect_is_refused_with_its_reason_and_a_sentence(frame: bytes, reason: int) -> None:
    """[MQTT-3.2.2-7]: a CONNACK, then the connection is closed."""

    async def body() -> None:
        harness = Harness()
        peer = harness.peer(5)
        peer.send(frame)
        (connack,) = peer.take()
        assert (connack.kind, connack.reason) == (2, reason)
        assert connack.properties[:1] == b"\x1f"
        assert peer.is_closed
        assert harness.service.statistics().refused_connects == 1

    run(body)


@pytest.mark.parametrize("version", [4, 5])
def test_what_comes_before_a_connect_closes_the_connection(version: int) -> None:
    """[MQTT-3.1.0-1]: without an answer, since no version is known."""

    async def body() -> None:
        harness = Harness()
        for first in (client.PINGREQ, client.publish("open/a"), b"GET / HTTP/1.1\r\n\r\n"):
            peer = harness.peer(version)
            peer.send(first)
            assert peer.is_closed
            assert not peer.transport.data

    run(body)


def test_a_second_connect_is_a_protocol_error() -> None:
    """[MQTT-3.1.0-2]."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(5)
        peer.send(client.connect(5))
        (ended,) = peer.take()
        assert (ended.kind, ended.reason) == (14, 0x82)
        assert peer.is_closed
        old = harness.connected(4)
        old.send(client.connect(4))
        assert old.is_closed
        assert not old.take(), "3.1.1 has no words for it"

    run(body)


@pytest.mark.parametrize(("version", "code"), [(4, 4), (5, 0x86)])
def test_a_wrong_password_has_the_code_of_its_version(version: int, code: int) -> None:
    """The two versions count differently: 3.1.1 code 4, v5 0x86."""

    async def body() -> None:
        harness = Harness()
        peer = harness.peer(version, account=None)
        peer.send(client.connect(version, username="alice", password=b"wrong"))
        await harness.tick()
        (connack,) = peer.take()
        assert connack.reason == code
        assert peer.is_closed

    run(body)


@pytest.mark.parametrize(("password", "status"), [(b"wrong", "failure"), (b"right", "success")])
def test_a_login_is_a_line_of_the_audit(
    password: bytes, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, when the password was checked; who, from where, and how it ended."""

    async def body() -> None:
        harness = Harness()
        peer = harness.peer(4, account=None)
        peer.send(client.connect(4, username="alice", password=password))
        await harness.tick()

    with caplog.at_level("INFO", "lyredb.audit"):
        run(body)
    [line] = [vars(each) for each in caplog.records if each.name.startswith("lyredb.audit.")]
    assert (line["user"], line["status"], line["protocol"]) == ("alice", status, "mqtt")
    assert (line["strategy"], bool(line["address"])) == ("password", True)


@pytest.mark.parametrize(("version", "code"), [(4, 5), (5, 0x87)])
def test_no_credentials_where_some_are_needed_have_the_code_of_their_version(
    version: int, code: int
) -> None:
    async def body() -> None:
        peer = Harness().peer(version, account=None)
        peer.send(client.connect(version))
        (connack,) = peer.take()
        assert connack.reason == code
        assert peer.is_closed

    run(body)


@pytest.mark.parametrize(("version", "code"), [(4, 3), (5, 0x89)])
def test_too_many_logins_at_once_are_told_to_come_back(version: int, code: int) -> None:
    async def body() -> None:
        harness = Harness()
        harness.authenticator.error = Overloaded("too many passwords are being checked")
        peer = harness.peer(version, account=None)
        peer.send(client.connect(version, username="alice", password=b"right"))
        await harness.tick()
        (connack,) = peer.take()
        assert connack.reason == code

    run(body)


def test_a_remembered_password_needs_no_check() -> None:
    async def body() -> None:
        harness = Harness()
        harness.authenticator.remembered.add(("alice", b"right"))
        peer = harness.peer(account=None)
        peer.send(client.connect(4, username="alice", password=b"right"))
        assert [packet.kind for packet in peer.take()] == [2]
        assert not harness.authenticator.verified

    run(body)


def test_what_follows_the_connect_waits_for_the_password_check() -> None:
    """A client need not wait for the CONNACK (§3.1.4), so nothing may be lost or early."""

    async def body() -> None:
        harness = Harness()
        harness.authenticator.gate.clear()
        peer = harness.peer(account=None)
        connect = client.connect(4, username="alice", password=b"right")
        peer.send(connect, client.subscribe("open/a"), client.PINGREQ[:1])
        await harness.tick()
        assert not peer.take()
        assert not peer.transport.is_reading
        peer.send(client.PINGREQ[1:])
        harness.authenticator.gate.set()
        await harness.tick()
        assert [packet.kind for packet in peer.take()] == [2, 9, 13]
        assert peer.transport.is_reading

    run(body)


def test_a_client_that_leaves_during_its_login_leaves_nothing() -> None:
    async def body() -> None:
        harness = Harness()
        harness.authenticator.gate.clear()
        peer = harness.peer(account=None)
        peer.send(client.connect(4, username="alice", password=b"right"))
        peer.lose()
        harness.authenticator.gate.set()
        await harness.tick()
        assert not peer.transport.data
        statistics = harness.service.statistics()
        assert (statistics.clients, statistics.connections) == (0, 0)

    run(body)


def test_anonymous_clients_are_let_in_only_by_the_setting_and_have_no_rights() -> None:
    async def body() -> None:
        harness = Harness(require_authentication=False)
        peer = harness.connected(5, account=None)
        peer.send(
            client.publish("open/a", b"1", version=5, qos=1),
            client.publish("open/a", b"1", version=5, qos=1, packet_id=2, retain=True),
            client.subscribe("open/#", version=5),
        )
        await harness.tick()
        first, second, third = peer.take()
        assert (first.kind, first.reason) == (4, 0x87)
        assert (second.kind, second.reason) == (4, 0x87)
        assert third.codes == [0x87]

    run(body)


def test_credentials_in_the_connect_win_over_what_the_listener_knows() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.peer(5)
        peer.send(client.connect(5, username="mallory", password=b"x"))
        await harness.tick()
        (connack,) = peer.take()
        assert connack.reason == 0x86

    run(body)


@pytest.mark.parametrize(("version", "code"), [(4, 3), (5, 0x89)])
def test_a_client_beyond_the_limit_is_told_that_the_server_is_busy(version: int, code: int) -> None:
    async def body() -> None:
        harness = Harness(max_connections=1)
        harness.connected(client_id="first")
        peer = harness.peer(version)
        peer.send(client.connect(version, "second"))
        (connack,) = peer.take()
        assert connack.reason == code
        assert peer.is_closed

    run(body)


@pytest.mark.parametrize(
    ("version", "asked", "told"), [(5, 100, 60), (5, 0, 60), (5, 30, None), (4, 100, None)]
)
def test_a_keep_alive_above_the_cap_is_answered_with_the_cap(
    version: int, asked: int, told: int | None
) -> None:
    """[MQTT-3.1.2-21]: Server Keep Alive, which only v5 has."""

    async def body() -> None:
        peer = Harness(max_keep_alive_s=60).peer(version)
        peer.send(client.connect(version, keep_alive=asked))
        (connack,) = peer.take()
        if version == 5:
            found = properties_of(connack).get(0x13)
            assert found == (None if told is None else told.to_bytes(2, "big"))

    run(body)


def test_a_take_over_ends_the_old_connection_first() -> None:
    """[MQTT-3.1.4-3]: DISCONNECT 0x8E, and its will is published."""

    async def body() -> None:
        harness = Harness()
        watcher = harness.connected(4, "watcher")
        watcher.send(client.subscribe("open/#"))
        old = harness.connected(5, "same", will=("open/will", b"gone"))
        new = harness.connected(5, "same", will=("open/will", b"new"))
        (ended,) = old.take()
        assert (ended.kind, ended.reason) == (14, 0x8E)
        assert old.is_closed
        assert not new.is_closed
        old.connection.connection_lost(None)
        await harness.tick()
        assert [packet.payload for packet in watcher.take() if packet.kind == 3] == [b"gone"]
        assert harness.service.statistics().clients == 2

    run(body)


def test_another_users_client_identifier_is_refused() -> None:
    """Else anybody with an account could end anybody's connection."""

    async def body() -> None:
        harness = Harness()
        owner = harness.connected(4, "same")
        thief = harness.peer(5, account=None)
        thief.send(client.connect(5, "same", username="bob", password=b"right"))
        await harness.tick()
        (connack,) = thief.take()
        assert connack.reason == 0x85
        assert thief.is_closed
        thief.connection.connection_lost(None)
        assert not owner.is_closed
        assert harness.service.statistics().clients == 1

    run(body)


def test_a_client_that_sends_no_connect_is_closed_after_the_timeout() -> None:
    async def body() -> None:
        harness = Harness(connect_timeout_s=2.0)
        peer = harness.peer()
        peer.send(client.connect()[:5])
        harness.clock.turn(4)
        assert not peer.is_closed
        harness.clock.turn(1)
        assert peer.is_closed

    run(body)


def test_a_login_that_takes_too_long_is_closed_after_the_timeout() -> None:
    async def body() -> None:
        harness = Harness(connect_timeout_s=2.0)
        harness.authenticator.gate.clear()
        peer = harness.peer(account=None)
        peer.send(client.connect(username="alice", password=b"right"))
        await harness.tick()
        harness.clock.turn(5)
        assert peer.is_closed
        harness.authenticator.gate.set()
        await harness.tick()
        assert not peer.transport.data

    run(body)


@pytest.mark.parametrize("account", [None, FakeAuthenticator.local])
def test_a_refused_connect_is_logged_in_one_line(
    account: Account | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused at once, or after the check of its password."""

    async def body() -> None:
        harness = Harness()
        peer = harness.peer(5, account=account)
        with caplog.at_level(logging.INFO, "lyredb.mqtt"):
            if account is None:
                peer.send(client.connect(5, username="alice", password=b"wrong"))
            else:
                peer.send(client.connect(5, props=b"\x15" + client.text("SCRAM")))
            await harness.tick()
        assert peer.is_closed
        (record,) = (each for each in caplog.records if each.name == "lyredb.mqtt")
        assert "refused: 0x8" in record.getMessage()

    run(body)
