"""Blobs against a model: which files there have to be after any writes, kills and sweeps."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lyredb.errors import InvalidRecord
from lyredb.storage.blob import PackedBlob
from lyredb.storage.check import check
from tests.storage.test_blobs import Shelf

KEYS = st.sampled_from("abc")


class Blobs(RuleBasedStateMachine):
    """Records with up to two files each; the model is a dictionary and three sets."""

    @initialize()
    def open(self) -> None:
        """Begin with nothing."""
        self.folder = Path(tempfile.mkdtemp())
        self.shelf = Shelf(self.folder / "data")
        self.records: dict[str, tuple[PackedBlob, ...]] = {}
        self.dropped: set[bytes] = set()
        self.orphans: set[bytes] = set()

    @rule(key=KEYS, count=st.integers(0, 2))
    def put_new(self, key: str, count: int) -> None:
        """Write a record with new files."""
        blobs = tuple(self.shelf.file() for _ in range(count))
        self.shelf.put(key, *blobs)
        self._replace(key, blobs)

    @rule(key=KEYS, keep=st.booleans())
    def put_again(self, key: str, keep: bool) -> None:
        """Write a record with the file that it has, and perhaps without its other one."""
        blobs = self.records.get(key, ())
        blobs = blobs if keep else blobs[:1]
        self.shelf.put(key, *blobs, made=())
        self._replace(key, blobs)

    @rule(key=KEYS, other=KEYS)
    def steal(self, key: str, other: str) -> None:
        """Write a record with the file of another one: refused, and nothing changes."""
        blobs = self.records.get(other, ())
        if not blobs or key == other:
            return
        try:
            self.shelf.put(key, *blobs, made=())
        except InvalidRecord:
            return
        raise AssertionError("a file has two records")

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        """Delete a record."""
        self.shelf.delete(key)
        self._replace(key, ())
        self.records.pop(key, None)

    @rule()
    def write_without_commit(self) -> None:
        """Be killed between a file and its commit, or have the commit refused."""
        self.orphans.add(self.shelf.file().id)

    @rule()
    def kill(self) -> None:
        """Open again what is on disk."""
        self.shelf.engine.close()
        self.shelf = Shelf(self.folder / "data")

    @rule()
    def sweep(self) -> None:
        """Nothing goes before the floor has passed."""
        self.shelf.sweep.step()

    @rule()
    def pass_floor_and_sweep(self) -> None:
        """All that was dropped goes."""
        self.shelf.pass_floor()
        while self.shelf.sweep.step():
            continue
        self.dropped.clear()

    @rule()
    def sweep_orphans(self) -> None:
        """All that no commit knows goes."""
        sweep = self.shelf.sweep
        sweep.remove_orphans(sweep.without_row(sweep.old_files(time.time() + 60)))
        self.orphans.clear()

    @invariant()
    def files_are_those_of_the_model(self) -> None:
        """On disk are the files of records, those dropped and not removed, and orphans."""
        if not hasattr(self, "shelf"):
            return
        live = {blob.id for blobs in self.records.values() for blob in blobs}
        found = {file.id for file in self.shelf.files.list()}
        assert found == live | self.dropped | self.orphans
        assert check(self.shelf.engine) == []

    def teardown(self) -> None:
        """Close and remove."""
        if hasattr(self, "shelf"):
            self.shelf.engine.close()
            shutil.rmtree(self.folder)

    def _replace(self, key: str, blobs: tuple[PackedBlob, ...]) -> None:
        kept = {blob.id for blob in blobs}
        self.dropped |= {blob.id for blob in self.records.get(key, ())} - kept
        self.records[key] = blobs


TestBlobs = Blobs.TestCase
TestBlobs.settings = settings(max_examples=20, stateful_step_count=20)
