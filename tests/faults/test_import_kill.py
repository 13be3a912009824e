"""Imports are killed at any moment, and so is the server that takes them: each row is there once.

Rows have no keys, so that one that was written twice is there twice, and the numbers in them
tell one that is missing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lyredb.errors import WriteConflict
from lyredb.operations.check import check_directory
from lyredb.operations.requests import Request, WriteRows
from lyredb.operations.transfer.target import Part
from lyredb.server import importing
from lyredb.server.control_client import ServerGone, ask_server
from lyredb.server.importing import ServedTarget
from lyredb.storage.engine import Engine
from lyredb.tables.catalogue import Catalogue
from tests.e2e.server_process import start_server
from tests.faults.test_server_disk_full import REASON
from tests.server.process_tree import children_of, eventually

SCHEMA = """
type Counted @table @export { id: Int @primaryKey  n: Int @indexed  text: String }
type Named @table @export { id: ID @primaryKey  n: Int @indexed  text: String }
"""
ROWS = 60_000
KILLS = 6
DEADLINE_S = 120
TABLES = pytest.mark.parametrize("table", ["Counted", "Named"])


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "schema.graphql").write_text(SCHEMA)
    with (tmp_path / "rows.ndjson").open("w") as out:
        out.writelines(f'{{"n":{n},"text":"row {n}"}}\n' for n in range(ROWS))
    return folder


def begin(app: Path, table: str) -> subprocess.Popen[str]:
    data = app.parent / "data"
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "lyredb", "import", str(app.parent / "rows.ndjson")),
            *("--table", table, "--mode", "insert", "--json", "--quiet"),
            *("--app", str(app), "--data", str(data)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out or errors


def kill_and_go_on(app: Path, table: str, rng: random.Random) -> int:
    """Begin again and again, killing; at last to the end. How many began behind the first row."""
    took_s = 1.0
    for number in range(KILLS):
        process = begin(app, table)
        try:
            process.wait(timeout=took_s + rng.random() * 0.6)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        took_s += 0.1 * number
    code, told = end(begin(app, table))
    assert code == 0, told
    resumed = json.loads(told)["resumed"]
    assert json.loads(told)["complete"]
    return int(resumed)


def assert_each_row_once(data: Path, table: str) -> None:
    engine = Engine.open(data, readonly=True)
    try:
        stored = Catalogue.read(engine).tables[f"data.{table}"]
        with engine.snapshot() as snapshot:
            found = Counter(
                stored.decode_only(stored.key_of(key, row), row, ("n",))["n"]
                for key, row in snapshot.scan(stored.slot)
            )
    finally:
        engine.close()
    assert [n for n, times in found.items() if times > 1] == []
    assert len(found) == ROWS
    assert not check_directory(data).problems


@TABLES
def test_an_import_that_was_killed_goes_on_exactly(app: Path, table: str) -> None:
    kill_and_go_on(app, table, random.Random(table))
    assert_each_row_once(app.parent / "data", table)


@TABLES
def test_beside_a_server_it_goes_on_exactly_too(app: Path, table: str) -> None:
    """What the killed command had sent may be committed after the next one has begun."""
    server = start_server(app, app.parent / "data", "--workers", "2")
    try:
        kill_and_go_on(app, table, random.Random(table))
    finally:
        server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()
    assert_each_row_once(app.parent / "data", table)


def test_a_server_that_is_killed_meanwhile_has_each_row_once(app: Path) -> None:
    """The command says that it could not go on; the next one does."""
    data, rng = app.parent / "data", random.Random(5)
    for _ in range(3):
        server = start_server(app, data)
        try:
            process = begin(app, "Counted")
            reached(data, 500)
            time.sleep(rng.random() * 0.4)  # what is to happen, happens at any moment
        finally:
            server.kill()
            assert server.process.stdout is not None
            server.process.stdout.close()
        code, told = end(process)
        assert code in (0, 1), told
        assert "Traceback" not in told
    assert end(begin(app, "Counted"))[0] == 0
    assert_each_row_once(data, "Counted")


def test_it_waits_for_a_writer_that_is_started_again(app: Path) -> None:
    """It reads how far it is and goes on from there, without being called again."""
    data, rng = app.parent / "data", random.Random(7)
    server = start_server(app, data, "--workers", "2")
    try:
        process = begin(app, "Counted")
        for _ in range(3):
            reached(data, 500)
            time.sleep(rng.random() * 0.3)  # what is to happen, happens at any moment
            end_writer(server.process.pid)
        code, told = end(process)
        assert code == 0, told
        assert json.loads(told)["written"] == ROWS
    finally:
        server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()
    assert_each_row_once(data, "Counted")


def end_writer(supervisor: int) -> None:
    """Kill the writer, and wait for the next."""
    writer = children_of(supervisor)["writer"]
    os.kill(writer, signal.SIGKILL)
    eventually(lambda: children_of(supervisor).get("writer", writer) != writer, "another writer")


@pytest.mark.parametrize("is_done", [True, False])
def test_a_part_whose_answer_was_lost_is_done_once(
    app: Path, monkeypatch: pytest.MonkeyPatch, *, is_done: bool
) -> None:
    """It may be committed or not: the row of the import tells."""
    server = start_server(app, app.parent / "data")
    sent: list[WriteRows] = []

    def ask(data_dir: Path, request: Request, answer: type[Any]) -> Any:
        is_lost = isinstance(request, WriteRows) and not sent
        if isinstance(request, WriteRows):
            sent.append(request)
        if is_lost and not is_done:
            raise ServerGone("before it was read")
        told = ask_server(data_dir, request, answer)
        if is_lost:
            raise ServerGone("before it answered")
        return told

    monkeypatch.setattr(importing, "ask_server", ask)
    try:
        target = ServedTarget(server.data)
        name = b"\x00import/0123456789abcdef"
        assert target.state(name) is None
        assert len(target.write([Part((), name, b"1")])) == 1
        assert len(sent) == (1 if is_done else 2)
        target.write([Part((), name, b"2")])
        assert target.state(name) == b"2"
        sent.clear()
        with pytest.raises(ServerGone):  # nothing tells whether it was done
            target.write([Part((), b"", b"")])
    finally:
        server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


def reached(data: Path, more: int) -> None:
    """Wait until the log is so much longer."""
    before = position(data)
    eventually(lambda: position(data) >= before + more or is_done(data), "more of the import")


def position(data: Path) -> int:
    engine = Engine.open(data, readonly=True)
    try:
        return engine.position
    finally:
        engine.close()


def is_done(data: Path) -> bool:
    engine = Engine.open(data, readonly=True)
    try:
        stored = Catalogue.read(engine).tables["data.Counted"]
        with engine.snapshot() as snapshot:
            return snapshot.count(stored.slot) >= ROWS
    finally:
        engine.close()


def test_a_part_that_comes_late_is_refused(app: Path) -> None:
    """It is of a command that knew an older state: its rows are there already."""
    server = start_server(app, app.parent / "data")
    try:
        name = b"\x00import/0123456789abcdef"
        early, late = ServedTarget(server.data), ServedTarget(server.data)
        assert (early.state(name), late.state(name)) == (None, None)
        early.write([Part((), name, b"1"), Part((), name, b"2")])
        with pytest.raises(WriteConflict):
            late.write([Part((), name, b"1")])
        assert late.state(name) == b"2"
        late.write([Part((), name, b"3")])
        with pytest.raises(WriteConflict):
            early.write([Part((), name, b"3")])
    finally:
        server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


ON_A_SMALL_DISK = """
mount -t tmpfs -o size=64M tmpfs "$1" && head -c 55000000 /dev/zero > "$1/ballast" || exit 9
mounted=$1; kept=$2; shift 2
"$@"; echo "first $?" >&2
rm "$mounted/ballast"
"$@"; echo "second $?" >&2
mkdir -p "$kept" && cp "$mounted/data/data.mdb" "$kept"
"""


@pytest.mark.skipif(bool(REASON), reason=REASON or "mounts are possible")
def test_a_disk_that_is_full_ends_it_and_space_lets_it_go_on(app: Path, tmp_path: Path) -> None:
    """The small file system is seen by these commands only."""
    (app / "config.yaml").write_text("storage: {minFree: 0}\n")
    mounted, kept = tmp_path / "small", tmp_path / "kept"
    mounted.mkdir()
    command = (
        *(sys.executable, "-m", "lyredb", "import", str(tmp_path / "rows.ndjson")),
        *("--table", "Counted", "--quiet", "--app", str(app), "--data", str(mounted / "data")),
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", ON_A_SMALL_DISK, "sh", str(mounted), str(kept), *command],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert "first 1" in done.stderr, done.stderr
    assert "second 0" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert_each_row_once(kept, "Counted")
