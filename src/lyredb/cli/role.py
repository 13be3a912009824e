"""``lyredb role``: what users may do. Works beside a running server, and without one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lyredb.cli.columns import columns
from lyredb.cli.place import AppOption, ConfigOption, DataOption, JsonOption, find_place
from lyredb.errors import InvalidInput, RecordNotFound

if TYPE_CHECKING:
    from lyredb.operations.requests import RoleEntry

role_app = typer.Typer(
    help="List and change what users may do.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The role.")]
_RIGHT: Final = re.compile(r"(?P<right>[^,()]+)(?:\((?P<names>[^()]*)\)\s*)?(?:,|$)")
_WORDS: Final = {"all": ("read", "insert", "update", "delete"), "none": ()}


@role_app.command("list")
def list_roles(
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all roles."""
    roles = _roles(app, data, config)
    if as_json:
        typer.echo(json.dumps({one.name: one.definition for one in roles}, ensure_ascii=False))
        return
    rows = [(role.name, _summary(role)) for role in roles]
    for line in columns(("NAME", "RIGHTS"), *rows):
        typer.echo(line)


@role_app.command("show")
def show_role(
    name: Name, app: AppOption = Path("."), data: DataOption = None, config: ConfigOption = None
) -> None:
    """Print what a role may do, as it stands in roles.yaml."""
    from lyredb.operations.roles_file import write_roles

    for role in _roles(app, data, config):
        if role.name == name:
            typer.echo(write_roles([role]), nl=False)
            return
    raise RecordNotFound(f"there is no role {name!r}")


@role_app.command("set")
def set_role(
    name: Name,
    rights: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATABASE.TABLE=RIGHT,...",
            help="What it may do: read, insert, update, delete; or all, or none for a table "
            "that * would give it; * for any database or table. What is not named it may not. "
            "Attributes in parentheses, read(name,phone), are the only ones that a right is for.",
        ),
    ] = None,
    topics: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            metavar="PATTERN=RIGHT",
            help="What it may do with open topics: read, write, both, or none to take away what "
            "others give. + and # as in topic filters, %u for the user, %c for the client "
            "identifier. May be given several times.",
        ),
    ] = None,
    super_user: Annotated[bool, typer.Option("--super-user", help="It may do everything.")] = False,
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Define a role, or replace what it may do; it holds at once."""
    if super_user and (rights or topics):
        raise InvalidInput("a super user may do everything: list nothing else")
    definition: dict[str, Any] = {"super_user": True} if super_user else read_rights(rights or ())
    if topics:
        definition["topics"] = read_patterns(topics)
    _put({name: definition}, app, data, config)
    typer.echo(f"set the role {name}")


@role_app.command("remove")
def remove_role(
    name: Name, app: AppOption = Path("."), data: DataOption = None, config: ConfigOption = None
) -> None:
    """Delete a role that no user has."""
    from lyredb.operations.requests import Changed, RemoveRole
    from lyredb.server.administer import administer

    administer(find_place(app, data, config), RemoveRole(name), Changed)
    typer.echo(f"removed the role {name}")


@role_app.command("apply")
def apply_roles(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Such as roles.yaml.")],
    app: AppOption = Path("."),
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Set the roles that a file names; those that it does not name stay."""
    from lyredb.operations.roles_file import read_roles

    roles = read_roles(file)
    _put(roles, app, data, config)
    typer.echo(f"set {len(roles)} role{'' if len(roles) == 1 else 's'}: {', '.join(roles)}")


@role_app.command("export")
def export_roles(
    app: AppOption = Path("."), data: DataOption = None, config: ConfigOption = None
) -> None:
    """Print all roles but the built-in one as YAML, in the form that `apply` takes."""
    from lyredb.operations.roles_file import write_roles
    from lyredb.security.role_rows import BUILT_IN

    made = [role for role in _roles(app, data, config) if role.name != BUILT_IN.name]
    typer.echo(write_roles(made), nl=False)


