"""The values of one declared type: what is accepted, and what is stored of it.

A `Check` is made once per attribute. It returns the value to store and notes a sentence
for each violation, so that a client hears of all of them at once. There is no coercion
(``"12.5"`` is no Float), but three types have several forms: Date, Bytes and BigInt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from lyredb.storage.blob import PackedBlob
from lyredb.tables.blob import Blob
from lyredb.tables.blob_values import bytes_in, content_in, inline_value, reference_in
from lyredb.tables.schema import Attribute, TableSchema, TypeRef
from lyredb.tables.times import parse_date

Problems = list[tuple[str, str]]
"""Where (the path of the value), and the sentence."""

Check = Callable[[object, str, Problems], object]
"""``check(value, path, problems)`` returns what to store; null never comes here."""

MAX_LEVELS: Final = 64
"""Nesting beyond it is refused by the store; a check must not recurse further either."""
INTEGER_BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "Int": (-(2**31), 2**31 - 1),
    "Long": (-(2**53), 2**53),
    "BigInt": (1 - 10**300, 10**300 - 1),
}
"""Least and greatest value of the types that are integers."""
_DIGITS: Final = re.compile(r"-?[0-9]{1,300}")

FAST_TYPES: Final[Mapping[str, type]] = {
    "String": str,
    "ID": str,
    "Float": float,
    "Boolean": bool,
}
"""Values of exactly this type need no check but the store's own (finite, Unicode)."""


def compile_check(type: TypeRef, schema: TableSchema) -> Check:
    """Return the check of a type; nested types are looked up in the schema when used."""
    if type.element is not None:
        return _list_check(type.element, schema)
    return _SCALARS.get(type.name) or _object_check(type.name, schema)


def wrong(path: str, wanted: str, value: object, problems: Problems) -> None:
    """Note that a value has the wrong type."""
    problems.append((path, f"Property {path} must be {wanted}, got {describe(value)}"))


