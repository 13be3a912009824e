"""The paths of the server itself: health, logins, this document, metrics."""

from __future__ import annotations

from typing import Final

from lyredb.formats import FORMATS
from lyredb.protocols.rest.bodies import FORM_TYPE
from lyredb.protocols.rest.openapi.api import Api, Json, reference
from lyredb.protocols.rest.openapi.operations import Describes
from lyredb.protocols.rest.openapi.responses import header

_TAG: Final = "server"

SCHEMAS: Final[dict[str, Json]] = {
    "Health": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"type": "string", "enum": ["ok", "degraded", "unavailable"]},
            "reason": {"type": "string", "description": "Why writes are not taken."},
            "detail": {"type": "string", "description": "Why nothing is."},
            "worker": {"type": "integer"},
        },
    },
    "Credentials": {
        "type": "object",
        "description": "Without a body, the credentials of the request count.",
        "required": ["username", "password"],
        "properties": {
            "username": {"type": "string"},
            "password": {"type": "string", "format": "password"},
        },
    },
    "RefreshToken": {
        "type": "object",
        "required": ["refresh_token"],
        "properties": {"refresh_token": {"type": "string"}},
    },
    "Session": {
        "type": "object",
        "required": ["user", "role", "superUser"],
        "properties": {
            "user": {"type": "string", "nullable": True, "description": "Null for nobody."},
            "role": {"type": "string"},
            "superUser": {"type": "boolean"},
        },
    },
    "Tokens": {
        "type": "object",
        "required": ["access_token", "token_type", "expires_in", "refresh_token"],
        "properties": {
            "access_token": {"type": "string"},
            "token_type": {"type": "string", "enum": ["Bearer"]},
            "expires_in": {"type": "integer", "description": "In seconds."},
            "refresh_token": {"type": "string"},
        },
    },
}


def server_paths(api: Api) -> dict[str, Json]:
    """The path items that the server has whatever its tables are."""
    found = {"/health": _health(), "/openapi": _document()}
    if api.sessions:
        found["/$session"] = _session()
    if api.tokens:
        found["/$token"] = _token()
    return found


def _json(name: str, description: str) -> Json:
    content = {"application/json": {"schema": reference("schemas", name)}}
    return {"description": description, "content": content}


def _body(*names: str, required: bool) -> Json:
    schemas = [reference("schemas", name) for name in names]
    schema: Json = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    types = [*(one.media_type for one in FORMATS), FORM_TYPE]
    return {"required": required, "content": {one: {"schema": schema} for one in types}}


def _health() -> Json:
    describes = Describes("health", _TAG)
    answers = {"200": _json("Health", "It serves; perhaps reads only.")}
    get = describes.operation("get", "Whether the server is well", answers, needs_login=False)
    unavailable: Json = {
        "description": "It does not serve, or too much is waiting.",
        "content": {
            "application/json": {
                "schema": {"anyOf": [reference("schemas", "Health"), reference("schemas", "Error")]}
            },
            "application/problem+json": {"schema": reference("schemas", "Problem")},
        },
        "headers": header("RetryAfter", "Retry-After"),
    }
    responses = get["responses"]
    assert isinstance(responses, dict)
    responses["503"] = unavailable
    return {**describes.with_head(get)}


def _document() -> Json:
    describes = Describes("openapi", _TAG)
    ok: Json = {
        "description": "This document.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/yaml": {"schema": {"type": "object"}},
        },
    }
    get = describes.operation("get", "This document, for super users", {"200": ok}, 406)
    return {**describes.with_head(get)}


def _session() -> Json:
    describes = Describes("session", _TAG)
    who = {"200": _json("Session", "Who asks.")}
    get = describes.operation("get", "Who asks", who, 401, 429, needs_login=False)
    get["security"] = [{}, *_LOGINS]
    begun = _json("Session", "The login; its cookie is set.")
    begun["headers"] = {"Set-Cookie": {"schema": {"type": "string"}, "required": True}}
    post = describes.operation(
        "post",
        "Log a browser in",
        {"200": begun},
        *(401, 403, 429),
        body=_body("Credentials", required=False),
        needs_login=False,
    )
    ended: Json = {
        "description": "The cookie is void.",
        "headers": {"Set-Cookie": {"schema": {"type": "string"}, "required": True}},
    }
    delete = describes.operation("delete", "Log out", {"204": ended}, 403, needs_login=False)
    return {**describes.with_head(get), "post": post, "delete": delete}


def _token() -> Json:
    describes = Describes("token", _TAG)
    post = describes.operation(
        "post",
        "Get tokens by a password, or an access token by a refresh token",
        {"200": _json("Tokens", "Tokens (RFC 6749 §5.1).")},
        *(401, 403, 429),
        body=_body("Credentials", "RefreshToken", required=False),
        needs_login=False,
    )
    return {"post": post}


_LOGINS: Final[list[Json]] = [{"basic": []}, {"bearer": []}, {"cookie": []}]
