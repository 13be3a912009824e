"""What a request's body is: a value to store, or bytes to keep as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lyredb.errors import InvalidBody, UnsupportedContentType
from lyredb.formats import JSON, StructuredFormat, format_for_content_type, guess_json
from lyredb.resources.registry import shorten
from lyredb.tables.form import read_form
from lyredb.tables.stored import StoredTable

FORM_TYPE: Final = "application/x-www-form-urlencoded"


def value_in(table: StoredTable, content_type: str, body: bytes) -> Mapping[str, object] | None:
    """The record or changes in a body, ``None`` when it is to be kept as bytes.

    Without a content type a body is JSON when it begins with ``{``. So it is as a form:
    that is what ``curl -d`` says of everything.

    Raises:
        InvalidBody: Not in its format, or no object (``null``, a number, a list …).
        NestingTooDeep: Nested too deep.
        UnsupportedContentType: A multipart form: its parts would be kept as one lump.
    """
    if content_type == "application/json":  # as nearly all say it
        return _decode_object(JSON, body)
    if content_type.lstrip()[:10].lower() == "multipart/":
        raise UnsupportedContentType("multipart bodies are not taken; send application/json")
    if content_type and not _is_form(content_type):
        chosen = format_for_content_type(content_type)
    else:
        chosen = JSON if guess_json(body) else None
    if chosen is not None:
        return _decode_object(chosen, body)
    return read_form(body, table.schema) if content_type and _is_form(content_type) else None


def _is_form(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == FORM_TYPE


def _decode_object(chosen: StructuredFormat, body: bytes) -> Mapping[str, object]:
    """Decode a record or changes.

    Raises:
        InvalidBody: Not in the format, or no object (``null``, a number, a list …).
        NestingTooDeep: Nested too deep.
    """
    value = chosen.decode(body)
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
    if value is not None:
        return value
    if not content_type:
        raise InvalidBody("the body must be an object; say its type by Content-Type")
    raise UnsupportedContentType(
        "this needs a body in application/json, application/cbor, application/x-msgpack or as "
        f"a form, not {shorten(content_type)}"
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
        case _:
            return "another value"
