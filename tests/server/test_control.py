"""The control socket: one line asks, one line answers, and not everybody may ask."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from lyredb.errors import RecordExists, StorageFailed
from lyredb.operations.requests import (
    AddUser,
    Changed,
    GetStatus,
    ListUsers,
    RemoveUser,
    Request,
    UserEntry,
)
from lyredb.server import control
from lyredb.server.control import MAX_LINE_BYTES, SOCKET_FILE, ControlSocket, short_path
from lyredb.server.control_client import ask_server, is_served

USERS = [UserEntry("ada", "super_user", True)]


async def perform(request: Request) -> object:
    """Answers as an administration would."""
    match request:
        case ListUsers():
            return USERS
        case RemoveUser("nobody"):
            raise RecordExists("it is the wrong way round")
        case RemoveUser("slow"):
            await asyncio.sleep(60)
        case RemoveUser():
            return Changed(7)
    raise ZeroDivisionError("secret detail")


def served(
    folder: Path, body: Callable[[Path], Awaitable[None]], *, read_s: float = 5, answer_s: float = 5
) -> None:
    """Run a body beside a control socket, on the loop that servers use."""

    async def run() -> None:
        server = ControlSocket(folder, perform, read_s=read_s, answer_s=answer_s)
        await server.start()
        try:
            await body(folder)
        finally:
            await server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def ask(folder: Path, request: Request, answer: type[Any]) -> Any:
    return await asyncio.to_thread(ask_server, folder, request, answer)


async def exchange(folder: Path, data: bytes) -> dict[str, Any]:
    """Send bytes, and return the next line that comes."""
    with short_path(folder / SOCKET_FILE) as path:
        reader, writer = await asyncio.open_unix_connection(path, limit=2 * MAX_LINE_BYTES)
    writer.write(data)
    line = await reader.readline()
    writer.close()
    answer: dict[str, Any] = json.loads(line) if line else {}
    return answer


def test_an_answer_has_the_type_that_it_had_in_the_server(tmp_path: Path) -> None:
    async def body(folder: Path) -> None:
        assert await ask(folder, ListUsers(), list[UserEntry]) == USERS
        assert await ask(folder, RemoveUser("ada"), Changed) == Changed(7)

    served(tmp_path, body)


def test_an_error_is_the_same_class_on_both_ends(tmp_path: Path) -> None:
    async def body(folder: Path) -> None:
        with pytest.raises(RecordExists, match="wrong way round"):
            await ask(folder, RemoveUser("nobody"), Changed)

    served(tmp_path, body)


def test_a_failure_tells_nothing_of_the_inside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(folder: Path) -> None:
        with pytest.raises(StorageFailed, match="log says why"):
            await ask(folder, GetStatus(), Changed)

    with caplog.at_level(logging.ERROR):
        served(tmp_path, body)
    assert "secret detail" in caplog.text


def test_what_takes_too_long_is_told_as_undecided(tmp_path: Path) -> None:
    async def body(folder: Path) -> None:
        told = await exchange(folder, b'{"operation":"user.remove","name":"slow"}\n')
        assert told["error"] == "Timeout"
        assert "may or may not" in told["message"]

    served(tmp_path, body, answer_s=0.05)


@pytest.mark.parametrize(
    "line",
    [
        b"no json\n",
        b"[]\n",
        b'{"operation":"user.steal"}\n',
        b'{"operation":"user.remove"}\n',
        b'{"operation":"user.remove","name":7}\n',
        b'{"operation":"user.list","more":1}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_line_that_is_no_request_is_refused_and_the_next_is_answered(
    tmp_path: Path, line: bytes
) -> None:
    async def body(folder: Path) -> None:
        assert (await exchange(folder, line))["error"] == "InvalidBody"
        assert await ask(folder, ListUsers(), list[UserEntry]) == USERS

    served(tmp_path, body)


def test_a_line_without_end_is_refused_at_the_limit(tmp_path: Path) -> None:
    async def body(folder: Path) -> None:
        told = await exchange(folder, b"x" * (MAX_LINE_BYTES + 10))
        assert told["error"] == "InvalidBody"

    served(tmp_path, body)


def test_silence_ends_the_connection(tmp_path: Path) -> None:
    async def body(folder: Path) -> None:
        told = await exchange(folder, b'{"operation":')
        assert told["error"] == "Timeout"

    served(tmp_path, body, read_s=0.05)


def test_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when the file's permissions were opened by somebody."""
    monkeypatch.setattr(control, "user_of", lambda peer: os.geteuid() + 1000)

    async def body(folder: Path) -> None:
        told = await exchange(folder, b'{"operation":"user.list"}\n')
        assert told["error"] == "NotAuthorised"

    served(tmp_path, body)


def test_the_kernel_tells_who_asks() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert control.user_of(one) == os.geteuid()


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    async def body(folder: Path) -> None:
        mode = (folder / SOCKET_FILE).stat().st_mode
        assert (stat.S_ISSOCK(mode), mode & 0o777) == (True, 0o600)
        assert await asyncio.to_thread(is_served, folder)

    served(tmp_path, body)
    assert not (tmp_path / SOCKET_FILE).exists()
    assert not is_served(tmp_path)


def test_the_socket_of_a_killed_server_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / SOCKET_FILE))
    assert not is_served(tmp_path)

    async def body(folder: Path) -> None:
        assert await ask(folder, ListUsers(), list[UserEntry]) == USERS

    served(tmp_path, body)


def test_a_deep_data_directory_has_a_socket_too(tmp_path: Path) -> None:
    """A path of more than 108 bytes fits into no address."""
    deep = tmp_path.joinpath(*["d" * 50] * 4)
    deep.mkdir(parents=True)

    async def body(folder: Path) -> None:
        assert await ask(folder, ListUsers(), list[UserEntry]) == USERS

    served(deep, body)


def test_passwords_do_not_print() -> None:
    """Requests appear in tracebacks and logs."""
    assert "s3cret" not in repr(AddUser("ada", "s3cret", "reader"))
