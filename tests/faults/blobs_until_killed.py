"""Child: writes, overwrites and deletes blobs without end, and prints what is acknowledged.

With a second argument it kills itself at that place, after a few writes: ``fsync`` after a
file is on disk and before its commit, ``removed`` after a dropped file is removed and before
that is noted.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import lyredb
from lyredb import Blob, Col, Key, Table, create_blob
from lyredb.server import store
from lyredb.storage.blob_files import NewFile
from lyredb.storage.blob_sweep import BlobSweep
from lyredb.storage.settings import StorageSettings

SETTINGS = replace(
    StorageSettings(), map_size=1 << 28, min_free_bytes=0, segment_s=0.05, retention_age_s=0.1
)
"""The log is short, so that dropped files are removed soon."""
FIRST = 5
KEYS = 4


class Photo(Table, name="Photo"):
    id: Key[str]
    picture: Col[Blob]


def content(number: int) -> bytes:
    """What the write of a number writes; every third is small."""
    return f"{number} ".encode() * (20 if number % 3 == 0 else 3_000 + number % 50)


async def main(path: Path, place: str) -> None:
    store.MAINTENANCE_S = 0.02  # type: ignore[misc]  # an idle server takes its time
    if place == "fsync":
        kill_after_keep()
    elif place == "removed":
        kill_before_forget()
    async with lyredb.open(path, schema=[Photo], storage=SETTINGS) as db:
        number = 0
        while True:
            number += 1
            key = f"k{number % KEYS}"
            if number % 7 == 0:
                await db[Photo].delete(key)
                os.write(1, f"{key} 0\n".encode())
                continue
            await db[Photo].put(Photo(id=key, picture=create_blob(content(number), "image/png")))
            os.write(1, f"{key} {number}\n".encode())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_after_keep() -> None:
    keep, count = NewFile.keep, iter(range(FIRST, -1, -1))

    def keep_and_die(self: NewFile) -> None:
        keep(self)
        if not next(count):
            die()

    NewFile.keep = keep_and_die  # type: ignore[method-assign]  # the fault


def kill_before_forget() -> None:
    def forget(self: BlobSweep, names: Sequence[bytes] | Iterable[bytes]) -> None:
        die()

    BlobSweep.forget = forget  # type: ignore[method-assign]  # the fault


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
