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
        "Bytes that may wait for a client that reads slowly; beyond it the connection is "
        "closed with 1013, and the client resumes with `?position=`.",
        minimum=65_536,
    ),
)
