"""Schemas from wherever they are declared: text, a file, or classes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Final

from lyredb.errors import LyreError, SchemaError
from lyredb.tables.declare import Table, schema_of
from lyredb.tables.schema import Schema, TableSchema, Where
from lyredb.tables.sdl import parse_sdl

SchemaSource = str | Path | Sequence[type[Table]]

_numbers: Final = count(1)


def load_schema(source: SchemaSource) -> Schema:
    """Return the schema that a source declares.

    Args:
        source: SDL text; the path of a ``.graphql`` or ``.py`` file, or of a folder with
            ``*.graphql`` files and ``tables.py``; or Table classes. Text without a
            brace or line break is a path.

    Raises:
        SchemaError: There is no such file, or a declaration in it is wrong; a table is
            declared differently in two files, and then both are named.
        TypeError: The source is none of these.
    """
    if isinstance(source, str):
        if not source.strip() or any(mark in source for mark in "{\n"):
            return parse_sdl(source)
        return _of_path(Path(source))
    if isinstance(source, type):
        raise TypeError(f"a schema of classes is a list of them: [{source.__name__}]")
    if isinstance(source, Path):
        return _of_path(source)
    if isinstance(source, Iterable):
        return schema_of(tuple(source))
    raise TypeError(
        "a schema is SDL text, the path of a file or folder, or a list of Table classes, "
        f"not {type(source).__name__}"
    )


def _of_path(source: Path) -> Schema:
    if source.is_dir():
        return merged((file.name, _of_file(file)) for file in _files(source))
    return _of_file(source)


def merged(declarations: Iterable[tuple[str, Schema]]) -> Schema:
    """Join what several files declare; the same declaration twice is fine.

    Args:
        declarations: Names of files, and what each declares.

    Raises:
        SchemaError: Two files declare a table differently; names both, and what differs.
    """
    found: dict[str, tuple[str, Schema, TableSchema]] = {}
    for file, schema in declarations:
        for table in schema.tables:
            first_file, first_schema, first = found.setdefault(
                table.full_name, (file, schema, table)
            )
            if first != table:
                what = "; ".join(differences(first, table, first_schema.where, schema.where))
                raise SchemaError(
                    f"{table.name} is declared differently in {first_file} and {file}: {what}",
                    file=file,
                )
    return Schema.of(table for _, _, table in found.values())


def differences(first: TableSchema, second: TableSchema, *wheres: Where) -> list[str]:
    """Return what differs: attributes, or else properties of the table.

    Args:
        first: One declaration.
        second: The other.
        wheres: Where the first and the second stand, as far as it is known.
    """
    names = dict.fromkeys(one.name for table in (first, second) for one in table.attributes)
    changed = [name for name in names if first.attribute(name) != second.attribute(name)]
    if changed:
        return [
            f"{name} is "
            + " and ".join(
                _shown(table, name) + _place(where, table, name)
                for table, where in zip((first, second), wheres or (_nowhere,) * 2, strict=True)
            )
            for name in changed
        ]
    return [
        f"{one.name} is {getattr(first, one.name)!r} and {getattr(second, one.name)!r}"
        for one in fields(TableSchema)
        if getattr(first, one.name) != getattr(second, one.name)
    ]


def _shown(table: TableSchema, name: str) -> str:
    """An attribute as SDL declares it."""
    attribute = table.attribute(name)
    if attribute is None:
        return "absent"
    marks = [str(attribute.type), *([attribute.role] if attribute.role != "plain" else ())]
    for mark in ("indexed", "enumerable", "hidden"):
        marks += [mark] * getattr(attribute, mark)
    if attribute.relation is not None:
        here, there = attribute.relation.here, attribute.relation.there
        marks.append(f"related to {attribute.relation.target} (from {here!r} to {there!r})")
    if attribute.computed is not None:
        marks.append(f"computed from {attribute.computed.expression[:60]!r}")
        marks += [f"version {attribute.computed.version}"] * bool(attribute.computed.version)
    marks += [f"allowed to {role}" for role in attribute.roles]
    marks += [f"described as {attribute.description[:40]!r}"] if attribute.description else []
    return " ".join(marks)


def _place(where: Where, table: TableSchema, name: str) -> str:
    """Where the attribute stands; the table for one that is absent."""
    known = where(table.full_name, name if table.attribute(name) else "")
    return f" ({known})" if known else ""


def _nowhere(table: str, attribute: str) -> str:
    return ""


def _files(folder: Path) -> Iterator[Path]:
    tables = folder / "tables.py"
    if tables.is_file():
        yield tables
    yield from sorted(folder.glob("*.graphql"))


def _of_file(file: Path) -> Schema:
    if file.suffix == ".py":
        return schema_of(tables_of(_module(file)))
    try:
        return parse_sdl(file.read_text(encoding="utf-8"), file.name)
    except OSError as error:
        raise SchemaError(f"cannot be read: {error.strerror}", file=file.name) from error
    except UnicodeDecodeError as error:
        raise SchemaError("is no UTF-8 text", file=file.name) from error


def tables_of(module: ModuleType) -> list[type[Table]]:
    """Return the Table classes that a module defines itself, in their order."""
    found: dict[type[Table], None] = {}
    for value in vars(module).values():
        is_table = isinstance(value, type) and issubclass(value, Table)
        if is_table and value.__module__ == module.__name__:
            found[value] = None
    return list(found)


def _module(file: Path) -> ModuleType:
    """Run a file that stands alone; those of an application are a package."""
    name = f"lyredb_schema_{next(_numbers)}_{file.stem}"
    spec = spec_from_file_location(name, file)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = module_from_spec(spec)
    sys.modules[name] = module  # annotations are looked up in it
    try:
        spec.loader.exec_module(module)
    except LyreError:
        raise
    except SyntaxError as error:
        raise SchemaError(
            error.msg, file=file.name, line=error.lineno or 0, column=error.offset or 0
        ) from error
    except SystemExit as error:
        raise SchemaError(
            "ended the program (sys.exit)", file=file.name, line=_line_in(file, error)
        ) from error
    except Exception as error:
        line = _line_in(file, error)
        raise SchemaError(f"{type(error).__name__}: {error}", file=file.name, line=line) from error
    return module


def _line_in(file: Path, error: BaseException) -> int:
    """The innermost line of the file that an error came through."""
    lines = [
        frame.lineno or 0
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == file
    ]
    return lines[-1] if lines else 0
