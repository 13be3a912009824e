"""The supervisor with children that are none: what it says and does when nothing lives."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from lyredb.applications.application import load_application
from lyredb.errors import DataDirectoryInUse, LyreError
from lyredb.server.composition import find_plugins, settings_table
from lyredb.server.launch import Launch
from lyredb.server.processes import child
from lyredb.server.processes.channel import Channel
from lyredb.server.processes.child import pause_after
from lyredb.server.processes.lock import take_lock
from lyredb.server.processes.messages import Gone, Wire
from lyredb.server.processes.notify import ServiceManager
from lyredb.server.processes.order import Order
from lyredb.server.processes.start import supervise
from lyredb.storage.data_directory import LOCK_FILE, DirectoryLock
from tests.server.process import make_application

DYING = "import sys; sys.exit(3)"
SPEAKING = (
    "import socket, sys; from lyredb.server.processes.messages import Failed, encode\n"
    "socket.socket(fileno=int(sys.argv[3])).send(encode(Failed('no luck today', True)))\n"
    "sys.exit(1)"
)


def launch(tmp_path: Path) -> Launch:
    plugins = tuple(find_plugins())
    ports = ("http.port", "mqtt.network.port", "operationsApi.network.port")
    flags = {"threads.count": 2, **dict.fromkeys(ports, 0)}
    settings = settings_table(plugins).load(flags=flags)
    application = load_application(make_application(tmp_path))
    return Launch(application, settings, plugins, tmp_path / "data", authorize_local=False)


def test_children_that_die_at_the_start_end_the_server_after_three_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "PROGRAM", ["-c", DYING])
    with pytest.raises(LyreError, match=r"ended 3 times at its start \(code 3\)"):
        asyncio.run(supervise(launch(tmp_path)))
    DirectoryLock(tmp_path / "data").release()  # it is free again


def test_what_a_child_says_of_its_failure_is_the_servers_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "PROGRAM", ["-c", SPEAKING])
    with pytest.raises(LyreError, match=r"^no luck today$"):
        asyncio.run(supervise(launch(tmp_path)))


def test_the_first_successor_comes_at_once_the_others_ever_later() -> None:
    assert [pause_after(deaths) for deaths in (0, 1, 2, 3, 4)] == [0.0, 0.0, 0.1, 0.2, 0.4]
    assert pause_after(50) == 5.0


def test_an_order_reads_as_it_was_written(tmp_path: Path) -> None:
    """Schema and settings by value: nothing on disk is read again."""
    given = launch(tmp_path)
    order = Order.of(given, 2, board=5, lock=6, listeners={}, open_topics=False)
    (given.application.folder / "schema.graphql").unlink()
    taken = Order.read(order.write())
    assert taken == order
    made = taken.launch()
    assert made.application.schema == given.application.schema
    assert made.settings.values() == given.settings.values()
    assert made.since_s == given.since_s
    assert (made.data_dir, made.authorize_local) == (given.data_dir, False)


def test_a_message_brings_its_socket_and_the_end_is_seen() -> None:
    async def body() -> None:
        here, there = map(Channel, Channel.pair())
        one, other = socket.socketpair()
        with one, other:
            assert here.send(Wire(3), [one])
            assert here.send(Gone(1))
            received = await there.receive()
            assert received is not None
            message, (stream,) = received
            assert message == Wire(3)
            with stream:
                other.send(b"hello")
                assert stream.recv(5) == b"hello"
        assert await there.receive() == (Gone(1), [])
        here.close()
        assert await there.receive() is None
        there.close()

    asyncio.run(body())


def test_sending_to_one_who_does_not_read_never_waits() -> None:
    async def body() -> None:
        here, there = map(Channel, Channel.pair())
        sent = 0
        while here.send(Gone(1)):
            sent += 1
            assert sent < 1_000_000
        here.close()
        there.close()

    asyncio.run(body())


def test_the_lock_of_a_dead_process_is_waited_for(tmp_path: Path) -> None:
    """Its children hold it until the kernel has ended them."""

    async def body() -> None:
        orphan = DirectoryLock(tmp_path)
        (tmp_path / LOCK_FILE).write_text(f"{2**22 + 1}\n")  # no process has such a number
        loop = asyncio.get_running_loop()
        taking = loop.run_in_executor(None, take_lock, tmp_path)
        orphan.release()
        lock = await asyncio.wait_for(taking, 5)
        assert (tmp_path / LOCK_FILE).read_text().strip() == str(os.getpid())
        lock.release()

    asyncio.run(body())


def test_the_lock_of_a_living_process_is_refused_at_once(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    with pytest.raises(DataDirectoryInUse, match=f"{os.getpid()}.*{tmp_path}"):
        take_lock(tmp_path)
    lock.release()


def test_systemd_is_told_how_the_server_stands(tmp_path: Path) -> None:
    """sd_notify(3): lines of a datagram; a reload says when it began."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        manager.ready("2 workers")
        assert systemd.recv(100) == b"READY=1\nSTATUS=2 workers"
        manager.reloading()
        kind, _, when = systemd.recv(100).partition(b"\nMONOTONIC_USEC=")
        assert kind == b"RELOADING=1"
        assert int(when) > 0
        manager.stopping()
        assert systemd.recv(100) == b"STOPPING=1"


def test_without_systemd_nobody_is_told() -> None:
    ServiceManager({}).ready("2 workers")


def test_a_service_manager_that_is_gone_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).stopping()
    assert "service manager" in caplog.text
