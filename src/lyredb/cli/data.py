"""``lyredb backup``, ``restore``, ``check``, ``upgrade`` and ``status``: of whole directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lyredb.cli.columns import columns, size_text
from lyredb.cli.place import (
    AppArgument,
    AppOption,
    ConfigOption,
    DataOption,
    JsonOption,
    find_place,
)

if TYPE_CHECKING:
    from lyredb.operations.status import ProcessStatus, Status

PROBLEMS_FOUND: Final = 3
"""The exit code of a check that did its work and found something."""


def backup(
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A directory that does not exist, or is empty.")
    ],
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Copy the data directory, also while a server uses it.

    The copy has the state of one moment. It appears at DEST when it is whole, on disk and
    was opened once.
    """
    from lyredb.cli.progress import progress
    from lyredb.operations.backup import back_up
    from lyredb.server.version import version

    source = find_place(app, data, config).require()
    with progress("copying", bytes=True) as note:
        manifest = back_up(source, destination, version=version(), on_progress=note)
    size = size_text(manifest.size_bytes)
    typer.echo(f"backed up {source} to {destination}: {size}, position {manifest.position}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A backup.")],
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a data directory from a backup, and check it.

    The directory must not exist or be empty. Its log is a new one: subscribers that come
    back with a position get current state.
    """
    from lyredb.cli.progress import progress
    from lyredb.operations.restore import restore as restore_backup

    place = find_place(app, data, config).path
    with progress("copying", bytes=True) as copied, progress("checking") as checked:
        done = restore_backup(source, place, on_copy=copied, on_check=checked)
    typer.echo(f"restored {source} to {place}: position {done.manifest.position}, checked")


def check(
    app: AppArgument = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare records, indexes and log with each other, also while a server runs.

    Changes nothing. Exit code 3 when something does not agree.
    """
    from lyredb.cli.progress import progress
    from lyredb.operations.check import check_directory

    path = find_place(app, data, config).require()
    with progress("checking") as note:
        report = check_directory(path, note)
    if as_json:
        told = {
            "position": report.position,
            "tables": report.tables,
            "problems": list(report.problems),
        }
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        for problem in report.problems:
            typer.echo(problem)
        count = len(report.problems)
        result = "all agree" if not count else f"{count} problem{'' if count == 1 else 's'}"
        typer.echo(f"{path}: {report.tables} tables, position {report.position}: {result}")
    if report.problems:
        raise typer.Exit(PROBLEMS_FOUND)


def upgrade(
    app: AppArgument = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
) -> None:
    """Bring a data directory to the format of this version.

    Does nothing when it has it. Stop the server and make a backup before.
    """
    from lyredb.operations.upgrade import CURRENT, plan_upgrade, text_of
    from lyredb.operations.upgrade import upgrade as upgrade_directory

    path = find_place(app, data, config).require()
    plan = plan_upgrade(path)
    found = text_of(plan.found)
    if not plan.steps:
        typer.echo(f"{path} has format {found}, as this version writes it: nothing to do")
        return
    typer.echo(f"{path} has format {found}, this version writes {text_of(CURRENT)}")
    if dry_run:
        for step in plan.steps:
            typer.echo(f"{text_of(step.before)} to {text_of(step.after)}: {step.sentence}")
        return
    upgrade_directory(
        path,
        on_step=lambda step: typer.echo(
            f"{text_of(step.before)} to {text_of(step.after)}: {step.sentence}"
        ),
    )


def status(
    app: AppArgument = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how the server of a data directory is: processes, log, memory."""
    import msgspec

    from lyredb.server.administer import ask_status

    place = find_place(app, data, config)
    found = ask_status(place)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    typer.echo(
        f"LyreDB {found.version}, up {_duration(found.uptime_s)}, data in {place.path} "
        f"(format {found.format})"
    )
    typer.echo(
        f"log: position {found.position}, from {found.floor}, {size_text(found.log_bytes)}; "
        f"data file: {size_text(found.used_bytes)} in use"
    )
    if found.failure:
        typer.echo(f"cannot write: {found.failure}")
    for line in columns(_HEADING, *(_row(found, process) for process in found.processes)):
        typer.echo(line)


_HEADING: Final = ("PROCESS", "STATE", "PID", "POSITION", "LAG", "CONNECTIONS", "MEMORY")


def _row(status: Status, process: ProcessStatus) -> tuple[str, ...]:
    name = f"worker {process.worker}" if process.role == "worker" else process.role
    memory = size_text(process.memory_bytes) if process.memory_bytes else "-"
    again = f" ({process.restarts} restarts)" if process.restarts else ""
    state, pid = process.state + again, str(process.pid or "-")
    if process.role == "supervisor":  # reads no log and has no clients
        return (name, state, pid, "-", "-", "-", memory)
    lag = "-" if process.role == "writer" else str(status.lag_of(process))
    clients = [f"{count} {kind}" for kind, count in sorted(process.connections.items()) if count]
    held = "-" if process.role == "writer" else ", ".join(clients) or "0"
    return (name, state, pid, str(process.position), lag, held, memory)


def _duration(seconds: float) -> str:
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s" if minutes else f"{int(seconds)} s"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (status, backup, restore, check, upgrade):
        app.command()(command)
