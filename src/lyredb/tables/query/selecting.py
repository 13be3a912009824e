"""What every notation of a select has to keep to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lyredb.errors import InvalidQuery
from lyredb.tables.query.terms import EVERYTHING, ID_NAME, UPDATED_NAME, Form, Select, Selected

_SPECIAL: Final = (ID_NAME, UPDATED_NAME, EVERYTHING)


def select_of(items: Iterable[Selected], form: Form) -> Select:
    """Return a select that makes sense.

    A name that comes again is the same name; ``*`` alone is the record, not a value of it.

    Raises:
        InvalidQuery: It has no name, several for one value, two meanings of one name, or
            places that are not fixed.
    """
    by_name: dict[str, Selected] = {}
    for item in items:
        _check(item, form)
        earlier = by_name.setdefault(item.name, item)
        if earlier != item or (earlier is not item and form == "arrays"):
            raise InvalidQuery(f"select names {item.name[:60]} twice")
    if not by_name:
        raise InvalidQuery("select needs names of attributes")
    if form == "values":
        if len(by_name) > 1:
            raise InvalidQuery("bare values are of one attribute; select several as objects")
        if EVERYTHING in by_name:
            form = "objects"
    return Select(tuple(by_name.values()), form)


def _check(item: Selected, form: Form) -> None:
    if not item.name:
        raise InvalidQuery("select needs names of attributes")
    if item.select is not None and item.name in _SPECIAL:
        raise InvalidQuery(f"nothing can be selected of {item.name}")
    if item.name == EVERYTHING and form == "arrays":
        raise InvalidQuery("`*` has no fixed places; name the attributes of an array")
