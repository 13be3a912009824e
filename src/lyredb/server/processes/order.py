"""What a child is to be: everything that the supervisor has read, checked and taken for it.

The child reads no file and runs no code of the application, so that one that is started
again is what the first was, whatever has changed on disk since. The order is a file without
a name whose descriptor the child inherits: a schema may be larger than a message, and a
password must not be seen among the arguments of a process.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from lyredb.applications.application import Application
from lyredb.plugins.settings import SettingValue
from lyredb.server.composition import find_plugins
from lyredb.server.launch import Launch
from lyredb.server.processes.messages import WRITER
from lyredb.server.settings import SettingsInForce
from lyredb.tables.schema import Schema, TableSchema

Role = Literal["writer", "worker"]


class Order(msgspec.Struct, frozen=True):
    """One child's order.

    Attributes:
        number: `WRITER`, or the worker's.
        supervisor: The process id of whoever gives it.
        board: Descriptor of the board.
        lock: Descriptor of the data directory's lock.
        listeners: Descriptors of listening sockets, by setting.
        name: Of the application.
        folder: Of the application.
        tables: Its tables.
        web: Its static files, ``""`` for none.
        config: Its settings file, ``""`` for none.
        data_dir: Of the store.
        authorize_local: As in `Launch`.
        open_topics: Whether topics outside of all tables are records, decided at the start.
        settings: By name.
        since_s: As in `Launch`.
        is_successor: The server was ready before: what worked then must not keep it down.
    """

    number: int
    supervisor: int
    board: int
    lock: int
    listeners: dict[str, list[int]]
    name: str
    folder: str
    tables: tuple[TableSchema, ...]
    web: str
    config: str
    data_dir: str
    authorize_local: bool
    open_topics: bool
    settings: dict[str, SettingValue]
    since_s: float
    is_successor: bool = False

    @classmethod
    def of(
        cls,
        launch: Launch,
        number: int,
        *,
        board: int,
        lock: int,
        listeners: Mapping[str, list[socket.socket]],
        open_topics: bool,
        is_successor: bool = False,
    ) -> Order:
        """Return the order for a child of this process."""
        application = launch.application
        return cls(
            number=number,
            supervisor=os.getpid(),
            board=board,
            lock=lock,
            listeners={name: [one.fileno() for one in held] for name, held in listeners.items()},
            name=application.name,
            folder=str(application.folder),
            tables=application.schema.tables,
            web=str(application.web or ""),
            config=str(application.config or ""),
            data_dir=str(launch.data_dir),
            authorize_local=launch.authorize_local,
            open_topics=open_topics,
            settings=dict(launch.settings.values()),
            since_s=launch.since_s,
            is_successor=is_successor,
        )

    @property
    def descriptors(self) -> list[int]:
        """All that the child must inherit."""
        return [self.board, self.lock, *(one for held in self.listeners.values() for one in held)]

    @property
    def title(self) -> str:
        """What the child is called in logs: ``writer``, ``worker 2``."""
        return title_of(self.number)

    def launch(self) -> Launch:
        """Return what the child serves.

        Raises:
            SettingError: A plugin cannot be loaded any more.
        """
        application = Application(
            name=self.name,
            folder=Path(self.folder),
            schema=Schema(self.tables),
            web=Path(self.web) if self.web else None,
            config=Path(self.config) if self.config else None,
        )
        return Launch(
            application,
            SettingsInForce(self.settings),
            tuple(find_plugins()),
            Path(self.data_dir),
            self.authorize_local,
            since_s=self.since_s,
        )

    def take_listeners(self) -> dict[str, list[socket.socket]]:
        """Return the inherited sockets, once."""
        return {
            name: [_adopt(descriptor) for descriptor in held]
            for name, held in self.listeners.items()
        }

    def write(self) -> int:
        """Return the descriptor of a file with the order, for a child to inherit."""
        descriptor = os.memfd_create("lyredb-order", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(msgspec.msgpack.encode(self))
        return descriptor

    @classmethod
    def read(cls, descriptor: int) -> Order:
        """Read the order that was inherited, and close it."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        with os.fdopen(descriptor, "rb") as file:
            return msgspec.msgpack.decode(file.read(), type=cls)


def _adopt(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def title_of(number: int) -> str:
    """Return what a process is called in logs."""
    return "writer" if number == WRITER else f"worker {number}"
