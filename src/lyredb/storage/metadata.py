"""The metadata of opaque records and messages: what came with the payload.

A MessagePack map; storage keeps it as bytes. Absent keys mean that nothing was said.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lyredb.storage.record import decode_metadata

CONTENT_TYPE: Final = "contentType"
PROPERTIES: Final = "properties"
"""Encoded MQTT 5 PUBLISH properties (MQTT 5 §3.3.2.3) without their length."""

_encoder: Final = msgspec.msgpack.Encoder()


def encode_metadata(*, content_type: str = "", properties: bytes = b"") -> bytes:
    """Return the metadata map, ``b""`` when there is nothing to say."""
    metadata: dict[str, object] = {}
    if content_type:
        metadata[CONTENT_TYPE] = content_type
    if properties:
        metadata[PROPERTIES] = properties
    return _encoder.encode(metadata) if metadata else b""


def content_type_of(metadata: bytes) -> str:
    """Return the content type in a metadata map, ``""`` when there is none."""
    value = decode_metadata(metadata).get(CONTENT_TYPE) if metadata else None
    return value if isinstance(value, str) else ""


def properties_of(metadata: bytes) -> bytes:
    """Return the publish properties in a metadata map, ``b""`` when there are none."""
    value = decode_metadata(metadata).get(PROPERTIES) if metadata else None
    return value if isinstance(value, bytes) else b""
