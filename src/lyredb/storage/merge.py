"""Merging a patch or a put into a record's body, without decoding what stays as it is."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Final

import msgspec

from lyredb.errors import InvalidRecord
from lyredb.storage.body import decode_extension, pack_value
from lyredb.storage.layout import IntegerBounds, TableLayout

_NIL: Final = b"\xc0"
_LONGEST_SHOWN: Final = 2**63
"""Bounds beyond it, of hundreds of digits, do not stand in messages."""
_shallow: Final = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_values: Final = msgspec.msgpack.Decoder(ext_hook=decode_extension)
_numbers: Final = msgspec.msgpack.Decoder(dict[str, object], ext_hook=decode_extension)
_encoder: Final = msgspec.msgpack.Encoder()

MAP_BYTES: Final = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
"""First bytes of a MessagePack map."""


def merge(layout: TableLayout, body: bytes, changes: bytes, operations: bytes) -> bytes:
    """Return `body` with attributes set and numbers added, checked as a whole.

    Args:
        layout: Says which attributes the result must and may have.
        body: A MessagePack map.
        changes: The attributes to set as a map, or empty.
        operations: Attribute to number to add as a map, or empty; after `changes`.

    Raises:
        InvalidRecord: No maps, something else than a number is to be added to, the sum
            is not finite or beyond its bounds, or an attribute is missing or not allowed.
    """
    try:
        merged = _shallow.decode(body)
        if changes:
            merged.update(_shallow.decode(changes))
        if operations:
            for name, amount in _numbers.decode(operations).items():
                merged[name] = msgspec.Raw(_sum(layout, name, merged.get(name), amount))
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRecord("a patch must be a MessagePack map of attributes") from error
    _check_names(layout, merged)
    return _encoder.encode(merged)


def replace_some(
    layout: TableLayout, body: bytes, names: Collection[str], present: bytes | None
) -> bytes:
    """Return the body of a put whose sender may not change all, checked as a whole.

    Args:
        layout: Says which attributes the result must and may have.
        body: What was sent, a MessagePack map.
        names: The attributes that are as they were sent; all others are as in ``present``.
        present: The body of the record that is there; ``None``: all is as it was sent.

    Raises:
        InvalidRecord: No map, or an attribute is missing or not allowed.
    """
    try:
        merged = _shallow.decode(body)
        if present is not None:
            merged = {name: value for name, value in merged.items() if name in names}
            for name, value in _shallow.decode(present).items():
                if name not in names:
                    merged[name] = value
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRecord("a record must be a MessagePack map of attributes") from error
    _check_names(layout, merged)
    return _encoder.encode(merged)


def _sum(layout: TableLayout, name: str, present: msgspec.Raw | None, amount: object) -> bytes:
    """Return the packed sum; an absent or null attribute counts as 0."""
    value = 0 if present is None or bytes(present) == _NIL else _values.decode(present)
    if not _is_number(value) or not _is_number(amount):
        raise InvalidRecord(f"Property {name[:100]} is not a number, so nothing can be added")
    try:
        total = value + amount  # type: ignore[operator]  # both are numbers
    except OverflowError as error:
        raise InvalidRecord(f"Property {name[:100]} would be out of range") from error
    if isinstance(total, float) and not math.isfinite(total):
        raise InvalidRecord(f"Property {name[:100]} would be out of range")
    for bounds in layout.bounds:
        if bounds.attribute == name:
            total = _bounded(bounds, total)
    return pack_value(total)


def _bounded(bounds: IntegerBounds, total: float) -> int:
    """Return the sum as the integer that it has to be."""
    name = bounds.attribute[:100]
    if total != int(total):
        raise InvalidRecord(f"Property {name} is an integer, and its sum would be none")
    if bounds.least <= total <= bounds.greatest:
        return int(total)
    if max(-bounds.least, bounds.greatest) > _LONGEST_SHOWN:
        raise InvalidRecord(f"Property {name} would be out of range")
    raise InvalidRecord(f"Property {name} must be {bounds.least} to {bounds.greatest}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_names(layout: TableLayout, merged: dict[str, msgspec.Raw]) -> None:
    problems = [
        f"Property {name} is required"
        for name in sorted(layout.required)
        if name not in merged or bytes(merged[name]) == _NIL
    ]
    if layout.sealed is not None:
        problems += [
            f"Property {name[:100]} is not allowed" for name in merged if name not in layout.sealed
        ]
    if problems:
        raise InvalidRecord(*problems)
