"""The rows that WebSocket adds to the settings table; see also ``ws.*`` of the HTTP port."""

from __future__ import annotations

from typing import Final

from lyredb.plugins.settings import Setting

WEBSOCKET_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "rest.webSocket",
        True,
        "flag",
        "Offer subscriptions over WebSocket on the paths of tables and topics.",
    ),
    Setting(
        "ws.bufferSize",
        1_000_000,
        "size",
        "Bytes that may wait for a client that reads slowly; beyond it nothing more is sent "
        "until it has read them, then what it missed from the log.",
        minimum=65_536,
    ),
    Setting(
        "ws.stallTimeout",
        120.0,
        "duration",
        "A client that takes nothing at all of what waits for it is cut off after so long, and "
        "resumes with `?position=`. Longer than a tunnel or a change of networks lasts; pings "
        "wait while a client is slow.",
        minimum=0.1,
    ),
)
