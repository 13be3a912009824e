"""Schemas in GraphQL SDL: ``type Sensor @table @export { id: ID @primaryKey … }``.

Only the syntax is GraphQL's. A type with ``@table`` is a table, one without is the type
of nested objects; ``directive`` and ``scalar`` definitions are left alone, so that a file may
also hold what an editor wants to see.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import Final, NamedTuple, NoReturn

from graphql import GraphQLSyntaxError, parse
from graphql.language import (
    BooleanValueNode,
    DirectiveNode,
    EnumTypeDefinitionNode,
    EnumValueNode,
    FieldDefinitionNode,
    InputObjectTypeDefinitionNode,
    InterfaceTypeDefinitionNode,
    IntValueNode,
    ListTypeNode,
    NamedTypeNode,
    Node,
    NonNullTypeNode,
    ObjectTypeDefinitionNode,
    Source,
    StringValueNode,
    TypeExtensionNode,
    TypeNode,
    UnionTypeDefinitionNode,
    ValueNode,
)

from lyredb.errors import SchemaError
from lyredb.tables import checks
from lyredb.tables.hints import did_you_mean, nearest
from lyredb.tables.schema import (
    DEFAULT_DATABASE,
    DEFAULT_KEY,
    SCALARS,
    Attribute,
    Export,
    NestedType,
    Role,
    Schema,
    TableSchema,
    TypeRef,
)

_logger: Final = logging.getLogger(__name__)

_Arguments = Mapping[str, type[str] | type[int] | type[bool]]

_TYPE_DIRECTIVES: Final[Mapping[str, _Arguments]] = {
    "table": {"table": str, "database": str, "schema": str, "expiration": int},
    "export": {"name": str, "rest": bool, "mqtt": bool, "ws": bool, "sse": bool},
    "sealed": {},
}
_FIELD_DIRECTIVES: Final[Mapping[str, _Arguments]] = {
    "primaryKey": {},
    "indexed": {},
    "createdTime": {},
    "updatedTime": {},
}
_ROLES: Final[Mapping[str, Role]] = {
    "primaryKey": "primary key",
    "createdTime": "created",
    "updatedTime": "updated",
}
# Ignoring these would make a table that behaves differently from what is written.
_LATER_DIRECTIVES: Final = frozenset(
    (
        "allow",
        "computed",
        "embed",
        "enumerable",
        "expiresAt",
        "fullText",
        "relationship",
        "splitSegments",
    )
)
_LATER_ARGUMENTS: Final = frozenset(
    ("audit", "eviction", "replicate", "scanInterval", "type", "mcp")
)
_LATER_KINDS: Final[Mapping[type[Node], str]] = {
    EnumTypeDefinitionNode: "enum",
    InputObjectTypeDefinitionNode: "input",
    InterfaceTypeDefinitionNode: "interface",
    UnionTypeDefinitionNode: "union",
}
_KINDS: Final = {str: "a string", int: "an integer", bool: "true or false"}


def parse_sdl(text: str, file: str = "") -> Schema:
    """Return the schema that SDL text declares.

    Args:
        text: The SDL.
        file: Its name for errors, ``""`` when it has none.

    Raises:
        SchemaError: With file, line and column of what is wrong.
    """
    if _is_empty(text):
        return Schema()  # GraphQL's grammar asks for at least one definition, a file need not
    try:
        document = parse(Source(text, file or "schema"), no_location=False)
    except GraphQLSyntaxError as error:
        line, column = error.locations[0] if error.locations else (0, 0)
        message = error.message.removeprefix("Syntax Error: ")
        raise SchemaError(message, file=file, line=line, column=column) from None
    reader = _Reader(file)
    types = [node for node in document.definitions if isinstance(node, ObjectTypeDefinitionNode)]
    for node in document.definitions:
        if isinstance(node, TypeExtensionNode):
            reader.fail(node, "a type must be declared in one place; `extend` is not understood")
        for kind, name in _LATER_KINDS.items():
            if isinstance(node, kind):
                reader.fail(node, f"{name} types are not supported")
    return reader.schema(types)


def _is_empty(text: str) -> bool:
    lines = (line.strip(" \t,\ufeff") for line in text.splitlines())
    return all(not line or line.startswith("#") for line in lines)


class _Known(NamedTuple):
    """The names of the types of a document."""

    nested: frozenset[str]
    tables: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns nodes into schema values; knows the file for errors."""

    file: str

    def fail(self, node: Node, message: str) -> NoReturn:
        line, column = _position(node)
        raise SchemaError(message, file=self.file, line=line, column=column)

    def check(self, node: Node, problem: str) -> None:
        if problem:
            self.fail(node, problem)

    def schema(self, nodes: list[ObjectTypeDefinitionNode]) -> Schema:
        tables, nested = self._sorted(nodes)
        known = _Known(frozenset(nested), frozenset(node.name.value for node in tables))
        types = [self._nested_type(node, known) for node in nested.values()]
        places: dict[tuple[str, str], Node] = {}
        found: dict[str, TableSchema] = {}
        paths: dict[str, str] = {}
        for node in tables:
            table = self._table(node, known, types)
            if table.full_name in found:
                self.fail(node.name, f"table {table.full_name} is declared twice")
            found[table.full_name] = table
            places[table.full_name, ""] = node.name
            places |= {(table.full_name, one.name.value): one for one in node.fields or ()}
            if table.export:
                other = paths.setdefault(table.export.path, table.name)
                if other != table.name:
                    what = f"{other} and {table.name} are both exported as {table.export.path!r}"
                    self.fail(node.name, what)

        def where(table: str, attribute: str) -> str:
            node = places.get((table, attribute))
            return "" if node is None else ":".join(map(str, (self.file, *_position(node))))

        return Schema.of(found.values(), where=where)

    def _sorted(
        self, nodes: list[ObjectTypeDefinitionNode]
    ) -> tuple[list[ObjectTypeDefinitionNode], dict[str, ObjectTypeDefinitionNode]]:
        """Tables, and nested types by name; refuses names that are used twice."""
        tables = []
        nested: dict[str, ObjectTypeDefinitionNode] = {}
        names: set[str] = set()
        for node in nodes:
            name = node.name.value
            if name in names:
                self.fail(node.name, f"type {name} is declared twice")
            if name in SCALARS:
                self.fail(node.name, f"{name} is a type of its own; choose another name")
            names.add(name)
            if any(directive.name.value == "table" for directive in node.directives or ()):
                tables.append(node)
            else:
                nested[name] = node
        return tables, nested

    def _nested_type(self, node: ObjectTypeDefinitionNode, known: _Known) -> NestedType:
        directives = self._directives(node, _TYPE_DIRECTIVES)
        return NestedType(
            name=node.name.value,
            attributes=self._attributes(node, known, of_table=False),
            sealed="sealed" in directives,
            description=_description(node),
        )

    def _table(
        self,
        node: ObjectTypeDefinitionNode,
        known: _Known,
        types: list[NestedType],
    ) -> TableSchema:
        directives = self._directives(node, _TYPE_DIRECTIVES)
        about = directives["table"]
        name = str(about.get("table", node.name.value))
        database = str(about.get("database", about.get("schema", DEFAULT_DATABASE)))
        expiration_s = int(about.get("expiration", 0))
        export = _export(directives.get("export"), node.name.value)
        if "expiration" in about and expiration_s == 0:
            self.fail(node, "an expiration is a number of seconds above 0, got 0")
        problem = checks.table_problem(
            name, database=database, expiration_s=expiration_s, export=export
        )
        self.check(node.name, problem)
        return TableSchema.of(
            name,
            self._attributes(node, known, of_table=True),
            types=types,
            database=database,
            sealed="sealed" in directives,
            export=export,
            expiration_s=expiration_s,
            description=_description(node),
        )

    def _attributes(
        self,
        node: ObjectTypeDefinitionNode,
        known: _Known,
        *,
        of_table: bool,
    ) -> tuple[Attribute, ...]:
        attributes: list[Attribute] = []
        for field in node.fields or ():
            attribute = self._attribute(field)
            self.check(field.type, checks.type_problem(attribute.type, known.nested, known.tables))
            self.check(field, checks.attribute_problem(attribute, of_table=of_table))
            attributes.append(attribute)
            self.check(field, checks.attributes_problem(attributes))
        problem = checks.key_problem(attributes) if of_table else ""
        for field in node.fields or ():
            if problem and field.name.value == DEFAULT_KEY:
                self.fail(field, problem)
        return tuple(attributes)

    def _attribute(self, field: FieldDefinitionNode) -> Attribute:
        if field.arguments:
            self.fail(field.arguments[0], "attributes take no arguments")
        directives = self._directives(field, _FIELD_DIRECTIVES)
        roles = [name for name in _ROLES if name in directives]
        if len(roles) > 1:
            self.fail(field, f"@{roles[0]} and @{roles[1]} exclude each other")
        return Attribute(
            name=field.name.value,
            type=self._type(field.type),
            role=_ROLES[roles[0]] if roles else "plain",
            indexed="indexed" in directives,
            description=_description(field),
        )

    def _type(self, node: TypeNode) -> TypeRef:
        if isinstance(node, NonNullTypeNode):
            inner = self._type(node.type)
            return TypeRef(inner.name, inner.element, required=True)
        if isinstance(node, ListTypeNode):
            return TypeRef("", self._type(node.type))
        assert isinstance(node, NamedTypeNode), "GraphQL has no other types"
        return TypeRef(node.name.value)

    def _directives(
        self,
        node: ObjectTypeDefinitionNode | FieldDefinitionNode,
        known: Mapping[str, _Arguments],
    ) -> dict[str, dict[str, str | int | bool]]:
        found: dict[str, dict[str, str | int | bool]] = {}
        for directive in node.directives or ():
            name = directive.name.value
            if name in known:
                if name in found:
                    self.fail(directive, f"@{name} stands here twice")
                found[name] = dict(self._arguments(directive, known[name]))
            else:
                self._unknown_directive(directive, known)
        return found

    def _unknown_directive(self, node: DirectiveNode, known: Mapping[str, _Arguments]) -> None:
        """Refuse what we do not do yet; tolerate what is not ours, with a warning if near."""
        name = node.name.value
        if name in _LATER_DIRECTIVES:
            self.fail(node, f"@{name} is not supported yet")
        if name in _TYPE_DIRECTIVES or name in _FIELD_DIRECTIVES:
            place = "a field" if name in _FIELD_DIRECTIVES else "a type"
            self.fail(node, f"@{name} belongs to {place}")
        meant = nearest(name, known)
        if meant:
            line = node.loc.start_token.line if node.loc else 0
            where = f"{self.file or 'schema'}:{line}"
            _logger.warning("%s: @%s is ignored; did you mean @%s?", where, name, meant)

    def _arguments(
        self, directive: DirectiveNode, known: _Arguments
    ) -> Iterator[tuple[str, str | int | bool]]:
        for argument in directive.arguments or ():
            name = argument.name.value
            wanted = known.get(name)
            where = f"@{directive.name.value}({name}:)"
            if wanted is None and name in _LATER_ARGUMENTS:
                self.fail(argument, f"{where} is not supported yet")
            if wanted is None:
                self.fail(argument, f"{where} is unknown{did_you_mean(name, known)}")
            value = _constant(argument.value)
            if type(value) is not wanted:
                self.fail(argument, f"{where} must be {_KINDS[wanted]}")
            yield name, value


def _position(node: Node) -> tuple[int, int]:
    """Line and column, 0 when unknown."""
    token = node.loc.start_token if node.loc else None
    return (token.line, token.column) if token else (0, 0)


def _constant(node: ValueNode) -> str | int | bool | None:
    """The value of an argument. A bare word is a string: ``from: brandId``."""
    if isinstance(node, (StringValueNode, EnumValueNode)):
        return node.value
    if isinstance(node, BooleanValueNode):
        return node.value
    if isinstance(node, IntValueNode):
        return int(node.value)
    return None


def _export(arguments: Mapping[str, str | int | bool] | None, type_name: str) -> Export | None:
    if arguments is None:
        return None
    switches = {name: bool(value) for name, value in arguments.items() if name != "name"}
    return Export(str(arguments.get("name", type_name)), **switches)


def _description(node: ObjectTypeDefinitionNode | FieldDefinitionNode) -> str:
    return cleandoc(node.description.value).strip() if node.description else ""
