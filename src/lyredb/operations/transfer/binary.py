"""Bytes in files of text: base64, as answers in JSON have them, at any depth."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from lyredb.errors import InvalidRecord
from lyredb.tables.schema import Attribute, TableSchema, TypeRef


class Binary:
    """Reads what a schema declares as bytes; all else stays as it is.

    Args:
        schema: Of the table.
    """

    def __init__(self, schema: TableSchema) -> None:
        self._nested = {one.name: one.attributes for one in schema.nested}
        self._holders = self._find_holders()
        self._here = self._those_of(schema.attributes)

    @property
    def is_needed(self) -> bool:
        """Tell whether the table has bytes at all."""
        return bool(self._here)

    def read(self, record: Mapping[str, object]) -> Mapping[str, object]:
        """Return a record with its bytes.

        Raises:
            InvalidRecord: Something that is to be bytes is no base64.
        """
        return self._object(record, self._here, "")

    def _find_holders(self) -> frozenset[str]:
        """Return the nested types that have bytes somewhere; they may contain each other."""
        holders: set[str] = set()
        while True:
            found = {
                name
                for name, attributes in self._nested.items()
                if any(_innermost(one.type) in ("Bytes", *holders) for one in attributes)
            }
            if found == holders:
                return frozenset(found)
            holders = found

    def _those_of(self, attributes: Iterable[Attribute]) -> list[tuple[str, TypeRef]]:
        wanted = ("Bytes", *self._holders)
        return [(one.name, one.type) for one in attributes if _innermost(one.type) in wanted]

    def _object(
        self, record: Mapping[str, object], declared: list[tuple[str, TypeRef]], path: str
    ) -> Mapping[str, object]:
        read = dict(record)
        for name, type in declared:
            if read.get(name) is not None:
                read[name] = self._value(read[name], type, f"{path}{name}")
        return read

    def _value(self, value: object, type: TypeRef, path: str) -> object:
        if type.element is not None:
            if not isinstance(value, list):
                return value  # refused by the check of its type
            return [
                self._value(one, type.element, f"{path}[{number}]")
                for number, one in enumerate(value)
            ]
        if type.name == "Bytes":
            return _bytes(value, path) if isinstance(value, str) else value
        if isinstance(value, dict) and type.name in self._nested:
            return self._object(value, self._those_of(self._nested[type.name]), f"{path}.")
        return value


def _innermost(type: TypeRef) -> str:
    while type.element is not None:
        type = type.element
    return type.name


def _bytes(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidRecord(f"Property {path} must be base64") from error
