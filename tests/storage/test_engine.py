from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from lyredb.errors import (
    DataDirectoryInUse,
    EngineClosed,
    FormatMismatch,
    StorageError,
    StorageFailed,
)
from lyredb.storage import meta
from lyredb.storage.check import check
from lyredb.storage.data_file import FILE_NAME
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_index_value, encode_key
from lyredb.storage.layout import IndexLayout, IndexSource, TableLayout
from lyredb.storage.mutation import Applied
from tests.storage.store import (
    ROOMY,
    SLOT,
    TABLE,
    VALUE_INDEX,
    ManualClock,
    Store,
    body_of,
    delete,
    fill,
    put,
)

SOURCE = str(Path(meta.__file__).parents[2])


def test_a_data_directory_belongs_to_one_engine(store: Store, tmp_path: Path) -> None:
    """The error names the process, this one included."""
    with pytest.raises(DataDirectoryInUse, match=str(os.getpid())):
        Engine.open(tmp_path / "data", settings=ROOMY)


def test_a_data_directory_is_free_after_close_and_after_a_failed_open(tmp_path: Path) -> None:
    """Nothing keeps the lock that does not use it."""
    (tmp_path / "data.mdb").write_bytes(b"x" * 8192)
    for _ in range(2):
        with pytest.raises((FormatMismatch, StorageFailed)):
            Engine.open(tmp_path, settings=ROOMY)
    (tmp_path / "data.mdb").unlink()
    for _ in range(2):
        Engine.open(tmp_path, settings=ROOMY).close()


