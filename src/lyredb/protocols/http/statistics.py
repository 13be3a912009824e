"""What an HTTP port counts, and what protocols count that stream on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpStatistics:
    """A snapshot of the counters of one port.

    Attributes:
        connections: Open connections, upgraded ones included.
        requests: Requests whose head was read so far, upgrades included.
        succeeded: Answers with a status of 200 to 299, streams that go on included.
        redirected: With 300 to 399, such as 304 for a copy that is still good.
        refused: With 400 to 499.
        failed: With 500 to 599.
        buffered_bytes: What waits for slow readers of streams and WebSockets, as last noted.
        cut_off: Those that were cut off because too much waited for all together.
        uncompressed_bytes: Of the answers that were compressed, before that.
        compressed_bytes: Of the same, afterwards.
        decompressed_bytes: Of request bodies that came compressed, afterwards.
    """

    connections: int
    requests: int
    succeeded: int
    redirected: int
    refused: int
    failed: int
    buffered_bytes: int
    cut_off: int
    uncompressed_bytes: int = 0
    compressed_bytes: int = 0
    decompressed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """A snapshot of the counters of SSE, or of subscriptions over WebSocket.

    Attributes:
        streams: Open now.
        begun: So far.
    """

    streams: int
    begun: int
