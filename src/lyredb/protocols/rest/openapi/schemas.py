"""Types as JSON Schemas: what is read, what may be written, and what a PATCH may change.

They differ: a reader may see less than everything (rights on attributes), and a record
that is older than its schema may lack what is required now, so only the key is certain
to be there; a writer has to bring what is required; a PATCH brings any part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from lyredb.protocols.rest.openapi.api import Api, Json, reference
from lyredb.tables.schema import Attribute, NestedType, TableSchema, TypeRef
from lyredb.tables.values import INTEGER_BOUNDS

Use = Literal["read", "write", "patch"]
_SUFFIX: Final[dict[Use, str]] = {"read": "", "write": ".Input", "patch": ".Patch"}

_TEXT_KEY: Final[Json] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 1978,
    "pattern": "^[^/+#\\u0000]+(/[^/+#\\u0000]+)*$",
}
"""Of a key; in bytes the limit is the same number."""
BLOB_OBJECT: Final[Json] = {
    "type": "object",
    "description": "A blob that is more than text: its content, or where that is.",
    "required": ["contentType"],
    "properties": {
        "contentType": {"type": "string"},
        "data": {"type": "string"},
        "encoding": {"type": "string", "enum": ["base64"]},
        "size": {"type": "integer", "minimum": 0},
        "blob": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "href": {"type": "string"},
    },
}
_READ: Final[dict[str, Json]] = {
    "ID": {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
        ]
    },
    "String": {"type": "string"},
    "Int": {"type": "integer", "format": "int32"},
    "Long": {"type": "integer", "format": "int64"},
    "BigInt": {"type": "integer"},
    "Float": {"type": "number", "format": "double"},
    "Boolean": {"type": "boolean"},
    "Date": {"type": "string", "format": "date-time"},
    "Bytes": {"type": "string", "format": "byte"},
    "Blob": {"anyOf": [{"type": "string"}, BLOB_OBJECT]},
    "Any": {"nullable": True, "description": "Any value."},
}
EPOCH_MS: Final[Json] = {"type": "number", "minimum": -62_135_596_800_000, "maximum": 2e14}
"""A time in epoch milliseconds, within the years that dates have."""
_WRITTEN: Final[dict[str, Json]] = {
    "BigInt": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^-?[0-9]{1,300}$"}]},
    "Date": {"anyOf": [{"type": "string", "format": "date-time"}, EPOCH_MS]},
    "Bytes": {
        "anyOf": [
            {"type": "string", "description": "Kept as UTF-8."},
            {
                "type": "object",
                "required": ["encoding", "data"],
                "properties": {
                    "encoding": {"type": "string", "enum": ["base64"]},
                    "data": {"type": "string", "format": "byte"},
                },
                "additionalProperties": False,
            },
        ]
    },
}
"""Where more or something else is taken than is given."""
_NUMBERS: Final = ("Int", "Long", "BigInt", "Float", "Any")

COMMON: Final[dict[str, Json]] = {
    "Increment": {
        "type": "object",
        "description": "Adds to what is there; concurrent additions all count.",
        "required": ["__op__", "value"],
        "properties": {
            "__op__": {"type": "string", "enum": ["add"]},
            "value": {"type": "number"},
        },
        "additionalProperties": False,
    },
}


def component_of(schema: TableSchema, use: Use = "read") -> str:
    """The name of a table's component."""
    base = schema.name if schema.database == "data" else f"{schema.database}.{schema.name}"
    return base + _SUFFIX[use]


def components(api: Api) -> dict[str, Json]:
    """All schemas of a document by name: of the tables, and of those that these relate to."""
    found = dict(COMMON)
    for schema in _reachable(api):
        for use in ("read", "write", "patch"):
            if use == "read" or any(one.schema == schema for one in api.tables):
                found[component_of(schema, use)] = _record(schema, use)
        for nested in schema.nested:
            found[_nested_name(schema, nested.name)] = _nested(schema, nested)
    return found


def _reachable(api: Api) -> Iterator[TableSchema]:
    """The tables of the document, then those that relations lead to."""
    waiting = [one.schema for one in api.tables]
    seen: set[str] = set()
    while waiting:
        schema = waiting.pop(0)
        if schema.full_name in seen:
            continue
        seen.add(schema.full_name)
        yield schema
        relations = (one.relation for one in schema.attributes if one.relation is not None)
        waiting += [api.schemas[one.target] for one in relations if one.target in api.schemas]


def key_schema(schema: TableSchema) -> Json:
    """The schema of a table's key, in a path and in a body."""
    match schema.key_type:
        case "ID" | "String" if schema.split_segments:
            listed: Json = {"type": "array", "items": {"type": "string"}, "minItems": 1}
            return {"anyOf": [_TEXT_KEY, listed]}
        case "ID" | "String":
            return dict(_TEXT_KEY)
        case "Int" | "Long" | "BigInt":
            return _integer(schema.key_type)
        case _:
            return {"anyOf": [_integer("Long"), _TEXT_KEY]}