def read_rights(texts: Sequence[str]) -> dict[str, Any]:
    """Return the definition that ``data.Sensor=read,insert`` and the like stand for.

    ``data.Employee=read(name,phone),update(phone)`` names the attributes that a right is for;
    beside such a one, a right without names is for every declared attribute.

    Raises:
        InvalidInput: One has another form, or a table comes twice, of which only one could
            hold; which rights there are is seen later.
    """
    definition: dict[str, Any] = {}
    for text in texts:
        table, equals, rights = text.partition("=")
        database, dot, name = table.partition(".")
        if not (equals and dot and database and name and rights):
            raise InvalidInput(f"{text!r} is not of the form DATABASE.TABLE=RIGHT,RIGHT")
        tables = definition.setdefault(database, {})
        if name in tables:
            raise InvalidInput(f"{table} is named twice; write {table}=RIGHT,RIGHT")
        named = _WORDS.get(rights)
        tables[name] = _read_list(rights) if named is None else dict.fromkeys(named, True)
    return definition


def read_patterns(texts: Sequence[str]) -> dict[str, str]:
    """Return what ``in/%u/#=write`` and the like stand for; a pattern may have ``=`` in it.

    Raises:
        InvalidInput: One has another form, or a pattern comes twice.
    """
    patterns: dict[str, str] = {}
    for text in texts:
        pattern, equals, word = text.rpartition("=")
        if not (equals and pattern and word):
            raise InvalidInput(f"{text!r} is not of the form PATTERN=RIGHT")
        if pattern in patterns:
            raise InvalidInput(f"{pattern} is named twice")
        patterns[pattern] = word
    return patterns


def _read_list(text: str) -> dict[str, Any]:
    """Read ``read(name,phone),insert``."""
    from lyredb.security.rights import ATTRIBUTE_RIGHTS

    rights: dict[str, Any] = {}
    attributes: dict[str, dict[str, bool]] = {}
    for right, names in _split(text):
        rights[right] = True
        for name in names:
            attributes.setdefault(name, {})[right] = True
    if attributes:
        for right, names in _split(text):
            if not names and right in ATTRIBUTE_RIGHTS:
                for one in ("*", *attributes):
                    attributes.setdefault(one, {})[right] = True
        rights["attributes"] = attributes
    return rights


def _split(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return each right with the attributes behind it in parentheses, ``()`` for none.

    Raises:
        InvalidInput: A parenthesis is missing, or there is nothing in it.
    """
    found: list[tuple[str, tuple[str, ...]]] = []
    rest = text
    while rest:
        one = _RIGHT.match(rest)
        if one is None:
            raise InvalidInput(f"{text!r} is not of the form RIGHT,RIGHT(ATTRIBUTE,ATTRIBUTE)")
        names = one["names"]
        listed = tuple(name.strip() for name in names.split(",")) if names is not None else ()
        if names is not None and not all(listed):
            raise InvalidInput(f"{text!r} has an attribute without a name")
        found.append((one["right"].strip(), listed))
        rest = rest[one.end() :]
    return found


def _roles(app: Path, data: str | None, config: Path | None) -> list[RoleEntry]:
    from lyredb.operations.requests import ListRoles, RoleEntry
    from lyredb.server.administer import administer

    return administer(find_place(app, data, config), ListRoles(), list[RoleEntry])


def _put(roles: dict[str, Any], app: Path, data: str | None, config: Path | None) -> None:
    from lyredb.operations.requests import Changed, PutRoles
    from lyredb.server.administer import administer

    administer(find_place(app, data, config), PutRoles(roles), Changed)


def _summary(role: RoleEntry) -> str:
    if role.super_user:
        return "everything"
    tables = patterns = 0
    for given in role.definition.values():
        names = [isinstance(one, str) for one in given.values()]  # a pattern has a word
        patterns += sum(names)
        tables += len(names) - sum(names)
    counted = [_counted(tables, "table"), _counted(patterns, "topic pattern")]
    return ", ".join(filter(None, counted)) or "nothing"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""
