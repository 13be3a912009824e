"""The writer: the one process that writes the store, and answers what needs one place.

It opens the store and brings it to the schema, makes the first administrator, and takes
streams of workers from the supervisor. It serves no port, only the control socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from functools import partial
from typing import Final

import msgspec

from lyredb.errors import LyreError
from lyredb.security.passwords import Passwords
from lyredb.security.users import Users
from lyredb.server.admin import ensure_first_admin
from lyredb.server.board import Board
from lyredb.server.collector import spare_collector
from lyredb.server.core_settings import storage_settings
from lyredb.server.desk import PASSED_S, Desk
from lyredb.server.launch import Launch
from lyredb.server.logs import reload as reload_logs
from lyredb.server.metrics.exchange import Keeper
from lyredb.server.metrics.process import process_statistics
from lyredb.server.metrics.rooms import store_sources
from lyredb.server.metrics.snapshot import Source, Subject
from lyredb.server.processes import messages
from lyredb.server.processes.channel import Channel
from lyredb.server.processes.child_end import end_at_once
from lyredb.server.processes.messages import WRITER
from lyredb.server.processes.order import Order
from lyredb.server.processes.pulse import Pulse
from lyredb.server.processes.standing import Standing
from lyredb.server.processes.tables_stream import receive_tables
from lyredb.server.reload import Reload
from lyredb.server.settings import SettingsInForce
from lyredb.server.store import Store
from lyredb.storage.data_directory import DirectoryLock
from lyredb.storage.remote.service import WriterService

_logger: Final = logging.getLogger(__name__)


async def live(order: Order, launch: Launch, channel: Channel, board: Board) -> None:
    """Write until the supervisor says stop; when it is gone, the process ends here.

    Raises:
        LyreError: It cannot start.
    """
    store = Store.open(
        launch.data_dir,
        launch.application.schema,
        storage=storage_settings(launch.settings),
        lock=DirectoryLock.inherited(order.lock),
        passed=board.passed,
    )
    service = WriterService(store.engine, store.writer, loop=asyncio.get_running_loop())
    reload = Reload()
    reload(reload_logs)
    store.serve(service.calls, will_grace_s=launch.settings.seconds("mqtt.willGrace"))
    keeper = Keeper(service.calls, _subjects(store))
    standing = Standing(board, lambda: store.engine.position, keeper.collected)
    assert store.broker is not None, "it serves"
    desk = Desk(
        launch,
        store.engine,
        store.writer,
        store.broker,
        passed=lambda position: _passed(board, position),
        processes=standing.processes,
    )
    reload(desk.reload)
    evolution = _Evolution(store, channel)
    pulse = Pulse(board, WRITER, lambda: board.tell_lack(store.engine.full))
    try:
        made = await ensure_first_admin(launch, Users(store.engine, store.writer), Passwords())
        await desk.open()
        spare_collector()
        pulse.beat()
        channel.send(
            messages.Writing(
                admin="" if made is None else made.name,
                password_file=str((made and made.password_file) or ""),
            )
        )
        await _obey(service, reload, channel, standing, evolution)
    finally:
        pulse.stop()
        await evolution.close()
        await desk.close()
        service.close()
        await store.close()


def _subjects(store: Store) -> tuple[Subject, ...]:
    """Whose numbers are taken here: the writer's, and the supervisor's, who only supervises."""
    supervisor: Source = partial(process_statistics, os.getppid())
    return (
        Subject("supervisor", {"process": supervisor}),
        Subject("writer", store_sources(store)),
    )


async def _passed(board: Board, position: int) -> None:
    """Wait until every worker has been told of a position.

    Raises:
        TimeoutError: A worker is too slow.
    """
    if not await board.wait_passed(position, PASSED_S):
        raise TimeoutError


async def _obey(
    service: WriterService,
    reload: Reload,
    channel: Channel,
    standing: Standing,
    evolution: _Evolution,
) -> None:
    """Do what the supervisor says until it says stop; without it the process ends."""
    while (received := await channel.receive()) is not None:
        message, sockets = received
        match message:
            case messages.Stop():
                return
            case messages.Wire(number=number):
                _attach(service, number, sockets[0])
            case messages.Gone(number=number):
                service.detach(number)
            case messages.Reload(values=values):
                reload.run(SettingsInForce(values))
            case messages.Evolve(number=number):
                evolution.begin(number, sockets[0])
            case messages.Stand():
                standing.note(message)
            case _:
                raise AssertionError(f"the writer is never told {message}")
    end_at_once()


class _Evolution:
    """Changes of the schema that the supervisor asks for, one after the other."""

    def __init__(self, store: Store, channel: Channel) -> None:
        self._store = store
        self._channel = channel
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, number: int, stream: socket.socket) -> None:
        """Bring the store to the tables that come, and say what came of it."""
        task = asyncio.create_task(self._evolve(number, stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _evolve(self, number: int, stream: socket.socket) -> None:
        try:
            tables = await self._store.evolve(await receive_tables(stream))
        except (LyreError, msgspec.DecodeError) as error:
            self._channel.send(messages.Evolved(number, (), str(error)))
        except Exception as error:
            _logger.exception("the tables could not be changed")
            self._channel.send(messages.Evolved(number, (), f"{type(error).__name__}: {error}"))
        else:
            self._channel.send(messages.Evolved(number, tuple(tables), ""))

    async def close(self) -> None:
        """Leave what is not done; the next start does it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _attach(service: WriterService, number: int, stream: socket.socket) -> None:
    service.attach(number, stream)
