"""Kills amid blobs: what was acknowledged is there, and no file too many or too few."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lyredb
from lyredb.operations.check import check_directory
from lyredb.storage.blob_files import BlobFiles
from lyredb.storage.blob_rows import FILE
from lyredb.storage.engine import Engine
from tests.faults import blobs_until_killed as child
from tests.faults.blobs_until_killed import Photo, content

DEADLINE_S = 30


def start(path: Path, *place: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, child.__file__, str(path), *place],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(("src", "."))},
        cwd=Path(__file__).parents[2],
    )


def acknowledged(output: bytes) -> dict[str, int]:
    """The number of each key's last write that was told, 0 after a delete."""
    lines = (line.split() for line in output.decode().splitlines())
    return {key: int(number) for key, number in lines}


def assert_sound(path: Path, known: dict[str, int]) -> None:
    """Compare records with what was told, and files with what the store knows."""
    assert check_directory(path).problems == ()

    async def body() -> None:
        async with lyredb.open(path, schema=[Photo], storage=child.SETTINGS) as db:
            for key, number in known.items():
                photo = await db[Photo].get(key)
                if photo is None:
                    assert_may_be_gone(key, number)
                    continue
                found = await photo.picture.bytes()
                written = int(found.split()[0])
                # The write after the last that was told may be there as a whole.
                assert written >= number
                assert written % child.KEYS == int(key[1:])
                assert found == content(written)

    asyncio.run(body())
    assert check_directory(path).problems == ()


def assert_may_be_gone(key: str, number: int) -> None:
    """A delete was told, or was the next thing to be done to the key."""
    following = number + child.KEYS
    assert number == 0 or following % 7 == 0, f"{key} {number} was acknowledged and is gone"


@pytest.mark.parametrize("round", range(4))
def test_a_kill_at_any_time_loses_nothing_that_was_told(tmp_path: Path, round: int) -> None:
    """Some files are being written, some removed; the log is rotated all the time."""
    process = start(tmp_path)
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(0.05 + 0.17 * round)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=DEADLINE_S)
    assert_sound(tmp_path, acknowledged(first + rest))


@pytest.mark.parametrize("place", ["fsync", "removed"])
def test_a_kill_between_a_file_and_its_row_is_made_good(tmp_path: Path, place: str) -> None:
    """Before the commit the file is nobody's; after its removal only the note is missing."""
    process = start(tmp_path, place)
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == -signal.SIGKILL
    if place == "fsync":
        assert len(files_without_row(tmp_path)) == 1
    time.sleep(0.2)  # a start takes that long anyway: files of the last tick are left alone
    assert_sound(tmp_path, acknowledged(output))
    asyncio.run(until_swept(tmp_path))
    assert files_without_row(tmp_path) == []


async def until_swept(path: Path) -> None:
    """Open it, and wait until as many files are gone as had no row."""
    wanted = len(list(BlobFiles(path).list())) - len(files_without_row(path))
    async with lyredb.open(path, schema=[Photo], storage=child.SETTINGS):
        async with asyncio.timeout(DEADLINE_S):
            while len(list(BlobFiles(path).list())) > wanted:  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.01)


def files_without_row(path: Path) -> list[bytes]:
    engine = Engine.open(path, settings=child.SETTINGS, readonly=True)
    try:
        with engine.snapshot() as snapshot:
            ids = [file.id for file in BlobFiles(path).list()]
            return [id for id in ids if snapshot.unref_row(FILE + id) is None]
    finally:
        engine.close()
