"""The whole document."""

from __future__ import annotations

from typing import Final

from lyredb.protocols.http.cookies import NAME
from lyredb.protocols.rest.openapi import (
    bodies,
    broker_routes,
    parameters,
    responses,
    schemas,
    server_routes,
)
from lyredb.protocols.rest.openapi.api import Api, Json
from lyredb.protocols.rest.openapi.tables import table_paths

VERSION: Final = "3.0.3"
_ABOUT: Final = (
    "Records over HTTP. An error is a JSON string, or with `Accept: application/problem+json` a "
    "problem of RFC 9457. A method that a path does not have is 405 with `Allow`; 500 is a fault "
    "of the server and nothing that a client can be prepared for. Every record path is a topic "
    "too: with `Accept: text/event-stream` a GET streams its changes, and a WebSocket does. "
    "Metrics are served at `/metrics` of the operations port."
)
_DESCRIPTION: Final[Json] = {
    "type": "object",
    "required": ["records", "name", "database", "primaryKey", "sealed", "attributes"],
    "properties": {
        "records": {"type": "string", "description": "Where the records are, relative to this."},
        "name": {"type": "string"},
        "database": {"type": "string"},
        "primaryKey": {"type": "string"},
        "sealed": {"type": "boolean"},
        "attributes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "type"],
                "properties": {
                    "name": {"type": "string"},
                    "type": {"type": "string"},
                    "required": {"type": "boolean"},
                    "indexed": {"type": "boolean"},
                    "role": {"type": "string"},
                    "description": {"type": "string"},
                },
            },
        },
    },
}
_COUNTS: Final[Json] = {
    "recordCount": {"type": "integer", "minimum": 0},
    "estimatedRecordRange": {
        "type": "array",
        "items": {"type": "integer", "minimum": 0},
        "minItems": 2,
        "maxItems": 2,
    },
}


def document(api: Api) -> Json:
    """Return the OpenAPI document of a server's interface."""
    paths: dict[str, Json] = {}
    for table in api.tables:
        paths |= table_paths(api, table)
    return {
        "openapi": VERSION,
        "info": {"title": api.title, "version": api.version, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [_tag(table.path, table.schema.description) for table in api.tables]
        + [_tag("server", "The server itself.")],
        "security": [{name: []} for name in _security(api)],
        "paths": paths | server_routes.server_paths(api) | broker_routes.broker_paths(),
        "components": {
            "schemas": _schemas(api),
            "parameters": parameters.HEADERS | parameters.STREAMS,
            "responses": responses.error_responses(),
            "securitySchemes": _security(api),
        },
    }


def _tag(name: str, description: str) -> Json:
    return {"name": name, "description": description} if description else {"name": name}


def _schemas(api: Api) -> dict[str, Json]:
    described = dict(_DESCRIPTION)
    if api.counts:
        properties = described["properties"]
        assert isinstance(properties, dict)
        described["properties"] = properties | _COUNTS
    return {
        **responses.SCHEMAS,
        **bodies.SCHEMAS,
        **server_routes.SCHEMAS,
        **broker_routes.SCHEMAS,
        "TableDescription": described,
        **schemas.components(api),
    }


def _security(api: Api) -> dict[str, Json]:
    found: dict[str, Json] = {"basic": {"type": "http", "scheme": "basic"}}
    if api.tokens:
        found["bearer"] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    if api.sessions:
        found["cookie"] = {"type": "apiKey", "in": "cookie", "name": NAME}
    return found
