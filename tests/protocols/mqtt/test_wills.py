"""Wills: decided at the CONNECT, kept beside the writer, published once by somebody."""

from __future__ import annotations

import pytest

from lyredb.errors import DiskFull, InvalidBody
from lyredb.plugins.context import Context
from lyredb.resources.requests import Write
from lyredb.security.authenticator import Account
from lyredb.security.principals import Role
from lyredb.sessions.store import OnOpen
from lyredb.storage.mutation import Kind, Mutation
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, NoSessions, now_ms, run

READER = Role("reader")


def test_a_will_that_may_not_be_published_is_refused_with_the_connect() -> None:
    """The client learns of it now, not when it is gone."""

    async def body() -> None:
        harness = Harness()
        harness.database.access.denied.add(READER)
        for version, answers in ((5, [0x87]), (4, [5])):
            for retain in (False, True):
                peer = harness.peer(version, account=Account("", READER))
                peer.send(client.connect(version, will=("open/w", b"x"), will_retain=retain))
                assert [packet.reason for packet in peer.take()] == answers
                assert peer.is_closed
        assert harness.service.statistics().clients == 0

    run(body)


@pytest.mark.parametrize(
    ("topic", "reason"),
    [("nowhere/w", 0x90), ("open/" + "x" * 200, 0x90), ("open/" + "/" * 20, 0x90)],
)
def test_a_will_whose_topic_cannot_be_is_refused_with_the_connect(topic: str, reason: int) -> None:
    async def body() -> None:
        harness = Harness(max_topic_bytes=100, max_topic_levels=10)
        peer = harness.peer(5)
        peer.send(client.connect(5, will=(topic, b"x")))
        assert [packet.reason for packet in peer.take()] == [reason]
        old = harness.peer(4)
        old.send(client.connect(4, will=(topic, b"x")))
        assert [packet.reason for packet in old.take()] == [5], "3.1.1 has no word for it"
        assert old.is_closed

    run(body)


def test_a_retained_will_whose_payload_is_no_record_is_refused_with_the_connect() -> None:
    async def body() -> None:
        harness = Harness()

        def broken(write: Write, context: Context) -> Mutation:
            raise InvalidBody("no JSON")

        harness.database.prepare = broken  # type: ignore[method-assign]  # as a schema does
        peer = harness.peer(5)
        peer.send(client.connect(5, will=("open/w", b"{"), will_retain=True))
        (refused,) = peer.take()
        assert refused.reason == 0x99

    run(body)


def test_a_will_above_the_limit_is_refused_with_the_connect() -> None:
    """Payload and properties both count, as both are kept."""

    async def body() -> None:
        harness = Harness(max_will_bytes=1_000)
        for payload, properties in ((b"x" * 1_001, b""), (b"", b"\x08" + client.text("r" * 998))):
            peer = harness.peer(5)
            peer.send(client.connect(5, will=("open/w", payload), will_properties=properties))
            assert [packet.reason for packet in peer.take()] == [0x95]
        harness.connected(5, will=("open/w", b"x" * 1_000))

    run(body)


@pytest.mark.parametrize(
    ("retain", "payload", "kind"),
    [(False, b"gone", Kind.MESSAGE), (True, b"gone", Kind.PUT), (True, b"", Kind.DELETE)],
)
def test_the_will_of_a_killed_worker_is_written_for_it(
    retain: bool, payload: bytes, kind: Kind
) -> None:
    """Without a deadline of its own: the commit derives that from the table, from then on."""

    async def body() -> None:
        harness = Harness()
        harness.connected(5, will=("open/w", payload), will_retain=retain, will_qos=1)
        harness.streams.lose(1)
        harness.will_writer.answer()
        (written,) = harness.will_writer.written
        assert (written.kind, written.key, written.body, written.qos) == (
            kind,
            b"open/w",
            payload,
            1,
        )
        assert written.expires_ms == 0

    run(body)


def test_the_expiry_of_a_will_counts_from_its_publication() -> None:
    """§3.1.3.2.4: the Message Expiry Interval is that of the will when it is published."""

    async def body() -> None:
        harness = Harness()
        expiry = b"\x02" + (3_600).to_bytes(4, "big")
        harness.connected(5, will=("open/w", b"x"), will_properties=expiry, will_retain=True)
        harness.streams.lose(1)
        harness.will_writer.answer()
        (written,) = harness.will_writer.written
        assert written.expires_ms - now_ms() == pytest.approx(3_600_000, abs=10_000)

    run(body)


def test_a_worker_that_is_lost_after_its_client_left_writes_no_will() -> None:
    async def body() -> None:
        harness = Harness()
        harness.connected(5, "a", will=("open/w", b"x")).send(client.disconnect(0))
        harness.connected(5, "b", will=("open/w", b"y")).lose()
        harness.streams.lose(1)
        assert not harness.will_writer.waiting

    run(body)


def test_a_retained_will_is_on_disk_before_the_identifier_is_free() -> None:
    async def body() -> None:
        harness = Harness()
        harness.connected(4, "c", will=("open/w", b"x"), will_retain=True)
        new = harness.peer(4)
        new.send(client.connect(4, "c"))
        assert not new.take(), "the old one's will is being written"
        harness.database.commit()
        await harness.tick()
        assert [packet.kind for packet in new.take()] == [2]

    run(body)


def test_a_will_that_cannot_be_written_still_frees_the_identifier() -> None:
    async def body() -> None:
        harness = Harness()
        harness.connected(4, "c", will=("open/w", b"x"), will_retain=True)
        new = harness.peer(4)
        new.send(client.connect(4, "c"))
        harness.database.reject(InvalidBody("no"))
        await harness.tick()
        assert [packet.kind for packet in new.take()] == [2]

    run(body)


