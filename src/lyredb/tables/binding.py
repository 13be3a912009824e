"""Which open database the methods of a Table class mean: the one that has the table.

The registry of open databases is the one piece of state that belongs to a module: a
class is declared before any database is open, and ``await Sensor.get("a")`` names none.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Any

from lyredb.tables.gateway import Gateway

_lock = Lock()
_open: list[tuple[Gateway, frozenset[str]]] = []


def bind(gateway: Gateway, tables: Iterable[str | type[Any]]) -> None:
    """Note that a database is open.

    Args:
        gateway: The database.
        tables: Full names of its tables, or Table classes.
    """
    names = frozenset(_name(table) for table in tables)
    with _lock:
        _open.append((gateway, names))


def unbind(gateway: Gateway) -> None:
    """Note that a database is closed. Does nothing if it was never bound."""
    with _lock:
        _open[:] = [pair for pair in _open if pair[0] is not gateway]


def gateway_for(table: str | type[Any]) -> Gateway:
    """Return the one open database that has the table.

    Raises:
        RuntimeError: None has it, or several have.
    """
    name = _name(table)
    with _lock:
        found = [gateway for gateway, names in _open if name in names]
    if len(found) == 1:
        return found[0]
    if found:
        raise RuntimeError(f"{len(found)} open databases have the table {name}; use db[…] of one")
    raise RuntimeError(
        f"no open database has the table {name}; open one with lyredb.open(…, schema=[…])"
    )


def _name(table: str | type[Any]) -> str:
    return table if isinstance(table, str) else str(table._lyre_options.full_name)
