"""Computed attributes: worked out from a record when they are asked for.

An expression stands in the schema. A function is registered by code, for the table of
that name in every database of the process, as a class is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from lyredb.storage.expression import Expression, parse
from lyredb.storage.keys import ABSENT
from lyredb.tables.schema import Attribute, TableSchema

_logger: Final = logging.getLogger(__name__)

Function = Callable[[dict[str, object]], object]
"""From a whole record, of its own, to the value."""

_functions: Final[dict[tuple[str, str], Function]] = {}


def register_function(table: str, attribute: str, function: Function) -> None:
    """Give the function that makes a computed attribute; the last one counts.

    Args:
        table: ``<database>.<table>``.
        attribute: Its name in records.
        function: Called whenever the attribute is read. What it raises is logged, and the
            attribute is null then.
    """
    _functions[table, attribute] = function


class ComputedAttribute:
    """One computed attribute of one table.

    Attributes:
        name: In records.
        reads: The attributes that its expression reads; ``None`` when a function may read
            any.
    """

    __slots__ = ("_expression", "_place", "name", "reads")

    def __init__(self, table: str, attribute: Attribute) -> None:
        assert attribute.computed is not None, "the caller asks for computed attributes only"
        text = attribute.computed.expression
        self._expression: Expression | None = parse(text) if text else None
        self._place = (table, attribute.name)
        self.name = attribute.name
        self.reads = self._expression.names if self._expression else None

    def evaluate(self, record: Mapping[str, object]) -> object:
        """Return the value for a record, `ABSENT` while no function is registered."""
        if self._expression is not None:
            return self._expression.evaluate(record)
        function = _functions.get(self._place)
        if function is None:
            return ABSENT
        try:
            return function(dict(record))
        except Exception:
            # The code of an application: its mistake must not take the record away.
            _logger.exception("computing %s.%s failed", *self._place)
            return None


def computed_attributes(schema: TableSchema) -> dict[str, ComputedAttribute]:
    """Return the computed attributes of a table by name."""
    return {
        one.name: ComputedAttribute(schema.full_name, one)
        for one in schema.attributes
        if one.computed is not None
    }
