"""``lyredb user``: who may log in. Works beside a running server, and without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lyredb.cli.columns import columns
from lyredb.cli.passwords import read_password
from lyredb.cli.place import AppOption, ConfigOption, DataOption, JsonOption, find_place

if TYPE_CHECKING:
    from lyredb.operations.requests import ChangeUser, RemoveUser

user_app = typer.Typer(
    help="List and change who may log in.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="A file whose first line is the password, - for standard input. Without it, the "
        "terminal is asked, or standard input is read when there is none.",
    ),
]


@user_app.command("list")
def list_users(
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all users with their roles."""
    from lyredb.operations.requests import ListUsers, UserEntry
    from lyredb.server.administer import administer

    users = administer(find_place(app, data, config), ListUsers(), list[UserEntry])
    if as_json:
        entries = [{"name": one.name, "role": one.role, "active": one.active} for one in users]
        typer.echo(json.dumps(entries, ensure_ascii=False))
        return
    rows = [(user.name, user.role, "yes" if user.active else "no") for user in users]
    for line in columns(("NAME", "ROLE", "ACTIVE"), *rows):
        typer.echo(line)


@user_app.command("add")
def add_user(
    name: Name,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="A role that exists.")],
    password_file: PasswordFile = None,
    inactive: Annotated[
        bool, typer.Option("--inactive", help="Let the user not log in yet.")
    ] = False,
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a user."""
    from lyredb.operations.requests import AddUser, Changed
    from lyredb.server.administer import administer

    place = find_place(app, data, config)
    place.require()  # before anybody types a password
    request = AddUser(name, read_password(password_file), role, not inactive)
    administer(place, request, Changed)
    typer.echo(f"made the user {name} with the role {role}")


@user_app.command("password")
def set_password(
    name: Name,
    password_file: PasswordFile = None,
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Give a user another password; tokens and logins of before are void."""
    from lyredb.operations.requests import ChangeUser

    find_place(app, data, config).require()
    request = ChangeUser(name, password=read_password(password_file))
    _change(request, app, data, config, f"changed the password of {name}")


@user_app.command("role")
def set_role(
    name: Name,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="A role that exists.")],
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Give a user another role; it holds at once, for open connections too."""
    from lyredb.operations.requests import ChangeUser

    done = f"{name} has the role {role}"
    _change(ChangeUser(name, role=role), app, data, config, done)


@user_app.command("activate")
def activate_user(
    name: Name, app: AppOption = Path("."), data: DataOption = None, config: ConfigOption = None
) -> None:
    """Let a user log in again."""
    from lyredb.operations.requests import ChangeUser

    done = f"{name} can log in"
    _change(ChangeUser(name, active=True), app, data, config, done)


@user_app.command("deactivate")
def deactivate_user(
    name: Name, app: AppOption = Path("."), data: DataOption = None, config: ConfigOption = None
) -> None:
    """Let a user log in no more, and end its connections; the user stays."""
    from lyredb.operations.requests import ChangeUser

    done = f"{name} can log in no more"
    _change(ChangeUser(name, active=False), app, data, config, done)


@user_app.command("remove")
def remove_user(
    name: Name, app: AppOption = Path("."), data: DataOption = None, config: ConfigOption = None
) -> None:
    """Delete a user, and end its connections."""
    from lyredb.operations.requests import RemoveUser

    _change(RemoveUser(name), app, data, config, f"removed the user {name}")


def _change(
    request: ChangeUser | RemoveUser, app: Path, data: str | None, config: Path | None, done: str
) -> None:
    from lyredb.operations.requests import Changed
    from lyredb.server.administer import administer

    administer(find_place(app, data, config), request, Changed)
    typer.echo(done)
