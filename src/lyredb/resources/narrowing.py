"""Queries of those who may read some attributes only.

What a query compares or sorts by has to be readable, else its answer would tell it. What
it selects is reduced to what is readable; of whole records the declared and listed
attributes are selected.
"""

from __future__ import annotations

from dataclasses import replace

from lyredb.plugins.context import Principal
from lyredb.resources.access import unreadable
from lyredb.tables.query.terms import (
    EVERYTHING,
    ID_NAME,
    UPDATED_NAME,
    Query,
    Select,
    Selected,
    conditions_in,
)
from lyredb.tables.stored import StoredTable

_ALWAYS = frozenset((ID_NAME, UPDATED_NAME))


def narrowed(
    query: Query, names: frozenset[str], table: StoredTable, principal: Principal
) -> Query:
    """Return a query that shows these attributes only.

    Raises:
        NotAuthorised: It compares or sorts by another one, or wants it at a certain place.
    """
    paths = [one.path for one in conditions_in(query.where)]
    for path in (*paths, *(one.path for one in query.sort)):
        if path[0] not in names | _ALWAYS:
            raise unreadable(principal, table, path[0])
    select = query.select
    if select is not None and select.form != "objects":
        for one in select.items:
            # Left out it would move the others, or leave nothing.
            if one.name not in names | _ALWAYS:
                raise unreadable(principal, table, one.name)
    return replace(query, select=_narrowed_select(select, names, table))


def _narrowed_select(select: Select | None, names: frozenset[str], table: StoredTable) -> Select:
    everything = tuple(Selected(name) for name in _in_order(names, table))
    if select is None:
        return Select(everything)
    items: dict[str, Selected] = {}
    for one in select.items:
        if one.name == EVERYTHING:
            items.update((each.name, each) for each in everything)
        elif one.name in names | _ALWAYS:
            items[one.name] = one
    return replace(select, items=tuple(items.values()))


def _in_order(names: frozenset[str], table: StoredTable) -> list[str]:
    """As they are in whole records: the key, then in declared order, then the others."""
    declared = [one.name for one in table.schema.attributes if one.name in names]
    rest = sorted(names - {table.schema.primary_key, *declared})
    return list(dict.fromkeys((table.schema.primary_key, *declared, *rest)))
