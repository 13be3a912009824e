"""Directives in SDL: which there are, where they may stand, and what they are given."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from graphql import print_ast
from graphql.language import (
    BooleanValueNode,
    DirectiveNode,
    EnumValueNode,
    FieldDefinitionNode,
    IntValueNode,
    Node,
    ObjectTypeDefinitionNode,
    StringValueNode,
    ValueNode,
)

from lyredb.errors import SchemaError
from lyredb.tables.hints import did_you_mean, nearest

_logger: Final = logging.getLogger(__name__)

Constant = str | int | bool
Arguments = Mapping[str, type[str] | type[int] | type[bool] | type[object]]
"""The arguments of a directive; ``object`` stands for any value, taken as text."""

TYPE_DIRECTIVES: Final[Mapping[str, Arguments]] = {
    "table": {
        "table": str,
        "database": str,
        "schema": str,
        "expiration": int,
        "eviction": int,
        "scanInterval": int,
    },
    "export": {"name": str, "rest": bool, "mqtt": bool, "ws": bool, "sse": bool},
    "sealed": {},
    "splitSegments": {},
    "hidden": {},
}
FIELD_DIRECTIVES: Final[Mapping[str, Arguments]] = {
    "primaryKey": {},
    "indexed": {},
    "createdTime": {},
    "updatedTime": {},
    "expiresAt": {},
    "relationship": {"from": str, "to": str},
    "computed": {"from": str, "version": object},
    "enumerable": {},
    "allow": {"role": str},
    "hidden": {},
}
_REPEATABLE: Final = frozenset(("allow",))
# Ignoring these would make a table that behaves differently from what is written.
LATER_DIRECTIVES: Final = frozenset(("embed", "fullText"))
_LATER_ARGUMENTS: Final = frozenset(("audit", "replicate", "type", "mcp"))
_STANDARD: Final = frozenset(("deprecated", "specifiedBy", "oneOf"))
"""GraphQL's own, which nobody misspelt."""
_KINDS: Final = {str: "a string", int: "an integer", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Given:
    """A directive as it stands somewhere.

    Attributes:
        node: Itself.
        values: Of its arguments, by name.
        nodes: Its arguments, by name.
    """

    node: DirectiveNode
    values: dict[str, Constant] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """Return the text of an argument."""
        return str(self.values.get(name, default))

    def number(self, name: str) -> int:
        """Return the integer of an argument, 0 where it is not given."""
        return int(self.values.get(name, 0))

    def place(self, name: str) -> Node:
        """Return where an argument stands; the directive when it is not given."""
        return self.nodes.get(name, self.node)


Directives = Mapping[str, list[Given]]
"""By name; one of each, but for those that may be repeated."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads directives; knows the file for errors."""

    file: str

    def fail(self, node: Node, message: str) -> NoReturn:
        """Raise an error with the place of a node."""
        line, column = position(node)
        raise SchemaError(message, file=self.file, line=line, column=column)

    def check(self, node: Node, problem: str) -> None:
        """Raise an error if there is a problem."""
        if problem:
            self.fail(node, problem)

    def directives(
        self, node: ObjectTypeDefinitionNode | FieldDefinitionNode, known: Mapping[str, Arguments]
    ) -> Directives:
        """Return the directives of a type or field.

        Raises:
            SchemaError: One is misplaced, has wrong arguments, stands twice, or comes later.
        """
        found: dict[str, list[Given]] = {}
        for directive in node.directives or ():
            name = directive.name.value
            if name not in known:
                self._unknown(directive, known)
                continue
            if name in found and name not in _REPEATABLE:
                self.fail(directive, f"@{name} stands here twice")
            found.setdefault(name, []).append(self._given(directive, known[name]))
        return found

    def _unknown(self, node: DirectiveNode, known: Mapping[str, Arguments]) -> None:
        """Refuse what we do not do yet; tolerate what is not ours, with a warning if near."""
        name = node.name.value
        if name in LATER_DIRECTIVES:
            self.fail(node, f"@{name} is not supported yet")
        if name in TYPE_DIRECTIVES or name in FIELD_DIRECTIVES:
            place = "a field" if name in FIELD_DIRECTIVES else "a type"
            self.fail(node, f"@{name} belongs to {place}")
        meant = "" if name in _STANDARD else nearest(name, known)
        if meant:
            where = f"{self.file or 'schema'}:{position(node)[0]}"
            _logger.warning("%s: @%s is ignored; did you mean @%s?", where, name, meant)

    def _given(self, directive: DirectiveNode, known: Arguments) -> Given:
        given = Given(directive)
        for name, value, node in self._arguments(directive, known):
            if name in given.values:
                self.fail(node, f"@{directive.name.value}({name}:) stands here twice")
            given.values[name] = value
            given.nodes[name] = node
        return given

    def _arguments(
        self, directive: DirectiveNode, known: Arguments
    ) -> Iterator[tuple[str, Constant, Node]]:
        for argument in directive.arguments or ():
            name = argument.name.value
            wanted = known.get(name)
            where = f"@{directive.name.value}({name}:)"
            if wanted is None and name in _LATER_ARGUMENTS:
                self.fail(argument, f"{where} is not supported yet")
            if wanted is None:
                self.fail(argument, f"{where} is unknown{did_you_mean(name, known)}")
            value = _constant(argument.value)
            if wanted is object:
                value = _text(argument.value)
            elif type(value) is not wanted:
                self.fail(argument, f"{where} must be {_KINDS[wanted]}")
            assert value is not None, "its type is one that was asked for"
            yield name, value, argument


def position(node: Node) -> tuple[int, int]:
    """Return line and column, 0 when unknown."""
    token = node.loc.start_token if node.loc else None
    return (token.line, token.column) if token else (0, 0)


def _constant(node: ValueNode) -> Constant | None:
    """The value of an argument. A bare word is a string: ``from: brandId``."""
    if isinstance(node, (StringValueNode, EnumValueNode, BooleanValueNode)):
        return node.value
    return int(node.value) if isinstance(node, IntValueNode) else None


def _text(node: ValueNode) -> str:
    """Any value as text: strings as they are, others as they are written."""
    return node.value if isinstance(node, StringValueNode) else print_ast(node)
