"""Does what a command asks: by the server that runs, or here when none does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from lyredb.errors import DataDirectoryInUse, StorageFailed
from lyredb.operations.administration import Administration, Answer
from lyredb.operations.broker import Broker
from lyredb.operations.broker_requests import BrokerAnswer, BrokerRequest
from lyredb.operations.requests import Administrative, GetStatus
from lyredb.operations.status import Status
from lyredb.security.passwords import Passwords
from lyredb.security.roles import Roles
from lyredb.security.users import Users
from lyredb.server.control import SOCKET_FILE
from lyredb.server.control_client import ask_server, is_served
from lyredb.server.data_place import DataPlace
from lyredb.server.processes.lock import holder_lives
from lyredb.storage.engine import Engine
from lyredb.storage.writer import Writer
from lyredb.tables.builtin import builtin_tables

T = TypeVar("T")

RETURN_S: Final = 15.0
"""For a writer that is started again: half a second, more where processors are short."""
_LOOK_S: Final = 0.05


def administer(place: DataPlace, request: Administrative | BrokerRequest, answer: type[T]) -> T:
    """Do one thing to a data directory.

    Args:
        place: Which.
        request: What.
        answer: The type of what comes back.

    Raises:
        LyreError: It was refused, or there is no database.
    """
    path = place.require()
    if is_served_soon(path):
        return ask_server(path, request, answer)
    try:
        result = asyncio.run(_perform(place, request))
    except DataDirectoryInUse as error:
        raise DataDirectoryInUse(
            f"{error} and takes no commands: a server that starts or stops at this moment, "
            "or a program that uses lyredb.open()"
        ) from error
    return msgspec.convert(msgspec.to_builtins(result), answer)


def ask_status(place: DataPlace) -> Status:
    """Ask the server of a data directory how it is.

    Raises:
        StorageFailed: None runs.
        LyreError: There is no database, or the server cannot tell.
    """
    return ask_server(require_server(place), GetStatus(), Status)


def require_server(place: DataPlace) -> Path:
    """Return the data directory, on which a server runs.

    Raises:
        StorageFailed: None runs.
        LyreError: There is no database.
    """
    path = place.require()
    if not is_served_soon(path):
        raise StorageFailed(f"no server runs on {path}")
    return path


def is_served_soon(path: Path) -> bool:
    """Tell whether a server takes commands, now or once its writer has been started again.

    Only who died leaves its socket behind; with the lock of a living process beside it, that
    is a writer whose supervisor starts the next.
    """
    deadline = time.monotonic() + RETURN_S
    while not is_served(path):
        is_coming = (path / SOCKET_FILE).exists() and holder_lives(path)
        if not is_coming or time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_S)
    return True


async def _perform(
    place: DataPlace, request: Administrative | BrokerRequest
) -> Answer | BrokerAnswer:
    engine = Engine.open(place.path, settings=place.storage)
    try:
        for table in builtin_tables():
            if table.slot not in engine.layouts:  # a first start that did not come so far
                engine.define_table(table.layout)
        writer = Writer(engine, call_soon=_next_tick())
        passwords = Passwords()
        try:
            if isinstance(request, BrokerRequest):
                return await Broker(engine, writer).perform(request)
            users, roles = Users(engine, writer), Roles(engine, writer)
            return await Administration(users, roles, passwords).perform(request)
        finally:
            passwords.close()
            writer.close()
    finally:
        engine.close()


def _next_tick() -> Callable[[Callable[[], None]], None]:
    loop = asyncio.get_running_loop()

    def schedule(callback: Callable[[], None]) -> None:
        loop.call_soon(callback)

    return schedule
