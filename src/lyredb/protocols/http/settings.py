"""The rows of the HTTP port in the settings table; they hold for all that lives on it."""

from __future__ import annotations

from typing import Final

from lyredb.plugins.settings import OFF, Setting

HTTP_SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "http.port",
        9926,
        "port",
        "The port for REST, Server-Sent Events, WebSocket, MQTT over WebSocket and web pages. "
        "It may be `off` when `http.securePort` is not.",
        minimum=OFF,
        option="--http-port",
    ),
    Setting(
        "http.securePort",
        OFF,
        "port",
        "The port for the same over TLS; 9943 is the usual one. Off, since it needs the files "
        "of `tls.certificate` and `tls.privateKey`.",
        minimum=OFF,
    ),
    Setting(
        "http.mtls",
        "false",
        "choice",
        "Whether clients of `http.securePort` are asked for a certificate from "
        "`tls.certificateAuthority`, and whether they need one (`required`). Its common name is "
        "the user, and no password is asked for.",
        choices=("false", "true", "required"),
    ),
    Setting(
        "http.maxHeaderSize",
        16_394,
        "size",
        "Largest request line and headers together; more is answered with 431. The default is "
        "the usual 16 KiB and 10 bytes: a number that existing configurations and clients know.",
        minimum=1_024,
        maximum=1_048_576,
    ),
    Setting(
        "http.headersTimeout",
        20.0,
        "duration",
        "Time for all headers of a request to arrive, from the connection or the first byte on; "
        "then 408. Headers fit into a few packets even on a bad line, so most "
        "who take longer want to hold connections open.",
        minimum=0.1,
    ),
    Setting(
        "http.timeout",
        120.0,
        "duration",
        "Time for a request's body to arrive; then 408. A client that reads nothing of its "
        "answer for so long is cut off; for streams see `sse.stallTimeout`.",
        minimum=0.1,
    ),
    Setting(
        "http.keepAliveTimeout",
        30.0,
        "duration",
        "How long an idle connection is kept for the next request.",
        minimum=0.1,
    ),
    Setting(
        "http.maxBodySize",
        4_000_000,
        "size",
        "Largest request body; more is answered with 413. The default leaves room for a "
        "record of 1 MB in the most verbose JSON.",
        minimum=1_024,
        maximum=1_073_741_824,
    ),
    Setting(
        "http.maxConnections",
        10_000,
        "integer",
        "Connections at a time, streams and WebSockets included; further ones get 503.",
        minimum=1,
    ),
    Setting(
        "http.maxBuffered",
        512_000_000,
        "size",
        "Bytes that may wait in a worker for all readers of streams and WebSockets that read "
        "slowly; beyond it those with the most are cut off, and resume. As much as 500 full "
        "buffers, so that many stuck readers do not fill the memory.",
        minimum=1_048_576,
    ),
    Setting(
        "http.allowedOrigins",
        "",
        "text",
        "Origins of pages that may use a login which a browser keeps for this server, besides "
        "its own: `https://app.example.com, http://localhost:5173`. None by default: such a page "
        "may do everything that its visitor may.",
    ),
    Setting(
        "http.compressionThreshold",
        1_200,
        "size",
        "Answers from so many bytes on are compressed for clients that accept it (Brotli, "
        "Zstandard, gzip), streams of records always. Less fits into one packet with its "
        "headers. `0` compresses nothing.",
        maximum=1_073_741_824,
    ),
    Setting(
        "http.cors",
        True,
        "flag",
        "Whether the pages of `http.corsAccessList` may read answers. Without a list there are "
        "none.",
    ),
    Setting(
        "http.corsAccessList",
        "",
        "text",
        "Origins of pages that may read answers: `https://app.example.com`, several separated "
        "by commas, or `*` for all. They bring a token of their own, unless `http.allowedOrigins` "
        "names them too. None by default: reading a database is for those who were named.",
    ),
    Setting(
        "http.corsAccessControlAllowHeaders",
        "Accept, Content-Type, Authorization",
        "text",
        "Headers that such pages may send: what reading and writing needs. Add `If-Match` "
        "and `If-None-Match` for conditional requests.",
    ),
    Setting(
        "authentication.enableSessions",
        True,
        "flag",
        "Whether browsers can log in at `/$session` and are known by a cookie from then on. "
        "EventSource and WebSocket of browsers have no other way.",
    ),
    Setting(
        "authentication.sessionTimeout",
        30 * 86_400.0,
        "duration",
        "How long such a login lasts. As long as people are used to; it ends at once with a new "
        "password or role, and when the user logs out.",
        minimum=60.0,
    ),
    Setting(
        "authentication.secureCookies",
        False,
        "flag",
        "Mark the cookie as one for TLS also on plain connections. Needed behind a proxy that "
        "ends TLS; without TLS no browser would send such a cookie.",
    ),
    Setting(
        "authentication.tokenTimeout",
        86_400.0,
        "duration",
        "How long an access token of `/$token` is good: a day, since a token that was lost is "
        "void only with a new password or role of its user.",
        minimum=10.0,
    ),
    Setting(
        "authentication.refreshTokenTimeout",
        30 * 86_400.0,
        "duration",
        "How long a refresh token is good for new access tokens.",
        minimum=60.0,
    ),
    Setting(
        "rest.maxOpenSearches",
        200,
        "integer",
        "Long results (of more than 64 kB) that a worker sends at a time; further ones get 503. "
        "Each holds a page of at most 1 MB while its reader is slow, and one by an index the "
        "keys that it found.",
        minimum=1,
    ),
    Setting(
        "rest.problemDetails",
        False,
        "flag",
        "Answer every error as RFC 9457 problem details. When false only clients get them "
        "that accept `application/problem+json`; others get a JSON string.",
    ),
    Setting(
        "ws.maxMessageSize",
        4_000_000,
        "size",
        "Largest message taken over a WebSocket; a larger one closes it with 1009.",
        minimum=1_024,
        maximum=1_073_741_824,
    ),
    Setting(
        "ws.pingInterval",
        20.0,
        "duration",
        "How often a WebSocket is pinged, so that proxies keep it and dead peers are found.",
        minimum=0.1,
    ),
    Setting(
        "ws.pingTimeout",
        20.0,
        "duration",
        "How long a WebSocket may take to answer a ping before it is closed.",
        minimum=0.1,
    ),
    Setting(
        "ws.perMessageDeflate",
        False,
        "flag",
        "Let WebSocket clients compress what they send. Off: it costs 30 kB and more per "
        "connection, and events are not compressed, as they are made once for all readers.",
    ),
)
