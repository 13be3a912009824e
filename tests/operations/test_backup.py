"""Backup and restore: whole or not at all, checked, and with a log of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lyredb.errors import FormatMismatch, InvalidInput, StorageError
from lyredb.operations.backup import MANIFEST, back_up, read_manifest
from lyredb.operations.check import check_directory
from lyredb.operations.restore import restore
from lyredb.security.session_rows import WebSession, all_removals, creation_of, key_of
from lyredb.storage.data_file import FILE_NAME
from lyredb.tables.builtin import builtin_tables
from tests.storage.store import SLOT, Store, delete, fill, put

COPY = """
import sys
from pathlib import Path
from lyredb.operations.backup import back_up
print(back_up(Path(sys.argv[1]), Path(sys.argv[2]), version="1").position)
"""


def filled(path: Path, records: int = 20) -> str:
    """Make a directory with records and a grave; return its log's identity."""
    store = Store(path)
    try:
        fill(store, [f"k{number}" for number in range(records)], value=1)
        store.commit(delete("k0"))
        return store.engine.log_id.hex()
    finally:
        store.close()


def made(tmp_path: Path) -> Path:
    """A backup of a filled directory."""
    filled(tmp_path / "data")
    back_up(tmp_path / "data", tmp_path / "copy", version="1")
    return tmp_path / "copy"


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_restored_backup_has_the_records_and_agrees_with_its_log(tmp_path: Path) -> None:
    restore(made(tmp_path), tmp_path / "again")
    assert check_directory(tmp_path / "again").problems == ()
    store = Store(tmp_path / "again")
    try:
        assert store.record("k0") is None
        assert store.record("k7") == {"value": 1}
    finally:
        store.close()


def test_a_backup_beside_a_writer_has_the_state_of_one_position(tmp_path: Path) -> None:
    """It runs in its own process while this one has the directory open and goes on writing."""
    store = Store(tmp_path / "data")
    try:
        fill(store, ["a", "b"], value=1)
        command = [sys.executable, "-c", COPY, str(tmp_path / "data"), str(tmp_path / "copy")]
        copying = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        written = 2
        while copying.poll() is None:
            store.commit(put(f"x{written}", value=written), put(f"y{written}", value=written))
            written += 2
        position, _ = copying.communicate()
        assert copying.returncode == 0
    finally:
        store.close()
    restore(tmp_path / "copy", tmp_path / "again")
    again = Store(tmp_path / "again")
    try:
        assert again.engine.position == int(position) <= written
        with again.engine.snapshot() as snapshot:
            keys = len(list(snapshot.scan(SLOT)))
        assert keys == int(position), "both records of a transaction, or neither"
    finally:
        again.close()


def test_a_restored_log_has_another_identity(tmp_path: Path) -> None:
    """Positions of the time after the backup must not be taken for those of the new log."""
    before = filled(tmp_path / "data")
    manifest = back_up(tmp_path / "data", tmp_path / "copy", version="1")
    done = restore(tmp_path / "copy", tmp_path / "again")
    store = Store(tmp_path / "again")
    after = store.engine.log_id.hex()
    store.close()
    assert manifest.log_id == before != after == done.log_id


def test_a_backup_is_read_and_restored_but_never_written(tmp_path: Path) -> None:
    """Its log is still that of the original: what is written to it would stand at positions
    that mean something else there, and whoever resumes at one would miss changes."""
    copy = made(tmp_path)
    with pytest.raises(StorageError, match="lyredb restore"):
        Store(copy)
    assert check_directory(copy).problems == ()
    assert names(copy) - {"lock.mdb"} == {FILE_NAME, MANIFEST}
    restore(copy, tmp_path / "again")
    Store(tmp_path / "again").close()


def test_a_restore_ends_the_logins_of_browsers(tmp_path: Path) -> None:
    """Some of them were ended after the backup, and must not come back to life."""
    store = Store(tmp_path / "data")
    try:
        for table in builtin_tables():
            store.engine.define_table(table.layout)
        for number in range(3):
            session = WebSession("anna", 1, 0, 2**50)
            store.commit(creation_of(key_of(f"secret {number}"), session))
    finally:
        store.close()
    back_up(tmp_path / "data", tmp_path / "copy", version="1")
    restore(tmp_path / "copy", tmp_path / "again")
    store = Store(tmp_path / "again")
    try:
        with store.engine.snapshot() as snapshot:
            assert all_removals(snapshot) == ()
    finally:
        store.close()
    assert check_directory(tmp_path / "again").problems == ()


