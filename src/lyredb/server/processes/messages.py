"""What supervisor and children say to each other: small frozen messages, MessagePack."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from lyredb.plugins.settings import SettingValue

WRITER: Final = 0
"""The writer's number; workers count from 1."""


class _Message(msgspec.Struct, frozen=True, tag_field="is"):
    """One message; its class is its tag."""


class Wire(_Message, frozen=True, tag="wire"):
    """With a connected socket: this is your stream to another process.

    Attributes:
        number: Whose.
    """

    number: int


class Gone(_Message, frozen=True, tag="gone"):
    """A process has ended; its streams are dead."""

    number: int


class Begin(_Message, frozen=True, tag="begin"):
    """To a worker: you are joined to everybody who is there; listen."""


class Reload(_Message, frozen=True, tag="reload"):
    """Apply these settings; see ``server.reload``."""

    values: dict[str, SettingValue]


class Evolve(_Message, frozen=True, tag="evolve"):
    """To the writer, with a socket from which the tables come: bring the store to them.

    Attributes:
        number: Of this wish; the answer has it.
    """

    number: int


class Evolved(_Message, frozen=True, tag="evolved"):
    """Of the writer: what came of it.

    Attributes:
        number: Of the wish.
        tables: Full names of those that have changed.
        problem: Why the tables stay as they were, ``""`` when they do not.
    """

    number: int
    tables: tuple[str, ...]
    problem: str


class Stop(_Message, frozen=True, tag="stop"):
    """End in order, within so many seconds."""

    within_s: float


class ProcessStand(msgspec.Struct, frozen=True):
    """How one process stands.

    Attributes:
        name: ``writer``, ``worker 1``.
        number: As in `WRITER`.
        pid: 0 while it waits to be started again.
        state: ``starting``, ``ready``, ``waiting``, ``ended``.
        restarts: How often it was started again.
    """

    name: str
    number: int
    pid: int
    state: str
    restarts: int


class Stand(_Message, frozen=True, tag="stand"):
    """To the writer, which answers questions of operators: how everybody stands."""

    supervisor: int
    processes: tuple[ProcessStand, ...]


class Opened(_Message, frozen=True, tag="opened"):
    """Of a worker: the store is open, join me to the others."""


class Listening(_Message, frozen=True, tag="listening"):
    """Of a worker: connections are accepted.

    Attributes:
        http: Scheme, host and port.
        operations: Of the operations port.
        listeners: Of each protocol that has its own, by its name.
    """

    http: tuple[str, str, int]
    operations: tuple[str, str, int]
    listeners: dict[str, list[tuple[str, str, int]]]


class Writing(_Message, frozen=True, tag="writing"):
    """Of the writer: the store is open and writes are taken.

    Attributes:
        admin: The administrator that was made now, ``""`` for none.
        password_file: Where its generated password stands, ``""`` for nowhere.
    """

    admin: str
    password_file: str


class Failed(_Message, frozen=True, tag="failed"):
    """Of a child: it cannot start, and ends.

    Attributes:
        text: A sentence for the operator.
        expected: An error that an operator can act on; else one of ours, with its
            traceback in the log.
    """

    text: str
    expected: bool


Message: TypeAlias = (
    Wire
    | Gone
    | Begin
    | Reload
    | Evolve
    | Evolved
    | Stop
    | Stand
    | Opened
    | Listening
    | Writing
    | Failed
)

encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(Message).decode
