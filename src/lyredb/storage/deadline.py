"""When a record goes away by itself, as the writer decides at each write. No I/O."""

from __future__ import annotations

import math
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from lyredb.storage.body import decode_extension
from lyredb.storage.layout import TableLayout
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.record import RecordHeader

LATEST_MS: Final = 2**62
"""Later deadlines count as this one; it fits into the header of a record."""


def deadline_ms(
    layout: TableLayout, mutation: Mutation, header: RecordHeader | None, body: bytes, now_ms: int
) -> int:
    """Return when the record that a write makes is gone, in epoch ms; 0 for never.

    In this order: what the write says itself (a retained message with an expiry), the
    record's attribute for it, the expiration of the table since now. A patch of a record
    in a table without either of the last two leaves the deadline as it is.

    Args:
        layout: The table.
        mutation: A PUT or PATCH.
        header: Of the live record before, if there is one.
        body: Of the record afterwards; an opaque one has no attributes.
        now_ms: The time of the write.
    """
    if mutation.expires_ms:
        return mutation.expires_ms
    if layout.expires_from and not mutation.opaque:
        named = _named_deadline(layout.expires_from, body)
        if named:
            return named
    if layout.expiration_ms:
        return now_ms + layout.expiration_ms
    is_kept = mutation.kind is Kind.PATCH and header is not None and not layout.expires_from
    return header.expires_ms if is_kept and header is not None else 0


def _named_deadline(attribute: str, body: bytes) -> int:
    """The time at an attribute, 0 where there is none; one of the past is at least 1."""
    try:
        value = _decoder(attribute).decode(body).value
    except (msgspec.DecodeError, RecursionError, ValueError):
        return 0
    if isinstance(value, datetime):
        value = value.timestamp() * 1000
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return 0
    return max(1, int(min(value, LATEST_MS)) if value > 0 else 1)


@lru_cache(maxsize=256)
def _decoder(attribute: str) -> Any:
    struct = msgspec.defstruct("Named", [("value", Any, None)], rename={"value": attribute})
    return msgspec.msgpack.Decoder(struct, ext_hook=decode_extension)
