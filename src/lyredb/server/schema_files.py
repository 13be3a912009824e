"""Follows the files of an application that declare tables, for ``lyredb dev``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from lyredb.applications.application import TABLES_MODULE, load_application
from lyredb.errors import LyreError
from lyredb.tables.schema import Schema

LOOK_S: Final = 0.5
"""How often the files are looked at: a handful of stats, some 0.1 ms."""
SETTLE_S: Final = 0.1
"""After a change was seen: editors empty a file before they write it."""

_logger: Final = logging.getLogger(__name__)

Stamp = frozenset[tuple[str, int, int]]
"""Path, time and size of each file."""


def stamp_of(folder: Path) -> Stamp:
    """Return what changes when a file changes that may declare tables."""
    files = [*folder.glob("*.graphql"), *folder.glob("*.py")]
    files += (folder / TABLES_MODULE).rglob("*.py")
    found = set()
    for file in files:
        try:
            status = file.stat()
        except OSError:  # it is being replaced; the next look finds what has come
            continue
        found.add((str(file), status.st_mtime_ns, status.st_size))
    return frozenset(found)


async def follow_tables(
    folder: Path,
    stamp: Stamp,
    evolve: Callable[[Schema], Awaitable[list[str]]],
    *,
    look_s: float = LOOK_S,
    settle_s: float = SETTLE_S,
) -> None:
    """Bring the store to the tables of the files each time that one of them has changed.

    Runs until it is cancelled. What is wrong is logged, and the tables stay as they were.
    What was read while a file was being written counts for nothing: it may have been empty.

    Args:
        folder: Of the application.
        stamp: Of the files from which the present tables were made.
        evolve: Brings the store to a schema.
        look_s: As `LOOK_S`.
        settle_s: As `SETTLE_S`.
    """
    while True:
        await asyncio.sleep(look_s)
        present = stamp_of(folder)
        if present == stamp:
            continue
        await asyncio.sleep(settle_s)
        schema = _read(folder)
        if stamp_of(folder) != present:
            continue  # the next look finds what has come
        stamp = present
        try:
            if isinstance(schema, LyreError):
                raise schema
            changed = await evolve(schema)
        except LyreError as error:
            _logger.error("the tables stay as they were: %s", error)
        else:
            _logger.info("reloaded; changed tables: %s", ", ".join(changed) or "none")


def _read(folder: Path) -> Schema | LyreError:
    try:
        return load_application(folder).schema
    except LyreError as error:
        return error
