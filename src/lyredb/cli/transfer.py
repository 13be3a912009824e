"""``lyredb import`` and ``lyredb export``: many records from and to files."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from lyredb.cli.place import AppOption, ConfigOption, DataOption, find_place

if TYPE_CHECKING:
    from lyredb.operations.transfer.importing import Imported
    from lyredb.operations.transfer.spec import BadRow, FileFormat

BAD_ROWS: Final = 3
"""The exit code of an import that left rows out, or that one has stopped."""
INTERRUPTED: Final = 130
"""The exit code of an import that ^C or SIGTERM has stopped; as of a shell."""
SHOWN_BAD: Final = 10

Format = Literal["csv", "ndjson", "json", "parquet"]
Mode = Literal["put", "insert", "patch"]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print nothing but problems.")]


def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What to import; - for standard input.")
    ],
    table: Annotated[str, typer.Option("--table", help="Where to; DATABASE.TABLE or TABLE.")],
    format: Annotated[
        Format | None, typer.Option("--format", help="By the name of the file if not given.")
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option("--mode", help="Replace records, only add new ones, or change attributes."),
    ] = "put",
    key: Annotated[
        str, typer.Option("--key", help="The column that is the key, if named otherwise.")
    ] = "",
    delimiter: Annotated[str, typer.Option("--delimiter", help="Between the cells of CSV.")] = ",",
    null: Annotated[
        str, typer.Option("--null", help="The text of a CSV cell that stands for null.")
    ] = "",
    errors: Annotated[
        Literal["skip", "stop"], typer.Option("--errors", help="What a bad row does.")
    ] = "skip",
    bad_rows: Annotated[
        Path | None,
        typer.Option("--bad-rows", metavar="FILE", help="Write rows that were left out there."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume/--no-resume", help="Go on with an earlier import of the same file."),
    ] = True,
    limit: Annotated[int, typer.Option("--limit", min=0, help="So many rows; 0 for all.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was done as a line of JSON.")
    ] = False,
    quiet: QuietOption = False,
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Import a file into a table, also while a server runs.

    CSV, NDJSON, JSON and Parquet, also compressed (.gz, .zst, .br). Subscribers are told of
    each record. A run that was ended goes on where it stands when it is started again.

    Exit code 0: all is imported; 1: it ended early, after an error; 2: wrong arguments; 3: rows
    were left out, or one has stopped it; 130: it was stopped by a signal.
    """
    from lyredb.cli.progress import rate_progress
    from lyredb.operations.transfer.files import size_of
    from lyredb.operations.transfer.importing import Watch, run_import
    from lyredb.operations.transfer.spec import ImportSpec
    from lyredb.server.importing import open_target

    full_name = table if "." in table else f"data.{table}"
    chosen = _format(file, format)
    size = size_of(file)
    with open_target(find_place(app, data, config), app, full_name) as (described, target):
        spec = ImportSpec(
            file,
            chosen,
            described.schema,
            described.layout,
            described.slot,
            mode=mode,
            key=key,
            delimiter=_one_character(delimiter),
            null=null,
            limit=limit,
            stops_at_bad=errors == "stop",
        )
        with (
            _bad_rows(bad_rows) as note_bad,
            _stops() as is_stopped,
            rate_progress("importing", size, quiet=quiet) as note,
        ):
            watch = Watch(note_bad, note, is_stopped)
            most = described.max_record_bytes
            done = run_import(spec, target, watch, max_record_bytes=most, resume=resume)
    if as_json:
        typer.echo(_as_json(full_name, done))
    else:
        _tell(file, full_name, done, quiet=quiet)
    if code := _exit_code(done):
        raise typer.Exit(code)


