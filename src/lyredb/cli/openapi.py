"""``lyredb openapi``: the description of an application's REST interface."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from lyredb.applications.application import load_application
from lyredb.errors import InvalidInput
from lyredb.formats import YAML
from lyredb.protocols.rest.openapi.document import document
from lyredb.protocols.rest.openapi.offered import api_of_schema
from lyredb.server.version import version


def write_openapi(folder: Path, *, out: Path | None) -> None:
    """Write the document of an application as ``/openapi`` of its server has it.

    Args:
        folder: Of the application.
        out: A file, YAML when it ends in ``.yaml`` or ``.yml``; ``None``: standard output.

    Raises:
        SchemaError: The application cannot be read.
        InvalidInput: The file cannot be written.
    """
    application = load_application(folder)
    made = document(api_of_schema(application.schema, version=version(), title=application.name))
    if out is None:
        typer.echo(_as_json(made))
        return
    is_yaml = out.suffix in (".yaml", ".yml")
    text = YAML.encode(made).decode() if is_yaml else _as_json(made) + "\n"
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error.strerror}") from error


def _as_json(made: object) -> str:
    return json.dumps(made, indent=2, ensure_ascii=False)
