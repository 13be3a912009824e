"""LyreDB with the data: filled by its own import, asked in process and over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

import lyredb
from bench.load.spec import Target
from bench.load.wrk import HttpResult, basic, run_script
from bench.peers.lyredb import lyredb_at, make_application, program
from bench.peers.process import StartFailed
from bench.tables import data
from bench.tables.questions import Asked, Kind
from lyredb.formats import JSON, PAUSE
from lyredb.resources.embedded import TRUSTED
from lyredb.tables.query.parse_url import parse_query

_SCRIPT: Final = Path(__file__).with_name("paths.lua")
CONNECTIONS: Final = 16
_ANSWER_S: Final = 60.0
"""A whole table of 10,000,000 records may be looked through for one answer."""


def filled(folder: Path, records: int) -> Path:
    """Return the home of a LyreDB with so many records; one that is there is taken as it is.

    Raises:
        StartFailed: The import failed.
    """
    home = folder / f"lyredb-{records}"
    if not home.exists():
        home.mkdir(parents=True)
        make_application(home, data.SCHEMA)
        _import(home, "Site", _write(home / "sites.ndjson", data.sites()))
        file = _write(home / "readings.ndjson", data.readings(records))
        _import(home, "Reading", file)
        file.unlink()
    return home


def import_s(folder: Path, records: int) -> float:
    """Return how long the import of so many records takes, into a new table with one index.

    From the start of the command to its end.

    Raises:
        StartFailed: The import failed.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="import-") as name:
        home = Path(name)
        make_application(home, data.ONE_INDEX)
        file = _write(home / "readings.ndjson", data.readings(records))
        began = time.monotonic()
        _import(home, "Reading", file)
        return time.monotonic() - began


def _write(file: Path, rows: Iterator[Mapping[str, object]]) -> Path:
    encode = msgspec.json.Encoder().encode
    with file.open("wb") as out:
        for row in rows:
            out.write(encode(row) + b"\n")
    return file


def _import(home: Path, table: str, file: Path) -> None:
    place = ["--app", str(home / "app"), "--data", str(home / "data")]
    command = [program(), "import", str(file), "--table", table, *place, "--quiet"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise StartFailed(f"lyredb import: {(ran.stdout + ran.stderr)[-500:]}")


@contextmanager
def embedded(home: Path) -> Iterator[Callable[[Kind, Asked], bytes]]:
    """Open the data in this process; gives a function that answers as a server would."""
    with asyncio.Runner() as runner:
        opened = lyredb.open(home / "data", schema=home / "app" / "schema.graphql")
        database = runner.run(opened.__aenter__())

        def answer(kind: Kind, asked: Asked) -> bytes:
            if kind.is_record:
                target = database.database.resolve(asked.path[1:], TRUSTED)
                reading = database.database.get(target, TRUSTED)
                return b"null" if reading is None else JSON.encode(reading.value())
            query = parse_query(asked.path.partition("?")[2])
            found = database.find_records("data.Reading", query)
            return JSON.encode([record for record in found if record is not PAUSE])

        try:
            yield answer
        finally:
            runner.run(opened.__aexit__(None, None, None))


@contextmanager
def served(home: Path) -> Iterator[Target]:
    """Run ``lyredb run`` with one worker on the data."""
    with lyredb_at(home) as running:
        yield running.http


def ask(target: Target, path: str) -> bytes:
    """Return the body of one answer.

    Raises:
        StartFailed: It is not 200.
    """
    connection = http.client.HTTPConnection(target.host, target.port, timeout=_ANSWER_S)
    try:
        connection.request("GET", path, headers={"Authorization": basic(target)})
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        raise StartFailed(f"{path}: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise StartFailed(f"{path}: {response.status} {body[:200]!r}")
    return body


def load(
    target: Target, paths: list[str], folder: Path, seconds: int, connections: int = CONNECTIONS
) -> HttpResult:
    """Have wrk ask for the paths, one after the other and again from the first."""
    file = folder / "paths.txt"
    file.write_text("\n".join(paths) + "\n")
    return run_script(
        target,
        _SCRIPT,
        (str(file), basic(target)),
        connections=connections,
        seconds=seconds,
        timeout_s=_ANSWER_S,
    )
