"""A server of two workers under load is stopped, in order or not, or a part of it stands still."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.raw_http import RawHttp, request
from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import STOP_DEADLINE_S
from tests.faults.faulty_server import FEW
from tests.faults.load import Speaker, running
from tests.faults.shim import HERE
from tests.faults.trial import WORKERS, Trial, http_of
from tests.protocols.mqtt import client_frames as frames
from tests.server.process_tree import eventually, is_alive

FREE_S = 2.0
STAND_STILL_S = 3.0
"""Less than ``threads.maxSilence``, so that the writer is not replaced."""
BLOCKED_S = 1.0
LONG = b"x" * 10_000
LAST_ID = 65_000
MOST_TAKEN_BYTES = 64_000_000
"""Far more than a client may have unacknowledged, and the kernel's buffers."""


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT afterwards."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_stop_under_load_ends_all_in_time_and_keeps_what_was_acknowledged(
    tmp_path: Path,
) -> None:
    """Exit code 0 within five seconds, and no process is left."""

    def stop_and_start() -> None:
        pids = trial.server.pids
        trial.stop(STOP_DEADLINE_S)
        assert not any(map(is_alive, pids))
        trial.assert_free(0.0)
        trial.start()

    with running(tmp_path) as trial:
        for _ in range(3):
            trial.round(stop_and_start, loses=WORKERS, least=50)
        assert "Traceback" not in trial.server.errors()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_killed_supervisor_leaves_no_process_and_a_free_directory(tmp_path: Path) -> None:
    """Soon, whatever the load: or a service manager could not start the next one."""

    def kill_and_start() -> None:
        trial.kill_supervisor(FREE_S)
        trial.start()

    with running(tmp_path) as trial:
        for _ in range(3):
            trial.round(kill_and_start, loses=WORKERS, least=50)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_writer_that_stands_still_costs_time_and_nothing_else(tmp_path: Path) -> None:
    """Nobody loses a connection, and messages between clients go on meanwhile."""

    def stand_still() -> None:
        with standing_still(trial.pid_of("writer")):
            time.sleep(STAND_STILL_S / 2)
            before = {one: one.done for one in speakers}
            time.sleep(STAND_STILL_S / 2)
            assert all(one.done > before[one] for one in speakers)

    with running(tmp_path) as trial:
        speakers = [one for one in trial.writers if isinstance(one, Speaker)]
        writer = trial.pid_of("writer")
        trial.round(stand_still, least=50)
        assert trial.pid_of("writer") == writer


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_worker_that_stands_still_is_replaced_while_the_other_serves(tmp_path: Path) -> None:
    def stand_still() -> None:
        os.kill(old, signal.SIGSTOP)
        before = {one: one.done for one in trial.writers if one.worker == 1}
        eventually(lambda: all(one.done > before[one] + 3 for one in before), "the other", 10.0)

    with running(tmp_path, config="threads.maxSilence: 2s\n") as trial:
        for _ in range(2):
            old = trial.pid_of("worker-2")
            trial.round(
                stand_still,
                loses=(2,),
                least=50,
                until=partial(trial.has_another, "worker-2", old),
            )
        assert "worker 2 was silent" in trial.server.errors()


@contextmanager
def alone(folder: Path, program: tuple[str, ...] = ("-m", "lyredb")) -> Iterator[Trial]:
    """A server that nobody uses yet."""
    variables = {"FAULT": "tight", "DEATH": str(folder / "death")}
    trial = Trial(folder, program=program, environment=variables)
    try:
        yield trial
    finally:
        trial.close()


@pytest.mark.slow
def test_writes_beyond_the_bound_are_refused_while_the_writer_stands_still(
    tmp_path: Path,
) -> None:
    """503 with Retry-After, at once; the others wait and are carried out; reads are served."""
    more = 10
    with alone(tmp_path, (str(HERE / "faulty_server.py"),)) as trial, ExitStack() as stack:
        clients = [stack.enter_context(http_of(trial.server, 1)) for _ in range(FEW + more)]
        with standing_still(trial.pid_of("writer")):
            for number, client in enumerate(clients):
                client.send(request("PUT", f"/Sensor/{number}", body=b'{"value":%d}' % number))
            eventually(lambda: len(answered(clients)) == more, "refusals", STAND_STILL_S)
            refused = answered(clients)
            replies = [client.reply() for client in refused]
            with http_of(trial.server, 1) as one:
                one.send(request("GET", "/Sensor/"))
                assert one.reply().body == b"[]"
        assert {reply.status for reply in replies} == {503}
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in replies)
        waited = [client for client in clients if client not in refused]
        assert {client.reply("PUT").status for client in waited} == {204}
        wanted = {number for number, client in enumerate(clients) if client in waited}
        trial.log.read_on(trial.data)
        assert {change.value for change in trial.log.changes} == wanted


def answered(clients: list[RawHttp]) -> list[RawHttp]:
    """Those who have something to read."""
    readable, _, _ = select.select([client.socket for client in clients], [], [], 0)
    return [client for client in clients if client.socket in readable]


@pytest.mark.slow
@pytest.mark.parametrize("version", [4, 5])
def test_a_publisher_is_not_read_while_the_writer_stands_still(
    tmp_path: Path, version: int
) -> None:
    """Its packets stay in its own buffers; afterwards all of them are carried out, in order."""
    with (
        alone(tmp_path) as trial,
        RawMqtt(trial.server, version) as client,
        RawMqtt(trial.server, version) as other,
    ):
        client.log_in("client")
        other.log_in("other")
        with standing_still(trial.pid_of("writer")):
            count, rest = send_until_blocked(client)
            other.ping()
        client.socket.settimeout(20.0)
        client.socket.sendall(rest)
        acknowledged = [client.until(4).packet_id for _ in range(count * int(version == 4))]
        assert acknowledged == [*range(1, len(acknowledged) + 1)]
        assert client.publish("Sensor/last", b'{"value":-1}', LAST_ID, retain=True) == 0
        trial.log.read_on(trial.data)
        assert [change.value for change in trial.log.changes] == [*range(count), -1]


def send_until_blocked(client: RawMqtt) -> tuple[int, bytes]:
    """Publish until nothing is taken any more; return how many, and the rest of the last.

    As a client of 3.1.1 with QoS 1, as one of 5 with QoS 0: neither is told to stop.
    """
    client.socket.settimeout(BLOCKED_S)
    count = taken = 0
    while taken < MOST_TAKEN_BYTES:
        packet = frames.publish(
            f"Sensor/{count % 10}",
            b'{"value":%d,"site":"%s"}' % (count, LONG),
            version=client.version,
            qos=int(client.version == 4),
            packet_id=count + 1,
            retain=True,
        )
        count += 1
        while packet:
            try:
                sent = client.socket.send(packet)
            except TimeoutError:
                return count, packet
            packet = packet[sent:]
            taken += sent
    raise AssertionError(f"{taken} bytes were taken")
