"""What the killed child and its parent agree on."""

from __future__ import annotations

from dataclasses import replace

from tests.storage.store import ROOMY

SETTINGS = replace(ROOMY, segment_bytes=64 * 1024)
"""Small segments, so that kills also hit rotation, trimming and log indexing."""

_PLANT = "type Plant @table%s @export { id: ID site: String%s n: Int%s until: %s } %s"
SCHEMAS = tuple(
    _PLANT % parts
    for parts in (
        ("", "", "", "Float @expiresAt", ""),
        ("", " @indexed", "", "Float @expiresAt", ""),
        ("(expiration: 1)", " @indexed", " @indexed", "Float @expiresAt @indexed", ""),
        ("(expiration: 3600)", "", " @indexed", "Float", "type Other @table { id: ID }"),
        ("", " @indexed", " @indexed", "Float", "type Third @table { id: ID n: Int @indexed }"),
    )
)
"""Of which each is changed into each other: indexes come and go, and so do tables."""
