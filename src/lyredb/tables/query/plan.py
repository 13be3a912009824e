"""How a query is executed: by key, by one index, or by a scan; the rest filters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from lyredb.errors import InvalidKey, InvalidQuery, UnknownAttribute
from lyredb.storage.keys import ABSENT, encode_index_value
from lyredb.storage.layout import IndexLayout, IndexSource
from lyredb.storage.record import decode_header
from lyredb.tables.hints import did_you_mean
from lyredb.tables.query.matching import matches
from lyredb.tables.query.terms import (
    EVERYTHING,
    ID_NAME,
    UPDATED_NAME,
    Condition,
    Query,
    UrlValue,
    conditions_in,
)
from lyredb.tables.query.values import condition_value
from lyredb.tables.stored import CONTENT_TYPE, DATA, MS_SHIFT, StoredTable

Access = Literal["key", "index", "scan", "nothing"]
Filter = Callable[[bytes], bool]
"""Takes the stored record."""
_SPECIAL: Final = (ID_NAME, UPDATED_NAME, EVERYTHING)


@dataclass(frozen=True, slots=True)
class Plan:
    """What `execute` does.

    Attributes:
        access: ``key``: one record by its key. ``index``: those that an index names.
            ``scan``: all of a key range. ``nothing``: no record can match.
        key: For ``key``.
        index: For ``index``.
        encoded: The value to look up in the index.
        by: The condition that the access already fulfils, ``None`` for a scan.
        filters: All conditions and their tests, that of ``by`` included: an index entry
            may be one of a value that was cut, or older than the record when it is read.
    """

    access: Access
    filters: tuple[tuple[Condition, Filter], ...] = ()
    key: bytes = b""
    index: IndexLayout | None = None
    encoded: bytes = b""
    by: Condition | None = None

    def explain(self) -> dict[str, object]:
        """Return the plan in words, for people and tests."""
        explained: dict[str, object] = {"access": self.access}
        if self.by is not None:
            explained["attribute"] = self.by.attribute
        explained["filters"] = [
            condition.attribute for condition, _ in self.filters if condition is not self.by
        ]
        return explained


def plan(table: StoredTable, query: Query, building: frozenset[int] = frozenset()) -> Plan:
    """Decide how a query is executed.

    Args:
        table: Where.
        query: What.
        building: Slots of indexes that are not complete and must not be used.

    Raises:
        UnknownAttribute: The table cannot have an attribute that the query names.
        InvalidQuery: An attribute cannot have the value that is looked for.
    """
    for item in query.select.items if query.select else ():
        if item.select is not None:
            raise InvalidQuery("selecting attributes of related records is not supported yet")
        if item.name not in _SPECIAL:
            _check_attribute(table, item.name)
    filters = []
    chosen: Plan | None = None
    for condition in _equalities(query):
        _check_attribute(table, condition.attribute)
        if condition.attribute == table.schema.primary_key:
            access, test = _by_key(table, condition)
            chosen = access if chosen is None or chosen.access == "index" else chosen
        else:
            wanted = condition_value(table.schema, condition.attribute, condition.value)
            test = _filter(table, condition.attribute, wanted)
            chosen = chosen or _by_index(table, condition, wanted, building)
        filters.append((condition, test))
    found = chosen or Plan("scan")
    return Plan(found.access, tuple(filters), found.key, found.index, found.encoded, found.by)


def _equalities(query: Query) -> tuple[Condition, ...]:
    """What the execution knows: equalities that must all hold, in the order of the keys."""
    where = query.where
    conditions = conditions_in(where)
    if not (where is None or isinstance(where, Condition)) and (
        where.operator != "and" or len(conditions) != len(where.members)
    ):
        raise InvalidQuery("groups of conditions are not supported yet")
    for condition in conditions:
        if condition.comparator != "equals":
            raise InvalidQuery(f"{condition.comparator} is not supported yet; use equals")
        if len(condition.path) > 1:
            raise InvalidQuery("conditions on related attributes are not supported yet")
    if query.sort:
        raise InvalidQuery("sort is not supported yet")
    return conditions


def _check_attribute(table: StoredTable, name: str) -> None:
    schema = table.schema
    if not schema.sealed or schema.has_attribute(name) or name in (CONTENT_TYPE, DATA):
        return
    hint = did_you_mean(name, (attribute.name for attribute in schema.attributes))
    raise UnknownAttribute(f"{name[:60]} is not a defined attribute{hint}")


def _by_key(table: StoredTable, condition: Condition) -> tuple[Plan, Filter]:
    value = condition_value(table.schema, condition.attribute, _as_text(table, condition.value))
    try:
        encoded = table.encode_key(value)
    except InvalidKey:
        # A value that no key can have is no mistake in a query: nothing equals it.
        return Plan("nothing", by=condition), _never
    return Plan("key", key=encoded, by=condition), _always


def _as_text(table: StoredTable, value: object) -> object:
    """Undeclared keys in a URL are text or canonical integers, as they are in paths."""
    if isinstance(value, UrlValue) and not value.prefix and table.schema.key_type == "Any":
        return value.text
    return value


def _by_index(
    table: StoredTable, condition: Condition, wanted: object, building: frozenset[int]
) -> Plan | None:
    if isinstance(wanted, (list, tuple, dict)):
        return None  # lists are indexed by element, objects not at all
    for index in table.layout.indexes:
        if index.path == (condition.attribute,) and index.slot not in building:
            return Plan("index", index=index, encoded=_encode(condition, wanted), by=condition)
    return None


def _encode(condition: Condition, wanted: object) -> bytes:
    try:
        return encode_index_value(wanted)
    except InvalidKey as error:
        raise InvalidQuery(f"invalid value for {condition.attribute[:60]}: {error}") from error


def _filter(table: StoredTable, name: str, wanted: object) -> Filter:
    source = _source(table, name)
    if source is IndexSource.BODY:
        names = (name,)

        def test_body(stored: bytes) -> bool:
            # The key is not asked for, so any will do.
            return matches(table.decode_only("", stored, names).get(name, ABSENT), wanted)

        return test_body

    def test_time(stored: bytes) -> bool:
        header = decode_header(stored)
        version = header.created if source is IndexSource.CREATED else header.version
        return version >> MS_SHIFT == wanted

    return test_time


def _source(table: StoredTable, name: str) -> IndexSource:
    attribute = table.schema.attribute(name)
    if attribute is None or attribute.role == "plain":
        return IndexSource.BODY
    return IndexSource.CREATED if attribute.role == "created" else IndexSource.UPDATED


def _always(stored: bytes) -> bool:
    return True


def _never(stored: bytes) -> bool:
    return False
