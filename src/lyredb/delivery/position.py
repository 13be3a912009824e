"""Position tokens: where a subscriber resumes, as an opaque text.

``<log id hex>.<seq>`` says that everything up to entry ``seq`` of that log was told.
``<log id hex>.<seq>~<slot>.<base64url key>`` is a place inside a scan of current state:
records up to and including that key were told as of ``seq``, later ones not yet.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from lyredb.errors import InvalidHeader

MAX_TOKEN_CHARACTERS: Final = 1024
"""A log id, two numbers and a key of at most 481 bytes need below 750."""

_TOKEN: Final = re.compile(
    r"(?P<log>(?:[0-9a-f]{2}){1,32})\.(?P<seq>0|[1-9][0-9]{0,18})"
    r"(?:~(?P<slot>0|[1-9][0-9]{0,4})\.(?P<key>[A-Za-z0-9_-]*))?"
)
_INVALID: Final = "this is no position; use the token of an event or of the ready mark as it came"


@dataclass(frozen=True, slots=True)
class Position:
    """A parsed token.

    Attributes:
        log_id: Which log, lower-case hexadecimal.
        seq: The last entry that was told.
        slot: Of the table being scanned, ``None`` outside a scan.
        key: The last key that was scanned, ``None`` outside a scan.
    """

    log_id: str
    seq: int
    slot: int | None = None
    key: bytes | None = None


def format_position(
    log_id: str, seq: int, slot: int | None = None, key: bytes | None = None
) -> str:
    """Return the token; with slot and key the one of a place inside a scan."""
    if slot is None or key is None:
        return f"{log_id}.{seq}"
    return f"{log_id}.{seq}~{slot}.{base64.urlsafe_b64encode(key).rstrip(b'=').decode()}"


def parse_position(token: str) -> Position:
    """Read a token.

    Raises:
        InvalidHeader: It was not made by `format_position`.
    """
    found = _TOKEN.fullmatch(token) if len(token) <= MAX_TOKEN_CHARACTERS else None
    if found is None:
        raise InvalidHeader(_INVALID)
    if found["slot"] is None:
        return Position(found["log"], int(found["seq"]))
    return Position(found["log"], int(found["seq"]), int(found["slot"]), _decode(found["key"]))


def _decode(text: str) -> bytes:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise InvalidHeader(_INVALID) from None
    if base64.urlsafe_b64encode(key).rstrip(b"=").decode() != text:
        # Unused bits are set: two texts must not name one place.
        raise InvalidHeader(_INVALID)
    return key
