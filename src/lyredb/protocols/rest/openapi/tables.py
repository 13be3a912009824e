"""The path items of a table: one for each kind of target."""

from __future__ import annotations

from typing import Final

from lyredb.protocols.rest.methods import is_assignable_attribute
from lyredb.protocols.rest.openapi import bodies, parameters
from lyredb.protocols.rest.openapi.api import Api, ApiTable, Json, reference
from lyredb.protocols.rest.openapi.operations import Describes
from lyredb.protocols.rest.openapi.responses import collection_content, header, value_content
from lyredb.protocols.rest.openapi.schemas import component_of, key_schema, type_schema
from lyredb.tables.schema import Attribute, TableSchema

_LANGUAGE: Final = (
    "Behind `?` stands a query: conditions such as `value=gt=20` joined by `&` or `|`, and "
    "`limit(10)`, `sort(-value)`, `select(id,value)`, `explain()`. Equality of an attribute is "
    "described as a parameter; for all else see the page on the query language. What "
    "`select` and `explain` answer is not described here."
)
_NO_CONTENT: Final[Json] = {"description": "It is on disk."}
_BYTES: Final[Json] = {"schema": {"type": "string", "format": "binary"}}
_EVENTS: Final[dict[str, Json]] = {
    "text/event-stream": {
        "schema": {"type": "string"},
    }
}
"""Changes as they happen, for who asks for this type."""
_PARTS: Final[dict[str, Json]] = {
    "206": {
        "description": "The part of a blob that `Range` asks for.",
        "content": {"*/*": _BYTES},
    },
    "416": {"description": "No byte of the blob is in the range."},
}


def table_paths(api: Api, table: ApiTable) -> dict[str, Json]:
    """All path items of a table by path."""
    return _TablePaths(api, table).all()


