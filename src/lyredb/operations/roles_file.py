"""``roles.yaml``: role → database → table → rights, or topic patterns, as people write them.

::

    reader:
      data:
        Sensor: {read: true}
        Employee:
          read: true
          attributes: {name: {read: true}}
    device:
      topics: {"in/%u/#": write}

What the file names is set. What it does not name stays: a role that was made by
``lyredb role`` is not removed because a file does not know of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lyredb.errors import InvalidBody, InvalidInput, InvalidRecord
from lyredb.formats.yaml_text import dump_yaml, load_yaml
from lyredb.operations.administration import put_roles
from lyredb.operations.requests import RoleEntry
from lyredb.security.rights import RIGHTS
from lyredb.security.roles import Roles


def read_roles(file: Path) -> dict[str, object]:
    """Return the definitions of a file by name; whether they are right is seen later.

    Raises:
        InvalidInput: It cannot be read, or is no mapping of roles.
    """
    try:
        tree = load_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file.name} is no UTF-8 text") from error
    except InvalidBody as error:
        raise InvalidInput(f"{file.name}: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise InvalidInput(f"{file.name} must be a mapping of roles to their rights")
    for name in tree:
        if not isinstance(name, str):
            raise InvalidInput(f"{file.name}: {name!r} is no name of a role; put it in quotes")
    return dict(tree)


async def apply_roles_file(roles: Roles, file: Path) -> int:
    """Set the roles that a file names and return the log position that contains them.

    A role that is as the file says is not written again.

    Raises:
        InvalidInput: The file cannot be read or is wrong; nothing was written.
        StorageError: As every write.
    """
    definitions = read_roles(file)
    try:
        return await put_roles(roles, definitions)
    except InvalidRecord as error:
        raise InvalidInput(f"{file.name}: {error}") from error


def write_roles(roles: Iterable[RoleEntry]) -> str:
    """Return roles in the form that `read_roles` takes; rights that are not given are left out."""
    return dump_yaml({role.name: _short(role.definition) for role in roles})


def _short(definition: Mapping[str, object]) -> dict[str, object]:
    short: dict[str, object] = {}
    for database, tables in definition.items():
        if isinstance(tables, Mapping):
            short[database] = {
                table: rights if isinstance(rights, str) else _given(rights)  # a topic pattern's
                for table, rights in tables.items()
            }
        else:
            short[database] = tables
    return short


def _given(rights: Mapping[str, object]) -> dict[str, object]:
    given: dict[str, object] = {right: True for right in RIGHTS if rights.get(right)}
    attributes = rights.get("attributes")
    if isinstance(attributes, Mapping):
        given["attributes"] = {name: _given(one) for name, one in attributes.items()}
    return given
