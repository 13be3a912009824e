"""The numbers of one process at one moment, in a form that goes from one to another."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

Source: TypeAlias = Callable[[], Any]
"""Returns a frozen dataclass of numbers: a room's ``statistics``."""

_logger: Final = logging.getLogger(__name__)


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a process told.

    Attributes:
        process: ``server`` (all in one), ``supervisor``, ``writer`` or ``worker``.
        worker: Its number from 1, 0 when it is none.
        taken_s: When, in seconds since 1970.
        numbers: By room, then by field of the room's statistics.
    """

    process: str
    worker: int
    taken_s: float
    numbers: dict[str, dict[str, float]]

    def encode(self) -> bytes:
        """As MessagePack."""
        return msgspec.msgpack.encode(self)

    def of(self, room: str, field: str) -> float | None:
        """Return a number, ``None`` when the process has no such room."""
        return self.numbers.get(room, {}).get(field)


def decode_snapshot(data: bytes) -> Snapshot:
    """Read what `Snapshot.encode` wrote.

    Raises:
        msgspec.DecodeError: It is something else.
    """
    return msgspec.msgpack.decode(data, type=Snapshot)


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """A process, or a part of one, whose numbers are taken.

    Attributes:
        process: As in `Snapshot`.
        sources: By name of the room.
        worker: As in `Snapshot`.
    """

    process: str
    sources: Mapping[str, Source]
    worker: int = 0

    def take(self) -> Snapshot:
        """Take the numbers of this moment; a room that fails is left out and logged."""
        numbers = {}
        for room, statistics in self.sources.items():
            try:
                numbers[room] = numbers_of(statistics())
            except Exception:
                # One broken room must not hide the numbers of all others.
                _logger.exception("the statistics of %s failed", room)
        return Snapshot(self.process, self.worker, time.time(), numbers)


def numbers_of(statistics: Any) -> dict[str, float]:
    """Return the fields of a statistics object that are numbers; flags are 0 or 1."""
    values = ((each.name, getattr(statistics, each.name)) for each in fields_of(statistics))
    return {name: value + 0 for name, value in values if isinstance(value, int | float)}


def fields_of(statistics: Any) -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields of a statistics object or of its class."""
    return dataclasses.fields(statistics)