def export(
    table: Annotated[str, typer.Option("--table", help="DATABASE.TABLE or TABLE.")],
    output: Annotated[
        str, typer.Option("--output", metavar="FILE", help="Where to; - for standard output.")
    ] = "-",
    format: Annotated[
        Format | None,
        typer.Option("--format", help="By the name of the file if not given, else ndjson."),
    ] = None,
    query: Annotated[
        str, typer.Option("--query", help="As in a URL: site=north&sort(value)&limit(10).")
    ] = "",
    quiet: QuietOption = False,
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Export a table, or what a query finds, also while a server runs.

    All of one moment, in bounded memory. CSV and Parquet have the columns that are selected
    or declared; NDJSON and JSON have every attribute. An ending .gz, .zst or .br compresses.
    """
    from lyredb.cli.progress import rate_progress
    from lyredb.errors import InvalidQuery
    from lyredb.operations.transfer.exporting import run_export
    from lyredb.operations.transfer.files import format_of
    from lyredb.storage.engine import Engine
    from lyredb.tables.query.parse_url import parse_query

    wanted = parse_query(query)
    if wanted.explain:
        raise InvalidQuery("explain() finds no records to export; ask a server for the plan")
    place = find_place(app, data, config)
    full_name = table if "." in table else f"data.{table}"
    chosen = format or format_of(output) or "ndjson"
    engine = Engine.open(place.require(), settings=place.storage, readonly=True)
    try:
        with rate_progress("exporting", 0, quiet=quiet) as note:
            count = run_export(
                engine,
                full_name,
                wanted,
                path=output,
                format=chosen,
                on_progress=lambda done, of: note(done, 0),
            )
    finally:
        engine.close()
    if not quiet:
        typer.echo(f"exported {count:,} records of {full_name}", err=True)


def _format(file: str, given: FileFormat | None) -> FileFormat:
    from lyredb.operations.transfer.files import format_of

    chosen = given or format_of(file)
    if chosen is None:
        raise typer.BadParameter("say it with --format: the name of the file does not tell it")
    return chosen


def _one_character(delimiter: str) -> str:
    text = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if len(text) != 1:
        raise typer.BadParameter("a delimiter is one character, or `tab`")
    return text


@contextmanager
def _bad_rows(file: Path | None) -> Iterator[Callable[[BadRow], None]]:
    """Show the first rows that were left out, and write all of them to a file."""
    import msgspec

    count = 0
    out = file.open("ab") if file is not None else None
    encode = msgspec.json.Encoder().encode

    def note(row: BadRow) -> None:
        nonlocal count
        count += 1
        if out is not None:
            told = {"line": row.line, "problem": row.problem, "row": row.text}
            out.write(encode(told) + b"\n")
        if count <= SHOWN_BAD:
            typer.echo(f"line {row.line}: {row.problem}", err=True)
        elif count == SHOWN_BAD + 1 and out is None:
            typer.echo("… more; --bad-rows FILE keeps them all", err=True)

    try:
        yield note
    finally:
        if out is not None:
            out.close()


@contextmanager
def _stops() -> Iterator[Callable[[], bool]]:
    """Let ^C and SIGTERM end the import between two transactions; a second one at once."""
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_json(table: str, done: Imported) -> str:
    import msgspec

    state = done.state
    told = {
        "table": table,
        "written": state.written,
        "leftOut": state.bad,
        "rows": state.place.rows,
        "resumed": done.resumed,
        "complete": state.is_done,
        "stoppedAtLine": done.stopped_by.line if done.stopped_by else None,
        "problem": done.problem or None,
    }
    return msgspec.json.encode(told).decode()


def _exit_code(done: Imported) -> int:
    if done.problem:
        return 1
    if done.stopped:
        return INTERRUPTED
    is_worse = done.stopped_by is not None or (done.state.bad and not done.was_done)
    return BAD_ROWS if is_worse else 0


def _tell(file: str, table: str, done: Imported, *, quiet: bool) -> None:
    state = done.state
    if done.was_done:
        typer.echo(
            f"{file} was imported into {table} before ({state.written:,} records); "
            "--no-resume imports it again"
        )
    elif done.problem or done.stopped or done.stopped_by:
        if done.problem:
            typer.echo(f"error: {file}: {done.problem}", err=True)
        typer.echo(
            f"stopped after {state.place.rows:,} rows, {state.written:,} records written"
            + ("" if file == "-" else "; run it again to go on"),
            err=True,
        )
    elif not quiet:
        again = f", {done.resumed:,} rows by an earlier run" if done.resumed else ""
        left_out = f", {state.bad:,} rows left out" if state.bad else ""
        typer.echo(f"imported {state.written:,} records into {table}{again}{left_out}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("import")(import_)
    app.command("export")(export)
