"""What the killed child and its parent agree on."""

from __future__ import annotations

from dataclasses import replace

from tests.storage.store import ROOMY

SETTINGS = replace(ROOMY, segment_bytes=64 * 1024)
"""Small segments, so that kills also hit rotation, trimming and log indexing."""
