"""Two workers with one directory of claims: who has an identifier, whoever serves it."""

from __future__ import annotations

import pytest

from lyredb.security.authenticator import Account
from lyredb.security.principals import SUPER_USER
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run

ALICE = Account("alice", SUPER_USER)
BOB = Account("bob", SUPER_USER)


def two_workers() -> tuple[Harness, Harness]:
    one = Harness()
    return one, Harness(streams=one.streams, worker=2, tells="2")


def asked(harness: Harness, version: int = 5, account: Account = ALICE) -> Peer:
    """A client that has sent its CONNECT."""
    peer = harness.peer(version, account=account)
    peer.send(client.connect(version, "c"))
    return peer


@pytest.mark.parametrize("version", [4, 5])
def test_a_client_that_comes_to_another_worker_ends_the_old_connection(version: int) -> None:
    """[MQTT-3.1.4-3]: v5 hears 0x8E, 3.1.1 is closed."""

    async def body() -> None:
        one, two = two_workers()
        old = one.connected(version, "c", account=ALICE)
        new = asked(two, version)
        assert old.is_closed
        assert [packet.reason for packet in old.take()] == ([0x8E] if version == 5 else [])
        assert [packet.kind for packet in new.take()] == [2]
        assert (one.service.clients, two.service.clients) == (0, 1)
        assert one.service.statistics().takeovers == 1

    run(body)


def test_the_will_of_the_old_connection_is_out_before_the_new_one_is_answered() -> None:
    async def body() -> None:
        one, two = two_workers()
        one.connected(5, "c", account=ALICE, will=("open/w", b"x"), will_retain=True)
        new = asked(two)
        await two.tick()
        assert not new.take()
        one.database.commit()
        await one.tick()
        assert [packet.kind for packet in new.take()] == [2]
        assert one.database.records == {"open/w": b"x"}

    run(body)


def test_a_connection_that_is_stuck_loses_its_identifier_after_two_seconds() -> None:
    async def body() -> None:
        one, two = two_workers()
        one.connected(5, "c", account=ALICE, will=("open/w", b"x"), will_retain=True)
        new = asked(two)
        one.timers.pass_all()
        await two.tick()
        assert [packet.kind for packet in new.take()] == [2]

    run(body)


def test_another_users_identifier_is_refused_on_every_worker() -> None:
    async def body() -> None:
        one, two = two_workers()
        old = one.connected(5, "c", account=ALICE)
        assert [packet.reason for packet in asked(two, account=BOB).take()] == [0x85]
        assert not old.is_closed
        assert two.service.clients == 0

    run(body)


def test_of_two_that_wait_the_first_is_told_that_the_server_is_busy() -> None:
    async def body() -> None:
        one, two = two_workers()
        one.connected(5, "c", account=ALICE, will=("open/w", b"x"), will_retain=True)
        first, second = asked(two), asked(one)
        assert [packet.reason for packet in first.take()] == [0x89]
        one.database.commit()
        await one.tick()
        assert [packet.kind for packet in second.take()] == [2]

    run(body)


def test_a_client_that_leaves_while_it_waits_keeps_no_identifier() -> None:
    async def body() -> None:
        one, two = two_workers()
        one.connected(5, "c", account=ALICE, will=("open/w", b"x"), will_retain=True)
        asked(two).lose()
        one.database.commit()
        await one.tick()
        assert (one.service.clients, two.service.clients) == (0, 0)
        assert asked(two, account=BOB).take()[0].reason == 0

    run(body)


def test_a_connect_is_refused_while_the_directory_is_away() -> None:
    """0x89 and return code 3: the client may try again."""

    async def body() -> None:
        one, _ = two_workers()
        one.streams.go_away()
        assert [packet.reason for packet in asked(one).take()] == [0x89]
        assert bytes(asked(one, 4).transport.data) == b"\x20\x02\x00\x03"

    run(body)


def test_v5_is_told_which_worker_serves_it_where_that_is_wanted() -> None:
    async def body() -> None:
        one, two = two_workers()
        said = b"\x26" + client.text("lyredb-worker") + client.text("2")
        assert asked(two).take()[0].properties.endswith(said)
        assert b"lyredb-worker" not in asked(one).take()[0].body

    run(body)


def test_no_two_workers_have_the_same_session_numbers() -> None:
    """No-local compares them, over workers and over restarts."""

    async def body() -> None:
        one, two = two_workers()
        numbers = [each.service.new_session() for each in (one, two) for _ in range(1_000)]
        assert len(set(numbers)) == 2_000
        assert all(0 < number < 1 << 63 for number in numbers)

    run(body)


def test_what_follows_a_connect_waits_for_the_identifier_and_keeps_its_order() -> None:
    async def body() -> None:
        one, two = two_workers()
        one.connected(5, "c", account=ALICE, will=("open/w", b"x"), will_retain=True)
        peer = two.peer(5, account=ALICE)
        peer.send(client.connect(5, "c"), client.subscribe("open/a", version=5), client.PINGREQ[:1])
        assert not peer.transport.is_reading
        peer.send(client.PINGREQ[1:])
        one.database.commit()
        await one.tick()
        assert [packet.kind for packet in peer.take()] == [2, 9, 13]
        assert peer.transport.is_reading

    run(body)