def test_a_will_is_published_once_by_a_stop_and_the_end_of_its_connection() -> None:
    async def body() -> None:
        harness = Harness()
        watcher = harness.connected(4, "watcher")
        watcher.send(client.subscribe("open/#"))
        watcher.take()
        peer = harness.connected(4, "c", will=("open/w", b"x"))
        peer.connection.publish_will()
        peer.lose()
        await harness.tick()
        assert [packet.payload for packet in watcher.take()] == [b"x"]

    run(body)


def delay_of(delay_s: int) -> bytes:
    return b"\x18" + delay_s.to_bytes(4, "big")


def expiry_of(expiry_s: int) -> bytes:
    return b"\x11" + expiry_s.to_bytes(4, "big")


def test_a_will_with_a_delay_waits_at_the_directory_and_not_at_the_worker() -> None:
    """The client may come back to another worker, which takes it back [MQTT-3.1.3-9]."""

    async def body() -> None:
        harness = Harness()
        delay, expiry = delay_of(5), expiry_of(60)
        peer = harness.connected(5, will=("open/w", b"x"), will_properties=delay, props=expiry)
        peer.lose()
        assert harness.directory.statistics().wills_delayed == 1
        assert [round(wait_s) for wait_s, _ in harness.timers.set] == [5]
        harness.streams.lose(1)
        assert harness.directory.statistics().wills_delayed == 1
        assert not harness.will_writer.waiting
        other = Harness(streams=harness.streams, worker=2)
        other.peer(5).send(client.connect(5, clean=False, props=expiry))
        assert harness.directory.statistics().wills_delayed == 0
        assert not harness.will_writer.rows

    run(body)


class FailingSessions(NoSessions):
    """Sessions that cannot be opened."""

    def open(
        self,
        context: Context,
        epoch: int,
        *,
        clean_start: bool,
        expiry_s: int,
        on_open: OnOpen,
    ) -> None:
        on_open(DiskFull("no room"))


def test_a_client_that_is_refused_after_its_claim_takes_no_will_back() -> None:
    """It has not gone on with its session: the will is due at its time, and stays on disk."""

    async def body() -> None:
        harness = Harness()
        delay, expiry = delay_of(5), expiry_of(60)
        peer = harness.connected(5, will=("open/w", b"x"), will_properties=delay, props=expiry)
        peer.lose()
        rows = dict(harness.will_writer.rows)
        assert len(rows) == 1
        other = Harness(streams=harness.streams, worker=2, sessions=FailingSessions())
        back = other.peer(5)
        back.send(client.connect(5, clean=False, props=expiry))
        assert [packet.reason for packet in back.take()] == [0x97]
        assert harness.directory.statistics().wills_delayed == 1
        assert harness.will_writer.rows == rows
        assert harness.directory.statistics().claims == 0

    run(body)


@pytest.mark.parametrize(("delay_s", "expiry_s", "waits_s"), [(9, 4, 4), (9, 0xFFFF_FFFF, 9)])
def test_a_will_waits_no_longer_than_its_session_lasts(
    delay_s: int, expiry_s: int, waits_s: int
) -> None:
    """§3.1.3.2.2: the delay or the end of the session, whichever is first."""

    async def body() -> None:
        harness = Harness()
        delay, expiry = delay_of(delay_s), expiry_of(expiry_s)
        harness.connected(5, will=("open/w", b"x"), will_properties=delay, props=expiry).lose()
        assert [round(wait_s) for wait_s, _ in harness.timers.set] == [waits_s]

    run(body)


def test_a_will_with_a_delay_of_a_session_that_ends_at_once_is_published_at_once() -> None:
    async def body() -> None:
        harness = Harness()
        watcher = harness.connected(4, "watcher")
        watcher.send(client.subscribe("open/#"))
        watcher.take()
        harness.connected(5, "c", will=("open/w", b"x"), will_properties=delay_of(9)).lose()
        await harness.tick()
        assert [packet.payload for packet in watcher.take()] == [b"x"]

    run(body)


def test_a_normal_disconnect_discards_a_will_with_a_delay() -> None:
    async def body() -> None:
        harness = Harness()
        delay, expiry = delay_of(5), expiry_of(60)
        peer = harness.connected(5, will=("open/w", b"x"), will_properties=delay, props=expiry)
        peer.send(client.disconnect(0))
        assert harness.directory.statistics().wills_delayed == 0
        assert not harness.will_writer.rows

    run(body)


def test_a_will_is_on_disk_before_the_connect_is_answered() -> None:
    async def body() -> None:
        harness = Harness()
        harness.will_writer.row_error = DiskFull("no room")
        peer = harness.peer(5)
        peer.send(client.connect(5, will=("open/w", b"x")))
        assert [packet.reason for packet in peer.take()] == [0x97]
        assert harness.directory.statistics().claims == 0
        harness.will_writer.row_error = None
        harness.connected(5, will=("open/w", b"x"))
        assert len(harness.will_writer.rows) == 1

    run(body)


def test_a_retained_will_and_its_row_are_one_transaction() -> None:
    """A crash between both would publish it twice, or never."""

    async def body() -> None:
        harness = Harness()
        harness.connected(5, will=("open/w", b"x"), will_retain=True).lose()
        (row,) = harness.will_writer.rows
        (submitted,) = harness.database.waiting
        assert list(submitted.rows) == [(row, None)]

    run(body)
