"""The numbers of one process at one moment, in a form that goes from one to another."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, get_type_hints

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
    """Return the fields of a statistics object that are numbers; flags are 0 or 1.

    Those of a statistics object inside of it have its field's name before their own.
    """
    numbers: dict[str, float] = {}
    for name in names_of(statistics.__class__):
        value = _value(statistics, name)
        if isinstance(value, int | float):
            numbers["_".join(name)] = value + 0
    return numbers


@functools.cache
def names_of(statistics: type) -> tuple[tuple[str, ...], ...]:
    """Return the names of all fields of a statistics class, those inside of others too."""
    hints = get_type_hints(statistics)
    names: list[tuple[str, ...]] = []
    for field in dataclasses.fields(statistics):
        inner = hints[field.name]
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            names += [(field.name, *rest) for rest in names_of(inner)]
        else:
            names.append((field.name,))
    return tuple(names)


def _value(statistics: Any, name: tuple[str, ...]) -> Any:
    for part in name:
        statistics = getattr(statistics, part)
    return statistics