class _TablePaths:
    def __init__(self, api: Api, table: ApiTable) -> None:
        self._api = api
        self._path = table.path
        self._schema = table.schema
        self._name = table.path.replace("/", ".")
        self._record = reference("schemas", component_of(table.schema))
        self._has_integer_keys = table.schema.key_type in ("Int", "Long", "BigInt")

    def all(self) -> dict[str, Json]:
        base, schema = f"/{self._path}", self._schema
        found: dict[str, Json] = {base: self._description(), f"{base}/": self._collection()}
        if not self._has_integer_keys:
            prefix = parameters.prefix_parameter()
            found[f"{base}/{{prefix}}/"] = {"parameters": [prefix], **self._part()}
        key = parameters.key_parameter(schema)
        found[f"{base}/{{id}}"] = {"parameters": [key], **self._one()}
        names = [one.name for one in schema.attributes]
        if names:
            named = parameters.property_parameter(names)
            found[f"{base}/{{id}}.{{property}}"] = {"parameters": [key, named], **self._property()}
        return found

    def _describes(self, kind: str, *statuses: int) -> Describes:
        return Describes(f"{self._name}.{kind}", self._path, statuses, self._api.cors)

    @property
    def _missing(self) -> tuple[int, ...]:
        """Paths that name no record are 404, also for a write, where keys are integers."""
        return (404,) if self._has_integer_keys else ()

    def _description(self) -> Json:
        describes = self._describes("table")
        ok: Json = {
            "description": "Names and attributes.",
            "content": value_content(reference("schemas", "TableDescription")),
        }
        get = describes.operation("get", f"Describe {self._schema.name}", {"200": ok}, 406)
        return {**describes.with_head(get), **describes.always(("GET", "HEAD"))}

    def _many(self) -> Json:
        return {
            "description": "The records, streamed when they are many.",
            "content": collection_content(self._record),
            "headers": header("Read", "x-lyredb-read", required=False)
            | header("Position", "x-lyredb-position", required=False),
        }

    def _true(self) -> Json:
        return {
            "description": "They are gone.",
            "content": value_content({"type": "boolean", "enum": [True]}),
        }

    def _queried(self, describes: Describes) -> dict[str, Json]:
        """What is done with the records that a query finds."""
        conditions = parameters.conditions(self._schema)
        get = describes.operation(
            "get",
            "All records, or those that match",
            {"200": self._many()},
            406,
            parameters=conditions,
            description=_LANGUAGE,
        )
        delete = describes.operation(
            "delete",
            "Delete all records, or those that match",
            {"200": self._true()},
            *(406, 409, 412),
            parameters=[*conditions, *parameters.COLLECTION_CONDITIONS],
            description=f"One transaction. {_LANGUAGE}",
        )
        query = describes.operation(
            "query",
            "The records that match a query in the body",
            {"200": self._many()},
            *(406, 415),
            body=bodies.query_body(),
            description="The method QUERY, which OpenAPI 3.0 has no place for. It changes nothing.",
        )
        return {**self._reads(describes, get), "delete": delete, "x-query": query}

    def _reads(self, describes: Describes, get: Json) -> dict[str, Json]:
        """GET and HEAD of what has a stream, too."""
        reads = describes.with_head(get)
        told, answers = get.get("parameters", []), get["responses"]
        assert isinstance(told, list)
        assert isinstance(answers, dict)
        ok = {**answers["200"], "content": {**answers["200"]["content"], **_EVENTS}}
        reads["get"] = {
            **get,
            "parameters": [*told, *parameters.streams(self._schema)],
            "responses": {**answers, "200": ok},
        }
        return reads

    def _part(self) -> Json:
        # The prefix bounds what is looked at, so no sort is refused; names may be.
        describes = self._describes("part", *((404,) if self._schema.sealed else ()))
        allowed = ("GET", "HEAD", "DELETE", "QUERY")
        return {**self._queried(describes), **self._describes("part").always(allowed)}

    def _collection(self) -> Json:
        describes = self._describes("collection")
        key = key_schema(self._schema)
        made: Json = {
            "description": "The key of the record, or the keys of all.",
            "content": value_content({"anyOf": [key, {"type": "array", "items": key}]}),
            "headers": {
                **header("Location", "Location", required=False),
                **header("ContentLocation", "Content-Location", required=False),
            },
        }
        post = describes.operation(
            "post",
            "Make a record, or one of each element of a list",
            {"201": made},
            *(406, 409, 412, 415),
            parameters=parameters.COLLECTION_CONDITIONS,
            body=bodies.new_body(self._schema),
            description="A key that none brings is made. Location is the key; of a list there is "
            "none. One transaction.",
        )
        put = describes.operation(
            "put",
            "Replace or make a record of each element",
            {"204": _NO_CONTENT},
            *(412, 415),
            parameters=parameters.COLLECTION_CONDITIONS,
            body=bodies.records_body(self._schema),
            description="Each element has its key. One transaction.",
        )
        allowed = ("GET", "HEAD", "POST", "PUT", "DELETE", "QUERY")
        queried = self._queried(self._describes("collection", 404))
        return {**queried, "post": post, "put": put, **describes.always(allowed)}

    def _validated(self) -> Json:
        headers = header("ETag", "ETag") | header("Vary", "Vary")
        if self._api.last_modified:
            headers |= header("LastModified", "Last-Modified")
        return headers

    def _one(self) -> Json:
        describes = self._describes("record", *self._missing)
        schema = self._schema
        content = value_content(self._record)
        if bodies.keeps_bytes(schema):
            content["*/*"] = _BYTES
        ok: Json = {
            "description": "The record; bytes that were stored come as the type they had.",
            "content": content,
            "headers": self._validated(),
        }
        get = describes.operation(
            "get",
            "Read a record",
            {"200": ok, "304": self._not_modified()},
            *(404, 406),
            parameters=parameters.READ_CONDITIONS,
            description="`?select(id,value)` selects.",
        )
        put = describes.operation(
            "put",
            "Replace or make a record",
            {"204": _NO_CONTENT},
            *(412, 415),
            parameters=parameters.WRITE_CONDITIONS,
            body=bodies.record_body(schema),
        )
        patch = describes.operation(
            "patch",
            "Set attributes, making the record if there is none",
            {"204": _NO_CONTENT},
            *(412, 415),
            parameters=parameters.WRITE_CONDITIONS,
            body=bodies.changes_body(schema),
            description="Merges at the top level only.",
        )
        delete = describes.operation(
            "delete",
            "Delete a record",
            {"200": self._true()},
            *(406, 412),
            parameters=parameters.WRITE_CONDITIONS,
            description="Also 200 where there was none.",
        )
        allowed = ("GET", "HEAD", "PUT", "PATCH", "DELETE")
        changes = {"put": put, "patch": patch, "delete": delete}
        return {**self._reads(describes, get), **changes, **describes.always(allowed)}

    def _not_modified(self) -> Json:
        return {"description": "It is as the client knows it.", "headers": self._validated()}

    def _property(self) -> Json:
        describes = self._describes("property", *self._missing)
        attributes = self._schema.attributes
        content = value_content(self._property_schema())
        if any(one.type.name in ("Bytes", "Blob") for one in attributes):
            content["application/octet-stream"] = _BYTES
        has_blobs = any(one.type.name == "Blob" for one in attributes)
        if has_blobs:
            content["*/*"] = _BYTES
        ok: Json = {
            "description": "The value.",
            "content": content,
            "headers": self._validated(),
        }
        get = describes.operation(
            "get",
            "Read one attribute",
            {"200": ok, "304": self._not_modified()} | (_PARTS if has_blobs else {}),
            *(404, 406),
            parameters=parameters.READ_CONDITIONS,
            description="A record whose id is the whole text comes before the attribute.",
        )
        assignable = [one for one in attributes if is_assignable_attribute(one)]
        reads = describes.with_head(get)
        if not assignable:
            return {**reads, **describes.always(("GET", "HEAD"))}
        fixed = () if len(assignable) == len(attributes) else (405,)
        put = describes.operation(
            "put",
            "Set one attribute",
            {"204": _NO_CONTENT},
            *(404, 412, 415, *fixed),
            parameters=parameters.WRITE_CONDITIONS,
            body=bodies.property_body(self._schema, assignable),
            description="404 where there is no record; 405 for what the server sets.",
        )
        delete = describes.operation(
            "delete",
            "Set one attribute to null",
            {"200": self._true()},
            *(406, 412, *fixed),
            parameters=parameters.WRITE_CONDITIONS,
        )
        allowed = ("GET", "HEAD", "PUT", "DELETE")
        return {**reads, "put": put, "delete": delete, **describes.always(allowed)}

    def _property_schema(self) -> Json:
        types = [_value_schema(self._schema, one) for one in self._schema.attributes]
        unique = [one for number, one in enumerate(types) if one not in types[:number]]
        return unique[0] if len(unique) == 1 else {"anyOf": unique}


def _value_schema(schema: TableSchema, attribute: Attribute) -> Json:
    if attribute.relation is not None:
        return {"description": "What it relates to: one record, or a list of them."}
    if attribute.role == "primary key":
        return key_schema(schema)
    return type_schema(schema, attribute.type, "read")
