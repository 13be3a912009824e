"""Parameters of operations: keys, attributes as conditions, preconditions."""

from __future__ import annotations

from typing import Final

from lyredb.protocols.rest.openapi.api import Json, reference
from lyredb.protocols.rest.openapi.schemas import EPOCH_MS, path_key_schema
from lyredb.resources.replay import MAX_COUNT, OMIT_CURRENT, PREVIOUS_COUNT, START_TIME
from lyredb.tables.schema import Attribute, TableSchema, TypeRef
from lyredb.tables.values import INTEGER_BOUNDS

_NO_CONDITIONS: Final = ("Bytes", "Blob", "Any")
_TAG: Final = '(W/)?"[!#-~]*"'
_TAGS: Final[Json] = {
    "type": "string",
    "pattern": rf"^(\*|{_TAG}(, {_TAG})*)$",
    "example": '"0r8!a7Zq1x"',
}
_DATE: Final[Json] = {"type": "string", "example": "Wed, 21 Oct 2026 07:28:00 GMT"}


def _header(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "header", "schema": schema, "description": description}


def _stream(name: str, schema: Json, what: str) -> Json:
    return {
        "name": name,
        "in": "query",
        "schema": schema,
        "description": f"Of streams only (`Accept: text/event-stream`, or a WebSocket): it {what}",
    }


HEADERS: Final[dict[str, Json]] = {
    "IfNoneMatch": _header(
        "If-None-Match",
        _TAGS,
        "Entity tags that the client knows, or `*`: 304 for a read, 412 for a write, "
        "where one matches.",
    ),
    "IfModifiedSince": _header(
        "If-Modified-Since",
        _DATE,
        "304 unless it was written later; only without If-None-Match, and only with the setting "
        "`rest.lastModified`.",
    ),
    "IfMatch": _header(
        "If-Match", _TAGS, "412 unless the record has one of these tags at the commit; `*`: exists."
    ),
    "IfUnmodifiedSince": _header(
        "If-Unmodified-Since", _DATE, "412 if it was written later; ignored beside If-Match."
    ),
}
"""The components."""
STREAMS: Final[dict[str, Json]] = {
    "StartTime": _stream(
        START_TIME,
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "format": "date-time"}]},
        "begins with what was committed after this time: epoch milliseconds or ISO 8601.",
    ),
    "PreviousCount": _stream(
        PREVIOUS_COUNT,
        {"type": "integer", "minimum": 1, "maximum": MAX_COUNT},
        "begins with the last changes and messages, at most so many.",
    ),
    "OmitCurrent": _stream(
        OMIT_CURRENT, {"type": "boolean"}, "begins with changes from now on, without current state."
    ),
}
"""The components for streams of events."""
READ_CONDITIONS: Final = [
    reference("parameters", one) for one in ("IfNoneMatch", "IfModifiedSince")
]
COLLECTION_CONDITIONS: Final = [reference("parameters", one) for one in ("IfMatch", "IfNoneMatch")]
WRITE_CONDITIONS: Final = [
    reference("parameters", one) for one in ("IfMatch", "IfNoneMatch", "IfUnmodifiedSince")
]


def key_parameter(schema: TableSchema) -> Json:
    """The key in a path. Slashes in it may stand as they are."""
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": path_key_schema(schema),
        "description": "The key. It may have slashes, as they are or as %2F.",
    }


def prefix_parameter() -> Json:
    """What keys begin with."""
    return {
        "name": "prefix",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "pattern": "^[^/+#\\u0000]+$"},
        "description": "What the keys begin with, before a slash.",
    }


def property_parameter(names: list[str]) -> Json:
    """The name of an attribute in a path."""
    return {
        "name": "property",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": names},
        "description": "A declared attribute.",
    }


def conditions(schema: TableSchema) -> list[Json]:
    """Each attribute that can be compared as a query parameter: equality."""
    return [
        {
            "name": one.name,
            "in": "query",
            "required": False,
            "schema": _condition_schema(schema, one),
            "description": _described(one),
        }
        for one in schema.attributes
        if _can_be_compared(schema, one)
    ]


def streams(schema: TableSchema) -> list[Json]:
    """Where a stream of events begins; a name that an attribute has is a condition's."""
    taken = {one.name for one in schema.attributes}
    return [
        reference("parameters", component)
        for component, one in STREAMS.items()
        if one["name"] not in taken
    ]


def _can_be_compared(schema: TableSchema, attribute: Attribute) -> bool:
    name = attribute.type.innermost
    nested = {one.name for one in schema.nested}
    return attribute.relation is None and name not in nested and name not in _NO_CONDITIONS


def _condition_schema(schema: TableSchema, attribute: Attribute) -> Json:
    type: TypeRef = attribute.type
    while type.element is not None:  # of a list any element may be equal
        type = type.element
    if type.name in INTEGER_BOUNDS and type.name != "BigInt":
        least, greatest = INTEGER_BOUNDS[type.name]
        return {"type": "integer", "minimum": least, "maximum": greatest}
    match type.name:
        case "BigInt":
            return {"type": "integer"}
        case "Float" if attribute.role in ("created", "updated"):
            return dict(EPOCH_MS)
        case "Float":
            return {"type": "number"}
        case "Boolean":
            return {"type": "boolean"}
        case "Date":
            return {"type": "string", "format": "date-time"}
        case _:
            return {"type": "string"}


def _described(attribute: Attribute) -> str:
    what = f"Only records whose {attribute.name} is equal; of a list one element."
    return f"{attribute.description} {what}" if attribute.description else what
