"""What is returned of a record: all that may be read, or what is selected, to any depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lyredb.storage.keys import ABSENT, KeyValue
from lyredb.storage.record import decode_header
from lyredb.tables.query.fields import Touched, Value
from lyredb.tables.query.paths import Names, Step, check_known
from lyredb.tables.query.predicate import Joins, RowTest, compile_test
from lyredb.tables.query.related import Join
from lyredb.tables.query.terms import EVERYTHING, ID_NAME, UPDATED_NAME, Select, Selected
from lyredb.tables.query.tree import Every, Exists, Node, members_of
from lyredb.tables.query.view import Row
from lyredb.tables.stored import MS_SHIFT, StoredTable

Shape = Callable[[bytes, bytes], object]
"""Takes stored key and stored record."""
_Part = Callable[[bytes, bytes], object]


def shape_of(
    select: Select | None,
    table: StoredTable,
    names: Names,
    joins: Joins,
    where: Node | None = None,
    depth: int = 0,
) -> Shape:
    """Return what makes a result of a record.

    Args:
        select: ``None`` for the whole record.
        table: Whose records.
        names: What may be read.
        joins: Follows relations.
        where: Conditions of the query: a selected relation holds only what they match.
        depth: How many relations lead here.

    Raises:
        InvalidQuery, UnknownAttribute, NotAuthorised, QueryTooCostly: It cannot.
    """
    if select is None:
        return _whole(table, names)
    items = [
        item for item in select.items if item.name == EVERYTHING or names.may_read(table, item.name)
    ]
    parts = [_Item(item, table, names, joins, where, depth) for item in items]
    if select.form == "values":
        return _value(parts)
    if select.form == "arrays":
        by_name = {item.name: part for item, part in zip(items, parts, strict=True)}
        return _array([by_name.get(item.name) for item in select.items])
    plain = [item.name for item in items if item.select is None]
    if len(plain) == len(items) and all(part.is_plain for part in parts):
        return _plain(table, tuple(plain))
    return _object(parts)


def _whole(table: StoredTable, names: Names) -> Shape:
    mask = names.mask(table)
    if mask is None:
        return lambda key, stored: table.decode(_id(table, key, stored), stored)
    allowed = mask | {table.schema.primary_key}

    def shape(key: bytes, stored: bytes) -> object:
        record = table.decode(_id(table, key, stored), stored)
        return {name: value for name, value in record.items() if name in allowed}

    return shape


def _plain(table: StoredTable, wanted: tuple[str, ...]) -> Shape:
    key_name = table.schema.primary_key
    if key_name not in wanted and not _may_compute(table):
        return lambda key, stored: table.decode_only("", stored, wanted)
    return lambda key, stored: table.decode_only(_id(table, key, stored), stored, wanted)


def _may_compute(table: StoredTable) -> bool:
    return any(one.computed is not None for one in table.schema.attributes)


def _id(table: StoredTable, key: bytes, stored: bytes) -> KeyValue:
    return table.decode_key(key, decode_header(stored))


def _value(parts: list[_Item]) -> Shape:
    if not parts:
        return lambda key, stored: None
    part = parts[0].read

    def shape(key: bytes, stored: bytes) -> object:
        found = part(key, stored)
        return None if found is ABSENT else found

    return shape


def _array(parts: list[_Item | None]) -> Shape:
    reads = [None if part is None else part.read for part in parts]

    def shape(key: bytes, stored: bytes) -> object:
        found = [ABSENT if read is None else read(key, stored) for read in reads]
        return [None if one is ABSENT else one for one in found]

    return shape


def _object(parts: list[_Item]) -> Shape:
    reads = [(part.name, part.read) for part in parts]

    def shape(key: bytes, stored: bytes) -> object:
        record: dict[str, object] = {}
        for name, read in reads:
            found = read(key, stored)
            if name == EVERYTHING:
                assert isinstance(found, dict), "a whole record"
                record.update(found)
            elif found is not ABSENT:
                record[name] = found
        return record

    return shape


class _Item:
    """How one selected name is read.

    Attributes:
        name: As selected.
        read: From stored key and record; `ABSENT` when there is nothing.
        is_plain: It is an attribute as it is stored.
    """

    __slots__ = ("is_plain", "name", "read")

    def __init__(
        self,
        item: Selected,
        table: StoredTable,
        names: Names,
        joins: Joins,
        where: Node | None,
        depth: int,
    ) -> None:
        self.name = item.name
        self.is_plain = False
        self.read: _Part
        step = names.step(table, item.name, depth)
        if step is not None:
            self.read = _related(step, item.select, names, joins, where, depth + 1)
        elif item.name == EVERYTHING:
            self.read = _whole(table, names)
        elif item.name == ID_NAME:
            self.read = lambda key, stored: _plain_id(_id(table, key, stored))
        elif item.name == UPDATED_NAME:
            self.read = lambda key, stored: decode_header(stored).version >> MS_SHIFT
        else:
            check_known(table, item.name)
            self.is_plain = item.select is None
            self.read = _attribute(table, item)


def _plain_id(key: object) -> object:
    return list(key) if isinstance(key, tuple) else key


def _attribute(table: StoredTable, item: Selected) -> _Part:
    wanted = (item.name,)
    name, select = item.name, item.select

    def read(key: bytes, stored: bytes) -> object:
        found = table.decode_only(_id(table, key, stored), stored, wanted).get(name, ABSENT)
        return found if select is None else inside(found, select)

    return read


def inside(value: object, select: Select) -> object:
    """Return what a nested select takes of an object, or of each in a list of them."""
    if isinstance(value, list):
        return [inside(element, select) for element in value]
    if not isinstance(value, Mapping):
        return value
    found: dict[str, object] = {}
    for item in select.items:
        if item.name == EVERYTHING:
            found.update(value)
        elif item.name in value:
            inner = value[item.name]
            found[item.name] = inner if item.select is None else inside(inner, item.select)
    match select.form:
        case "values":
            return next(iter(found.values()), None)
        case "arrays":
            return [found.get(item.name) for item in select.items]
        case _:
            return found


def _related(
    step: Step,
    select: Select | None,
    names: Names,
    joins: Joins,
    where: Node | None,
    depth: int,
) -> _Part:
    join = joins.of(step)
    touched = Touched(step.table)
    here: Value = join.here(touched)
    read = touched.reader()
    inner = condition_on(step, where)
    shape = shape_of(select, step.target, names, joins, inner, depth)
    test = None if inner is None else compile_test(inner, step.target, joins)
    related = _Related(join, shape, test, many=step.relation.many)
    return lambda key, stored: related.of(here(read(stored), key, stored))


def condition_on(step: Step, where: Node | None) -> Node | None:
    """Return what a query demands of the related records of a relation."""
    found = [
        node.inner
        for node in members_of(where)
        if isinstance(node, Exists) and node.step.name == step.name
    ]
    if not found:
        return None
    return found[0] if len(found) == 1 else Every(tuple(found))


@dataclass(frozen=True, slots=True)
class _Related:
    join: Join
    shape: Shape
    test: RowTest | None
    many: bool

    def of(self, value: object) -> object:
        rows: list[Row] = self.join.rows(value)
        if self.test is not None:
            test = self.test
            rows = [row for row in rows if test(*row)]
        if self.many:
            return [self.shape(*row) for row in rows]
        return self.shape(*rows[0]) if rows else ABSENT
