"""Schemas in GraphQL SDL: ``type Sensor @table @export { id: ID @primaryKey … }``.

Only the syntax is GraphQL's. A type with ``@table`` is a table, one without is the type
of nested objects; ``directive`` and ``scalar`` definitions are left alone, so that a file may
also hold what an editor wants to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Final, NamedTuple

from graphql import GraphQLSyntaxError, parse
from graphql.language import (
    DirectiveNode,
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    InputObjectTypeDefinitionNode,
    InterfaceTypeDefinitionNode,
    ListTypeNode,
    NamedTypeNode,
    Node,
    NonNullTypeNode,
    ObjectTypeDefinitionNode,
    Source,
    TypeExtensionNode,
    TypeNode,
    UnionTypeDefinitionNode,
)

from lyredb.errors import SchemaError
from lyredb.tables import checks
from lyredb.tables.directives import (
    FIELD_DIRECTIVES,
    TYPE_DIRECTIVES,
    Directives,
    Given,
    Reader,
    position,
)
from lyredb.tables.hints import did_you_mean
from lyredb.tables.schema import (
    DEFAULT_DATABASE,
    DEFAULT_KEY,
    SCALARS,
    Attribute,
    Computed,
    Export,
    NestedType,
    Relation,
    Role,
    Schema,
    TableSchema,
    TypeRef,
)

_ROLES: Final[Mapping[str, Role]] = {
    "primaryKey": "primary key",
    "createdTime": "created",
    "updatedTime": "updated",
    "expiresAt": "expires",
}
_EXCLUSIVE: Final = (*_ROLES, "relationship", "computed")
_LATER_KINDS: Final[Mapping[type[Node], str]] = {
    EnumTypeDefinitionNode: "enum",
    InputObjectTypeDefinitionNode: "input",
    InterfaceTypeDefinitionNode: "interface",
    UnionTypeDefinitionNode: "union",
}


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
    """The types of a document: nested ones, and the full names of tables by type."""

    nested: frozenset[str]
    tables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Head:
    """A type with its directives, read once."""

    node: ObjectTypeDefinitionNode
    directives: Directives

    @property
    def name(self) -> str:
        return self.node.name.value

    @property
    def table(self) -> str:
        """The name of its table."""
        return self.directives["table"][0].text("table", self.name)

    @property
    def database(self) -> str:
        """The database of its table."""
        given = self.directives["table"][0]
        return given.text("database", given.text("schema", DEFAULT_DATABASE))


class _Reader(Reader):
    """Turns nodes into schema values."""

    def schema(self, nodes: list[ObjectTypeDefinitionNode]) -> Schema:
        tables, nested = self._sorted(nodes)
        full_names = {head.name: f"{head.database}.{head.table}" for head in tables}
        known = _Known(frozenset(head.name for head in nested), full_names)
        types = [self._nested_type(head, known) for head in nested]
        places: dict[tuple[str, str], Node] = {}
        found: dict[str, TableSchema] = {}
        for head in tables:
            table = self._table(head, known, types)
            if table.full_name in found:
                self.fail(head.node.name, f"table {table.full_name} is declared twice")
            for other in found.values():
                if table.export and other.export and other.export.path == table.export.path:
                    path = table.export.path
                    what = f"{other.name} and {table.name} are both exported as {path!r}"
                    self.fail(head.node.name, what)
            found[table.full_name] = table
            places[table.full_name, ""] = head.node.name
            places |= {(table.full_name, one.name.value): one for one in head.node.fields or ()}
        for table in found.values():
            self._check_virtual(table, found, places)

        def where(table: str, attribute: str) -> str:
            node = places.get((table, attribute))
            return "" if node is None else ":".join(map(str, (self.file, *position(node))))

        return Schema.of(found.values(), where=where)

    def _sorted(self, nodes: list[ObjectTypeDefinitionNode]) -> tuple[list[_Head], list[_Head]]:
        """Tables and nested types; refuses names that are used twice."""
        tables: list[_Head] = []
        nested: list[_Head] = []
        names: set[str] = set()
        for node in nodes:
            name = node.name.value
            if name in names:
                self.fail(node.name, f"type {name} is declared twice")
            if name in SCALARS:
                self.fail(node.name, f"{name} is a type of its own; choose another name")
            names.add(name)
            head = _Head(node, self.directives(node, TYPE_DIRECTIVES))
            (tables if "table" in head.directives else nested).append(head)
        return tables, nested

    def _nested_type(self, head: _Head, known: _Known) -> NestedType:
        for given in head.directives.get("splitSegments", ()):
            self.fail(given.node, "@splitSegments belongs to a type with @table")
        return NestedType(
            name=head.name,
            attributes=self._attributes(head.node, known, of_table=False),
            sealed="sealed" in head.directives,
            description=_description(head.node),
        )

    def _table(self, head: _Head, known: _Known, types: list[NestedType]) -> TableSchema:
        about = head.directives["table"][0]
        for name in ("expiration", "scanInterval"):
            if about.values.get(name) == 0:
                self.fail(about.place(name), f"@table({name}:) is a number of seconds above 0")
        table = TableSchema.of(
            head.table,
            self._attributes(head.node, known, of_table=True),
            types=types,
            database=head.database,
            sealed="sealed" in head.directives,
            export=_export(head),
            expiration_s=about.number("expiration"),
            description=_description(head.node),
            eviction_s=about.number("eviction"),
            scan_interval_s=about.number("scanInterval"),
            split_segments="splitSegments" in head.directives,
            hidden="hidden" in head.directives,
        )
        self.check(head.node.name, checks.table_problem(table))
        return table

    def _attributes(
        self, node: ObjectTypeDefinitionNode, known: _Known, *, of_table: bool
    ) -> tuple[Attribute, ...]:
        attributes: list[Attribute] = []
        for field in node.fields or ():
            attribute = self._attribute(field, known)
            if attribute.relation is None:
                problem = checks.type_problem(attribute.type, known.nested, known.tables)
                self.check(field.type, problem)
            self.check(field, checks.attribute_problem(attribute, of_table=of_table))
            attributes.append(attribute)
            self.check(field, checks.attributes_problem(attributes))
        problem = checks.key_problem(attributes) if of_table else ""
        for field in node.fields or ():
            if problem and field.name.value == DEFAULT_KEY:
                self.fail(field, problem)
        return tuple(attributes)

    def _attribute(self, field: FieldDefinitionNode, known: _Known) -> Attribute:
        if field.arguments:
            self.fail(field.arguments[0], "attributes take no arguments")
        directives = self.directives(field, FIELD_DIRECTIVES)
        exclusive = [name for name in _EXCLUSIVE if name in directives]
        if len(exclusive) > 1:
            self.fail(field, f"@{exclusive[0]} and @{exclusive[1]} exclude each other")
        roles = [name for name in exclusive if name in _ROLES]
        type = self._type(field.type)
        relation, computed = None, None
        if "relationship" in directives:
            relation = self._relation(field, type, directives["relationship"][0], known)
            if type.required:
                what = "a relationship is not stored, so that a record cannot be asked to have it"
                self.fail(field.type, f"{field.name.value}: {what}")
            type = relation.type
        if "computed" in directives:
            computed = self._computed(directives["computed"][0])
        return Attribute(
            name=field.name.value,
            type=type,
            role=_ROLES[roles[0]] if roles else "plain",
            indexed="indexed" in directives,
            description=_description(field),
            relation=relation,
            computed=computed,
            enumerable="enumerable" in directives,
            roles=tuple(self._roles(directives.get("allow", ()))),
            hidden="hidden" in directives,
        )

    def _roles(self, given: Sequence[Given]) -> list[str]:
        for one in given:
            if not one.text("role"):
                self.fail(one.place("role"), "@allow names a role: @allow(role: …)")
        return [one.text("role") for one in given]

    def _relation(
        self, field: FieldDefinitionNode, type: TypeRef, given: Given, known: _Known
    ) -> Relation:
        if type.innermost not in known.tables:
            hint = did_you_mean(type.innermost, known.tables)
            self.fail(field.type, f"{type.innermost} is no table that is declared here{hint}")
        if type.element is not None and type.element.element is not None:
            self.fail(field.type, f"a relationship is {type.innermost} or [{type.innermost}]")
        if not given.values:
            self.fail(given.node, "@relationship needs `from`, `to` or both")
        return Relation(
            target=known.tables[type.innermost],
            here=given.text("from"),
            there=given.text("to"),
            many=type.element is not None,
        )

    def _computed(self, given: Given) -> Computed:
        expression = given.text("from").strip()
        if "from" in given.values and not expression:
            self.fail(given.place("from"), "the expression is empty")
        return Computed.of(expression, given.text("version"))

    def _check_virtual(
        self,
        table: TableSchema,
        tables: Mapping[str, TableSchema],
        places: Mapping[tuple[str, str], Node],
    ) -> None:
        """Check what relationships and expressions name, now that everything is known."""
        for attribute in table.attributes:
            field = places.get((table.full_name, attribute.name))
            if field is None or not attribute.is_virtual:
                continue
            assert isinstance(field, FieldDefinitionNode), "an attribute is one"
            if attribute.relation:
                problem = checks.relation_problem(
                    attribute, table, tables[attribute.relation.target]
                )
                self.check(_directive(field, "relationship"), problem)
            else:
                problem = checks.computed_problem(attribute, table)
                self.check(_expression(field), problem)

    def _type(self, node: TypeNode) -> TypeRef:
        if isinstance(node, NonNullTypeNode):
            inner = self._type(node.type)
            return TypeRef(inner.name, inner.element, required=True)
        if isinstance(node, ListTypeNode):
            return TypeRef("", self._type(node.type))
        assert isinstance(node, NamedTypeNode), "GraphQL has no other types"
        return TypeRef(node.name.value)


def _directive(field: FieldDefinitionNode, name: str) -> DirectiveNode:
    return next(one for one in field.directives or () if one.name.value == name)


def _expression(field: FieldDefinitionNode) -> Node:
    """Where the expression of a computed attribute stands."""
    directive = _directive(field, "computed")
    arguments = directive.arguments or ()
    return next((one for one in arguments if one.name.value == "from"), directive)


def _export(head: _Head) -> Export | None:
    if "export" not in head.directives:
        return None
    given = head.directives["export"][0]
    switches = {name: bool(value) for name, value in given.values.items() if name != "name"}
    return Export(given.text("name", head.name), **switches)


def _description(node: ObjectTypeDefinitionNode | FieldDefinitionNode) -> str:
    return cleandoc(node.description.value).strip() if node.description else ""
