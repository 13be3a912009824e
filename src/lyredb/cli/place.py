"""The options that say whose data a command is about, and how they are followed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lyredb.server.data_place import DataPlace

_HELP = "The application folder whose data it is."

AppArgument = Annotated[Path, typer.Argument(metavar="APP", help=_HELP)]
AppOption = Annotated[Path, typer.Option("--app", metavar="APP", help=_HELP)]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="DIR", help="The data directory; APP/data or APP/.lyredb if not given."
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings in YAML; wins over APP/config.yaml."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def find_place(app: Path, data: str | None, config: Path | None) -> DataPlace:
    """Return the place that the options name, by the settings of the server.

    Raises:
        SettingError, InvalidInput: See `lyredb.server.data_place.find_data`.
    """
    from lyredb.server.data_place import find_data

    return find_data(app, data=data, config=config, environment=os.environ)
