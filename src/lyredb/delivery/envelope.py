"""The envelope of events for SSE, WebSocket and Python.

``id table type value version localTime position``, and ``current`` when true. A delete
has no ``value``, but a ``reason`` (``expired``, ``evicted``) when nobody asked for it; a
direct message has no ``position``, as nobody can resume after it.
"""

from __future__ import annotations

from lyredb.delivery.message import Message
from lyredb.plugins.delivery import Format


def envelope(message: Message) -> dict[str, object]:
    """Return the envelope as a mapping, keys in the order of the conventions.

    Bytes that are no text stay bytes: a format writes them in its own way, JSON as
    base64.
    """
    event: dict[str, object] = {
        "id": message.id,
        "table": message.table,
        "type": message.kind,
    }
    if message.kind != "delete":
        event["value"] = message.value()
    elif message.reason:
        event["reason"] = message.reason
    event["version"] = message.version
    event["localTime"] = message.local_ms
    if message.position:
        event["position"] = message.position
    if message.current:
        event["current"] = True
    return event


def encode_envelope(message: Message, wanted: Format) -> bytes:
    """Return the encoded envelope, made once per message and format."""
    if message.envelopes is None:
        message.envelopes = {}
    made = message.envelopes.get(wanted.name)
    if made is None:
        made = message.envelopes[wanted.name] = wanted.encode(envelope(message))
    return made
