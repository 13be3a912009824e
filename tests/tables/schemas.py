"""Random schemas, as values; `sdl_of` writes one as SDL text."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count

from hypothesis import strategies as st

from lyredb.tables.checks import SPLIT_KEY_TYPES, relation_problem
from lyredb.tables.schema import (
    KEY_TYPES,
    SCALARS,
    TIME_TYPES,
    Attribute,
    Computed,
    Export,
    NestedType,
    Relation,
    Schema,
    TableSchema,
    TypeRef,
)

AWKWARD = (
    "type",
    "match",
    "list",
    "float",
    "Any",
    "Col",
    "class",
    "None",
    "get",
    "put",
    "extra",
    "search",
    "_hidden",
    "__dunder",
    "self",
    "cls",
)
"""Names that a record may have and a Python class may not, or not as they are."""

_names = st.sampled_from(("a", "value", "site", "lastSeen", "A1", *AWKWARD, *keyword.kwlist[:4]))
_roles = st.sampled_from(((), (), ("reader",), ("reader", "it's me")))
_descriptions = st.sampled_from(("", "", "in °C", 'says "hello" \\ and\n\nmore', "it's", "{x} %s"))


def _types(nested: tuple[str, ...]) -> st.SearchStrategy[TypeRef]:
    leaf = st.builds(TypeRef, st.sampled_from((*SCALARS, *nested)), st.none(), st.booleans())
    return st.recursive(
        leaf,
        lambda inner: st.builds(TypeRef, st.just(""), inner, st.booleans()),
        max_leaves=2,
    )


@st.composite
def _computed(draw: st.DrawFn) -> Attribute:
    expression = draw(st.sampled_from(("", "2 * 3 + 1", 'f"{1 + 1}°"', "[1,\n 'a\\\\b']")))
    return Attribute(
        draw(st.sampled_from(("computed_", "twice", "Rel"))),
        draw(st.sampled_from((TypeRef("Float"), TypeRef("", TypeRef("Any"))))),
        indexed=bool(expression) and draw(st.booleans()),
        computed=Computed.of(expression, draw(st.sampled_from(("", "2", "1.5", "true", "a b")))),
        enumerable=draw(st.booleans()),
        roles=draw(_roles),
    )


@st.composite
def _related(draw: st.DrawFn, tables: list[TableSchema]) -> tuple[str, Attribute]:
    """A relationship that makes sense, and the table that it belongs to."""
    table, target = draw(st.sampled_from(tables)), draw(st.sampled_from(tables))
    here = draw(st.sampled_from(("", *_joinable(table))))
    there = draw(st.sampled_from(("", *_joinable(target)) if here else (*_joinable(target), "")))
    type = table.attribute(here)
    is_list = type is not None and type.type.element is not None
    many = bool(there) or is_list or (type is not None and draw(st.booleans()))
    relation = Relation(target.full_name, here, there, many)
    attribute = Attribute(
        draw(st.sampled_from(("relation", "relationship", "other"))),
        relation.type,
        relation=relation,
        enumerable=draw(st.booleans()),
        description=draw(_descriptions),
        roles=draw(_roles),
    )
    return table.full_name, attribute


def _joinable(table: TableSchema) -> list[str]:
    scalars = (one for one in table.attributes if one.type.innermost in SCALARS)
    return [one.name for one in scalars if not one.is_virtual]


@st.composite
def _attributes(
    draw: st.DrawFn, nested: tuple[str, ...], *, of_table: bool
) -> tuple[Attribute, ...]:
    names = draw(st.lists(_names, unique=True, min_size=1, max_size=6))
    attributes = [
        Attribute(
            name,
            draw(_types(nested)),
            indexed=of_table and draw(st.booleans()),
            description=draw(_descriptions),
            roles=draw(_roles) if of_table else (),
            hidden=draw(st.booleans()),
        )
        for name in names
    ]
    if of_table:
        taken = set(names)
        attributes += draw(st.lists(_computed(), max_size=2, unique_by=lambda one: one.name))
        taken.update(one.name for one in attributes)
        roles = (
            ("primary key", KEY_TYPES),
            ("created", TIME_TYPES),
            ("updated", TIME_TYPES),
            ("expires", TIME_TYPES),
        )
        for role, allowed in roles:
            if draw(st.booleans()):
                name = draw(_names.filter(lambda one: one not in taken) | st.just(role[:3]))
                taken.add(name)
                type = TypeRef(draw(st.sampled_from(allowed)))
                indexed = draw(st.booleans())
                attributes.append(Attribute(name, type, role, indexed))  # type: ignore[arg-type]  # literals
    return tuple(draw(st.permutations(attributes)))


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """Schemas with one to three tables and up to two nested types, which may be recursive."""
    nested_names = draw(st.sampled_from(((), ("Place",), ("Place", "Part"))))
    types = [
        NestedType(
            name,
            draw(_attributes(nested_names, of_table=False)),
            sealed=draw(st.booleans()),
            description=draw(_descriptions),
        )
        for name in nested_names
    ]
    numbers = count()
    tables = []
    for name in draw(st.sampled_from((("Sensor",), ("Sensor", "Station", "data-log")))):
        path = f"{draw(st.sampled_from(('', 'plant/')))}{name}{next(numbers)}"
        switches = [draw(st.booleans()) for _ in range(4)]
        tables.append(
            TableSchema.of(
                name,
                draw(_attributes(nested_names, of_table=True)),
                types=types,
                database=draw(st.sampled_from(("data", "plant-2"))),
                sealed=draw(st.booleans()),
                export=draw(st.sampled_from((None, Export(path), Export(path, *switches)))),
                expiration_s=(expiration := draw(st.sampled_from((0, 3600)))),
                description=draw(_descriptions),
                eviction_s=draw(st.sampled_from((0, 60))) if expiration else 0,
                scan_interval_s=draw(st.sampled_from((0, 900))) if expiration else 0,
                hidden=draw(st.booleans()),
            )
        )
    tables = [_split(draw(st.booleans()), table) for table in tables]
    return Schema.of(_with_relations(draw(st.lists(_related(tables), max_size=2)), tables, types))


def _split(wanted: bool, table: TableSchema) -> TableSchema:
    return replace(table, split_segments=wanted and table.key_type in SPLIT_KEY_TYPES)


def _with_relations(
    related: list[tuple[str, Attribute]], tables: list[TableSchema], types: list[NestedType]
) -> Iterator[TableSchema]:
    """The tables with those relationships that the checks let pass."""
    by_name = {table.full_name: table for table in tables}
    for table in tables:
        for name, attribute in related:
            assert attribute.relation is not None
            target = by_name[attribute.relation.target]
            is_free = name == table.full_name and not table.has_attribute(attribute.name)
            if is_free and not relation_problem(attribute, table, target):
                attributes = [*table.attributes, attribute]
                again = TableSchema.of(table.name, attributes, types=types)
                table = replace(table, attributes=again.attributes)
        yield table


def sdl_of(schema: Schema) -> str:
    """Write a schema as SDL text."""
    nested = {one.name: one for table in schema.tables for one in table.nested}
    types = {table.full_name: f"Table{number}" for number, table in enumerate(schema.tables)}
    parts = [_nested_sdl(one) for one in nested.values()]
    parts += [_table_sdl(table, types) for table in schema.tables]
    return "\n\n".join(parts)


def _table_sdl(table: TableSchema, types: Mapping[str, str]) -> str:
    arguments = [f'table: "{table.name}"', f'database: "{table.database}"']
    times = {
        "expiration": table.expiration_s,
        "eviction": table.eviction_s,
        "scanInterval": table.scan_interval_s,
    }
    arguments += [f"{name}: {seconds}" for name, seconds in times.items() if seconds]
    directives = [f"@table({', '.join(arguments)})"]
    if table.export:
        export = table.export
        switches = [
            f"{name}: {str(getattr(export, name)).lower()}"
            for name in ("rest", "mqtt", "ws", "sse")
            if not getattr(export, name)
        ]
        directives.append(f"@export({', '.join((f'name: {quoted(export.path)}', *switches))})")
    if table.sealed:
        directives.append("@sealed")
    directives += ["@splitSegments"] * table.split_segments + ["@hidden"] * table.hidden
    head = f"{types[table.full_name]} {' '.join(directives)}"
    return _type_sdl(head, table.attributes, table.description, types)


def _nested_sdl(nested: NestedType) -> str:
    sealed = " @sealed" if nested.sealed else ""
    return _type_sdl(f"{nested.name}{sealed}", nested.attributes, nested.description, {})


def _type_sdl(
    head: str, attributes: tuple[Attribute, ...], description: str, types: Mapping[str, str]
) -> str:
    lines = [
        f"{_description_sdl(one.description)}  {one.name}: {_attribute_type(one, types)}"
        f"{''.join(f' {directive}' for directive in _directives(one))}"
        for one in attributes
    ]
    return f"{_description_sdl(description)}type {head} {{\n" + "\n".join(lines) + "\n}"


def _attribute_type(attribute: Attribute, types: Mapping[str, str]) -> str:
    if attribute.relation is None:
        return str(attribute.type)
    name = types[attribute.relation.target]
    return f"[{name}!]" if attribute.relation.many else name


def _directives(attribute: Attribute) -> Iterator[str]:
    roles = {
        "primary key": "@primaryKey",
        "created": "@createdTime",
        "updated": "@updatedTime",
        "expires": "@expiresAt",
    }
    if attribute.role in roles:
        yield roles[attribute.role]
    if attribute.relation:
        sides = (("from", attribute.relation.here), ("to", attribute.relation.there))
        given = (f"{side}: {quoted(name)}" for side, name in sides if name)
        yield f"@relationship({', '.join(given)})"
    if attribute.computed:
        values = (("from", attribute.computed.expression), ("version", attribute.computed.version))
        given = (f"{name}: {quoted(value)}" for name, value in values if value)
        yield f"@computed({', '.join(given)})".replace("()", "")
    for name in ("indexed", "enumerable", "hidden"):
        if getattr(attribute, name):
            yield f"@{name}"
    for role in attribute.roles:
        yield f"@allow(role: {quoted(role)})"


def _description_sdl(description: str) -> str:
    return f"{quoted(description)}\n" if description else ""


def quoted(text: str) -> str:
    """A GraphQL string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
