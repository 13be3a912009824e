"""From typed classes to schema values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from inspect import cleandoc
from typing import Any

from lyredb.errors import SchemaError
from lyredb.tables import checks
from lyredb.tables.declare.columns import Column
from lyredb.tables.declare.nested import Nested
from lyredb.tables.declare.places import place_of, schema_error
from lyredb.tables.declare.table import Table
from lyredb.tables.declare.types import read_type
from lyredb.tables.schema import (
    DEFAULT_KEY,
    SCALARS,
    Attribute,
    NestedType,
    Relation,
    Schema,
    TableSchema,
)


def schema_of(classes: Sequence[type[Table]]) -> Schema:
    """Return the schema that classes declare; the same as the SDL of the same tables.

    Raises:
        SchemaError: With file and line of what is wrong.
    """
    nested: dict[str, type[Nested]] = {}
    for cls in classes:
        _require_table(cls)
        _collect(cls, nested)
    types = [_nested_type(one, nested) for one in nested.values()]
    tables: dict[str, TableSchema] = {}
    for cls in classes:
        table = _table(cls, types, nested)
        if table.full_name in tables:
            raise schema_error(f"table {table.full_name} is declared twice", cls)
        tables[table.full_name] = table
    for cls in classes:
        _check_virtual(cls, tables[cls._lyre_options.full_name], tables)
    by_name = {cls._lyre_options.full_name: cls for cls in classes}

    def where(table: str, attribute: str) -> str:
        cls = by_name.get(table)
        return "" if cls is None else place_of(cls, _python_name(cls, attribute))

    return Schema.of(tables.values(), where=where)


def _python_name(cls: type[Table], attribute: str) -> str:
    return next((one.python_name for one in cls._columns() if one.attribute == attribute), "")


def _require_table(cls: object) -> None:
    if not isinstance(cls, type) or not issubclass(cls, Table) or cls is Table:
        raise SchemaError(f"{cls!r} is no class derived from Table")


def _collect(cls: type[Table] | type[Nested], found: dict[str, type[Nested]]) -> None:
    """Find the nested types that a class uses, directly or not."""
    for column in cls._columns():
        nested = read_type(column).innermost
        if nested is None:
            continue
        assert issubclass(nested, Nested), "nothing else has its mark"
        name = nested._lyre_nested
        if name not in found:
            found[name] = nested
            _collect(nested, found)
        elif found[name] is not nested:
            raise schema_error(f"there are two nested types {name}", cls, column.python_name)


def _table(cls: type[Table], types: Sequence[NestedType], nested: Collection[str]) -> TableSchema:
    options = cls._lyre_options
    table = TableSchema.of(
        options.name,
        _attributes(cls, nested, of_table=True),
        types=types,
        database=options.database,
        sealed=options.sealed,
        export=options.export,
        expiration_s=options.expires_s,
        description=_description(cls),
        eviction_s=options.eviction_s,
        scan_interval_s=options.scan_interval_s,
        split_segments=options.split_segments,
        hidden=options.hidden,
    )
    problem = checks.table_problem(table)
    if problem:
        raise schema_error(problem, cls)
    return table


def _check_virtual(cls: type[Table], table: TableSchema, tables: Mapping[str, TableSchema]) -> None:
    """Check what relationships and expressions name, now that everything is known."""
    for attribute in table.attributes:
        problem = ""
        if attribute.relation and attribute.relation.target not in tables:
            problem = f"{attribute.relation.target} is no table of this schema"
        elif attribute.relation:
            problem = checks.relation_problem(attribute, table, tables[attribute.relation.target])
        elif attribute.computed:
            problem = checks.computed_problem(attribute, table)
        if problem:
            raise schema_error(problem, cls, _python_name(cls, attribute.name))


def _nested_type(cls: type[Nested], nested: Collection[str]) -> NestedType:
    if cls._lyre_nested in SCALARS:
        raise schema_error(f"{cls._lyre_nested} is a type of its own; choose another name", cls)
    return NestedType(
        cls._lyre_nested,
        _attributes(cls, nested, of_table=False),
        sealed=cls._lyre_sealed,
        description=_description(cls),
    )


def _attributes(
    cls: type[Table] | type[Nested], nested: Collection[str], *, of_table: bool
) -> tuple[Attribute, ...]:
    attributes: list[Attribute] = []
    for column in cls._columns():
        attribute = _attribute(column)
        attributes.append(attribute)
        problem = (
            (not attribute.relation and checks.type_problem(attribute.type, nested))
            or checks.attribute_problem(attribute, of_table=of_table)
            or checks.attributes_problem(attributes)
        )
        if problem:
            raise schema_error(problem, cls, column.python_name)
    problem = checks.key_problem(attributes) if of_table else ""
    if problem:
        raise schema_error(problem, cls, DEFAULT_KEY)
    return tuple(attributes)


def _attribute(column: Column[Any]) -> Attribute:
    read = read_type(column)
    type = read.ref.optional if column.is_virtual else read.ref
    relation = None
    if column.joined is not None:
        table = read.related
        assert table is not None, "a column that is a relationship has a table as its type"
        here, there = column.joined
        many = read.element is not None
        relation = Relation(table._lyre_options.full_name, here, there, many)
        type = relation.type
    return Attribute(
        column.attribute,
        type,
        role=column.role,
        indexed=column.indexed,
        description=cleandoc(column.description).strip(),
        relation=relation,
        computed=column.computed,
        enumerable=column.enumerable,
        roles=column.roles,
        hidden=column.hidden,
    )


def _description(cls: type) -> str:
    return cleandoc(cls.__dict__.get("__doc__") or "").strip()
