"""Check, backup and restore of a database with blobs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from lyredb import Blob, Col, Key, Table, create_blob, field
from lyredb import open as open_database
from lyredb.errors import InvalidInput, StorageFailed
from lyredb.operations.backup import back_up, read_manifest
from lyredb.operations.check import check_directory
from lyredb.operations.restore import restore
from lyredb.storage.blob_files import BlobFiles

CONTENT = bytes(range(256)) * 100


class Picture(Table, name="Picture"):
    id: Key[str]
    file: Col[Blob | None] = field(default=None)


def make(path: Path) -> None:
    """Two records with files, one of which was dropped for another, and one without."""

    async def body() -> None:
        async with open_database(path, schema=[Picture]) as db:
            pictures = db[Picture]
            await pictures.put(Picture(id="a", file=create_blob(b"old" * 9_000)))
            await pictures.put(Picture(id="a", file=create_blob(CONTENT, "image/png")))
            await pictures.put(Picture(id="b", file=create_blob(CONTENT[1:])))
            await pictures.put(Picture(id="c", file=create_blob(b"small")))

    asyncio.run(body())


def contents(path: Path) -> dict[str, bytes]:
    async def body() -> dict[str, bytes]:
        async with open_database(path, schema=[Picture]) as db:
            found = await db[Picture].where().list()
            return {one.id: await one.file.bytes() for one in found if one.file}

    return asyncio.run(body())


ALL = {"a": CONTENT, "b": CONTENT[1:], "c": b"small"}


def files(path: Path) -> list[Path]:
    return sorted(one for one in (path / "blobs").rglob("*") if one.is_file())


def test_all_is_well_with_a_database_with_blobs(tmp_path: Path) -> None:
    """The dropped file is still there, for the log."""
    make(tmp_path)
    assert check_directory(tmp_path).problems == ()
    assert len(files(tmp_path)) == 3


def test_a_missing_and_a_short_file_are_problems(tmp_path: Path) -> None:
    """References are followed to the files."""
    make(tmp_path)
    (large, *_) = [one for one in files(tmp_path) if one.stat().st_size == len(CONTENT)]
    content = large.read_bytes()
    large.write_bytes(content[:-1])
    (problem,) = check_directory(tmp_path).problems
    assert f"has {len(content) - 1} bytes, not {len(content)}" in problem
    large.unlink()
    (problem,) = check_directory(tmp_path).problems
    assert "is missing" in problem


def test_an_old_file_without_a_record_is_a_problem_and_swept_at_the_start(tmp_path: Path) -> None:
    """Files are followed to the records; a young one may still get one."""
    make(tmp_path)
    new = BlobFiles(tmp_path).create()
    new.write(b"nobody's")
    new.keep()
    assert check_directory(tmp_path).problems == ()
    os.utime(BlobFiles(tmp_path).path_of(new.id), (0, 0))
    (problem,) = check_directory(tmp_path).problems
    assert "belongs to no record" in problem

    async def start() -> None:
        async with open_database(tmp_path, schema=[Picture]), asyncio.timeout(10):
            while len(files(tmp_path)) > 3:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)

    asyncio.run(start())
    assert check_directory(tmp_path).problems == ()


def test_a_backup_has_the_files_and_a_restore_brings_them_back(tmp_path: Path) -> None:
    """Byte for byte, those that the log may be asked for included."""
    source, backup, restored = (tmp_path / name for name in ("source", "backup", "restored"))
    make(source)
    manifest = back_up(source, backup, version="1")
    assert (manifest.blobs, manifest.blob_bytes) == (3, 27_000 + 2 * len(CONTENT) - 1)
    assert read_manifest(backup) == manifest
    restore(backup, restored)
    assert check_directory(restored).problems == ()
    assert contents(restored) == ALL


def test_a_backup_without_its_files_is_not_restored(tmp_path: Path) -> None:
    """Rather nothing than records whose blobs are gone; nothing is left at the place."""
    source, backup, restored = (tmp_path / name for name in ("source", "backup", "restored"))
    make(source)
    back_up(source, backup, version="1")
    large = next(one for one in files(backup) if one.stat().st_size == len(CONTENT))
    large.unlink()
    with pytest.raises(StorageFailed, match="missing"):
        restore(backup, restored)
    assert not restored.exists()
    assert list(tmp_path.glob("*.partial")) == []


def test_files_are_not_removed_while_a_backup_needs_them(tmp_path: Path) -> None:
    """Whoever holds them sees all files of its snapshot, however long it takes."""
    make(tmp_path)
    held, sweeping = BlobFiles(tmp_path), BlobFiles(tmp_path)
    with held.held(), held.held(), sweeping.held(to_remove=True) as may_remove:
        assert not may_remove
    with sweeping.held(to_remove=True) as may_remove:
        assert may_remove


def test_a_backup_that_fails_leaves_no_files(tmp_path: Path) -> None:
    """Neither the data file nor a part of the blobs."""
    source, backup = tmp_path / "source", tmp_path / "backup"
    make(source)
    for one in files(source):
        if one.stat().st_size == len(CONTENT):
            one.unlink()
    with pytest.raises(StorageFailed):
        back_up(source, backup, version="1")
    assert not backup.exists()
    assert list(tmp_path.glob("*.partial")) == []
    with pytest.raises(InvalidInput):
        read_manifest(backup)
