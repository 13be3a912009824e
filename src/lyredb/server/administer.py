"""Does what a command asks: by the server that runs, or here when none does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from lyredb.errors import DataDirectoryInUse, StorageFailed
from lyredb.operations.administration import Administration, Answer
from lyredb.operations.requests import GetStatus, Request
from lyredb.operations.status import Status
from lyredb.security.passwords import Passwords
from lyredb.security.roles import Roles
from lyredb.security.users import Users
from lyredb.server.control_client import ask_server, is_served
from lyredb.server.data_place import DataPlace
from lyredb.storage.engine import Engine
from lyredb.storage.writer import Writer
from lyredb.tables.builtin import builtin_tables

T = TypeVar("T")


def administer(place: DataPlace, request: Request, answer: type[T]) -> T:
    """Do one thing to a data directory.

    Args:
        place: Which.
        request: What.
        answer: The type of what comes back.

    Raises:
        LyreError: It was refused, or there is no database.
    """
    path = place.require()
    if is_served(path):
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
    path = place.require()
    if not is_served(path):
        raise StorageFailed(f"no server runs on {path}")
    return ask_server(path, GetStatus(), Status)


async def _perform(place: DataPlace, request: Request) -> Answer:
    engine = Engine.open(place.path, settings=place.storage)
    try:
        for table in builtin_tables():
            if table.slot not in engine.layouts:  # a first start that did not come so far
                engine.define_table(table.layout)
        writer = Writer(engine, call_soon=_next_tick())
        passwords = Passwords()
        try:
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
