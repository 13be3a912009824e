"""What a request's body is: a value to store, or bytes to keep as they are."""

from __future__ import annotations

from collections.abc import Mapping

from lyredb.errors import InvalidBody, UnsupportedContentType
from lyredb.formats import JSON, StructuredFormat, format_for_content_type, guess_json
from lyredb.protocols.http.request import Request


def structured_format(content_type: str, body: bytes) -> StructuredFormat | None:
    """The format of a body, ``None`` when it is kept as bytes.

    Without a content type a body is JSON when it begins with ``{``.
    """
    if content_type:
        return format_for_content_type(content_type)
    return JSON if guess_json(body) else None


def decode_object(chosen: StructuredFormat, body: bytes) -> Mapping[str, object]:
    """Decode a record or changes.

    Raises:
        InvalidBody: Not in the format, or no object (``null``, a number, a list …).
        NestingTooDeep: Nested too deep.
    """
    value = chosen.decode(body)
    if not isinstance(value, Mapping):
        raise InvalidBody(f"the body must be an object, got {_kind(value)}")
    return value


def object_in(request: Request, body: bytes) -> Mapping[str, object]:
    """Return the object that a request's body has to be.

    Raises:
        UnsupportedContentType: Of another type than the structured ones.
        InvalidBody, NestingTooDeep: As the names say.
    """
    content_type = request.header(b"content-type")
    chosen = structured_format(content_type, body)
    if chosen is None:
        if not content_type:
            raise InvalidBody("the body must be an object; say its type by Content-Type")
        raise UnsupportedContentType(
            "this needs a body in application/json, application/cbor or application/x-msgpack"
        )
    return decode_object(chosen, body)


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
