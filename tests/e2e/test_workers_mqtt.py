"""MQTT on a server of two workers: whichever serves a client, it is one server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.server_process import ServerProcess
from tests.e2e.worker_clients import WorkerClient, client_of, kill, two_workers
from tests.protocols.mqtt import client_frames as frames

NO_LOCAL = 0x04


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with two_workers() as process:
        yield process


def test_messages_of_one_worker_reach_the_subscribers_of_the_other(server: ServerProcess) -> None:
    """From the SUBACK on, with QoS 0 and 1, in both directions."""
    with client_of(server, 1) as one, client_of(server, 2) as two:
        for reader, writer, topic in ((one, two, "across/a"), (two, one, "across/b")):
            reader.subscribe((topic, 1))
            writer.send(frames.publish(topic, b"0", version=5))
            writer.publish(topic, b"1", 1)
            assert reader.messages_to(b"1") == [b"0", b"1"]


def test_a_subscription_is_known_everywhere_when_it_is_acknowledged(
    server: ServerProcess,
) -> None:
    """Each time anew: a message that is sent right after the SUBACK is never missed."""
    with client_of(server, 1) as one, client_of(server, 2) as two:
        for number in range(100):
            topic = f"known/{number}"
            one.subscribe(topic)
            two.send(frames.publish(topic, b"%d" % number, version=5))
            assert one.messages_to(b"%d" % number) == [b"%d" % number]


def test_a_retained_message_is_there_for_the_other_worker_when_it_is_acknowledged(
    server: ServerProcess,
) -> None:
    with client_of(server, 1) as one, client_of(server, 2) as two:
        for number in range(50):
            topic = f"kept/{number}"
            assert one.publish(topic, b"%d" % number, 1, retain=True) == 0
            two.subscribe(topic)
            message = two.until(3)
            assert (message.payload, message.retain) == (b"%d" % number, True)


def test_messages_and_retained_ones_of_one_client_keep_their_order(
    server: ServerProcess,
) -> None:
    """Two ways, the log and the stream between workers, and one order [MQTT-4.6.0-6].

    The client does not wait for acknowledgements, so that some messages come while an
    earlier retained one is on its way to the disk, and others while none is.
    """
    with client_of(server, 1) as one, client_of(server, 2) as two:
        two.subscribe(("order/#", 1))
        for number in range(200):
            for packet_id, payload in ((1, b"%d record"), (2, b"%d message")):
                one.send(
                    frames.publish(
                        "order/a",
                        payload % number,
                        version=5,
                        qos=1,
                        packet_id=packet_id,
                        retain=packet_id == 1,
                    )
                )
            if number % 100 == 99:
                for _ in range(200):
                    one.until(4)
        assert two.messages_to(b"199 message") == [
            payload % number for number in range(200) for payload in (b"%d record", b"%d message")
        ]


def test_a_retained_message_comes_after_the_message_that_was_sent_before_it(
    server: ServerProcess,
) -> None:
    """Both of one publisher to one topic [MQTT-4.6.0-6]: what it sent first comes first."""
    with client_of(server, 1) as one, client_of(server, 2) as two:
        two.subscribe(("turn/#", 1))
        for number in range(100):
            for packet_id, payload in ((1, b"%d message"), (2, b"%d record")):
                one.send(
                    frames.publish(
                        "turn/a",
                        payload % number,
                        version=5,
                        qos=1,
                        packet_id=packet_id,
                        retain=packet_id == 2,
                    )
                )
            for _ in range(2):
                one.until(4)
        assert two.messages_to(b"99 record") == [
            payload % number for number in range(100) for payload in (b"%d message", b"%d record")
        ]


def test_no_local_leaves_out_the_own_messages_only(server: ServerProcess) -> None:
    """Messages and records, of a client of this worker and of the other."""
    with client_of(server, 1) as one, client_of(server, 2) as two:
        for client in (one, two):
            client.subscribe(("own/#", NO_LOCAL | 1))
        for writer, reader in ((one, two), (two, one)):
            assert writer.publish("own/message", b"x", 1) == 0
            assert writer.publish("own/record", b"x", 2, retain=True) == 0
            assert [reader.until(3).payload for _ in range(2)] == [b"x", b"x"]
        for client in (one, two):
            client.ping()
            assert not client.pending(), "nothing of its own came"


def test_a_client_that_comes_to_the_other_worker_ends_its_old_connection(
    server: ServerProcess,
) -> None:
    """The old one hears 0x8E, and its will is out before the new one is answered."""
    with client_of(server, 1) as watcher:
        watcher.subscribe("taken/#")
        old = WorkerClient(server, "taken", will=("taken/will", b"1"), will_retain=True)
        served, number = {old.worker}, 1
        while len(served) < 2:
            number += 1
            assert number < 200
            will = ("taken/will", b"%d" % number)
            new = WorkerClient(server, "taken", will=will, will_retain=True)
            with client_of(server, new.worker) as reader:
                reader.subscribe("taken/will")
                assert int(reader.until(3).payload) >= number - 1
            goodbye = old.until(14)
            assert goodbye.reason == 0x8E
            old.close()
            served.add(new.worker)
            old = new
        old.send(frames.disconnect(0))
        old.close()
        expected = [b"%d" % n for n in range(1, number)]
        assert watcher.messages_to(expected[-1]) == expected


def test_another_users_identifier_is_free_after_it_has_left(server: ServerProcess) -> None:
    with client_of(server, 1, "mine") as one:
        one.send(frames.disconnect(0))
        assert one.to_the_end() == []
    with client_of(server, 2, "mine") as two:
        two.ping()


@pytest.mark.slow
@pytest.mark.parametrize("retain", [False, True])
def test_the_wills_of_a_killed_worker_are_published_once(retain: bool) -> None:
    """kill -9: nobody in that process could say a word any more."""
    with two_workers() as server, client_of(server, 1) as watcher:
        watcher.subscribe("gone/#")
        clients: list[WorkerClient] = []
        while len([one for one in clients if one.worker == 2]) < 5:
            name = f"c{len(clients)}"
            clients.append(
                WorkerClient(server, name, will=("gone/" + name, name.encode()), will_retain=retain)
            )
        kill(server, "worker-2")
        lost = sorted(f"c{n}".encode() for n, one in enumerate(clients) if one.worker == 2)
        assert sorted(watcher.until(3).payload for _ in lost) == lost
        watcher.ping()
        assert not watcher.pending(), "each came once, and none of worker 1"
        with WorkerClient(server, lost[0].decode()) as again:
            again.ping()
        for client in clients:
            client.close()


@pytest.mark.slow
def test_connections_and_identifiers_outlive_a_killed_writer() -> None:
    """Workers tell the next writer what they hold, wills included."""
    with two_workers() as server, client_of(server, 1) as watcher:
        watcher.subscribe("gone/#")
        with client_of(server, 2, "kept", will=("gone/kept", b"x")) as kept:
            kill(server, "writer")
            assert_written_again(watcher)
            kept.ping()
            kill(server, "worker-2")
            assert watcher.messages_to(b"x") == [b"x"]


def assert_written_again(client: WorkerClient) -> None:
    """Writes are taken again; while the writer is away they are refused with 0x97."""
    for number in range(1, 60_000):
        reason = client.publish("again", b"x", 1 + number % 1_000, retain=True)
        if reason == 0:
            return
        assert reason in (0x97, 0x80), reason
    raise AssertionError("the writer did not come back")


@pytest.mark.slow
def test_a_user_that_is_deleted_is_disconnected_from_every_worker() -> None:
    """0x87, and nothing that is published afterwards reaches it."""
    with two_workers() as server, client_of(server, 1) as admin:
        manage(server, "add", "eve", "--role", "super_user", "--password-file", "-")
        eves: list[WorkerClient] = []
        while {eve.worker for eve in eves} != {1, 2}:
            assert len(eves) < 200
            eves.append(WorkerClient(server, user="eve", password="sesame open"))
        for eve in eves:
            eve.subscribe("news/#")
        manage(server, "remove", "eve")
        assert admin.publish("news/1", b"later", 1) == 0
        for eve in eves:
            (goodbye,) = eve.to_the_end()
            assert (goodbye.kind, goodbye.reason) == (14, 0x87)
            eve.close()


def manage(server: ServerProcess, *arguments: str) -> None:
    """Run ``lyredb user`` beside the server."""
    subprocess.run(
        [sys.executable, "-m", "lyredb", "user", *arguments, "--data", str(server.data)],
        input="sesame open\n",
        text=True,
        check=True,
        capture_output=True,
        timeout=20,
    )
