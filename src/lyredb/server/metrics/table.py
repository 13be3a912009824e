"""What each number is called and means: one row for each field of each room's statistics.

Names follow the conventions of Prometheus: base units (seconds, bytes), ``_total`` for what
only grows. A test fails while a field has no row; docs/metrics.md is made from the rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final, Literal


@dataclasses.dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric.

    Attributes:
        room: Whose statistics.
        field: Of these.
        name: As told, ``_total`` included.
        kind: A ``counter`` only grows while its process lives, a ``gauge`` goes both ways.
        sentence: What it counts.
        labels: Fixed ones, where several fields are one metric.
    """

    room: str
    field: str
    name: str
    kind: Literal["counter", "gauge"]
    sentence: str
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


REPORT_AGE: Final = MetricRow(
    "", "", "lyredb_process_report_age_seconds", "gauge",
    "Since the process told its numbers. Above 5: it hangs, or is cut off from the writer.",
)  # fmt: skip


def _gauge(room: str, field: str, name: str, sentence: str, **labels: str) -> MetricRow:
    return MetricRow(room, field, f"lyredb_{name}", "gauge", sentence, labels)


def _counter(room: str, field: str, name: str, sentence: str, **labels: str) -> MetricRow:
    return MetricRow(room, field, f"lyredb_{name}_total", "counter", sentence, labels)


_PROCESS = (
    _gauge("process", "pid", "process_pid", "The number of the process."),
    _counter("process", "cpu_s", "process_cpu_seconds", "User and system CPU time."),
    _gauge(
        "process", "resident_bytes", "process_resident_memory_bytes",
        "Memory in use. Pages of the data file that were read count, and can be taken back.",
    ),
    _gauge("process", "open_files", "process_open_fds", "Open descriptors, connections included."),
    _gauge("process", "max_files", "process_max_fds", "How many descriptors it may have."),
    _gauge("process", "threads", "process_threads", "Threads, those of libraries included."),
    _gauge("process", "started_s", "process_start_time_seconds", "When it began, since 1970."),
)  # fmt: skip


def _sequencer(room: str, at: str) -> tuple[MetricRow, ...]:
    """What a writer counts, and what each worker counts of what it sent there."""
    return (
        _counter(room, "transactions", f"{at}_transactions", "Transactions that were answered."),
        _counter(
            room, "rejected", f"{at}_transactions_rejected",
            "Of these, those that were refused; nothing was written.",
        ),
        _counter(
            room, "conflicts", f"{at}_transaction_conflicts",
            "Of these, those that had read what others changed before their commit.",
        ),
        _gauge(room, "waiting", f"{at}_waiting_transactions", "Transactions not answered yet."),
        _gauge(room, "waiting_bytes", f"{at}_waiting_bytes", "Size of these."),
    )  # fmt: skip


_STORAGE = (
    _gauge("engine", "position", "log_position", "The last committed position that it has seen."),
    _gauge("engine", "floor", "log_floor_position", "The oldest position that the log still has."),
    _gauge("engine", "segments", "log_segments", "Segments of the log."),
    _gauge("engine", "log_bytes", "log_size_bytes", "Size of the log in the data file."),
    _gauge("engine", "used_bytes", "data_file_used_bytes", "Used of the data file, log included."),
    _gauge("engine", "readers", "data_file_readers", "Reader slots of the data file in use."),
    _gauge("engine", "tables", "tables", "Tables, those of the system included."),
    _gauge("engine", "building", "indexes_building", "Indexes that queries have to wait for."),
    _gauge("engine", "failed", "storage_failed", "1 when the store is read-only after a failure."),
    _counter("writer", "groups", "commit_groups", "Commits of what waited, each one fsync."),
    *_sequencer("writer", "writer"),
    *_sequencer("remote", "worker"),
    _gauge("remote", "is_attached", "writer_attached", "1 when the worker has a writer."),
    _counter("remote", "attachments", "writer_attachments", "Writers that it has had so far."),
    _counter("expiry", "expired", "records_expired", "Records removed after their deadline."),
    _counter(
        "expiry", "evicted", "records_evicted",
        "Records removed after the time for which their table keeps what is past its deadline.",
    ),
    _gauge("expiry", "tables", "expiring_tables", "Tables from which records are being removed."),
    _gauge("claims", "claims", "client_ids", "Client identifiers in use on all workers."),
    _gauge("claims", "waiting", "client_ids_waiting", "Connections that wait for theirs."),
    _counter(
        "claims", "fenced", "client_ids_fenced",
        "Connections that lost their identifier before they had stopped.",
    ),
    _gauge("claims", "wills_delayed", "delayed_wills", "Wills that wait for their delay."),
    _counter(
        "claims",
        "wills_published",
        "lost_wills_published",
        "Wills of lost workers, and of clients that were gone for their delay.",
    ),
    _counter("claims", "wills_failed", "lost_wills_failed", "Wills that the writer refused."),
    _gauge("claims", "wills_waiting", "lost_wills_waiting", "Wills that are not written yet."),
)  # fmt: skip

