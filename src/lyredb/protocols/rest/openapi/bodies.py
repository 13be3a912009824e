"""Bodies of requests, in every format that they may come in."""

from __future__ import annotations

from typing import Final

from lyredb.formats import FORMATS
from lyredb.protocols.rest.bodies import FORM_TYPE
from lyredb.protocols.rest.openapi.api import Json, reference
from lyredb.protocols.rest.openapi.schemas import component_of, type_schema
from lyredb.tables.schema import Attribute, TableSchema

_NDJSON: Final = "application/x-ndjson"
_LINES: Final[Json] = {"type": "string", "description": "One object in each line."}
_BYTES: Final[Json] = {"type": "string", "format": "binary"}
_KEPT: Final = "Bodies of every other type are kept as the bytes that came."
_TEXT_QUERY: Final[Json] = {
    "type": "string",
    "description": "What would else stand behind `?`.",
    "example": "value=gt=20&sort(-value)&limit(10)",
}

SCHEMAS: Final[dict[str, Json]] = {
    "Query": {
        "type": "object",
        "description": "A query as an object.",
        "properties": {
            "conditions": {
                "type": "array",
                "items": {"type": "object", "additionalProperties": True},
                "description": "`{attribute, comparator, value}`, or a group "
                "`{operator, conditions}`.",
            },
            "operator": {"type": "string", "enum": ["and", "or"]},
            "select": {
                "anyOf": [{"type": "string"}, {"type": "array", "items": {}}],
                "description": "Names; a name alone for bare values.",
            },
            "sort": {"type": "object", "description": "`{attribute, descending, next}`."},
            "limit": {"type": "integer", "minimum": 0},
            "offset": {"type": "integer", "minimum": 0},
            "explain": {"type": "boolean", "description": "Answer with the plan instead."},
            "enforceExecutionOrder": {"type": "boolean"},
            "allowFullScan": {"type": "boolean"},
        },
    },
}


def _structured(schema: Json) -> Json:
    return {one.media_type: {"schema": schema} for one in FORMATS}


def keeps_bytes(schema: TableSchema) -> bool:
    """Tell whether records of a table may be bytes: none that must have a certain form."""
    return not schema.sealed and not any(
        one.required for one in schema.attributes if one.role == "plain"
    )


def record_body(schema: TableSchema) -> Json:
    """A whole record."""
    content = _structured(reference("schemas", component_of(schema, "write")))
    content[FORM_TYPE] = {"schema": reference("schemas", component_of(schema, "write"))}
    found: Json = {"required": True, "content": content}
    if keeps_bytes(schema):
        content["application/octet-stream"] = {"schema": _BYTES}
        content["text/plain"] = {"schema": {"type": "string", "minLength": 1}}
        found["description"] = _KEPT
    return found


def changes_body(schema: TableSchema) -> Json:
    """What a PATCH sets and adds to."""
    content = _structured(reference("schemas", component_of(schema, "patch")))
    content[FORM_TYPE] = {"schema": reference("schemas", component_of(schema, "write"))}
    return {"required": True, "content": content}


def new_body(schema: TableSchema) -> Json:
    """A record, or a list of them."""
    one = reference("schemas", component_of(schema, "write"))
    content = _structured({"anyOf": [one, {"type": "array", "items": one}]})
    content[FORM_TYPE] = {"schema": one}
    content[_NDJSON] = {"schema": _LINES}
    return {"required": True, "content": content}


def records_body(schema: TableSchema) -> Json:
    """A list of records, each with its key."""
    one: Json = {
        "allOf": [
            reference("schemas", component_of(schema, "write")),
            {"type": "object", "required": [schema.primary_key]},
        ]
    }
    content = _structured({"type": "array", "items": one})
    content[_NDJSON] = {"schema": _LINES}
    return {"required": True, "content": content}


def property_body(schema: TableSchema, attributes: list[Attribute]) -> Json:
    """The value of one attribute: which type it has to have depends on the path."""
    types = [type_schema(schema, one.type, "write") for one in attributes]
    unique = [one for number, one in enumerate(types) if one not in types[:number]]
    content = _structured(unique[0] if len(unique) == 1 else {"anyOf": unique})
    content["text/plain"] = {"schema": {"type": "string"}}
    content["application/octet-stream"] = {"schema": _BYTES}
    return {
        "required": True,
        "content": content,
        "description": "JSON where no type is said. Text and bytes for attributes that hold them.",
    }


def query_body() -> Json:
    """A query, as an object or as text."""
    content = _structured(reference("schemas", "Query"))
    content["text/plain"] = {"schema": _TEXT_QUERY}
    return {"required": False, "content": content}
