"""Random schemas, as values; `sdl_of` writes one as SDL text."""

from __future__ import annotations

import keyword
from itertools import count

from hypothesis import strategies as st

from lyredb.tables.schema import (
    KEY_TYPES,
    SCALARS,
    TIME_TYPES,
    Attribute,
    Export,
    NestedType,
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
_descriptions = st.sampled_from(("", "", "in °C", 'says "hello" \\ and\n\nmore', "it's", "{x} %s"))


def _types(nested: tuple[str, ...]) -> st.SearchStrategy[TypeRef]:
    leaf = st.builds(TypeRef, st.sampled_from((*SCALARS, *nested)), st.none(), st.booleans())
    return st.recursive(
        leaf,
        lambda inner: st.builds(TypeRef, st.just(""), inner, st.booleans()),
        max_leaves=2,
    )


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
        )
        for name in names
    ]
    if of_table:
        taken = set(names)
        roles = (("primary key", KEY_TYPES), ("created", TIME_TYPES), ("updated", TIME_TYPES))
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
                expiration_s=draw(st.sampled_from((0, 3600))),
                description=draw(_descriptions),
            )
        )
    return Schema.of(tables)


def sdl_of(schema: Schema) -> str:
    """Write a schema as SDL text."""
    nested = {one.name: one for table in schema.tables for one in table.nested}
    parts = [_nested_sdl(one) for one in nested.values()]
    parts += [_table_sdl(number, table) for number, table in enumerate(schema.tables)]
    return "\n\n".join(parts)


def _table_sdl(number: int, table: TableSchema) -> str:
    arguments = [f'table: "{table.name}"', f'database: "{table.database}"']
    if table.expiration_s:
        arguments.append(f"expiration: {table.expiration_s}")
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
    return _type_sdl(f"Table{number} {' '.join(directives)}", table.attributes, table.description)


def _nested_sdl(nested: NestedType) -> str:
    sealed = " @sealed" if nested.sealed else ""
    return _type_sdl(f"{nested.name}{sealed}", nested.attributes, nested.description)


def _type_sdl(head: str, attributes: tuple[Attribute, ...], description: str) -> str:
    roles = {"primary key": " @primaryKey", "created": " @createdTime", "updated": " @updatedTime"}
    lines = [
        f"{_description_sdl(one.description)}  {one.name}: {one.type}"
        f"{roles.get(one.role, '')}{' @indexed' if one.indexed else ''}"
        for one in attributes
    ]
    return f"{_description_sdl(description)}type {head} {{\n" + "\n".join(lines) + "\n}"


def _description_sdl(description: str) -> str:
    return f"{quoted(description)}\n" if description else ""


def quoted(text: str) -> str:
    """A GraphQL string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