def describe(value: object) -> str:
    """Say what a value is, shortened, as it may stand in a message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            text = str(value) if not isinstance(value, int) or abs(value) < 10**300 else "…"
            return f"the number {text[:40]}"
        case str():
            return f"the string {value if len(value) <= 40 else value[:39] + '…'!r}"
        case bytes():
            return "binary data"
        case datetime():
            return "a date"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return f"a value of type {type(value).__name__}"


def missing(path: str, problems: Problems) -> None:
    """Note that a required value is absent or null."""
    problems.append((path, f"Property {path} is required"))


def not_allowed(path: str, problems: Problems) -> None:
    """Note an undeclared attribute where only declared ones may be."""
    problems.append((path, f"Property {path} is not allowed"))


def not_assigned(path: str, problems: Problems) -> None:
    """Note a value for an attribute that is made from others."""
    problems.append((path, f"Computed property {path} may not be directly assigned a value"))


def _list_check(element: TypeRef, schema: TableSchema) -> Check:
    check = compile_check(element, schema)
    required = element.required

    def check_list(value: object, path: str, problems: Problems) -> object:
        if not isinstance(value, (list, tuple)):
            wrong(path, f"a list ([{element}])", value, problems)
            return value
        stored = []
        for number, item in enumerate(value):
            where = f"{path}[{number}]"
            if item is not None:
                stored.append(check(item, where, problems))
            elif required:
                missing(where, problems)
            else:
                stored.append(None)
        return stored

    return check_list


def _object_check(name: str, schema: TableSchema) -> Check:
    nested = schema.nested_type(name)
    compiled: list[tuple[Attribute, Check]] = []

    def checks() -> list[tuple[Attribute, Check]]:
        # Compiled at the first value: a type may contain itself.
        if not compiled:
            compiled.extend((one, compile_check(one.type, schema)) for one in nested.attributes)
        return compiled

    def check_object(value: object, path: str, problems: Problems) -> object:
        if not isinstance(value, Mapping):
            wrong(path, f"an object ({name})", value, problems)
            return value
        if path.count(".") > MAX_LEVELS:
            return value  # the store refuses the depth with its own sentence
        stored = dict(value)
        for attribute, check in checks():
            item = value.get(attribute.name)
            where = f"{path}.{attribute.name}"
            if item is not None:
                stored[attribute.name] = check(item, where, problems)
            elif attribute.required:
                missing(where, problems)
        if nested.sealed:
            declared = {attribute.name for attribute in nested.attributes}
            for extra in value:
                if extra not in declared:
                    not_allowed(f"{path}.{extra}", problems)
        return stored

    return check_object


def _check_string(value: object, path: str, problems: Problems) -> object:
    if not isinstance(value, str):
        wrong(path, "a string (String)", value, problems)
    return value


def _check_id(value: object, path: str, problems: Problems) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, str) for one in value):
        return list(value)
    wrong(path, "a string or a list of strings (ID)", value, problems)
    return value


def _check_boolean(value: object, path: str, problems: Problems) -> object:
    if not isinstance(value, bool):
        wrong(path, "true or false (Boolean)", value, problems)
    return value


def _check_float(value: object, path: str, problems: Problems) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        wrong(path, "a number (Float)", value, problems)
    elif isinstance(value, float) and not math.isfinite(value):
        problems.append((path, f"Property {path} must be finite"))
    return value


def _integer_check(name: str, least: int, greatest: int) -> Check:
    def check_integer(value: object, path: str, problems: Problems) -> object:
        if type(value) is int and least <= value <= greatest:  # the common case
            return value
        # 12.0 is the integer 12: JSON has one kind of number, and JavaScript writes both.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            wrong(path, f"an integer ({name})", value, problems)
        elif not least <= value <= greatest:
            problems.append((path, f"Property {path} must be {least} to {greatest} ({name})"))
        return value

    return check_integer


def _check_big_integer(value: object, path: str, problems: Problems) -> object:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        wrong(path, "an integer or its digits (BigInt)", value, problems)
    elif abs(value) > INTEGER_BOUNDS["BigInt"][1]:
        problems.append((path, f"Property {path} must have at most 300 digits (BigInt)"))
    return value


def _check_date(value: object, path: str, problems: Problems) -> object:
    date = parse_date(value)
    if date is None:
        wrong(path, "an ISO 8601 date or epoch milliseconds (Date)", value, problems)
        return value
    return date


def _check_bytes(value: object, path: str, problems: Problems) -> object:
    if isinstance(value, str):
        # A lone surrogate has no bytes; the store could not take it as text either.
        return value.encode("utf-8", "replace")
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, Mapping):
        data = bytes_in(value)
        if data is not None:
            return data
    if not isinstance(value, bytes):
        wrong(path, "binary data, a string or {encoding, data} (Bytes)", value, problems)
    return value


def check_blob(value: object, path: str, problems: Problems) -> object:
    """The check of an attribute that is a Blob itself: it may be in a file, too."""
    if isinstance(value, PackedBlob):
        return value
    if isinstance(value, Mapping):
        reference = reference_in(value)
        if reference is not None:
            return reference
    return _check_content(value, path, problems)


def _check_content(value: object, path: str, problems: Problems) -> object:
    """A Blob inside of lists and nested objects stands in the record."""
    if isinstance(value, str):
        return value
    content = content_in(value)
    if isinstance(value, Blob) and value.in_memory is not None:
        content = value.type, value.in_memory
    if content is not None:
        return inline_value(*content)
    wrong(path, "text, binary data or {contentType, data} (Blob)", value, problems)
    return value


def _accept(value: object, path: str, problems: Problems) -> object:
    return value


_SCALARS: Final[Mapping[str, Check]] = {
    "ID": _check_id,
    "String": _check_string,
    "Int": _integer_check("Int", *INTEGER_BOUNDS["Int"]),
    "Long": _integer_check("Long", *INTEGER_BOUNDS["Long"]),
    "Float": _check_float,
    "BigInt": _check_big_integer,
    "Boolean": _check_boolean,
    "Date": _check_date,
    "Bytes": _check_bytes,
    "Blob": _check_content,
    "Any": _accept,
}
