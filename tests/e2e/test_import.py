"""`lyredb import` and `export` as commands, beside a server and without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lyredb.operations.check import check_directory
from tests.e2e.clients import rest, sse
from tests.e2e.server_process import ServerProcess, start_server
from tests.server.process_tree import assert_all_end, eventually

SCHEMA = """
type Reading @table @export { id: ID @primaryKey  n: Int @indexed  site: String }
type Counted @table @export { id: Int @primaryKey  n: Int }
"""
DEADLINE_S = 60
INTERRUPTED = 130
BAD_ROWS = 3


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "schema.graphql").write_text(SCHEMA)
    return folder


@pytest.fixture
def server(app: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    server = start_server(app, tmp_path / "data", "--workers", "2")
    try:
        yield server
    finally:
        server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


def arguments(app: Path, *given: str) -> list[str]:
    program = (sys.executable, "-m", "lyredb")
    return [*program, *given, "--app", str(app), "--data", str(app.parent / "data")]


def run(app: Path, *given: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(app, *given),
        input=text,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def rows(path: Path, numbers: Sequence[int]) -> str:
    path.write_text("".join(f'{{"id":"r{n}","n":{n},"site":"s{n % 7}"}}\n' for n in numbers))
    return str(path)


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_standard_input_and_output_without_a_server(app: Path) -> None:
    """Data that does not exist is made, with the tables of the application."""
    given = ("--table", "Counted", "--format", "ndjson")
    done = run(app, "import", "-", *given, "--json", text='{"n":1}\n{"n":2}\nbad\n')
    assert done.returncode == BAD_ROWS, done.stderr
    assert told(done) == {
        "table": "data.Counted", "written": 2, "leftOut": 1, "rows": 3, "resumed": 0,
        "complete": True, "stoppedAtLine": None, "problem": None,
    }  # fmt: skip
    assert "line 3:" in done.stderr
    exported = run(app, "export", "--table", "Counted", "--quiet")
    assert (exported.returncode, exported.stderr) == (0, "")
    assert exported.stdout == '{"id":1,"n":1}\n{"id":2,"n":2}\n'


@pytest.mark.parametrize(
    ("given", "code", "sentence"),
    [
        (("nothing.csv", "--table", "Reading"), 1, "cannot be read"),
        (("rows.ndjson", "--table", "Nothing"), 1, "there is no table data.Nothing"),
        (("rows.ndjson", "--table", "system.user"), 1, "system.user is the server's own"),
        (("rows", "--table", "Reading"), 2, "--format"),
        (("rows.ndjson", "--table", "Reading", "--delimiter", "ab"), 2, "one character"),
        (("rows.ndjson", "--table", "Reading", "--errors", "stop"), 3, "stopped after 1 rows"),
    ],
)
def test_exit_codes_and_sentences(
    app: Path, given: tuple[str, ...], code: int, sentence: str
) -> None:
    (app.parent / "rows.ndjson").write_text('{"id":"a"}\n[]\n{"id":"b"}\n')
    done = run(app, "import", str(app.parent / given[0]), *given[1:])
    assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_rows_that_were_left_out_are_kept_in_a_file(app: Path, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("id,n\na,1\nb,x\nc,3\n")
    kept = tmp_path / "bad.ndjson"
    given = ("--table", "Reading", "--bad-rows", str(kept))
    assert run(app, "import", str(source), *given).returncode == BAD_ROWS
    assert json.loads(kept.read_text()) == {
        "line": 3, "problem": "Property n must be an integer, got 'x'", "row": "b,x"
    }  # fmt: skip


@pytest.mark.parametrize("with_server", [False, True])
def test_interrupted_it_says_so_and_goes_on_later(
    app: Path, tmp_path: Path, request: pytest.FixtureRequest, with_server: bool
) -> None:
    """^C reaches the whole group of the terminal; rows of a pipe come one by one here."""
    if with_server:
        request.getfixturevalue("server")
    given = ("import", "-", "--table", "Reading", "--format", "ndjson", "--json")
    process = subprocess.Popen(
        arguments(app, *given),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write('{"id":"a","n":1}\n')
        process.stdin.flush()
        eventually(lambda: children_of(process), "the process that reads")
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == INTERRUPTED, errors
    assert "Traceback" not in errors
    assert not json.loads(out)["complete"]


def children_of(process: subprocess.Popen[Any]) -> list[int]:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in listed.read_text().split()]


def test_a_killed_command_leaves_no_process_behind(app: Path) -> None:
    """Also when the process that reads waits for a pipe in which nothing comes."""
    given = ("import", "-", "--table", "Reading", "--format", "ndjson")
    process = subprocess.Popen(arguments(app, *given), stdin=subprocess.PIPE)
    try:
        eventually(lambda: children_of(process), "the process that reads")
        children = children_of(process)
    finally:
        process.kill()
        process.wait()
    assert_all_end(children)
    assert process.stdin is not None
    process.stdin.close()


def test_a_subscriber_gets_every_imported_record_once(
    server: ServerProcess, app: Path, tmp_path: Path
) -> None:
    """Beside other writes, which are answered meanwhile; both workers show all of it."""
    count = 3_000
    source = rows(tmp_path / "rows.ndjson", range(count))
    seen: list[str] = []
    ready = threading.Event()

    def subscribe() -> None:
        with sse(server, "/Reading/") as stream:
            stream.until_ready()
            ready.set()
            while len(seen) < count:
                data = json.loads(stream.next().data)
                seen.append(data["id"])

    thread = threading.Thread(target=subscribe)
    thread.start()
    assert ready.wait(DEADLINE_S)
    importing = subprocess.Popen(
        arguments(app, "import", source, "--table", "Reading", "--json"),
        stdout=subprocess.PIPE,
        text=True,
    )
    with rest(server) as client:
        others = 0
        while importing.poll() is None:
            others += 1
            assert client.put(f"/Counted/{others}", json={"n": others}).status_code == 204
        assert importing.stdout is not None
        assert json.loads(importing.stdout.read())["written"] == count
        importing.stdout.close()
        thread.join(DEADLINE_S)
        assert sorted(seen) == sorted(f"r{n}" for n in range(count))
        assert len(client.get("/Reading/?select(id)&limit(9999)").json()) == count
    assert not check_directory(server.data).problems


def test_a_file_is_imported_by_one_command_at_a_time(
    server: ServerProcess, app: Path, tmp_path: Path
) -> None:
    """Of two that begin together one is refused, or finds that all is done: no row is twice."""
    source = tmp_path / "rows.ndjson"
    source.write_text("".join(f'{{"n":{n}}}\n' for n in range(4_000)))
    given = arguments(app, "import", str(source), "--table", "Counted", "--json")
    both = [
        subprocess.Popen(given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in "ab"
    ]
    codes = sorted(each.wait(DEADLINE_S) for each in both)
    assert codes[0] == 0
    with rest(server) as client:
        assert len(client.get("/Counted/?limit(9999)").json()) == 4_000
