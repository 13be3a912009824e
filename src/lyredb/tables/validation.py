"""Records checked against their table and brought into the form that is stored.

Everything that depends on the schema is worked out once per table; a record that is
right costs one dictionary look-up and one type comparison per attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lyredb.errors import InvalidRecord
from lyredb.tables.schema import Attribute, TableSchema
from lyredb.tables.values import (
    FAST_TYPES,
    Check,
    Problems,
    check_blob,
    compile_check,
    describe,
    missing,
    not_allowed,
    not_assigned,
)

OPERATION: Final = "__op__"
"""In a patch ``{"__op__": "add", "value": n}`` adds n instead of replacing."""
_NUMBERS: Final = frozenset(("Int", "Long", "Float", "BigInt", "Any"))
_INTEGERS: Final = frozenset(("Int", "Long", "BigInt"))
_MAX_NAME: Final = 100
"""Of an undeclared name, as it may stand in a message."""


class _Rule:
    """What one declared attribute takes."""

    __slots__ = ("check", "exact", "required", "type_name")

    def __init__(self, attribute: Attribute, schema: TableSchema) -> None:
        self.type_name = attribute.type.name
        self.exact: type | None = FAST_TYPES.get(self.type_name)
        is_blob = attribute.type.name == "Blob" and attribute.type.element is None
        self.check: Check = check_blob if is_blob else compile_check(attribute.type, schema)
        self.required = attribute.required


class RecordRules:
    """The rules of one table."""

    __slots__ = ("_order", "_outside", "_required", "_rules", "_sealed", "_virtual")

    def __init__(self, schema: TableSchema) -> None:
        in_body = [one for one in schema.attributes if one.is_stored]
        self._rules = {one.name: _Rule(one, schema) for one in in_body}
        self._required = tuple(one.name for one in in_body if one.required)
        self._sealed = schema.sealed
        others = {one.name for one in schema.attributes if not one.is_stored}
        self._outside = frozenset(others | {schema.primary_key})
        self._virtual = frozenset(one.name for one in schema.attributes if one.is_virtual)
        self._order = {one.name: number for number, one in enumerate(schema.attributes)}

    def whole(self, record: Mapping[str, object]) -> dict[str, object]:
        """Return the body of a whole record: without its key and server-set times.

        Raises:
            InvalidRecord: One sentence per violation, in the order of the attributes.
        """
        problems: Problems = []
        body = self._checked(record, problems)
        for name in self._required:
            if body.get(name) is None:
                missing(name, problems)
        if problems:
            raise self._invalid(problems)
        return body

    def changes(self, changes: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
        """Return what a patch sets, and what it adds to.

        Whether the merged record is whole is checked by the writer, who has the other
        half of it.

        Raises:
            InvalidRecord: One sentence per violation, in the order of the attributes.
        """
        problems: Problems = []
        amounts: dict[str, object] = {}
        values: Mapping[str, object] = changes
        if any(isinstance(one, Mapping) and OPERATION in one for one in changes.values()):
            values = {}
            for name, value in changes.items():
                if isinstance(value, Mapping) and OPERATION in value:
                    self._add(name, value, amounts, problems)
                else:
                    values[name] = value
        body = self._checked(values, problems)
        for name in self._required:
            if name in body and body[name] is None:
                missing(name, problems)
        if problems:
            raise self._invalid(problems)
        return body, amounts

    def _checked(self, record: Mapping[str, object], problems: Problems) -> dict[str, object]:
        rules, outside = self._rules, self._outside
        body: dict[str, object] = {}
        for name, value in record.items():
            rule = rules.get(name)
            if rule is not None:
                if value is None or type(value) is rule.exact:
                    body[name] = value
                else:
                    body[name] = rule.check(value, name, problems)
            elif name not in outside:
                if self._sealed:
                    not_allowed(str(name)[:_MAX_NAME], problems)
                body[name] = value
            elif name in self._virtual:
                not_assigned(name, problems)
        return body

    def _add(
        self,
        name: str,
        operation: Mapping[str, object],
        amounts: dict[str, object],
        problems: Problems,
    ) -> None:
        rule = self._rules.get(name)
        amount = operation.get("value")
        kind = operation[OPERATION]
        number = isinstance(amount, (int, float)) and not isinstance(amount, bool)
        path = str(name)[:_MAX_NAME]
        problem = ""
        if kind != "add":
            problem = f"Property {path}: the operation must be 'add', got {describe(kind)}"
        elif not number:
            problem = f"Property {path}: what is added must be a number, got {describe(amount)}"
        elif name in self._virtual:
            not_assigned(name, problems)
        elif name in self._outside:
            problem = f"Property {path} cannot be added to: it is the key or set by the server"
        elif rule is None and self._sealed:
            not_allowed(path, problems)
        elif rule is not None and rule.type_name not in _NUMBERS:
            problem = f"Property {path} cannot be added to: it is no number"
        elif rule is not None and rule.type_name in _INTEGERS and not _is_whole(amount):
            problem = f"Property {path} is an integer; {describe(amount)} cannot be added"
        elif rule is not None and rule.type_name in _INTEGERS and isinstance(amount, float):
            amount = int(amount)
        if problem:
            problems.append((path, problem))
        amounts[name] = amount

    def _invalid(self, problems: Problems) -> InvalidRecord:
        """All sentences; declared attributes in their order, then the others."""
        last = len(self._order)

        def place(problem: tuple[str, str]) -> int:
            path = problem[0]
            if path not in self._order:
                path = path.partition(".")[0].partition("[")[0]
            return self._order.get(path, last)

        return InvalidRecord(*(sentence for _, sentence in sorted(problems, key=place)))


def _is_whole(amount: object) -> bool:
    return isinstance(amount, int) or (isinstance(amount, float) and amount.is_integer())