def path_key_schema(schema: TableSchema) -> Json:
    """The schema of a table's key as a path has it."""
    if schema.key_type in ("Int", "Long", "BigInt"):
        return _integer(schema.key_type)
    return dict(_TEXT_KEY)


def _integer(name: str) -> Json:
    found = dict(_READ[name])
    if name != "BigInt":
        found["minimum"], found["maximum"] = INTEGER_BOUNDS[name]
    return found


def _record(schema: TableSchema, use: Use) -> Json:
    properties: Json = {schema.primary_key: _key(schema, use)}
    required = [schema.primary_key] if use == "read" else []
    for attribute in schema.attributes:
        if attribute.role == "primary key" or (attribute.is_virtual and use != "read"):
            continue
        properties[attribute.name] = _attribute(schema, attribute, use)
        if use == "write" and attribute.required and not attribute.is_virtual:
            required.append(attribute.name)
    return _object(properties, required, sealed=schema.sealed, description=schema.description)


def _object(properties: Json, required: list[str], *, sealed: bool, description: str) -> Json:
    found: Json = {"type": "object", "properties": properties, "additionalProperties": not sealed}
    if required:
        found["required"] = required
    if description:
        found["description"] = description
    return found


def _key(schema: TableSchema, use: Use) -> Json:
    declared = schema.attribute(schema.primary_key)
    found = key_schema(schema)
    found["description"] = (declared.description if declared else "") or "The key."
    if use == "write":
        found["description"] = (
            f"{found['description']} In a path it wins over this one; without either it is made."
        )
    return found


def _attribute(schema: TableSchema, attribute: Attribute, use: Use) -> Json:
    if attribute.relation is not None:
        found = _relation(schema, attribute)
    elif attribute.role in ("created", "updated"):
        found = dict(_READ[attribute.type.name], readOnly=True)
        if use != "read":
            found = {"readOnly": True, "nullable": True, "description": "Ignored when it comes."}
    else:
        found = type_schema(schema, attribute.type, use)
    if attribute.computed is not None:
        found = _annotated(found, readOnly=True)
    if use == "patch" and attribute.type.name in _NUMBERS:
        found = {"anyOf": [found, reference("schemas", "Increment")]}
    notes = [attribute.description, _note(attribute)]
    text = " ".join(note for note in notes if note)
    return _annotated(found, description=text) if text else found


def _note(attribute: Attribute) -> str:
    if attribute.is_virtual and not attribute.enumerable:
        return "Only there when it is selected."
    match attribute.role:
        case "created":
            return "When the record was made."
        case "updated":
            return "When the record was last written."
        case "expires":
            return "When the record is gone."
        case _:
            return ""


def _relation(schema: TableSchema, attribute: Attribute) -> Json:
    relation = attribute.relation
    assert relation is not None, "asked before"
    database, _, name = relation.target.partition(".")
    one = reference("schemas", name if database == "data" else relation.target)
    if relation.many:
        return {"type": "array", "items": one, "readOnly": True}
    return {"allOf": [one], "readOnly": True}


def type_schema(schema: TableSchema, type: TypeRef, use: Use) -> Json:
    """The schema of a declared type; nullable unless required."""
    found = _plain_type(schema, type, use)
    return found if type.required else _annotated(found, nullable=True)


def _plain_type(schema: TableSchema, type: TypeRef, use: Use) -> Json:
    if type.element is not None:
        return {"type": "array", "items": type_schema(schema, type.element, use)}
    if use != "read" and type.name in _WRITTEN:
        return dict(_WRITTEN[type.name])
    if type.name in INTEGER_BOUNDS:
        return _integer(type.name)
    if type.name in _READ:
        return dict(_READ[type.name])
    return reference("schemas", _nested_name(schema, type.name))


def _annotated(found: Json, **notes: object) -> Json:
    """The same schema with annotations; what stands beside ``$ref`` would be ignored."""
    return {"allOf": [found], **notes} if "$ref" in found else {**found, **notes}


def _nested_name(schema: TableSchema, name: str) -> str:
    return f"{component_of(schema)}.{name}"


def _nested(schema: TableSchema, nested: NestedType) -> Json:
    properties: Json = {}
    for one in nested.attributes:
        found = type_schema(schema, one.type, "write")
        properties[one.name] = (
            _annotated(found, description=one.description) if one.description else found
        )
    required = [one.name for one in nested.attributes if one.required]
    return _object(properties, required, sealed=nested.sealed, description=nested.description)
