"""The arguments of a class statement: ``class Sensor(Table, export=True)``."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lyredb.tables.declare.places import schema_error
from lyredb.tables.hints import did_you_mean


def refuse_unknown(cls: type, unknown: Collection[str], known: Sequence[str]) -> None:
    """Refuse arguments that nobody would look at.

    Raises:
        SchemaError: There is one; with its place and the nearest right name.
    """
    for name in unknown:
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise schema_error(f"unknown class argument {name}{hint}", cls)


def require_type(cls: type, name: str, value: object, *types: type) -> None:
    """Refuse an argument of another type; a boolean is no integer here.

    Raises:
        SchemaError: With the place of the class.
    """
    if isinstance(value, types) and (bool in types or not isinstance(value, bool)):
        return
    wanted = " or ".join(one.__name__ for one in types)
    raise schema_error(f"{name} must be {wanted}, got {str(value)[:40]}", cls)
