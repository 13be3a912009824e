"""``lyredb types``: the typed classes for an SDL, written or compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import typer

from lyredb.errors import InvalidInput, SchemaError
from lyredb.tables.generate import classes_source
from lyredb.tables.schema import Schema, TableSchema
from lyredb.tables.sdl import parse_sdl

_MARK: Final = "# Made by `lyredb types`"


def write_types(files: Sequence[Path], *, out: Path | None, check: bool) -> int:
    """Write the classes for all tables of some SDL files, or compare them with a file.

    Args:
        files: SDL files; together they make one module.
        out: Where to write; ``None``: standard output.
        check: Only compare ``out`` with what would be written.

    Returns:
        The exit code: 1 when ``check`` finds a difference.

    Raises:
        SchemaError: A file is wrong, or two declare the same table.
        InvalidInput: ``check`` without ``out``, a file that cannot be read or written,
            or an ``out`` that was written by hand.
    """
    source = _source(files)
    if check:
        return _compare(source, out)
    if out is None:
        typer.echo(source, nl=False)
        return 0
    if out.exists() and not _read(out).startswith(_MARK):
        raise InvalidInput(f"{out} was not made by `lyredb types`; move it away or choose another")
    try:
        out.write_text(source, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error.strerror}") from error
    return 0


def _compare(source: str, out: Path | None) -> int:
    if out is None:
        raise InvalidInput("--check compares with a file: name it with --out")
    if out.exists() and _read(out) == source:
        return 0
    state = "is not up to date" if out.exists() else "does not exist"
    typer.echo(f"lyredb: {out} {state}; run `lyredb types` without --check", err=True)
    return 1


def _source(files: Sequence[Path]) -> str:
    tables: dict[str, tuple[TableSchema, Path]] = {}
    for file in files:
        for table in parse_sdl(_read(file), file=file.name).tables:
            _, first = tables.setdefault(f"{table.database}.{table.name}", (table, file))
            if first != file:
                raise SchemaError(f"{table.name} is declared in {first.name} too", file=file.name)
    schema = Schema(tables=tuple(table for table, _ in tables.values()))
    names = ", ".join(file.name for file in files)
    return f"{_MARK} from {names}: change that instead.\n{classes_source(schema)}"


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is no UTF-8 text") from error