_DELIVERY = (
    _gauge("hub", "subscribers", "subscribers", "Subscribers of at least one filter."),
    _gauge("hub", "filters", "subscription_filters", "Different filters."),
    _gauge("hub", "routes", "delivery_routes", "Topics with a cached route."),
    _gauge("hub", "holds", "delivery_holds", "Records whose messages wait for a commit."),
    _gauge(
        "hub", "aside", "subscribers_aside",
        "Slow readers that are set aside, or catch up from the log.",
    ),
    _gauge(
        "hub", "waiting", "congested_subscribers",
        "Slow subscribers that publishers wait for.",
    ),
    _counter(
        "hub", "frames", "delivered_frames",
        "Frames that went out, each counted once for all subscribers that share it.",
    ),
    _counter("hub", "writes", "delivered_batches", "Batches that were handed to subscribers."),
    _counter("hub", "pauses", "publisher_pauses", "Times that a publisher was made to wait."),
    _counter("hub", "entries", "delivered_log_entries", "Log entries that somebody listened to."),
)  # fmt: skip

_PEERS = (
    _gauge("peers", "attached", "peers", "Other workers that it is joined to."),
    _gauge("peers", "silent", "peers_silent", "Of these, those that do not answer."),
    _gauge("peers", "interest", "peer_interest_filters", "Filters that others know of here."),
    _gauge("peers", "coarse", "peer_interest_coarse_filters", "Of these, such as stand for many."),
    _gauge("peers", "wishes", "peer_wishes", "Different filters of the others."),
    _counter(
        "peers", "forwarded", "peer_messages_forwarded",
        "Messages that were given to others, each counted once per worker.",
    ),
    _counter("peers", "batches", "peer_batches", "Writes in which they went."),
    _counter(
        "peers", "dropped", "peer_messages_dropped", "Messages that a slow worker did not get.",
        qos="0",
    ),
    _counter(
        "peers", "dropped_acknowledged", "peer_messages_dropped",
        "Messages that a slow worker did not get.", qos="1 or 2",
    ),
    _counter("peers", "received", "peer_messages_received", "Messages that came from others."),
    _counter(
        "peers", "refused", "peer_messages_refused", "Of these, those that could not be told here.",
    ),
    _gauge("peers", "waiting_bytes", "peer_waiting_bytes", "What waits for slow workers."),
)  # fmt: skip

_NETWORK = (
    _gauge("network", "connections_open", "connections", "Open connections of every protocol."),
    _counter("network", "connections_admitted", "connections_admitted", "Connections let in."),
    *(
        _counter(
            "network", f"connections_refused_{why}", "connections_refused",
            "Connections that were closed unheard: too many in all, of an address, or in a second.",
            reason=why,
        )
        for why in ("full", "address", "rate")
    ),
    _gauge("network", "connections_addresses", "connection_addresses", "Addresses remembered."),
    _counter("network", "failed_headers", "proxy_headers_failed", "Bad headers of proxies."),
    _counter("network", "failed_handshakes", "tls_handshakes_failed", "Handshakes that failed."),
    _counter(
        "network", "failed_reloads", "certificate_reloads_failed",
        "Files for TLS that changed and do not work; the old ones are in use.",
    ),
)  # fmt: skip

_LOGINS = (
    _counter(
        "authenticator", "remembered_hits", "logins_remembered",
        "Logins that were answered from memory.",
    ),
    _counter("authenticator", "verified", "logins_verified", "Logins whose password was right."),
    _counter("authenticator", "refused", "logins_refused", "Logins that were refused."),
    _counter(
        "authenticator", "delayed", "logins_delayed", "Logins that had to wait after failures."
    ),
    _gauge("authenticator", "remembered", "logins_in_memory", "Logins that are remembered now."),
)  # fmt: skip