def test_another_process_sees_that_the_directory_is_in_use(store: Store, tmp_path: Path) -> None:
    """A second server must not take half of the connections."""
    code = (
        "import sys\n"
        "from lyredb.errors import DataDirectoryInUse\n"
        "from lyredb.storage.engine import Engine\n"
        "try:\n    Engine.open(sys.argv[1])\n"
        "except DataDirectoryInUse as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert str(os.getpid()) in done.stdout


def test_a_point_read_tells_what_a_snapshot_of_now_would(tmp_path: Path) -> None:
    """Each read sees the last commit, and no record whose deadline has passed."""
    clock = ManualClock()
    store = Store(tmp_path / "data", clock=clock)
    key = encode_key("a")
    assert store.engine.record(SLOT, key) is None
    for value in (1, 2):
        store.commit(put("a", value=value))
        stored = store.engine.record(SLOT, key)
        assert stored is not None
        assert body_of(stored) == {"value": value}
    store.commit(msgspec.structs.replace(put("a", value=3), expires_ms=clock.ms + 10))
    assert store.engine.record(SLOT, key) is not None
    clock.ms += 10
    assert store.engine.record(SLOT, key) is None
    store.close()


def test_a_point_read_says_that_the_engine_is_closed(store: Store) -> None:
    """It must not read what is no longer mapped."""
    store.close()
    with pytest.raises(EngineClosed):
        store.engine.record(SLOT, encode_key("a"))


def test_a_reader_beside_the_writer_sees_commits(store: Store, tmp_path: Path) -> None:
    """Another process opens the directory for reading, without the lock."""
    store.commit(put("a", value=1))
    code = (
        "import sys\n"
        "from lyredb.storage.engine import Engine\n"
        "from lyredb.storage.keys import encode_key\n"
        "engine = Engine.open(sys.argv[1], readonly=True)\n"
        "with engine.snapshot() as snapshot:\n"
        "    print(snapshot.position, snapshot.get(16, encode_key('a')) is not None)\n"
        "    print(len(snapshot.entries(0)), len(list(snapshot.entries_of(16, None, 0, 9))))\n"
        "engine.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert done.stdout.split() == ["1", "True", "1", "1"]


@pytest.mark.parametrize(
    "change",
    [{"major": 2}, {"incompatible": 1 << 40}, {"engine": "lmdb-1.0"}, {"page_size": 512}],
)
def test_a_later_format_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """Nothing is read on a guess; a later minor version is no hindrance."""
    store = Store(tmp_path)
    with store.engine.write() as transaction:
        row = transaction.get(meta.FORMAT, db=store.engine.handles.meta)
        assert row is not None
        form = meta.decode_format(row, page_size=4096)
        values = {name: getattr(form, name) for name in form.__struct_fields__}
        later = meta.Format(**{**values, "minor": 7, **change})
        transaction.put(meta.FORMAT, meta.encode_format(later), db=store.engine.handles.meta)
    store.close()
    with pytest.raises(FormatMismatch):
        Engine.open(tmp_path, settings=ROOMY)


def test_the_log_keeps_its_identity(tmp_path: Path) -> None:
    """Positions are worth something as long as it is the same log, and only then."""
    identities = set()
    for _ in range(2):
        engine = Engine.open(tmp_path / "a", settings=ROOMY)
        identities.add(engine.log_id)
        engine.close()
    other = Engine.open(tmp_path / "b", settings=ROOMY)
    identities.add(other.log_id)
    other.close()
    assert len(identities) == 2


def test_a_closed_engine_says_so(store: Store) -> None:
    """Also to iterators that are still open."""
    store.commit(put("a", value=1))
    snapshot = store.engine.snapshot()
    scan = snapshot.scan(SLOT)
    store.engine.close()
    with pytest.raises(EngineClosed):
        next(scan)
    with pytest.raises(EngineClosed):
        store.engine.snapshot()
    with pytest.raises(EngineClosed):
        store.submit(put("b"))


def test_an_added_index_is_built_while_others_write(tmp_path: Path) -> None:
    """Over a restart in the middle; the writer keeps it up to date from the beginning."""
    plain = replace(TABLE, indexes=())
    store = Store(tmp_path, table=plain)
    store.commit(*(put(f"k{number:04d}", value=number % 5) for number in range(2500)))
    store.engine.define_table(TABLE)
    assert store.engine.building == {VALUE_INDEX}
    steps = store.engine.build_index(TABLE, TABLE.indexes[0])
    next(steps)
    store.submit(put("k0001", value=9), put("k2400", value=9), put("new", value=9))
    store.writer.commit_now()  # without maintenance, which would go on with the build
    store.close()
    store = Store(tmp_path, table=TABLE)
    assert store.engine.building == {VALUE_INDEX}
    assert check(store.engine) == []
    done = sum(store.engine.build_index(TABLE, TABLE.indexes[0]))
    assert 0 < done < 2500
    assert store.engine.building == frozenset()
    with store.engine.snapshot() as snapshot:
        found = snapshot.index_keys(VALUE_INDEX, encode_index_value(9))
        assert list(found) == [encode_key(name) for name in ("k0001", "k2400", "new")]
    assert check(store.engine) == []
    store.close()


def test_the_writer_builds_and_empties_indexes_between_groups(tmp_path: Path) -> None:
    """One step at a time, so that a write never waits for more than one."""
    plain = replace(TABLE, indexes=())
    store = Store(tmp_path, table=plain)
    store.commit(*(put(f"k{number:04d}", value=number % 5) for number in range(5000)))
    store.engine.define_table(TABLE)
    store.writer.wake()
    store.ticks.pop(0)()
    assert store.engine.building == {VALUE_INDEX}
    reply = store.submit(put("new", value=9))
    store.ticks.pop(0)()
    assert isinstance(reply[0], Applied)
    assert store.engine.building == {VALUE_INDEX}
    store.run()
    assert store.engine.building == frozenset()
    assert check(store.engine) == []
    store.engine.define_table(plain)
    assert store.engine.dropping == {VALUE_INDEX}
    assert store.engine.allocate_slots(indexes=1).indexes == (17,)
    store.writer.wake()
    store.ticks.pop(0)()
    store.close()
    store = Store(tmp_path, table=plain)
    assert store.engine.dropping == {VALUE_INDEX}
    store.writer.wake()
    store.run()
    assert store.engine.dropping == frozenset()
    assert store.engine.allocate_slots(indexes=1).indexes == (16,)
    store.close()


_READER = """
import sys
from lyredb.storage.engine import Engine
engine = Engine.open(sys.argv[1], readonly=True)
for line in sys.stdin:
    if line.strip() == "refresh":
        engine.refresh_shape()
    indexes = sorted(index.slot for index in engine.layouts[16].indexes)
    print(indexes, sorted(engine.building), flush=True)
"""


def test_a_reading_engine_sees_when_an_index_is_complete(tmp_path: Path) -> None:
    """Beside the process that builds it: while it is not, a query must not use it."""
    plain = replace(TABLE, indexes=())
    store = Store(tmp_path, table=plain)
    store.commit(*(put(f"k{number:04d}", value=number % 5) for number in range(2500)))
    command = [sys.executable, "-c", _READER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:

        def answer(line: str) -> str:
            assert reader.stdin is not None
            assert reader.stdout is not None
            print(line, file=reader.stdin, flush=True)
            return reader.stdout.readline().strip()

        assert answer("look") == "[] []"
        store.engine.define_table(TABLE)
        assert answer("look") == "[] []"
        assert answer("refresh") == f"[{VALUE_INDEX}] [{VALUE_INDEX}]"
        store.writer.wake()
        store.run()
        assert answer("look") == f"[{VALUE_INDEX}] []"
    store.close()


def test_a_removed_index_is_emptied_and_its_slot_is_free(store: Store) -> None:
    """A later index in the same slot begins with nothing."""
    fill(store, "ab", value=1)
    store.engine.define_table(replace(TABLE, indexes=()))
    assert store.engine.allocate_slots(tables=2, indexes=1) == ((17, 18), (16,))
    with store.engine.snapshot() as snapshot:
        assert list(snapshot.scan_index(VALUE_INDEX)) == []
    other = replace(TABLE, indexes=(IndexLayout(VALUE_INDEX, ("name",)),))
    store.engine.define_table(other)
    assert sum(store.engine.build_index(other, other.indexes[0])) == 2
    assert check(store.engine) == []


def test_an_index_may_be_on_a_nested_value_and_on_the_times(tmp_path: Path) -> None:
    """Times are numbers of milliseconds; what a path does not reach is absent."""
    table = TableLayout(
        SLOT,
        "data.T",
        indexes=(
            IndexLayout(20, ("where", "city")),
            IndexLayout(21, (), IndexSource.CREATED),
            IndexLayout(22, (), IndexSource.UPDATED),
        ),
    )
    store = Store(tmp_path, table=table)
    first = store.commit(put("a", where={"city": "Bern"}), put("b", where=3)).outcomes[0].version
    last = store.commit(put("a", where={"city": "Basel"})).outcomes[0].version
    with store.engine.snapshot() as snapshot:

        def keys(slot: int, value: object) -> list[bytes]:
            return list(snapshot.index_keys(slot, encode_index_value(value)))

        assert keys(20, "Basel") == [encode_key("a")]
        assert keys(20, "Bern") == []
        assert list(snapshot.index_keys(20, b"\x00")) == [encode_key("b")]
        assert keys(21, first / 4096) == keys(22, last / 4096) == [encode_key("a")]
    assert check(store.engine) == []
    store.close()


def test_a_table_is_defined_once(store: Store) -> None:
    """The same layout writes nothing, and an index slot has one owner."""
    before = store.engine.layouts
    store.engine.define_table(TABLE)
    assert store.engine.layouts is before
    with pytest.raises(StorageError):
        store.engine.define_table(replace(TABLE, slot=17))


def test_a_dropped_table_is_gone_and_its_slot_can_be_used(store: Store) -> None:
    """Its log entries stay; a new table in the slot has no record."""
    fill(store, "ab", value=1)
    store.engine.drop_table(SLOT)
    assert SLOT not in store.engine.layouts
    store.engine.define_table(TABLE)
    with store.engine.snapshot() as snapshot:
        assert snapshot.count(SLOT) == 0
        assert len(snapshot.entries(0)) == 2


def test_an_old_snapshot_keeps_its_view(store: Store) -> None:
    """Through commits, new tables and a moved floor."""
    store.commit(put("a", value=1))
    with store.engine.snapshot() as snapshot:
        assert snapshot.position == 1
        store.commit(put("a", value=2), put("b", value=1))
        store.engine.define_table(TableLayout(17, "data.Other"))
        assert [key for key, _ in snapshot.scan(SLOT)] == [encode_key("a")]
        assert [entry.seq for entry in snapshot.entries(0)] == [1]


def test_statistics_tell_position_floor_and_sizes(store: Store) -> None:
    """The server pulls them; nothing is counted twice."""
    store.commit(put("a", value=1))
    numbers = store.engine.statistics()
    assert (numbers.position, numbers.floor, numbers.segments, numbers.tables) == (1, 1, 1, 1)
    assert 0 < numbers.log_bytes < numbers.used_bytes
    assert not numbers.failed


def test_as_many_databases_as_there_can_be_are_an_error_of_the_schema_alone(
    tmp_path: Path,
) -> None:
    """The engine stays writable: no byte of it was in doubt."""
    store = Store(tmp_path)
    with pytest.raises(StorageError, match="1024 databases") as caught:
        store.engine.open_databases(*(f"x{number}" for number in range(1000, 2100)))
    assert not isinstance(caught.value, StorageFailed)
    store.commit(put("a", value=1))
    store.close()


def test_a_data_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds everybody's records and the users' hashes; whatever the process's umask is."""
    before = os.umask(0)
    try:
        Store(tmp_path / "data").close()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert modes == {"data.mdb": 0o600, "lock.mdb": 0o600, "lyredb.lock": 0o600}


def test_a_dropped_table_leaves_nothing_to_the_next_of_its_slot(store: Store) -> None:
    """Neither records nor graves: a grave is the past of another table's key."""
    fill(store, ["a", "b"], value=1)
    store.commit(delete("a"))
    with store.engine.snapshot() as snapshot:
        assert len(list(snapshot.scan_graves(SLOT))) == 1
    store.engine.drop_table(SLOT)
    assert SLOT not in store.engine.layouts
    store.engine.define_table(TABLE)
    with store.engine.snapshot() as snapshot:
        assert snapshot.count(SLOT) == 0
        assert list(snapshot.scan_graves(SLOT)) == []


@pytest.mark.parametrize("way", ["deleted", "moved", "replaced"])
def test_a_data_file_that_is_not_in_its_place_takes_no_writes(tmp_path: Path, way: str) -> None:
    """The system would take them, and they would be gone with the file. Reads go on."""
    store = Store(tmp_path)
    store.commit(put("a", value=1))
    file = tmp_path / FILE_NAME
    if way == "deleted":
        file.unlink()
    else:
        file.rename(tmp_path / "elsewhere.mdb")
    if way == "replaced":
        file.write_bytes((tmp_path / "elsewhere.mdb").read_bytes())
    with pytest.raises(StorageFailed, match="deleted or moved"):
        store.commit(put("b", value=2))
    assert "deleted or moved" in store.engine.failure
    assert (store.record("a"), store.record("b")) == ({"value": 1}, None)
    store.close()
