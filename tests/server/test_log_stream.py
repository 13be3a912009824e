"""Lines of a log go where somebody reads them, and wait for nobody who does not."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lyredb.server.log_stream import LogStream
from lyredb.server.logs import LineHandler, _formatter
from tests.server.process import Server, make_application

SMALL_BYTES = 8192
MANY = 200
LINES = [json.dumps({"number": number, "text": "x" * 150}) for number in range(MANY)]


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe with little room."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SMALL_BYTES)
    os.set_blocking(reading, False)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@contextlib.contextmanager
def pair() -> Iterator[tuple[int, int]]:
    """A connection, as the journal of systemd has it."""
    reading, writing = socket.socketpair()
    writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BYTES)
    reading.setblocking(False)
    with reading, writing:
        yield reading.fileno(), writing.fileno()


def in_time(work: Callable[[], None]) -> None:
    """Do something that must not wait for ever, in a thread that may."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for a reader"


def read_all(descriptor: int) -> str:
    text = b""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(descriptor, 65_536):
            text += part
    return text.decode()


@pytest.mark.parametrize("place", [pipe, pair])
def test_who_does_not_read_is_not_waited_for(
    place: Callable[[], contextlib.AbstractContextManager[tuple[int, int]]],
) -> None:
    """What finds room is there, whole and in order, and the rest is counted."""
    with place() as (reading, writing):
        stream = LogStream(writing)
        assert os.get_blocking(writing), "the descriptor is the shell's too"

        def write() -> None:
            for line in LINES:
                stream.write(line + "\n")

        in_time(write)
        assert stream.take_lost() == 0, "there is no room to say it"
        first = read_all(reading)
        lost = stream.take_lost()
        assert stream.take_lost() == 0
        stream.write("again\n")
        told = (first + read_all(reading)).splitlines()
        assert told[-1] == "again"
        assert told[:-1] == LINES[: len(told) - 1]
        assert 0 < lost == MANY - len(told) + 1
        stream.close()


def test_a_handler_says_how_many_lines_are_missing() -> None:
    with pipe() as (reading, writing):
        stream = LogStream(writing)
        handler = LineHandler(stream, "worker 1")
        handler.repeats.most = 0
        handler.setFormatter(_formatter("worker 1", human=False, colours=False))

        def log(text: str) -> None:
            handler.handle(logging.LogRecord("lyredb", logging.INFO, "", 0, text, (), None))

        def flood() -> None:
            for line in LINES:
                log(line)

        in_time(flood)
        read_all(reading)
        log("again")
        stream.close()
        *_, missing, again = map(json.loads, read_all(reading).splitlines())
    assert "lines are missing here" in missing["message"]
    assert (again["message"], missing["process"]) == ("again", "worker 1")


def test_a_reader_that_is_gone_is_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = LogStream(writing)
    stream.write("nobody hears it\n")
    stream.close()
    os.close(writing)


def test_a_file_is_written_at_its_end(tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.write_text("before\n")
    with place.open("a") as file:
        stream = LogStream(file.fileno())
        stream.write("after\n")
        stream.close()
    assert place.read_text() == "before\nafter\n"


def test_a_server_whose_log_nobody_reads_serves_and_stops(tmp_path: Path) -> None:
    """With two workers: all processes share the pipe."""
    app = make_application(tmp_path)
    place = tmp_path / "app.log"
    os.mkfifo(place)
    reading = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, SMALL_BYTES)
    variables = {"LYREDB_LOGGING_MAX_REPEATS": "0", "LYREDB_THREADS_COUNT": "2"}
    try:
        with Server("run", app, variables=variables) as server:
            for _ in range(MANY):  # each is a line
                with socket.create_connection(("127.0.0.1", server.port("mqtt"))) as client:
                    client.settimeout(10)
                    client.sendall(b"\x10\x04junk")
                    with contextlib.suppress(ConnectionError):
                        assert client.recv(100) == b""
            server.process.send_signal(signal.SIGHUP)
            assert server.stop()[0] == 0
    finally:
        os.close(reading)
