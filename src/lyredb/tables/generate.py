"""Typed classes written from a schema, for ``lyredb types``.

What is written declares exactly the schema again. The text depends on the schema alone,
so that it can be compared with a file.
"""

from __future__ import annotations

import io
import json
import keyword
import tokenize
from collections.abc import Iterable, Iterator
from typing import Final

from lyredb.tables.declare.nested import Nested
from lyredb.tables.declare.table import Table
from lyredb.tables.schema import (
    DEFAULT_DATABASE,
    Attribute,
    Export,
    NestedType,
    Schema,
    TableSchema,
    TypeRef,
)

_SCALARS: Final = {
    "ID": "ID",
    "String": "str",
    "Int": "Int32",
    "Long": "int",
    "Float": "float",
    "BigInt": "BigInt",
    "Boolean": "bool",
    "Date": "datetime",
    "Bytes": "bytes",
    "Blob": "Blob",
    "Any": "Any",
}
_KEYS: Final = _SCALARS | {"ID": "str", "String": "String"}
_TIMES: Final = {"Date": "", "Float": "float", "Long": "int"}
_LYREDB: Final = (
    "ID", "BigInt", "Blob", "Col", "CreatedTime", "ExpiresAt", "Export", "Indexed", "Int32",
    "Key", "Nested", "Rel", "String", "Table", "UpdatedTime", "computed", "field", "relationship",
)  # fmt: skip
_PUBLIC_HOME: Final = "lyredb"
_TAKEN: Final = frozenset(
    (
        *_LYREDB, *_SCALARS.values(), "list", "self", "cls", "annotations",
        *dir(Table), *dir(Nested), *keyword.kwlist,
    )
)  # fmt: skip
"""Names that mean something where columns and classes are written."""


def classes_source(schema: Schema) -> str:
    """Return the source of a module with a class per table and nested type.

    Raises:
        ValueError: Two tables use different nested types of one name.
    """
    names = _Names(schema)
    blocks = [_nested(one, names) for one in names.in_order()]
    blocks += [_table(one, names) for one in schema.tables]
    body = "\n\n\n".join(blocks)
    head = ['"""Tables as typed classes."""', "", "from __future__ import annotations", ""]
    head += _imports(body)
    return "\n".join(head) + (f"\n\n\n{body}\n" if blocks else "\n")


def _imports(body: str) -> Iterator[str]:
    """Import what the body uses, in the order that formatters want."""
    words = set(_words(body))
    standard = [
        f"from {module} import {name}"
        for module, name in (("datetime", "datetime"), ("typing", "Any"))
        if name in words
    ]
    yield from standard
    if standard:
        yield ""
    used = [name for name in _LYREDB if name in words]
    if used:
        yield f"from {_PUBLIC_HOME} import ("
        yield from (f"    {name}," for name in used)
        yield ")"


def _words(source: str) -> Iterable[str]:
    """The names in generated code, not those in its string literals."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.string


class _Names:
    """The Python names of classes."""

    def __init__(self, schema: Schema) -> None:
        self._types: dict[str, NestedType] = {}
        for table in schema.tables:
            for nested in table.nested:
                if self._types.setdefault(nested.name, nested) != nested:
                    raise ValueError(f"two nested types are called {nested.name}")
        taken: set[str] = set(_TAKEN)
        self.nested = {name: _free(name, taken) for name in sorted(self._types)}
        self.tables = {one.full_name: _free(_camel(one.name), taken) for one in schema.tables}

    @property
    def classes(self) -> set[str]:
        """All of them."""
        return {*self.nested.values(), *self.tables.values()}

    def in_order(self) -> list[NestedType]:
        """Nested types by name; annotations may name what comes later."""
        return [self._types[name] for name in sorted(self._types)]


def _camel(name: str) -> str:
    """A table's name as one word: ``data-log`` is DataLog."""
    if name.isidentifier():
        return name
    return "".join(part[:1].upper() + part[1:] for part in name.replace("_", "-").split("-"))


def _free(name: str, taken: set[str]) -> str:
    """A Python name like this one that is not taken, and take it."""
    found = name.strip("_") or "attribute"
    if not found.isidentifier():
        found = f"a{found}"
    if found != name or found in taken:
        found += "_"
    while found in taken:
        found += "_"
    taken.add(found)
    return found


def _table(table: TableSchema, names: _Names) -> str:
    name = names.tables[table.full_name]
    arguments = ["Table", *_export(table.export, name)]
    if table.sealed:
        arguments.append("sealed=True")
    times = ("eviction_s", "scan_interval_s")
    if table.expiration_s:
        arguments.append(f"expires_s={table.expiration_s}")
    arguments += [f"{time}={getattr(table, time)}" for time in times if getattr(table, time)]
    arguments += [f"{mark}=True" for mark in ("split_segments", "hidden") if getattr(table, mark)]
    if table.database != DEFAULT_DATABASE:
        arguments.append(f"database={_literal(table.database)}")
    if table.name != name:
        arguments.append(f"name={_literal(table.name)}")
    head = f"class {name}({', '.join(arguments)}):"
    return _class(head, table.description, table.attributes, names)


