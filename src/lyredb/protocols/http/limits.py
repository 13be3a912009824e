"""The limits of the HTTP port, read once from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from lyredb.plugins.scope import Settings


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Every bound of a connection; see ``settings.py`` for what each is for."""

    max_header_bytes: int = 16_394
    headers_timeout_s: float = 20.0
    body_timeout_s: float = 120.0
    keep_alive_s: float = 30.0
    max_body_bytes: int = 4_000_000
    max_connections: int = 10_000
    max_buffered_bytes: int = 512_000_000
    problem_details: bool = False
    max_message_bytes: int = 4_000_000
    ping_interval_s: float = 20.0
    ping_timeout_s: float = 20.0
    deflate: bool = False
    compress_from_bytes: int = 1_200
    """0: never."""
    max_body_ratio: int = 200
    """How many times larger a compressed body may become: records are rarely above 50, and a
    bomb of 20 kB cannot reach the limit of a body's size."""
    linger_s: float = 2.0
    """How long a refused client may go on sending before it is cut off: closing while
    its bytes are unread would make its kernel throw our answer away."""
    close_s: float = 10.0
    """How long a peer may take to read the last bytes of a connection that closes."""

    @classmethod
    def of(cls, settings: Settings) -> HttpLimits:
        """Read them from the settings in force."""
        return cls(
            max_header_bytes=settings.integer("http.maxHeaderSize"),
            headers_timeout_s=settings.seconds("http.headersTimeout"),
            body_timeout_s=settings.seconds("http.timeout"),
            keep_alive_s=settings.seconds("http.keepAliveTimeout"),
            max_body_bytes=settings.integer("http.maxBodySize"),
            max_connections=settings.integer("http.maxConnections"),
            max_buffered_bytes=settings.integer("http.maxBuffered"),
            compress_from_bytes=settings.integer("http.compressionThreshold"),
            problem_details=settings.flag("rest.problemDetails"),
            max_message_bytes=settings.integer("ws.maxMessageSize"),
            ping_interval_s=settings.seconds("ws.pingInterval"),
            ping_timeout_s=settings.seconds("ws.pingTimeout"),
            deflate=settings.flag("ws.perMessageDeflate"),
        )

    @property
    def sweep_s(self) -> float:
        """How often deadlines are looked at: fine enough for the shortest of them."""
        shortest = min(
            self.headers_timeout_s, self.body_timeout_s, self.keep_alive_s, self.linger_s
        )
        return min(1.0, shortest / 4)
