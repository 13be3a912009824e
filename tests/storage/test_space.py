"""A commit that failed for want of space is told from one that failed for a broken disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import pytest

from lyredb.errors import DiskFull, StorageFailed
from lyredb.storage import space as spaces
from lyredb.storage.engine import Engine
from lyredb.storage.settings import StorageSettings
from tests.storage.store import ROOMY

NO_MINIMUM = replace(ROOMY, min_free_bytes=0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = Engine.open(tmp_path / "data", settings=NO_MINIMUM)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are made to try it have no place."""

    def open_full(*, dir: Path, buffering: int) -> Any:
        return open("/dev/full", "wb", buffering=buffering)

    monkeypatch.setattr("tempfile.TemporaryFile", open_full)


def fail_with_io_error(engine: Engine) -> None:
    """As a commit does whose write was cut short, or whose disk is broken."""
    error = lmdb.DiskError("mdb_txn_commit: Input/output error")
    error.code = errno.EIO  # type: ignore[misc]  # as the binding does in C
    with engine.write():
        raise error


def test_an_io_error_without_space_is_a_full_disk_and_writing_goes_on(
    engine: Engine, full_disk: None
) -> None:
    """There is no minimum and no ENOSPC: the write had room for a part of its bytes."""
    with pytest.raises(DiskFull):
        fail_with_io_error(engine)
    assert engine.full == "disk full"
    with engine.write():
        pass
    assert not engine.failure


def test_an_io_error_with_space_is_a_broken_disk(engine: Engine) -> None:
    """After a failed fsync nothing may be tried again."""
    with pytest.raises(StorageFailed):
        fail_with_io_error(engine)
    assert engine.failure


def test_trying_for_space_leaves_nothing_behind(tmp_path: Path) -> None:
    space = spaces.Space(tmp_path, StorageSettings(), lambda: 0, lambda _: 0)
    assert not space.is_used_up()
    assert list(tmp_path.iterdir()) == []
