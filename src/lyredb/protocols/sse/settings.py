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
        "Bytes that may wait for a client that reads slowly; beyond it nothing more is sent "
        "until it has read them, then what it missed from the log.",
        minimum=65_536,
    ),
    Setting(
        "sse.stallTimeout",
        120.0,
        "duration",
        "A client that takes nothing at all of what waits for it is cut off after so long; "
        "EventSource resumes after the last event that it got. Longer than a tunnel or a "
        "change of networks lasts.",
        minimum=0.1,
    ),
    Setting(
        "sse.retry",
        2.0,
        "duration",
        "How long a client waits before it connects again.",
        maximum=3_600,
    ),
)
