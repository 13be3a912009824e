"""``lyredb mosquitto``: users, rights and settings of a mosquitto broker, taken over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lyredb.cli.place import AppOption, ConfigOption, DataOption, find_place
from lyredb.errors import InvalidInput

if TYPE_CHECKING:
    from lyredb.operations.mosquitto_config import MosquittoConfig
    from lyredb.operations.mosquitto_files import AccessFile
    from lyredb.operations.requests import ImportedUser
    from lyredb.server.data_place import DataPlace

mosquitto_app = typer.Typer(
    help="Take over users, rights and settings of a mosquitto broker.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="mosquitto.conf; its password_file, acl_file and allow_anonymous count where no "
        "option says otherwise.",
    ),
]
_AT_ONCE: Final = 500
"""Users of one transaction: about 150 kB of a request."""


@mosquitto_app.command("import")
def import_all(
    source: ConfigFile = None,
    passwords: Annotated[
        Path | None, typer.Option("--passwords", metavar="FILE", help="A password file.")
    ] = None,
    acl: Annotated[
        Path | None,
        typer.Option(
            "--acl", metavar="FILE", help="An ACL file. Without one users may do everything."
        ),
    ] = None,
    anonymous: Annotated[
        bool | None,
        typer.Option(
            "--anonymous/--no-anonymous",
            help="Define the role of clients without a user name, which holds over HTTP too.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace users that exist, but super users.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the roles, and write nothing.")
    ] = False,
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Make the users of a password file, with roles that say what an ACL file says.

    Passwords stay as they are. Each is hashed anew when its user logs in.
    """
    from lyredb.operations.mosquitto_config import MosquittoConfig, read_config
    from lyredb.operations.mosquitto_files import (
        anonymous_rules,
        notes_on,
        read_access_file,
        read_password_file,
        role_definitions,
        roles_of,
    )

    found = MosquittoConfig() if source is None else read_config(source)
    passwords = passwords or _beside(source, found.password_file)
    acl = acl or _beside(source, found.access_file)
    if passwords is None and acl is None:
        raise InvalidInput("name a file: --passwords, --acl, or --from mosquitto.conf")
    hashes = {} if passwords is None else read_password_file(passwords)
    access = None if acl is None else read_access_file(acl)
    roles = roles_of(access, hashes)
    if anonymous or (anonymous is None and found.allows_anonymous):
        roles["anonymous"] = anonymous_rules(access)
    definitions = role_definitions(roles)
    for note in notes_on(access, hashes):
        typer.echo(f"note: {note}", err=True)
    if dry_run:
        _print_roles(definitions)
        return
    place = find_place(app, data, config)
    _put_roles(place, definitions)
    typer.echo(f"set {_counted(len(roles), 'role')}: {', '.join(sorted(roles))}")
    written = _put_users(place, hashes, access, replacing=replace)
    typer.echo(f"made {_counted(written, 'user')}")
    if written < len(hashes):
        typer.echo(f"left {_counted(len(hashes) - written, 'user')} as before")


@mosquitto_app.command("settings")
def print_settings(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="mosquitto.conf")],
) -> None:
    """Print what mosquitto.conf says as settings for config.yaml, and what is left to do."""
    from lyredb.operations.mosquitto_config import read_config

    found = read_config(source)
    typer.echo(_settings_text(found), nl=False)


def _settings_text(found: MosquittoConfig) -> str:
    from lyredb.formats.yaml_text import dump_yaml
    from lyredb.server.composition import find_plugins, settings_table

    known = {row.name for row in settings_table(tuple(find_plugins())).rows}
    settings = {name: value for name, value in found.settings.items() if name in known}
    left = found.left + [
        f"{name} {value}: this version has no such setting"
        for name, value in found.settings.items()
        if name not in known
    ]
    parts = [dump_yaml(settings) if settings else ""]
    for title, lines in (("left to do", left), ("needs nothing here", found.needless)):
        parts += [f"# {title}:\n"] if lines else []
        parts += [f"#   {line}\n" for line in lines]
    return "".join(parts)


def _beside(source: Path | None, file: Path | None) -> Path | None:
    """A relative name there is one below the folder that mosquitto was started in."""
    if file is None or source is None or file.is_absolute() or file.exists():
        return file
    return source.parent / file


def _put_roles(place: DataPlace, definitions: Mapping[str, object]) -> None:
    from lyredb.operations.requests import Changed, PutRoles
    from lyredb.server.administer import administer

    administer(place, PutRoles(dict(definitions)), Changed)


def _put_users(
    place: DataPlace, hashes: Mapping[str, str], access: AccessFile | None, *, replacing: bool
) -> int:
    from lyredb.operations import requests
    from lyredb.operations.mosquitto_files import role_of
    from lyredb.server.administer import administer

    users = [
        requests.ImportedUser(name, stored, role_of(access, name))
        for name, stored in hashes.items()
    ]
    written = 0
    for part in _parts(users):
        answer = administer(
            place, requests.ImportUsers(list(part), replacing), requests.UsersImported
        )
        written += len(answer.written)
    return written


def _parts(users: Sequence[ImportedUser]) -> Iterable[Sequence[ImportedUser]]:
    return (users[start : start + _AT_ONCE] for start in range(0, len(users), _AT_ONCE))


def _print_roles(definitions: Mapping[str, object]) -> None:
    from lyredb.formats.yaml_text import dump_yaml

    typer.echo(dump_yaml(dict(definitions)), nl=False)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
