"""Users that may not any more: their connections end at once, their wills are theirs no more."""

from __future__ import annotations

import pytest

from lyredb.errors import TooManyAttempts
from lyredb.security.authenticator import Account
from lyredb.security.principals import SUPER_USER, Role
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run
from tests.protocols.mqtt.test_life import published, watch

ALICE = Account("alice", SUPER_USER)
READER = Role("reader")


def alice(harness: Harness, version: int = 5, will: tuple[str, bytes] | None = None) -> Peer:
    return harness.connected(version, "alice", account=ALICE, will=will)


@pytest.mark.parametrize("version", [4, 5])
def test_a_user_that_is_changed_is_disconnected_at_once(version: int) -> None:
    """0x87 Not authorized, before anything that comes later reaches it."""

    async def body() -> None:
        harness = Harness()
        peer = alice(harness, version)
        harness.authenticator.revocations.tell("alice", "the user was deleted")
        assert [packet.reason for packet in peer.take()] == ([0x87] if version == 5 else [])
        assert peer.is_closed
        assert len(harness.authenticator.revocations) == 0

    run(body)


def test_other_users_and_nobody_in_particular_go_on() -> None:
    async def body() -> None:
        harness = Harness()
        bob = harness.connected(5, "bob", account=Account("bob", SUPER_USER))
        nobody = harness.connected(5, "nobody", account=Account("", SUPER_USER))
        harness.authenticator.revocations.tell("alice", "the user was deleted")
        assert not bob.is_closed
        assert not nobody.is_closed

    run(body)


@pytest.mark.parametrize("left", [None, Account("alice", READER)])
def test_the_will_of_a_user_that_may_not_publish_it_any_more_is_dropped(
    left: Account | None,
) -> None:
    """Deleted, inactive, or of a role without that right."""

    async def body() -> None:
        harness = Harness()
        harness.database.access.denied.add(READER)
        watcher = watch(harness)
        peer = alice(harness, will=("open/w", b"x"))
        harness.authenticator.accounts = {} if left is None else {"alice": left}
        harness.authenticator.revocations.tell("alice", "the role was changed")
        assert peer.is_closed
        assert await published(harness, watcher) == []

    run(body)


def test_the_will_of_a_user_that_still_may_is_published() -> None:
    """As after a new password: the client is gone, and its will says so."""

    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        alice(harness, will=("open/w", b"x"))
        harness.authenticator.revocations.tell("alice", "the password was changed")
        assert await published(harness, watcher) == [b"x"]

    run(body)


def test_a_user_that_is_changed_while_it_waits_for_its_identifier_is_refused() -> None:
    async def body() -> None:
        harness = Harness()
        nobody = Account("", SUPER_USER)
        harness.connected(5, "c", account=nobody, will=("open/w", b"x"), will_retain=True)
        harness.authenticator.remembered.add(("", b"right"))
        peer = harness.peer(5, account=ALICE)
        peer.send(client.connect(5, "c", username="", password=b"right"))
        harness.authenticator.revocations.tell("alice", "the user was deleted")
        assert [packet.reason for packet in peer.take()] == [0x87]
        harness.database.commit()
        await harness.tick()
        assert harness.service.clients == 0

    run(body)


def test_a_user_that_is_changed_while_its_password_is_checked_is_refused() -> None:
    """The password was right for what the user was."""

    async def body() -> None:
        harness = Harness()
        harness.authenticator.gate.clear()
        peer = harness.peer(5, account=None)
        peer.send(client.connect(5, username="alice", password=b"right"))
        await harness.tick()
        harness.authenticator.revocations.tell("alice", "the password was changed")
        assert [packet.reason for packet in peer.take()] == [0x87]
        harness.authenticator.gate.set()
        await harness.tick()
        assert harness.service.clients == 0

    run(body)


def test_a_user_that_is_changed_between_an_upgrade_and_its_connect_is_cut_off() -> None:
    """The listener knew it by a login or a certificate that is void by now."""

    async def body() -> None:
        harness = Harness()
        peer = harness.peer(5, account=ALICE)
        harness.authenticator.revocations.tell("alice", "the user was deleted")
        assert peer.is_closed
        assert not peer.take()
        peer.send(client.connect(5))
        assert harness.service.clients == 0

    run(body)


def test_a_connection_that_has_ended_watches_nobody() -> None:
    async def body() -> None:
        harness = Harness()
        alice(harness).send(client.disconnect(0))
        alice(harness).lose()
        assert len(harness.authenticator.revocations) == 0

    run(body)


def test_a_topic_that_was_published_to_is_decided_again_after_a_change_of_the_role() -> None:
    """The hot loop takes known topics without asking; after the change it knows none."""

    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        writer = harness.connected(5, "writer", account=Account("w", READER))
        frames = [client.publish("open/a", b"1", version=5, qos=1, packet_id=n) for n in (1, 2)]
        writer.send(frames[0])
        writer.send(frames[1])
        assert await published(harness, watcher) == [b"1", b"1"]
        harness.database.access.denied.add(READER)
        harness.database.change_access(READER)
        writer.take()
        writer.send(*frames)
        assert [packet.reason for packet in writer.take()] == [0x87, 0x87]
        assert await published(harness, watcher) == []
        harness.database.access.denied.discard(READER)
        harness.database.change_access(READER)
        writer.send(frames[0])
        assert await published(harness, watcher) == [b"1"]

    run(body)


@pytest.mark.parametrize(("version", "reason"), [(5, 0x97), (4, 3)])
def test_too_many_wrong_passwords_are_a_quota_not_a_wrong_password(
    version: int, reason: int
) -> None:
    """The client may try again later; it is not banned."""

    async def body() -> None:
        harness = Harness()
        harness.authenticator.error = TooManyAttempts(7)
        peer = harness.peer(version, account=None)
        peer.send(client.connect(version, username="alice", password=b"wrong"))
        await harness.tick()
        assert [packet.reason for packet in peer.take()] == [reason]
        assert harness.authenticator.hosts == ["test"]

    run(body)


def test_what_is_kept_of_a_will_is_withdrawn_and_renewed_with_the_rights_to_it() -> None:
    """A worker that is killed meanwhile must not publish what its client might not."""

    async def body() -> None:
        for is_back in (False, True):
            harness = Harness()
            harness.connected(5, account=Account("w", READER), will=("open/w", b"x"))
            harness.database.access.denied.add(READER)
            harness.database.change_access(READER)
            if is_back:
                harness.database.access.denied.discard(READER)
                harness.database.change_access(READER)
            harness.streams.lose(1)
            assert len(harness.will_writer.waiting) == is_back

    run(body)


def test_the_rights_of_others_withdraw_no_will() -> None:
    async def body() -> None:
        harness = Harness()
        harness.connected(5, account=ALICE, will=("open/w", b"x"))
        harness.database.access.denied.add(SUPER_USER)
        harness.database.change_access(READER)
        harness.streams.lose(1)
        assert len(harness.will_writer.waiting) == 1

    run(body)
