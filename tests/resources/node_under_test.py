"""A node with one table on a new directory, and a subscriber that keeps what it is told."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Batch, Message
from lyredb.resources.requests import SubscribeOptions, Write
from lyredb.security.principals import SUPER_USER
from lyredb.server.node import Node
from lyredb.storage.settings import StorageSettings
from lyredb.tables.sdl import parse_sdl

SDL = "type Sensor @table @export { id: ID @primaryKey value: Int }"
CONTEXT = Context(SUPER_USER, "python", session=1)


class InProcess:
    """An encoding for readers that take messages."""

    raw = ""
    takes_messages = True

    def frame(
        self, message: Message, *, qos: int, retain: bool, ids: tuple[int, ...]
    ) -> tuple[bytes, int]:
        raise AssertionError("readers in process are not sent frames")


ENCODING = InProcess()


class Collector:
    """A subscriber that keeps messages; congested while it is told to be."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.closed: Exception | None = None
        self.is_congested = False
        self.ready: list[str] = []
        self.resets: list[str] = []

    def write(self, batch: Batch) -> None:
        raise AssertionError("this subscriber takes messages")

    def write_messages(self, messages: Sequence[Message]) -> None:
        self.messages += messages

    def close(self, reason: Exception) -> None:
        self.closed = reason

    def options(self, *, omit_current: bool = False) -> SubscribeOptions:
        return SubscribeOptions(
            ENCODING,
            qos=1,
            omit_current=omit_current,
            on_ready=self.ready.append,
            on_reset=self.resets.append,
        )


@contextmanager
def data_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "data"


def open_node(path: Path, storage: StorageSettings | None = None) -> Node:
    """Open a node with the table Sensor; needs a running loop."""
    return Node.open(path, parse_sdl(SDL), storage=storage)


def write_of(node: Node, record_id: str, value: int | None) -> Write:
    """A put, or a delete when the value is ``None``."""
    target = node.database.resolve(f"Sensor/{record_id}", CONTEXT)
    if value is None:
        return Write(target, "delete")
    return Write(target, "put", {"value": value})
