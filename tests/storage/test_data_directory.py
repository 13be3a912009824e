"""Whose the data directory is, and who may write it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lyredb.errors import StorageFailed
from lyredb.storage.data_directory import DirectoryLock


def test_a_new_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    DirectoryLock(tmp_path / "deep" / "data").release()
    assert stat.S_IMODE((tmp_path / "deep" / "data").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_a_directory_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """They could put a data file or a socket of their own in place of ours."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(mode)
    with pytest.raises(StorageFailed, match="chmod 700"):
        DirectoryLock(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_directory_that_others_may_read_is_used(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    DirectoryLock(tmp_path / "data").release()
    assert stat.S_IMODE((tmp_path / "data" / "lyredb.lock").stat().st_mode) == 0o600


def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for root: the owner could not use afterwards what root has written."""
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(StorageFailed, match=f"belongs to user {owner}"):
        DirectoryLock(tmp_path)
