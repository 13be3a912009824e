"""An import that was ended goes on exactly where it stands, whatever it was doing."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lyredb.operations.transfer import state as states
from lyredb.operations.transfer.spec import BadRow
from tests.operations.transfer.shelf import Broken, Shelf

SDL = """
type T @table { id: ID @primaryKey  n: Int @indexed }
type Counted @table { id: Int @primaryKey  n: Int @indexed }
type Fading @table { id: ID @primaryKey  n: Int  gone: Float @expiresAt }
"""
ROWS = 950
BAD = (17, 300, 301, 949)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "data", SDL)
    yield shelf
    assert shelf.problems() == []
    shelf.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.ndjson")


def write(path: Path, key: str = "") -> Path:
    """A file whose rows have the numbers of their lines."""
    with path.open("w") as out:
        for n in range(1, ROWS + 1):
            out.write("{bad\n" if n in BAD else f'{{{key.format(n)}"n":{n}}}\n')
    return path


def numbers(shelf: Shelf, name: str) -> list[int]:
    return sorted(record["n"] for record in shelf.records(name))


ALL = [n for n in range(1, ROWS + 1) if n not in BAD]


@pytest.mark.parametrize("table", ["data.T", "data.Counted"])
@pytest.mark.parametrize("breaks_at", [0, 1, 4, 9, 10])
def test_rows_without_keys_are_written_once_each(
    shelf: Shelf, file: Path, table: str, breaks_at: int
) -> None:
    """Keys are generated, so that a row that is written twice is there twice."""
    spec = shelf.spec(file, "ndjson", table=table)
    target = shelf.target(rows_at_once=100)
    target.breaks_at = breaks_at
    with pytest.raises(Broken):
        shelf.run(spec, target)
    done = shelf.run(spec)
    assert numbers(shelf, table) == ALL
    assert (done.state.written, done.state.bad, done.state.place.rows) == (len(ALL), 4, ROWS)
    assert shelf.run(spec).was_done
    assert numbers(shelf, table) == ALL


def test_how_far_it_is_stands_in_the_transaction_of_the_rows(shelf: Shelf, file: Path) -> None:
    """Else there would be a moment in which a kill loses rows, or writes them twice."""
    target = shelf.target(rows_at_once=100)
    shelf.run(shelf.spec(file, "ndjson"), target)
    for number, part in enumerate(target.parts[:-1], 1):
        assert part.mutations
        assert part.name
        assert states.decode_state(part.row).written == sum(
            len(each.mutations) for each in target.parts[:number]
        )
    assert not target.parts[-1].mutations
    assert states.decode_state(target.parts[-1].row).is_done


def test_rows_that_the_table_refuses_are_told_and_the_others_written(
    shelf: Shelf, tmp_path: Path
) -> None:
    shelf.put([{"id": "k5", "n": 0}, {"id": "k120", "n": 0}])
    path = write(tmp_path / "rows.ndjson", '"id":"k{}",')
    spec = shelf.spec(path, "ndjson", mode="insert")
    done = shelf.run(spec)
    assert [row.line for row in shelf.told] == [17, 5, 120, 300, 301, 949]
    assert (done.state.written, done.state.bad) == (len(ALL) - 2, 6)
    assert numbers(shelf, "data.T") == [0, 0, *(n for n in ALL if n not in (5, 120))]


def test_it_stops_at_the_first_bad_row_and_has_all_before_it(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put([{"id": "k5", "n": 0}])
    path = write(tmp_path / "rows.ndjson", '"id":"k{}",')
    refused = shelf.run(shelf.spec(path, "ndjson", mode="insert", stops_at_bad=True))
    assert refused.stopped_by
    assert (refused.stopped_by.line, refused.state.written) == (5, 4)
    assert numbers(shelf, "data.T") == [0, 1, 2, 3, 4]
    bad = shelf.run(shelf.spec(path, "ndjson", stops_at_bad=True))
    assert isinstance(bad.stopped_by, BadRow)
    assert bad.stopped_by.line == 17
    assert numbers(shelf, "data.T") == list(range(1, 17))
    again = shelf.run(shelf.spec(path, "ndjson", stops_at_bad=True))
    assert (again.resumed, again.state.written) == (16, 16)


def test_another_file_another_way_or_a_new_beginning_starts_anew(shelf: Shelf, file: Path) -> None:
    table = "data.Counted"
    spec = shelf.spec(file, "ndjson", table=table)
    shelf.run(spec)
    assert not shelf.run(spec, resume=False).was_done
    assert len(numbers(shelf, table)) == 2 * len(ALL)
    with file.open("a") as out:
        out.write('{"n":1000}\n')
    os.utime(file, ns=(1, 1))
    shelf.run(spec)
    assert len(numbers(shelf, table)) == 3 * len(ALL) + 1


def test_a_limit_is_no_end(shelf: Shelf, file: Path) -> None:
    """More rows are imported by a larger limit, and the rest without one."""
    table = "data.Counted"
    for limit, count in ((10, 10), (10, 10), (5, 10), (20, 19), (0, len(ALL))):
        shelf.run(shelf.spec(file, "ndjson", table=table, limit=limit))
        assert len(numbers(shelf, table)) == count


def test_records_may_expire_and_be_patched(shelf: Shelf, tmp_path: Path) -> None:
    long = "k" * 500
    path = tmp_path / "rows.csv"
    path.write_text(f"id,n,gone\na,1,1\nb,2,99999999999999\n{long},3,\n")
    shelf.run(shelf.spec(path, "csv", table="data.Fading"))
    assert [each["id"] for each in shelf.records("data.Fading")] == ["b", long]
    path.write_text(f"id,extra\nb,x\n{long},y\n")
    shelf.run(shelf.spec(path, "csv", table="data.Fading", mode="patch"))
    found = [(each["n"], each["extra"]) for each in shelf.records("data.Fading")]
    assert found == [(2, "x"), (3, "y")]


def test_transactions_are_bounded_in_bytes(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    with path.open("w") as out:
        for n in range(30):
            out.write(f'{{"id":"{n}","text":"{"x" * 300_000}"}}\n')
    target = shelf.target(rows_at_once=10_000)
    shelf.run(shelf.spec(path, "ndjson"), target)
    sizes = [sum(each.size_bytes for each in part.mutations) for part in target.parts]
    assert sum(sizes) > 9_000_000
    assert max(sizes) < 3_000_000
    assert len(shelf.records()) == 30


def test_finished_imports_do_not_pile_up(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "KEPT", 3)
    names = []
    for number in range(5):
        path = tmp_path / f"{number}.ndjson"
        path.write_text(f'{{"n":{number}}}\n')
        spec = shelf.spec(path, "ndjson")
        names.append(states.state_name(spec))
        shelf.run(spec)
    with shelf.engine.snapshot() as snapshot:
        assert [name for name in names if snapshot.session_row(name)] == names[2:]


def test_a_damaged_file_is_imported_up_to_there(shelf: Shelf, tmp_path: Path) -> None:
    """And the message is of the file, not a traceback of the process that reads."""
    path = tmp_path / "rows.ndjson.gz"
    rows = b"".join(msgspec.json.encode({"n": n * 7919}) + b"\n" for n in range(20_000))
    path.write_bytes(gzip.compress(rows)[:20_000])
    done = shelf.run(shelf.spec(path, "ndjson"))
    assert "damaged" in done.problem
    assert not done.state.is_done
    assert len(shelf.records()) == done.state.written
