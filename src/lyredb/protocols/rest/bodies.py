"""What a request's body is: a value to store, several, or bytes to keep as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lyredb.errors import InvalidBody, InvalidHeader, LyreError, UnsupportedContentType
from lyredb.formats import (
    JSON,
    MSGPACK,
    BodyFormat,
    body_format,
    decode_text,
    essence_of,
    guess_json,
    is_media_type,
    is_multipart,
    is_text,
)
from lyredb.resources.registry import shorten
from lyredb.resources.target import Target
from lyredb.tables.form import read_form
from lyredb.tables.stored import StoredTable

FORM_TYPE: Final = "application/x-www-form-urlencoded"
_MAPS: Final = (*range(0x80, 0x90), 0xDE, 0xDF)
"""How an object begins in MessagePack."""
_BYTE_TYPES: Final = ("Bytes", "Blob")


def value_in(table: StoredTable, content_type: str, body: bytes) -> Mapping[str, object] | None:
    """The record or changes in a body, ``None`` when it is to be kept as bytes.

    Without a content type a body is JSON when it begins with ``{``. So it is as a form:
    that is what ``curl -d`` says of everything.

    Raises:
        InvalidBody: Not in its format, or no object (``null``, a number, a list …).
        NestingTooDeep: Nested too deep.
        UnsupportedContentType: A multipart form: its parts would be kept as one lump.
        InvalidHeader: The type is none, or there are several.
    """
    if content_type == "application/json":  # as nearly all say it
        return _object(JSON.decode(body))
    if is_multipart(content_type):
        raise UnsupportedContentType("multipart bodies are not taken; send application/json")
    is_form = essence_of(content_type) == FORM_TYPE
    if content_type and not is_form:
        chosen = body_format(content_type)
    else:
        chosen = JSON if guess_json(body) else None
    if chosen is not None:
        return _object(chosen.decode(body))
    if is_form:
        return read_form(body, table.schema)
    if content_type and not is_media_type(content_type):
        raise InvalidHeader(
            f"Content-Type must be one type such as application/json, got {shorten(content_type)}"
        )
    return None


def _object(value: object) -> Mapping[str, object]:
    if type(value) is dict:  # asking for a Mapping takes four times as long
        return value
    if not isinstance(value, Mapping):
        raise InvalidBody(f"the body must be an object, got {_kind(value)}")
    return value


def object_in(table: StoredTable, content_type: str, body: bytes) -> Mapping[str, object]:
    """Return the object that a request's body has to be.

    Raises:
        UnsupportedContentType: Of another type than the structured ones.
        InvalidBody, NestingTooDeep: As the names say.
    """
    value = value_in(table, content_type, body)
    if value is None:
        raise _unstructured(content_type, "an object", "or as a form")
    return value


def object_or_objects(
    table: StoredTable, content_type: str, body: bytes
) -> Mapping[str, object] | list[Mapping[str, object]]:
    """Return the object, or the objects of the list, that a body has to be.

    Raises:
        UnsupportedContentType: Of another type than the structured ones.
        InvalidBody, NestingTooDeep: As the names say.
    """
    chosen = _structured(content_type, body)
    if chosen is None:
        return object_in(table, content_type, body)
    value = _list_in(chosen, body)
    if isinstance(value, list):
        objects = _objects(value)
        return objects[0] if _is_sequence(chosen, body) and len(objects) == 1 else objects
    if not isinstance(value, Mapping):
        raise InvalidBody(f"the body must be an object or a list of objects, got {_kind(value)}")
    return value


def objects_in(content_type: str, body: bytes) -> list[Mapping[str, object]]:
    """Return the objects of the list that a body has to be.

    Raises:
        UnsupportedContentType: Of another type than the structured ones.
        InvalidBody, NestingTooDeep: As the names say.
    """
    chosen = _structured(content_type, body)
    if chosen is None:
        raise _unstructured(content_type, "a list of objects", "or application/x-ndjson")
    value = _list_in(chosen, body)
    if not isinstance(value, list):
        raise InvalidBody(f"the body must be a list of objects, got {_kind(value)}")
    return _objects(value)


def _list_in(chosen: BodyFormat, body: bytes) -> object:
    """Decode what may be several records: in MessagePack also as our answers have them."""
    return MSGPACK.decode_sequence(body) if _is_sequence(chosen, body) else chosen.decode(body)


def _is_sequence(chosen: BodyFormat, body: bytes) -> bool:
    return chosen is MSGPACK and (not body or body[0] in _MAPS)


def structured_value(content_type: str, body: bytes, wanted: str, also: str = "") -> object:
    """Return the value that a body in one of the structured formats is.

    Args:
        content_type: As sent; without one it is JSON when it begins as an object or list.
        body: As received.
        wanted: What it should be, for messages.
        also: A further type that it may have, for messages.

    Raises:
        UnsupportedContentType: Of another type than the structured ones.
        InvalidBody, NestingTooDeep: As the names say.
    """
    chosen = _structured(content_type, body)
    if chosen is None:
        raise _unstructured(content_type, wanted, also)
    return chosen.decode(body)


def property_in(target: Target, content_type: str, body: bytes) -> object:
    """Return the value of one attribute that a body is.

    What has no type, or that of a form, which ``curl -d`` says of everything, is JSON.
    What is of no structured type is bytes where the attribute holds bytes, else text.

    Raises:
        UnsupportedContentType: Of a type that is neither, for an attribute without bytes.
        InvalidBody, NestingTooDeep: As the names say.
    """
    if not content_type or essence_of(content_type) == FORM_TYPE:
        return JSON.decode(body)
    chosen = body_format(content_type)
    if chosen is not None:
        return chosen.decode(body)
    attribute = target.table.schema.attribute(target.attribute)
    if attribute is not None and attribute.type.name in _BYTE_TYPES:
        return body
    if is_text(content_type):
        return decode_text(body, content_type)
    raise _unstructured(content_type, "a value", "or text/plain")


def _structured(content_type: str, body: bytes) -> BodyFormat | None:
    """The format of a body that may be a list; JSON when nothing else is said."""
    if content_type and essence_of(content_type) != FORM_TYPE:
        return body_format(content_type)
    return JSON if body.lstrip(b" \t\r\n")[:1] in (b"{", b"[") else None


def _objects(values: Sequence[object]) -> list[Mapping[str, object]]:
    found: list[Mapping[str, object]] = []
    for number, value in enumerate(values, 1):
        if not isinstance(value, Mapping):
            raise InvalidBody(f"element {number} must be an object, got {_kind(value)}")
        found.append(value)
    return found


def _unstructured(content_type: str, wanted: str, also: str = "") -> LyreError:
    if not content_type:
        return InvalidBody(f"the body must be {wanted}; say its type by Content-Type")
    if is_multipart(content_type):
        return UnsupportedContentType("multipart bodies are not taken; send application/json")
    also = f" {also}" if also else ""
    return UnsupportedContentType(
        f"this needs {wanted} in application/json, application/cbor or "
        f"application/x-msgpack{also}, not {shorten(content_type)}"
    )


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return "another value"
