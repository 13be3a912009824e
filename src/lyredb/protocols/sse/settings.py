"""The rows that SSE adds to the settings table."""

from __future__ import annotations

from typing import Final

from lyredb.plugins.settings import Setting

SSE_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "sse.heartbeat",
        15.0,
        "duration",
        "How often a comment is sent on a silent stream, so that proxies keep it and a "
        "client that is gone is noticed.",
        minimum=0.05,
    ),
    Setting(
        "sse.bufferSize",
        1_000_000,
        "size",
        "Bytes that may wait for a client that reads slowly; beyond it the stream ends, and "
        "EventSource resumes after the last event that it got.",
        minimum=65_536,
    ),
    Setting(
        "sse.retry",
        2.0,
        "duration",
        "How long a client waits before it connects again.",
        maximum=3_600,
    ),
)
