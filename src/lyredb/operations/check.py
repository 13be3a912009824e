"""Whether records, indexes and log of a data directory agree, also beside its server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lyredb.errors import WriteConflict
from lyredb.storage.check import check
from lyredb.storage.engine import Engine

_TRIES: Final = 5
"""A server that changes its tables more often than this while it is looked at has other
troubles."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        position: As of which position.
        tables: How many tables were looked at.
        problems: One sentence each; none when all is well.
    """

    position: int
    tables: int
    problems: tuple[str, ...]


def check_directory(
    data_dir: Path, on_progress: Callable[[int, int], None] = lambda done, of: None
) -> Report:
    """Read everything and compare; changes nothing.

    O(data). One read transaction as long as it takes: a server that writes meanwhile
    reuses no page, so its data file grows by what it writes. Must not run in a process
    that has the directory open.

    Args:
        data_dir: May be in use.
        on_progress: Gets how many parts are done, and of how many.

    Raises:
        StorageError: It cannot be opened or read.
        WriteConflict: A server changes its tables all the time.
    """
    for attempt in range(_TRIES):
        engine = Engine.open(data_dir, readonly=True)
        try:
            problems = check(engine, on_progress)
            return Report(engine.position, len(engine.layouts), tuple(problems))
        except WriteConflict:
            if attempt == _TRIES - 1:
                raise
        finally:
            engine.close()
    raise AssertionError("the last try returns or raises")
