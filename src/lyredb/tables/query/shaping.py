"""What is returned of a record: all that may be read, or what is selected, to any depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lyredb.storage.keys import ABSENT
from lyredb.storage.record import decode_header
from lyredb.tables.query.fields import Document, Touched, Value
from lyredb.tables.query.paths import Names, Step, check_known
from lyredb.tables.query.predicate import Joins, RowTest, compile_test
from lyredb.tables.query.related import Join
from lyredb.tables.query.terms import EVERYTHING, ID_NAME, UPDATED_NAME, Select, Selected
from lyredb.tables.query.tree import Every, Exists, Node, members_of
from lyredb.tables.query.view import Row, Shape
from lyredb.tables.stored import MS_SHIFT, StoredTable

_Part = Callable[[Document, bytes, bytes], object]
"""A value of a record; `ABSENT` when there is none."""
_Met = tuple[Document, bytes, bytes]
"""What is decoded of a record, its stored key, its stored form."""


def shape_of(
    select: Select | None,
    table: StoredTable,
    names: Names,
    joins: Joins,
    where: Node | None = None,
    depth: int = 0,
) -> Shape:
    """Return what makes results of records.

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
    touched = Touched(table)
    parts = [_Item(item, touched, table, names, joins, where, depth) for item in items]
    if select.form == "values":
        make = _value(parts)
    elif select.form == "arrays":
        by_name = {item.name: part for item, part in zip(items, parts, strict=True)}
        make = _array([by_name.get(item.name) for item in select.items])
    else:
        make = _object(parts)
    return _of_each(make, parts, touched.reader())


def _whole(table: StoredTable, names: Names) -> Shape:
    mask = names.mask(table)
    if mask is None:
        return lambda rows: list(table.decode_rows(rows))
    allowed = mask | {table.schema.primary_key}

    def shape(rows: list[Row]) -> list[object]:
        return [
            {name: value for name, value in record.items() if name in allowed}
            for record in table.decode_rows(rows)
        ]

    return shape


def _of_each(make: _Part, parts: list[_Item], read: Callable[[bytes], Document]) -> Shape:
    related = [part.related for part in parts if part.related is not None]

    def shape(rows: list[Row]) -> list[object]:
        met = [(read(row[1]), *row) for row in rows]
        for one in related:
            one.fetch(met)
        return [make(*one) for one in met]

    return shape


def _value(parts: list[_Item]) -> _Part:
    if not parts:
        return lambda doc, key, stored: None
    part = parts[0].read

    def make(doc: Document, key: bytes, stored: bytes) -> object:
        found = part(doc, key, stored)
        return None if found is ABSENT else found

    return make


def _array(parts: list[_Item | None]) -> _Part:
    reads = [None if part is None else part.read for part in parts]

    def make(doc: Document, key: bytes, stored: bytes) -> object:
        found = [ABSENT if read is None else read(doc, key, stored) for read in reads]
        return [None if one is ABSENT else one for one in found]

    return make


def _object(parts: list[_Item]) -> _Part:
    reads = [(part.name, part.read) for part in parts]

    def make(doc: Document, key: bytes, stored: bytes) -> object:
        record: dict[str, object] = {}
        for name, read in reads:
            found = read(doc, key, stored)
            if name == EVERYTHING:
                assert isinstance(found, dict), "a whole record"
                record.update(found)
            elif found is not ABSENT:
                record[name] = found
        return record

    return make


class _Item:
    """How one selected name is read.

    Attributes:
        name: As selected.
        read: Its value in a record.
        related: What reads related records, when it is a relation.
    """

    __slots__ = ("name", "read", "related")

    def __init__(
        self,
        item: Selected,
        touched: Touched,
        table: StoredTable,
        names: Names,
        joins: Joins,
        where: Node | None,
        depth: int,
    ) -> None:
        self.name = item.name
        self.read: _Part
        self.related: _Related | None = None
        step = names.step(table, item.name, depth)
        if step is not None:
            self.related = _related(step, touched, item.select, names, joins, where, depth + 1)
            self.read = self.related.of
        elif item.name == EVERYTHING:
            whole = _whole(table, names)
            self.read = lambda doc, key, stored: whole([(key, stored)])[0]
        elif item.name == ID_NAME:
            self.read = _key_part(table)
        elif item.name == UPDATED_NAME:
            self.read = lambda doc, key, stored: decode_header(stored).version >> MS_SHIFT
        else:
            check_known(table, item.name)
            self.read = _attribute(table, item, touched)


def _key_part(table: StoredTable) -> _Part:
    return lambda doc, key, stored: table.keys_of(((key, stored),))[0]


def _attribute(table: StoredTable, item: Selected, touched: Touched) -> _Part:
    read = _attribute_value(table, item.name, touched)
    select = item.select
    if select is None:
        return read
    return lambda doc, key, stored: inside(read(doc, key, stored), select)


def _attribute_value(table: StoredTable, name: str, touched: Touched) -> _Part:
    if name == table.schema.primary_key:
        return _key_part(table)
    if table.stands_in_body(name):
        get = touched.field(name)
        return lambda doc, key, stored: get(doc)
    wanted = (name,)
    return lambda doc, key, stored: table.decode_only(
        table.key_of(key, stored), stored, wanted
    ).get(name, ABSENT)


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
    touched: Touched,
    select: Select | None,
    names: Names,
    joins: Joins,
    where: Node | None,
    depth: int,
) -> _Related:
    join = joins.of(step)
    inner = condition_on(step, where)
    shape = shape_of(select, step.target, names, joins, inner, depth)
    test = None if inner is None else compile_test(inner, step.target, joins)
    return _Related(join, join.here(touched), shape, test, many=step.relation.many)


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


@dataclass(slots=True, eq=False)
class _Related:
    join: Join
    here: Value
    shape: Shape
    test: RowTest | None
    many: bool

    def fetch(self, met: list[_Met]) -> None:
        """Read what many records relate to at once, before they are shaped."""
        here = self.here
        self.join.fetch([here(*one) for one in met])

    def of(self, doc: Document, key: bytes, stored: bytes) -> object:
        """The related records of a record, as they are selected."""
        rows = self.join.rows(self.here(doc, key, stored))
        # The record is here because one of them matches: a single one need not be asked again.
        if self.test is not None and len(rows) > 1:
            test = self.test
            rows = [row for row in rows if test(*row)]
        if self.many:
            return self.shape(rows)
        return self.shape(rows[:1])[0] if rows else ABSENT