def _nested(nested: NestedType, names: _Names) -> str:
    name = names.nested[nested.name]
    arguments = ["Nested"]
    if nested.sealed:
        arguments.append("sealed=True")
    if nested.name != name:
        arguments.append(f"name={_literal(nested.name)}")
    head = f"class {name}({', '.join(arguments)}):"
    return _class(head, nested.description, nested.attributes, names)


def _export(export: Export | None, name: str) -> Iterator[str]:
    if export is None:
        return
    off = [one for one in ("rest", "mqtt", "ws", "sse") if not getattr(export, one)]
    if off:
        switches = ", ".join(f"{one}=False" for one in off)
        yield f"export=Export({_literal(export.path)}, {switches})"
    elif export.path == name:
        yield "export=True"
    else:
        yield f"export={_literal(export.path)}"


def _class(head: str, description: str, attributes: Iterable[Attribute], names: _Names) -> str:
    lines = [head]
    if description:
        lines.append(f"    {_docstring(description)}")
    taken = {*_TAKEN, *names.classes}
    columns = [f"    {_column(one, _free(one.name, taken), names)}" for one in attributes]
    if columns and description:
        lines.append("")
    return "\n".join(lines + (columns or ([] if description else ["    pass"])))


def _column(attribute: Attribute, name: str, names: _Names) -> str:
    if attribute.role in ("created", "updated"):
        kind = "CreatedTime" if attribute.role == "created" else "UpdatedTime"
        arguments = [one for one in (_TIMES[attribute.type.name],) if one]
        arguments += ["indexed=True"] if attribute.indexed else []
        return f"{name} = {kind}({', '.join((*arguments, *_options(attribute, name)))})"
    if attribute.is_virtual:
        return f"{name}: {_virtual(attribute, name, names)}"
    options = _options(attribute, name)
    if attribute.role == "primary key":
        kind, type = "Key", _KEYS[attribute.type.name]
    else:
        kind = "Indexed" if attribute.indexed else "Col"
        if attribute.role == "expires":
            kind = "ExpiresAt"
            options += ["indexed=True"] if attribute.indexed else []
        type = _annotation(attribute.type, names)
        if not attribute.required:
            options.insert(0, "default=None")
    given = f" = field({', '.join(options)})" if options else ""
    return f"{name}: {kind}[{type}]{given}"


def _options(attribute: Attribute, name: str) -> list[str]:
    """The arguments that columns of all kinds take."""
    options = []
    if attribute.name != name:
        options.append(f"name={_literal(attribute.name)}")
    if attribute.description:
        options.append(f"description={_literal(attribute.description)}")
    if attribute.roles:
        roles = ", ".join(map(_literal, attribute.roles))
        options.append(f"roles=({roles}{',' * (len(attribute.roles) == 1)})")
    if attribute.hidden:
        options.append("hidden=True")
    return options


def _virtual(attribute: Attribute, name: str, names: _Names) -> str:
    options = ["enumerable=True"] if attribute.enumerable else []
    options += _options(attribute, name)
    if attribute.relation is not None:
        relation = attribute.relation
        joined = (("from_", relation.here), ("to", relation.there))
        given = [f"{side}={_literal(attribute)}" for side, attribute in joined if attribute]
        table = names.tables[relation.target]
        type = f"list[{table}]" if relation.many else f"{table} | None"
        return f"Rel[{type}] = relationship({', '.join((*given, *options))})"
    computed = attribute.computed
    assert computed is not None, "there is no third kind"
    given = [_literal(computed.expression)] if computed.expression else []
    given += [f"version={_literal(computed.version)}"] if computed.version else []
    kind = "Indexed" if attribute.indexed else "Col"
    type = _annotation(attribute.type, names)
    return f"{kind}[{type}] = computed({', '.join((*given, *options))})"


def _annotation(type: TypeRef, names: _Names) -> str:
    if type.element is not None:
        inner = f"list[{_annotation(type.element, names)}]"
    else:
        inner = _SCALARS.get(type.name) or names.nested[type.name]
    return inner if type.required else f"{inner} | None"


def _docstring(text: str) -> str:
    """A docstring that reads as the text again, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if escaped.endswith('"'):
        escaped = escaped[:-1] + '\\"'
    lines = escaped.split("\n")
    rest = [f"    {line}" if line else "" for line in lines[1:]]
    closing = '\n    """' if rest else '"""'
    return '"""' + "\n".join([lines[0], *rest]) + closing


def _literal(text: str) -> str:
    """A string literal, with double quotes as formatters want them."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else repr(text)