def test_a_backup_holds_nothing_but_the_data_and_its_manifest(tmp_path: Path) -> None:
    """Keys that sign tokens and the first password must not travel with copies."""
    filled(tmp_path / "data")
    (tmp_path / "data" / "admin-password").write_text("secret")
    back_up(tmp_path / "data", tmp_path / "copy", version="1")
    assert names(tmp_path / "copy") == {FILE_NAME, MANIFEST}
    modes = [(tmp_path / "copy" / name).stat().st_mode & 0o777 for name in (FILE_NAME, MANIFEST)]
    assert ((tmp_path / "copy").stat().st_mode & 0o777, modes) == (0o700, [0o600, 0o600])


def test_an_existing_destination_stays_as_it_is(tmp_path: Path) -> None:
    copy = made(tmp_path)
    before = (copy / MANIFEST).read_bytes()
    with pytest.raises(InvalidInput, match="not empty"):
        back_up(tmp_path / "data", copy, version="1")
    assert (copy / MANIFEST).read_bytes() == before
    assert names(tmp_path) == {"data", "copy"}


def test_an_empty_destination_is_filled(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    (tmp_path / "copy").mkdir()
    back_up(tmp_path / "data", tmp_path / "copy", version="1")
    assert read_manifest(tmp_path / "copy").position == 21


def test_what_a_killed_backup_left_is_written_over(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    (tmp_path / "copy.partial").mkdir()
    (tmp_path / "copy.partial" / FILE_NAME).write_bytes(b"half")
    back_up(tmp_path / "data", tmp_path / "copy", version="1")
    assert names(tmp_path) == {"data", "copy"}


def test_foreign_files_in_the_way_are_not_removed(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    (tmp_path / "copy.partial").mkdir()
    (tmp_path / "copy.partial" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match=r"notes\.txt"):
        back_up(tmp_path / "data", tmp_path / "copy", version="1")
    assert (tmp_path / "copy.partial" / "notes.txt").read_text() == "mine"


def test_a_directory_without_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no database"):
        back_up(tmp_path, tmp_path / "copy", version="1")
    assert names(tmp_path) == set()


def test_restore_writes_into_an_empty_directory_only(tmp_path: Path) -> None:
    copy = made(tmp_path)
    with pytest.raises(InvalidInput, match="not empty"):
        restore(copy, tmp_path / "data")


def test_a_backup_that_is_cut_off_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    copy = made(tmp_path)
    with (copy / FILE_NAME).open("r+b") as file:
        file.truncate(8192)
    with pytest.raises(InvalidInput, match="8192 of"):
        restore(copy, tmp_path / "again")
    assert names(tmp_path) == {"data", "copy"}


def test_a_damaged_backup_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    """A record whose body differs from its log entry: LMDB opens it, the check finds it."""
    copy = made(tmp_path)
    data = (copy / FILE_NAME).read_bytes()
    at = data.rfind(b"\x81\xa5value\x01")
    (copy / FILE_NAME).write_bytes(data[: at + 7] + b"\x02" + data[at + 8 :])
    with pytest.raises(StorageError, match="damaged"):
        restore(copy, tmp_path / "again")
    assert names(tmp_path) == {"data", "copy"}


def test_a_manifest_of_a_later_version_is_refused(tmp_path: Path) -> None:
    copy = made(tmp_path)
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(manifest | {"manifest": 2, "version": "7.0"}))
    with pytest.raises(FormatMismatch, match=r"7\.0"):
        restore(copy, tmp_path / "again")


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    seen: list[tuple[int, int]] = []

    def note(done: int, of: int) -> None:
        seen.append((done, of))

    back_up(tmp_path / "data", tmp_path / "copy", version="1", on_progress=note)
    restore(tmp_path / "copy", tmp_path / "again", on_copy=note)
    assert seen[-1][0] == seen[-1][1] == (tmp_path / "copy" / FILE_NAME).stat().st_size
