"""The paths by which super users list and end MQTT clients and retained messages."""

from __future__ import annotations

from typing import Final

from lyredb.operations.broker_requests import MAX_FILTERS, MAX_LISTED
from lyredb.protocols.rest.openapi.api import Json, reference
from lyredb.protocols.rest.openapi.operations import Describes

_TAG: Final = "server"
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_TEXT: Final[Json] = {"type": "string"}
_EPOCH_MS: Final[Json] = {**_COUNT, "description": "Epoch milliseconds."}


def _object(properties: dict[str, Json], description: str = "") -> Json:
    found: Json = {"type": "object", "required": list(properties), "properties": properties}
    return {**found, "description": description} if description else found


def _said(schema: Json, description: str) -> Json:
    return {**schema, "description": description}


SCHEMAS: Final[dict[str, Json]] = {
    "Client": _object(
        {
            "clientId": _TEXT,
            "user": _said(_TEXT, "Empty for nobody."),
            "connected": _said({"type": "boolean"}, "False: its session sleeps."),
            "address": _said(_TEXT, "Empty while it sleeps."),
            "protocol": _said(_TEXT, "Such as `MQTT 5`; empty while it sleeps."),
            "sinceMs": _said(_EPOCH_MS, "When the connection began, or ended; epoch ms."),
            "expiryS": _said(_COUNT, "Seconds that the session outlives the connection."),
            "subscriptions": _COUNT,
            "filters": _said(
                {"type": "array", "items": _TEXT, "maxItems": MAX_FILTERS},
                "Of these subscriptions, the first ones.",
            ),
            "inFlight": _said(_COUNT, "Messages without their last acknowledgement."),
            "queued": _said(_COUNT, "Messages that wait for it in memory."),
            "sent": _said(_COUNT, "Messages that it got in this connection."),
            "worker": _said(_COUNT, "Which process it is connected to; 0 for none."),
        },
        "An MQTT client, or its session.",
    ),
    "Clients": _object(
        {
            "clients": {"type": "array", "items": reference("schemas", "Client")},
            "missingWorkers": _said(_COUNT, "Processes that did not answer in time."),
            "after": _said(_TEXT, "Go on with it; empty when that is all."),
        }
    ),
    "ClientEnded": _object(
        {
            "connections": _said(_COUNT, "That were ended; 0 when it was not connected."),
            "session": _said({"type": "boolean"}, "A session was deleted."),
        }
    ),
    "Retained": _object(
        {
            "messages": {
                "type": "array",
                "items": _object(
                    {
                        "topic": _TEXT,
                        "size": _said(_COUNT, "Bytes of the payload."),
                        "qos": {"type": "integer", "minimum": 0, "maximum": 2},
                        "contentType": _said(_TEXT, "Empty when nothing was said."),
                        "sinceMs": _EPOCH_MS,
                        "expiresMs": _said(_EPOCH_MS, "0 for never."),
                    }
                ),
            },
            "after": _said(_TEXT, "Go on with it; empty when that is all."),
        }
    ),
    "Cleared": _object({"count": _COUNT}),
}


def broker_paths() -> dict[str, Json]:
    """Their path items."""
    return {
        "/$clients": _clients(),
        "/$clients/{client}": _client(),
        "/$retained": _retained(),
    }


def _json(name: str, description: str) -> dict[str, Json]:
    content = {"application/json": {"schema": reference("schemas", name)}}
    return {"200": {"description": description, "content": content}}


def _query(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": schema,
        "description": description,
    }


_LIMIT: Final = _query(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_LISTED, "default": MAX_LISTED},
    "How many at most.",
)


def _clients() -> Json:
    describes = Describes("clients", _TAG)
    get = describes.operation(
        "get",
        "MQTT clients, for super users",
        _json("Clients", "Those that are connected and those that sleep, by identifier."),
        parameters=[_LIMIT, _query("after", _TEXT, "Only identifiers above this one.")],
    )
    return {**describes.with_head(get)}


def _client() -> Json:
    describes = Describes("client", _TAG, (404,))
    named: Json = {
        "name": "client",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "description": "The client identifier.",
    }
    get = describes.operation(
        "get", "One MQTT client, for super users", _json("Client", "The client.")
    )
    delete = describes.operation(
        "delete",
        "End the connection of a client, for super users",
        _json("ClientEnded", "What was ended."),
        parameters=[_query("forget", {"type": "boolean"}, "Delete its session, too.")],
        description="The client may come back; its session stays unless it is to be forgotten.",
    )
    return {"parameters": [named], **describes.with_head(get), "delete": delete}


def _retained() -> Json:
    describes = Describes("retained", _TAG)
    matching = "A topic filter: only what it matches."
    get = describes.operation(
        "get",
        "Retained messages of open topics, for super users",
        _json("Retained", "Without their payloads, by topic."),
        parameters=[
            _query("filter", {**_TEXT, "default": "#"}, matching),
            _LIMIT,
            _query("after", _TEXT, "Only topics behind this one."),
        ],
    )
    delete = describes.operation(
        "delete",
        "Clear retained messages of open topics, for super users",
        _json("Cleared", "How many were cleared."),
        parameters=[_query("filter", _TEXT, matching, required=True)],
    )
    return {**describes.with_head(get), "delete": delete}
