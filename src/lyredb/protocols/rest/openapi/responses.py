"""Responses: how success is told in each format, and every error with its body."""

from __future__ import annotations

from typing import Final

from lyredb.formats import ANSWERS, CSV, FORM, NDJSON, PLAIN_TEXT
from lyredb.protocols.rest.openapi.api import Json, reference

_AS_TEXT: Final = frozenset(one.media_type for one in (CSV, FORM, NDJSON, PLAIN_TEXT))
"""Formats whose bodies are lines, not one value."""
_LINES: Final[Json] = {"type": "string", "description": "The same as lines of text."}
_SEQUENCE: Final[Json] = {
    "type": "string",
    "format": "binary",
    "description": "The values one after the other, without an array around them.",
}
_EXAMPLE: Final = "RecordNotFound: there is no such record"

SCHEMAS: Final[dict[str, Json]] = {
    "Error": {
        "type": "string",
        "description": "The name of the error, a colon, and a sentence.",
        "pattern": "^[A-Za-z]+: ",
        "example": _EXAMPLE,
    },
    "LoginError": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "Problem": {
        "type": "object",
        "description": "Problem details (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string", "description": "The status in words."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {"type": "string", "description": "The error, for programs."},
            "detail": {"type": "string"},
            "retryable": {
                "type": "boolean",
                "description": "The same request may succeed later.",
            },
        },
    },
    "StreamError": {
        "type": "object",
        "description": "The last element of a collection that could not be sent to its end.",
        "required": ["error", "message"],
        "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
        "additionalProperties": False,
    },
}

_ERRORS: Final[dict[int, tuple[str, str]]] = {
    400: ("BadRequest", "Something in the request makes no sense; the sentence says what."),
    401: ("Unauthorized", "A login is needed, or the one that came is wrong."),
    403: ("Forbidden", "The user is known and may not do this."),
    404: ("NotFound", "There is no such record or attribute."),
    405: ("NotAllowed", "The target exists and does not do this."),
    406: ("NotAcceptable", "None of the accepted formats can be made."),
    408: ("RequestTimeout", "The request took too long to arrive."),
    409: ("Conflict", "A record with this key exists, or somebody wrote at the same time."),
    412: ("PreconditionFailed", "A condition of the request does not hold at the commit."),
    413: ("TooLarge", "The body, the record or the transaction is larger than its limit."),
    415: ("UnsupportedMediaType", "The body is of a type or coding that is not taken."),
    429: ("TooManyAttempts", "Too many wrong passwords came from this address or for this user."),
    431: ("HeadersTooLarge", "Request line and headers are larger than their limit."),
    503: ("Unavailable", "Too much is waiting, or something is being built: try again later."),
}

HEADERS: Final[dict[str, Json]] = {
    "ETag": {"schema": {"type": "string"}, "description": "Changes with every write."},
    "LastModified": {"schema": {"type": "string"}, "description": "When it was last written."},
    "Location": {"schema": {"type": "string"}, "description": "The key, as a path has it."},
    "ContentLocation": {"schema": {"type": "string"}, "description": "The path of the record."},
    "Allow": {"schema": {"type": "string"}, "description": "The methods that are possible."},
    "RetryAfter": {"schema": {"type": "integer"}, "description": "In seconds."},
    "Challenge": {"schema": {"type": "string"}, "description": "How to log in."},
    "Read": {
        "schema": {"type": "string", "enum": ["snapshot", "as of"]},
        "description": "Whether all was read at once, or in parts as of one position.",
    },
    "Position": {
        "schema": {"type": "string"},
        "description": "The position in the log that the whole answer is of.",
    },
    "Vary": {"schema": {"type": "string"}, "description": "What else decides about the answer."},
}


def error_responses() -> dict[str, Json]:
    """The components of all errors."""
    return {name: _error(status, text) for status, (name, text) in _ERRORS.items()}


def _error(status: int, description: str) -> Json:
    text: Json = reference("schemas", "Error")
    if status == 401:
        text = {"anyOf": [text, reference("schemas", "LoginError")]}
    content: Json = {"application/json": {"schema": text}}
    if status == 406:
        content = {"text/plain": {"schema": {"type": "string"}}}
    content["application/problem+json"] = {"schema": reference("schemas", "Problem")}
    found: Json = {"description": description, "content": content}
    headers = _ERROR_HEADERS.get(status)
    if headers:
        found["headers"] = headers
    return found


def header(name: str, wire_name: str, *, required: bool = True) -> Json:
    """A header of a response by its component; one that may be missing stands in place."""
    if not required:
        return {wire_name: dict(HEADERS[name])}
    return {wire_name: {**HEADERS[name], "required": True}}


_ERROR_HEADERS: Final[dict[int, Json]] = {
    401: header("Challenge", "WWW-Authenticate"),
    405: header("Allow", "Allow"),
    429: header("RetryAfter", "Retry-After"),
    503: header("RetryAfter", "Retry-After"),
}


def errors(*statuses: int) -> dict[str, Json]:
    """References to the errors of these statuses, in their order."""
    return {str(status): reference("responses", _ERRORS[status][0]) for status in sorted(statuses)}


def value_content(schema: Json) -> Json:
    """One value in every format that an answer may be in."""
    return {
        one.media_type: {"schema": _LINES if one.media_type in _AS_TEXT else schema}
        for one in ANSWERS
    }


def collection_content(element: Json) -> Json:
    """A collection in every format that an answer may be in."""
    items: Json = {"anyOf": [element, reference("schemas", "StreamError")]}
    whole: Json = {"type": "array", "items": items}
    content = value_content(whole)
    content["application/x-msgpack"] = {"schema": _SEQUENCE}
    return content