def _http(room: str, port: str) -> tuple[MetricRow, ...]:
    classes = {"succeeded": "2xx", "redirected": "3xx", "refused": "4xx", "failed": "5xx"}
    return (
        _gauge(
            room, "connections", "http_connections", "Open connections, WebSockets included.",
            port=port,
        ),
        _counter(
            room, "requests", "http_requests", "Requests whose head was read, upgrades included.",
            port=port,
        ),
        *(
            _counter(
                room, name, "http_responses", "Responses by class of their status.",
                port=port, status=status,
            )
            for name, status in classes.items()
        ),
        _gauge(
            room, "buffered_bytes", "http_buffered_bytes",
            "What waits for slow readers of streams and WebSockets.", port=port,
        ),
        _counter(
            room, "cut_off", "http_readers_cut_off",
            "Slow readers that were cut off because too much waited for all together.", port=port,
        ),
        _counter(
            room, "uncompressed_bytes", "http_uncompressed_bytes",
            "Bodies of answers that were compressed, before that.", port=port,
        ),
        _counter(
            room, "compressed_bytes", "http_compressed_bytes", "The same, afterwards.", port=port
        ),
        _counter(
            room, "decompressed_bytes", "http_decompressed_bytes",
            "Bodies of requests that came compressed, afterwards.", port=port,
        ),
    )  # fmt: skip


def _streams(room: str, what: str) -> tuple[MetricRow, ...]:
    return (
        _gauge(room, "streams", f"{room}_streams", f"{what} that are open."),
        _counter(room, "begun", f"{room}_streams_begun", f"{what} begun so far."),
    )


_MQTT = (
    _gauge("mqtt", "connections", "mqtt_connections", "Open connections, before CONNECT too."),
    _gauge("mqtt", "clients", "mqtt_clients", "Connected clients."),
    _gauge(
        "mqtt", "durable", "mqtt_clients_durable",
        "Connected clients whose session outlives the connection.",
    ),
    _gauge("mqtt", "subscriptions", "mqtt_subscriptions", "Subscriptions of connected clients."),
    _counter("mqtt", "accepted", "mqtt_connects_accepted", "CONNECTs that were accepted."),
    _counter("mqtt", "refused_connects", "mqtt_connects_refused", "CONNECTs that were refused."),
    _counter("mqtt", "received", "mqtt_messages_received", "Messages that clients published."),
    _counter("mqtt", "refused", "mqtt_messages_refused", "Of these, those that were refused."),
    _counter("mqtt", "sent", "mqtt_messages_sent", "Messages that were handed to clients."),
    _counter(
        "mqtt", "dropped", "mqtt_messages_dropped",
        "Messages that slow or small clients missed.",
    ),
    _counter("mqtt", "received_bytes", "mqtt_received_bytes", "What clients sent."),
    _counter("mqtt", "sent_bytes", "mqtt_sent_bytes", "What was sent to clients."),
    _counter(
        "mqtt", "published_bytes", "mqtt_messages_sent_bytes",
        "Of what was sent to clients, messages.",
    ),
    _counter(
        "mqtt", "violations", "mqtt_violations",
        "Connections that were ended for a malformed or forbidden packet.",
    ),
    _counter(
        "mqtt", "takeovers", "mqtt_takeovers",
        "Connections that were ended by another one with their client id.",
    ),
    _gauge("mqtt", "writing", "mqtt_writes_waiting", "Commits that clients' messages wait for."),
    _gauge("mqtt", "buffered_bytes", "mqtt_buffered_bytes", "What waits for slow clients."),
    _counter(
        "mqtt", "cut_off", "mqtt_cut_off",
        "Connections that were ended because too much waited for all clients together.",
    ),
)  # fmt: skip

METRICS: Final[tuple[MetricRow, ...]] = (
    *_PROCESS,
    *_STORAGE,
    *_DELIVERY,
    *_PEERS,
    *_NETWORK,
    *_LOGINS,
    *_http("http", "http"),
    *_http("operations", "operations"),
    *_streams("sse", "Streams of Server-Sent Events"),
    *_streams("websocket", "Subscriptions over WebSocket"),
    *_MQTT,
)
"""Every row, by room."""

BY_FIELD: Final[Mapping[tuple[str, str], MetricRow]] = {
    (row.room, row.field): row for row in METRICS
}
