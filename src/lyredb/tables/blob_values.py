"""What stands for a blob in a record that somebody sends or is shown.

Text is a string. What has another content type is ``{contentType, data}``, bytes among it,
since in JSON a string of base64 would be text; what is in a file is ``{contentType, size,
blob, href}``: a record that was read can be sent back as it is, and loses nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from lyredb.formats import essence_of, is_text
from lyredb.storage.blob import CONTENT_TYPE, DATA, REFERENCE, PackedBlob, is_type, packed_of

TEXT: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"
ENCODING: Final = "encoding"
"""Beside ``data``: ``base64`` where that is not text although its type says so."""
_PLAIN_TEXT: Final = ("text/plain", "text/plain;charset=utf-8")
_TEXTUAL: Final = ("application/json", "application/xml", "application/javascript")


def is_textual(content_type: str) -> bool:
    """Tell whether ``data`` of this type is text, and base64 in a string otherwise."""
    essence = essence_of(content_type)
    return is_text(essence) or essence in _TEXTUAL or essence.endswith(("+json", "+xml"))


def inline_value(content_type: str, data: bytes) -> str | PackedBlob:
    """Return content in the form in which a record holds it."""
    plain = content_type.replace(" ", "").lower()
    if plain in _PLAIN_TEXT:
        try:
            return data.decode()
        except UnicodeDecodeError:
            return PackedBlob(content_type, data)
    return PackedBlob(content_type or BYTES, data)


def content_in(value: object) -> tuple[str, bytes] | None:
    """Return content type and content of a value that is content, ``None`` of anything else."""
    match value:
        case str():
            try:
                return TEXT, value.encode()
            except UnicodeEncodeError:
                return None  # the store refuses it
        case bytes():
            return BYTES, value
        case bytearray() | memoryview():
            return BYTES, bytes(value)
        case PackedBlob() if not value.id:
            return value.content_type, value.data
        case {"contentType": str() as kind, "data": str() | bytes() as data, **more} if is_type(
            kind
        ):
            content = _content(kind, data, more.get(ENCODING))
            return None if content is None else (kind, content)
    return None


def reference_in(value: Mapping[str, object]) -> PackedBlob | None:
    """Return the reference to a file that a mapping is, ``None`` when it is none."""
    packed = packed_of(value) if REFERENCE in value else None
    return packed if packed is not None and packed.id else None


def shown(value: Mapping[str, object], href: str) -> dict[str, object]:
    """Return a stored blob that is not plain text as everybody sees it.

    Args:
        value: As it was decoded.
        href: Where its content is, ``""`` where nobody outside can have it.
    """
    if REFERENCE in value:
        return {**value, "href": href} if href else dict(value)
    kind, data = value[CONTENT_TYPE], value[DATA]
    assert isinstance(kind, str), "so it was decoded"
    assert isinstance(data, bytes), "so it was decoded"
    if is_textual(kind):
        try:
            return {CONTENT_TYPE: kind, DATA: data.decode()}
        except UnicodeDecodeError:
            # Its type names another charset, or is wrong.
            return {CONTENT_TYPE: kind, ENCODING: "base64", DATA: data}
    return {CONTENT_TYPE: kind, DATA: data}


def _content(kind: str, data: str | bytes, encoding: object) -> bytes | None:
    if isinstance(data, bytes):
        return data
    if encoding not in (None, "base64"):
        return None
    if encoding is None and is_textual(kind):
        try:
            return data.encode()
        except UnicodeEncodeError:
            return None
    return _from_base64(data)


def bytes_in(value: Mapping[str, object]) -> bytes | None:
    """Return the bytes that ``{"encoding": "base64", "data": …}`` is, ``None`` for others.

    So JSON, which has no bytes, writes those of an attribute that is no blob.
    """
    match value:
        case {"encoding": "base64", "data": str() as data, **more} if not more:
            return _from_base64(data)
    return None


def _from_base64(data: str) -> bytes | None:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
