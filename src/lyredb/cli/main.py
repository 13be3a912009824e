"""The ``lyredb`` command.

Commands import what they need when they run, so that ``--help`` and a mistyped
command answer without loading a server.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lyredb.cli import data as data_commands
from lyredb.cli import mqtt_tools, transfer
from lyredb.cli.clients import clients_app
from lyredb.cli.mosquitto import mosquitto_app
from lyredb.cli.retained import retained_app
from lyredb.cli.role import role_app
from lyredb.cli.settings_help import CommandWithSettings
from lyredb.cli.trace import trace
from lyredb.cli.user import user_app
from lyredb.errors import LyreError

app = typer.Typer(
    name="lyredb",
    help="A real-time database in which every table is a topic.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

AppFolder = Annotated[
    Path,
    typer.Argument(
        metavar="APP",
        help="The application folder: tables.py or *.graphql, optionally web/ and config.yaml.",
    ),
]
# The help of options without a text stands in the settings table.
HttpPort = Annotated[str | None, typer.Option("--http-port", metavar="N")]
MqttPort = Annotated[str | None, typer.Option("--mqtt-port", metavar="N")]
OperationsPort = Annotated[str | None, typer.Option("--operations-port", metavar="N")]
Data = Annotated[str | None, typer.Option("--data", metavar="DIR")]
Host = Annotated[str | None, typer.Option("--host", metavar="A")]
Workers = Annotated[str | None, typer.Option("--workers", metavar="N")]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings in YAML; wins over APP/config.yaml."),
]


@app.command(cls=CommandWithSettings)
def dev(
    folder: AppFolder = Path("."),
    data: Data = None,
    http_port: HttpPort = None,
    mqtt_port: MqttPort = None,
    operations_port: OperationsPort = None,
    config: Config = None,
) -> None:
    """Serve APP to this machine alone, without credentials.

    Listens on loopback and lets nobody else in; web pages of other origins are refused
    too. The data is below APP/.lyredb unless --data says otherwise.
    """
    from lyredb.server.serve import serve

    flags = {
        "--data": data,
        "--http-port": http_port,
        "--mqtt-port": mqtt_port,
        "--operations-port": operations_port,
    }
    raise typer.Exit(serve(folder, mode="dev", flags=flags, config=config))


@app.command(cls=CommandWithSettings)
def run(
    folder: AppFolder = Path("."),
    data: Data = None,
    host: Host = None,
    http_port: HttpPort = None,
    mqtt_port: MqttPort = None,
    operations_port: OperationsPort = None,
    workers: Workers = None,
    config: Config = None,
) -> None:
    """Serve APP to everybody who has a user name and a password.

    The data is below APP/data unless --data says otherwise: the same folder, wherever
    the command is started. A new data directory gets an administrator; set
    LYREDB_ADMIN_USERNAME and LYREDB_ADMIN_PASSWORD, or read the password from the file
    that the first start names. Listens on loopback until --host says otherwise.
    """
    from lyredb.server.serve import serve

    flags = {
        "--data": data,
        "--host": host,
        "--http-port": http_port,
        "--mqtt-port": mqtt_port,
        "--operations-port": operations_port,
        "--workers": workers,
    }
    raise typer.Exit(serve(folder, mode="run", flags=flags, config=config))


app.add_typer(user_app, name="user")
app.add_typer(role_app, name="role")
app.add_typer(mosquitto_app, name="mosquitto")
app.add_typer(clients_app, name="clients")
app.add_typer(retained_app, name="retained")
data_commands.register(app)
transfer.register(app)
mqtt_tools.register(app)
app.command()(trace)


@app.command()
def init(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="The folder to make.")],
) -> None:
    """Make a small application that runs at once."""
    from lyredb.cli.scaffold import make_application

    for file in make_application(name):
        typer.echo(f"made {file}")
    typer.echo(f"\nStart it:  lyredb dev {name}")


@app.command()
def types(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Schema files (*.graphql).")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write; standard output if not given."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when --out is not up to date.")
    ] = False,
) -> None:
    """Write the typed classes for tables that are declared in SDL."""
    from lyredb.cli.types import write_types

    raise typer.Exit(write_types(files, out=out, check=check))


@app.command()
def openapi(
    folder: AppFolder = Path("."),
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where to write, YAML for .yaml; standard output if not given.",
        ),
    ] = None,
) -> None:
    """Write the OpenAPI document of APP: what REST offers, for clients and their generators.

    It is what /openapi of a running server tells super users, with the default settings.
    """
    from lyredb.cli.openapi import write_openapi

    write_openapi(folder, out=out)


@app.command()
def version() -> None:
    """Print the version, and whether delivery and MQTT are compiled."""
    from lyredb.server.version import form, version

    typer.echo(f"{version()} ({form()})")


@app.command("help")
def show_help(
    context: typer.Context,
    command: Annotated[str | None, typer.Argument(metavar="COMMAND")] = None,
) -> None:
    """Show this help, or that of a command."""
    root = context.find_root()
    group = root.command
    assert isinstance(group, typer.core.TyperGroup)
    if command is None:
        typer.echo(root.get_help())
        return
    found = group.get_command(root, command)
    if found is None:
        known = ", ".join(group.list_commands(root))
        typer.echo(f"lyredb: no command {command}; there are {known}", err=True)
        raise typer.Exit(2)
    with typer.Context(found, info_name=command, parent=root) as found_context:
        typer.echo(found.get_help(found_context))


def main() -> None:
    """Run the command of ``sys.argv``; a mistake is one sentence and exit code 1."""
    try:
        app()
    except LyreError as error:
        typer.echo(f"lyredb: {error}", err=True)
        sys.exit(1)
