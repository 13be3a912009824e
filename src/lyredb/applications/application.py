"""What a folder says: its tables, its web folder, its settings.

``tables.py`` declares typed classes, ``*.graphql`` files declare in SDL; both may stand
beside each other, and may declare the same table if they say the same of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lyredb.applications.package import ApplicationPackage
from lyredb.errors import SchemaError
from lyredb.tables.declare import Table, schema_of
from lyredb.tables.schema import Schema
from lyredb.tables.sdl import parse_sdl
from lyredb.tables.source import merged

TABLES_MODULE: Final = "tables"
CONFIG_FILE: Final = "config.yaml"
ROLES_FILE: Final = "roles.yaml"
"""What users may do; applied at each start and reload, see ``lyredb.operations``."""
WEB_FOLDER: Final = "web"


@dataclass(frozen=True, slots=True)
class Application:
    """One application.

    Attributes:
        name: The folder's name.
        folder: Absolute.
        schema: The tables of all its files; may have none.
        web: The folder of static files, ``None`` without one.
        config: Its settings file, ``None`` without one.
    """

    name: str
    folder: Path
    schema: Schema
    web: Path | None
    config: Path | None


def load_application(folder: Path) -> Application:
    """Read an application folder, and run its ``tables.py``.

    Raises:
        SchemaError: There is no such folder; a declaration is wrong; or two files
            declare a table differently, and then both are named.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise SchemaError("there is no such application folder", file=str(folder))
    return Application(
        name=folder.name,
        folder=folder,
        schema=merged(_declarations(folder)),
        web=_existing(folder / WEB_FOLDER, directory=True),
        config=_existing(folder / CONFIG_FILE, directory=False),
    )


def _existing(path: Path, *, directory: bool) -> Path | None:
    return path if (path.is_dir() if directory else path.is_file()) else None


def _declarations(folder: Path) -> Iterator[tuple[str, Schema]]:
    module_file = folder / f"{TABLES_MODULE}.py"
    if module_file.is_file() or (folder / TABLES_MODULE / "__init__.py").is_file():
        yield module_file.name, _schema_of_module(folder)
    for file in sorted(folder.glob("*.graphql")):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SchemaError("is no UTF-8 text", file=file.name) from error
        except OSError as error:  # also a folder of that name
            raise SchemaError(f"cannot be read: {error.strerror}", file=file.name) from error
        yield file.name, parse_sdl(text, file=file.name)


def _schema_of_module(folder: Path) -> Schema:
    package = ApplicationPackage(folder)
    module = package.load(TABLES_MODULE)
    declared = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Table)
        and value.__module__.startswith(f"{package.name}.")
    ]
    classes = list(dict.fromkeys(declared))  # one class may have two names
    return schema_of(classes)
