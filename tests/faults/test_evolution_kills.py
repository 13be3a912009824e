"""Kills in the middle of index builds, removals and changes of tables."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lyredb.storage import meta
from lyredb.storage.check import check
from lyredb.storage.engine import Engine
from lyredb.storage.index_builds import STEP_RECORDS, build_index
from lyredb.storage.indexing import IndexExtractor
from lyredb.storage.layout import IndexSource
from lyredb.storage.shape import put_progress
from lyredb.storage.writer import Writer
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.sdl import parse_sdl
from tests.faults.killing import SCHEMAS, SETTINGS
from tests.storage.store import SLOT, TABLE, VALUE_INDEX, Store, put

CHILD = Path(__file__).with_name("evolve_until_killed.py")
KILLS = 8


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kills_amid_changes_of_tables_leave_everything_whole(tmp_path: Path) -> None:
    """Checked right after the kill, and again when what was broken off has been ended."""
    chance = random.Random(7)
    seen = {"building": 0, "dropping": 0, "changes": 0}
    for turn in range(KILLS):
        changes = kill_after(tmp_path, turn, chance.uniform(0.15, 0.9))
        seen["changes"] += len(changes)
        look(tmp_path, seen, SCHEMAS[chance.randrange(len(SCHEMAS))])
    assert seen["changes"] > KILLS
    assert seen["building"] > 0, "no kill came into a build"


def kill_after(folder: Path, seed: int, seconds: float) -> list[str]:
    """Run a child that long after its first change, and kill it."""
    command = [sys.executable, str(CHILD), str(folder), str(seed)]
    root = Path(__file__).parents[2]
    environment = {"PYTHONPATH": f"{root / 'src'}:{root}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        assert first, "the child has ended by itself"
        time.sleep(seconds)  # the time is what is tried out here
        child.kill()
        return [first, *child.stdout.readlines()]


def look(folder: Path, seen: dict[str, int], schema: str) -> None:
    """Look at what is left, then bring it to another schema and to its end."""
    engine = Engine.open(folder, settings=SETTINGS)
    try:
        assert check(engine) == []
        seen["building"] += bool(engine.building)
        seen["dropping"] += bool(engine.dropping)
        writer = Writer(engine, call_soon=lambda callback: None)
        catalogue = Catalogue.open(engine, writer, parse_sdl(schema))
        while writer.maintenance.builds.is_due:
            writer.maintenance.builds.step()
        assert not engine.building
        assert not engine.dropping
        assert check(engine) == []
        assert_queries_are_exact(engine, catalogue)
        writer.close()
    finally:
        engine.close()


def assert_queries_are_exact(engine: Engine, catalogue: Catalogue) -> None:
    """What each index finds is what looking at each record finds."""
    table = catalogue.tables["data.Plant"]
    for index in table.layout.indexes:
        if index.source is not IndexSource.BODY:
            continue
        extractor = IndexExtractor(table.layout, only=index)
        with engine.snapshot() as snapshot:
            wanted: dict[bytes, set[bytes]] = {}
            for key, stored in snapshot.scan_stored(table.slot):
                for _, encoded in extractor.entries(stored):
                    wanted.setdefault(encoded, set()).add(key)
            for encoded, keys in wanted.items():
                assert set(snapshot.index_keys(index.slot, encoded)) == keys


Step = Callable[[Engine], None]


def progress_first(engine: Engine) -> None:
    """A step that says how far it has come, and is killed before it has."""
    with engine.snapshot() as snapshot:
        keys = [key for key, _ in snapshot.scan_stored(SLOT)]
    with engine.write() as transaction:
        put_progress(engine, transaction, SLOT, VALUE_INDEX, keys[STEP_RECORDS])


def done_too_early(engine: Engine) -> None:
    """A step that takes the index for complete."""
    next(build_index(engine, TABLE, TABLE.indexes[0]))
    with engine.write() as transaction:
        transaction.delete(meta.build_row_name(VALUE_INDEX), db=engine.handles.meta)


@pytest.mark.parametrize("broken", [progress_first, done_too_early])
def test_a_build_that_loses_records_is_caught(tmp_path: Path, broken: Step) -> None:
    """By the same look that the kills are judged by."""
    store = Store(tmp_path, table=replace(TABLE, indexes=()))
    store.commit(*(put(f"k{number:05d}", value=number % 5) for number in range(3000)))
    store.engine.define_table(TABLE)
    broken(store.engine)
    store.close()
    store = Store(tmp_path, table=TABLE)
    store.writer.wake()
    store.run()
    assert not store.engine.building
    problems = check(store.engine)
    assert any("lacks" in problem for problem in problems)
    store.close()
