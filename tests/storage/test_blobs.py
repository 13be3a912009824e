"""Blobs below the tables: their form in a body, their files, and which record has which file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lyredb.errors import DiskFull, InvalidRecord
from lyredb.storage import meta
from lyredb.storage.blob import PackedBlob, StoredBlob, files_in
from lyredb.storage.blob_files import BlobFiles
from lyredb.storage.blob_rows import DROPPED, FILE
from lyredb.storage.blob_sweep import ORPHAN_AGE_S, BlobSweep
from lyredb.storage.body import load_body, pack_body
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import TableLayout
from lyredb.storage.mutation import Applied, DeleteReason, Kind, Mutation
from lyredb.storage.record import decode_header, has_files
from lyredb.storage.sequencer import Result
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer

SLOT = 16
ID = bytes(range(16))


def test_a_reference_reads_as_a_mapping_and_is_written_back_the_same() -> None:
    """What is shown of a file is enough to name it again, byte for byte."""
    packed = PackedBlob("image/png", id=ID, size=9_000)
    body = pack_body({"a": packed, "n": 1})
    shown = load_body(body)["a"]
    assert shown == {"contentType": "image/png", "size": 9_000, "blob": ID.hex()}
    assert isinstance(shown, StoredBlob)
    assert pack_body({"a": shown.packed, "n": 1}) == body
    assert files_in(load_body(body)) == {packed}


def test_a_mapping_that_looks_like_a_reference_is_data() -> None:
    """Only an attribute of type Blob can refer to a file; others keep the mapping."""
    record = {"a": {"contentType": "image/png", "size": 9_000, "blob": ID.hex()}}
    loaded = load_body(pack_body(record))
    assert loaded == record
    assert files_in(loaded) == frozenset()
    read = load_body(pack_body({"a": PackedBlob("image/png", id=ID, size=9_000)}))
    assert files_in(load_body(pack_body(read))) == frozenset()


def test_an_abandoned_file_is_gone_and_a_kept_one_is_listed(tmp_path: Path) -> None:
    """A file exists as a whole, or it does not."""
    files = BlobFiles(tmp_path)
    kept, abandoned = files.create(), files.create()
    for new in (kept, abandoned):
        new.write(b"x" * 10_000)
    kept.keep()
    abandoned.abandon()
    assert [(file.id, file.size) for file in files.list()] == [(kept.id, 10_000)]
    assert files.path_of(kept.id).stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_told_as_such_before_the_store_needs_the_rest(tmp_path: Path) -> None:
    """The space below `storage.minFree` is not for blobs."""
    free = [100]
    files = BlobFiles(tmp_path, min_free_bytes=50, free_bytes_of=lambda path: free[0])
    new = files.create()
    free[0] = 49
    with pytest.raises(DiskFull, match="free space"):
        new.write(b"x")
    new.abandon()
    with pytest.raises(DiskFull):
        files.create()


class Shelf:
    """An engine with one table with blobs, written by hand."""

    def __init__(self, path: Path) -> None:
        settings = StorageSettings(map_size=64 << 20, segment_bytes=64 << 10, min_free_bytes=0)
        self.engine = Engine.open(path, settings=settings)
        if SLOT not in self.engine.layouts:
            self.engine.define_table(TableLayout(SLOT, "data.Photo", blobs=("picture",)))
        self.writer = Writer(self.engine, call_soon=lambda callback: None)
        self.files = BlobFiles(path)
        self.sweep = BlobSweep(self.engine, self.files)

    def file(self, content: bytes = b"x" * 9_000, kind: str = "image/png") -> PackedBlob:
        new = self.files.create()
        new.write(content)
        new.keep()
        return PackedBlob(kind, id=new.id, size=new.size)

    def do(self, *mutations: Mutation) -> Applied:
        results: list[Result] = []
        self.writer.submit(mutations, results.append)
        self.writer.commit_now()
        (result,) = results
        if not isinstance(result, Applied):
            raise result
        return result

    def put(self, key: str, *blobs: PackedBlob, made: tuple[PackedBlob, ...] | None = None) -> int:
        made = blobs if made is None else made
        names = ("picture", "other")
        body = pack_body(dict(zip(names, blobs, strict=False)))
        ids = tuple(blob.id for blob in made)
        return self.do(Mutation(SLOT, encode_key(key), Kind.PUT, body, blobs=ids)).position

    def delete(self, key: str, reason: DeleteReason = DeleteReason.USER) -> int:
        mutation = Mutation(SLOT, encode_key(key), Kind.DELETE, reason=reason)
        return self.do(mutation).position

    def row(self, blob: PackedBlob) -> bytes | None:
        with self.engine.snapshot() as snapshot:
            return snapshot.unref_row(FILE + blob.id)

    def pass_floor(self) -> None:
        """Write until nothing of today is in the log."""
        for _ in range(3):
            self.engine.settings = StorageSettings(
                map_size=64 << 20, min_free_bytes=0, segment_s=0.0, retention_age_s=0.0
            )
            self.do(Mutation(SLOT, encode_key("filler"), Kind.MESSAGE, b"x"))
            while self.writer.maintain():
                continue


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    opened = Shelf(tmp_path / "data")
    yield opened
    opened.engine.close()


def test_a_record_owns_the_file_that_was_written_for_it(shelf: Shelf) -> None:
    """The row is in the commit of the record, and the record says that it has files."""
    blob = shelf.file()
    shelf.put("a", blob)
    assert shelf.row(blob) == b"R" + SLOT.to_bytes(2, "big") + encode_key("a")
    stored = shelf.engine.record(SLOT, encode_key("a"))
    assert stored is not None
    assert has_files(stored)
    assert files_in(load_body(stored[decode_header(stored).body_offset :])) == {blob}


def test_the_file_of_another_record_cannot_be_referred_to(shelf: Shelf) -> None:
    """Who may write one record must not read all blobs by guessing or keeping references."""
    blob = shelf.file()
    shelf.put("a", blob)
    with pytest.raises(InvalidRecord, match="belongs to one record"):
        shelf.put("b", blob, made=())
    with pytest.raises(InvalidRecord, match="belongs to one record"):
        shelf.put("a", PackedBlob("text/html", id=blob.id, size=blob.size), made=())
    assert shelf.engine.record(SLOT, encode_key("b")) is None


def test_a_put_that_names_the_same_file_keeps_it(shelf: Shelf) -> None:
    """Reading a record, changing a number and putting it back loses no blob."""
    blob = shelf.file()
    shelf.put("a", blob)
    before = shelf.row(blob)
    shelf.put("a", blob, made=())
    assert shelf.row(blob) == before


def test_a_patch_of_something_else_keeps_the_file(shelf: Shelf) -> None:
    """Merging does not look at the blob."""
    blob = shelf.file()
    shelf.put("a", blob)
    shelf.do(Mutation(SLOT, encode_key("a"), Kind.PATCH, pack_body({"n": 1})))
    row = shelf.row(blob)
    assert row is not None
    assert row[:1] == b"R"


def test_what_is_overwritten_or_deleted_goes_when_the_floor_has_passed(shelf: Shelf) -> None:
    """The log may be asked for the state before; after that nobody can ask any more."""
    first, second, third = shelf.file(), shelf.file(), shelf.file()
    shelf.put("a", first)
    shelf.put("a", second)
    shelf.put("b", third)
    shelf.delete("b")
    assert shelf.sweep.step() == 0
    assert {file.id for file in shelf.files.list()} == {first.id, second.id, third.id}
    shelf.pass_floor()
    assert shelf.sweep.step() == 2
    assert [file.id for file in shelf.files.list()] == [second.id]
    assert shelf.row(first) is None
    with shelf.engine.snapshot() as snapshot:
        assert list(snapshot.scan_unref(DROPPED)) == []


def test_a_rejected_write_leaves_no_row(shelf: Shelf) -> None:
    """Its file is an orphan, found by having none."""
    blob, good = shelf.file(), shelf.file()
    shelf.put("a", good)
    with pytest.raises(InvalidRecord):
        shelf.do(
            Mutation(
                SLOT, encode_key("b"), Kind.PUT, pack_body({"picture": blob}), blobs=(blob.id,)
            ),
            Mutation(SLOT, encode_key("c"), Kind.PUT, b"no map"),
        )
    assert shelf.row(blob) is None
    assert shelf.sweep.old_files(time.time() - ORPHAN_AGE_S) == []
    found = shelf.sweep.without_row(shelf.sweep.old_files(time.time() + 1))
    assert found == [blob.id]
    assert shelf.sweep.remove_orphans(found) == 1
    assert [file.id for file in shelf.files.list()] == [good.id]


def test_only_old_orphans_are_found(shelf: Shelf) -> None:
    """A young file may be one whose commit is under way."""
    old, young = shelf.file(), shelf.file()
    os.utime(shelf.files.path_of(old.id), (0, 0))
    assert shelf.sweep.without_row(shelf.sweep.old_files(time.time() - 60)) == [old.id]
    assert shelf.row(young) is None


def test_files_written_and_dropped_in_one_transaction_have_one_fate(shelf: Shelf) -> None:
    """The last write of a group counts, as for records."""
    first, second = shelf.file(), shelf.file()
    shelf.do(
        *(
            Mutation(
                SLOT, encode_key("a"), Kind.PUT, pack_body({"picture": blob}), blobs=(blob.id,)
            )
            for blob in (first, second)
        )
    )
    shelf.pass_floor()
    assert shelf.sweep.step() == 1
    assert [file.id for file in shelf.files.list()] == [second.id]


def test_a_dropped_table_drops_the_files_of_its_records(shelf: Shelf) -> None:
    """Nobody could delete those records one by one any more."""
    blob = shelf.file()
    shelf.put("a", blob)
    shelf.engine.drop_table(SLOT)
    shelf.engine.define_table(TableLayout(SLOT, "data.Other"))
    shelf.pass_floor()
    assert shelf.sweep.step() == 1
    assert list(shelf.files.list()) == []


def test_an_attribute_that_is_no_blob_any_more_still_lets_go_of_its_file(shelf: Shelf) -> None:
    """The record says by itself that it has files, whatever the schema says today."""
    blob = shelf.file()
    shelf.put("a", blob)
    shelf.engine.define_table(TableLayout(SLOT, "data.Photo"))
    shelf.do(Mutation(SLOT, encode_key("a"), Kind.PUT, pack_body({"picture": 1})))
    row = shelf.row(blob)
    assert row is not None
    assert row[:1] == b"D"


def test_a_store_without_blobs_stays_readable_by_versions_that_do_not_know_them(
    tmp_path: Path,
) -> None:
    """The bit is set in the commit of the first blob, and kept."""
    shelf = Shelf(tmp_path)
    shelf.put("a")
    with shelf.engine.snapshot() as snapshot:
        before = snapshot.meta_row(meta.FORMAT)
    shelf.put("a", PackedBlob("image/png", b"small"), made=())
    with shelf.engine.snapshot() as snapshot:
        after = snapshot.meta_row(meta.FORMAT)
    assert before is not None
    assert after is not None
    size = os.sysconf("SC_PAGE_SIZE")
    assert meta.decode_format(before, page_size=size).incompatible == 0
    assert meta.decode_format(after, page_size=size).incompatible == meta.BLOBS_FLAG
    shelf.writer.close()
    shelf.engine.close()
    again = Shelf(tmp_path)
    assert again.engine.form.incompatible == meta.BLOBS_FLAG
    again.engine.close()
