"""What an operator can ask about clients and retained messages, as typed values.

They travel as lines of JSON from commands and as bodies of calls from workers, for REST.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

MAX_LISTED: Final = 10_000
"""Entries in one answer; the next ones are asked for with ``after``."""


class _Request(
    msgspec.Struct, frozen=True, tag_field="operation", forbid_unknown_fields=True, rename="camel"
):
    """Has its name in ``operation``."""


class ListClients(_Request, frozen=True, tag="client.list"):
    """The clients that are connected or sleep, by identifier.

    Attributes:
        limit: How many at most, 1 to `MAX_LISTED`.
        after: Only identifiers above this one.
        client_id: Only this one, ``""`` for all.
    """

    limit: int = MAX_LISTED
    after: str = ""
    client_id: str = ""


class KickClient(_Request, frozen=True, tag="client.kick"):
    """End the connection of a client; a session that outlives it stays.

    Attributes:
        client_id: Whose.
        forget: Delete its session too: what it has missed, it never gets.
    """

    client_id: str
    forget: bool = False


class ListRetained(_Request, frozen=True, tag="retained.list"):
    """The retained messages of open topics, by topic.

    Attributes:
        filter: A topic filter.
        limit: How many at most, 1 to `MAX_LISTED`.
        after: Only topics behind this one in the order of the answer.
    """

    filter: str = "#"
    limit: int = MAX_LISTED
    after: str = ""


class ClearRetained(_Request, frozen=True, tag="retained.clear"):
    """Delete the retained messages of open topics that a filter matches.

    Attributes:
        filter: A topic filter. There is none by default: nobody clears all by a slip.
    """

    filter: str


class StartTrace(_Request, frozen=True, tag="trace.start"):
    """Have the packets of a client noted from now on, wherever it is or connects.

    Attributes:
        client_id: Whose.
    """

    client_id: str


class ReadTrace(_Request, frozen=True, tag="trace.read"):
    """Take the packets that were noted since the last time.

    Whoever does not ask for `lyredb.operations.tracing.ABANDONED_S` ends the trace.

    Attributes:
        trace: The number of the trace.
    """

    trace: int


class StopTrace(_Request, frozen=True, tag="trace.stop"):
    """Note no more.

    Attributes:
        trace: The number of the trace.
    """

    trace: int


BrokerRequest: TypeAlias = (
    ListClients | KickClient | ListRetained | ClearRetained | StartTrace | ReadTrace | StopTrace
)


class ClientEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A client as it is told.

    Attributes:
        client_id: Its identifier.
        user: ``""`` for nobody.
        connected: False: its session sleeps.
        address: Where it is connected from, ``""`` while it sleeps.
        protocol: ``MQTT 5``, ``MQTT 3.1.1`` or ``MQTT 3.1``; ``""`` while it sleeps.
        since_ms: When the connection began, or ended; epoch milliseconds.
        expiry_s: Seconds that the session outlives the connection, 0 for not at all.
        subscriptions: How many it has.
        filters: The topic filters of these, at most `MAX_FILTERS`.
        in_flight: Messages that it has not acknowledged yet.
        queued: Messages that wait for it in memory.
        sent: Messages that it got in this connection.
        worker: The number of the process that it is connected to, 0 while it sleeps or
            where one process is all.
    """

    client_id: str
    user: str
    connected: bool
    address: str = ""
    protocol: str = ""
    since_ms: int = 0
    expiry_s: int = 0
    subscriptions: int = 0
    filters: tuple[str, ...] = ()
    in_flight: int = 0
    queued: int = 0
    sent: int = 0
    worker: int = 0


MAX_FILTERS: Final = 20
"""A list is for people; a client may have thousands."""


class ClientList(msgspec.Struct, frozen=True, rename="camel"):
    """Clients, and how many workers did not say theirs.

    Attributes:
        clients: In the order of their identifiers.
        missing_workers: See above.
        after: Go on with this; ``""`` when that is all.
    """

    clients: list[ClientEntry]
    missing_workers: int = 0
    after: str = ""


class Kicked(msgspec.Struct, frozen=True, rename="camel"):
    """What was ended.

    Attributes:
        connections: 1, or 0 when it was not connected.
        session: A session that slept, or would have, was deleted.
    """

    connections: int
    session: bool = False


class RetainedEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A retained message, without its payload.

    Attributes:
        topic: Where it is.
        size: Bytes of its payload.
        qos: Of the publish.
        content_type: Of the payload, ``""`` when nothing was said.
        since_ms: When it was published; epoch milliseconds.
        expires_ms: When it is gone by itself, 0 for never.
    """

    topic: str
    size: int
    qos: int
    content_type: str = ""
    since_ms: int = 0
    expires_ms: int = 0


class RetainedList(msgspec.Struct, frozen=True):
    """Retained messages, and behind which topic there may be more, ``""`` for none."""

    messages: list[RetainedEntry]
    after: str = ""


class Cleared(msgspec.Struct, frozen=True):
    """How many retained messages were deleted."""

    count: int


class TraceStarted(msgspec.Struct, frozen=True):
    """A trace, by its number."""

    trace: int


class TraceLine(msgspec.Struct, frozen=True, rename="camel"):
    """One packet, or the beginning or end of a connection.

    Attributes:
        at_ms: Epoch milliseconds.
        direction: ``>`` from the client, ``<`` to it, ``-`` for neither.
        text: What it is.
    """

    at_ms: int
    direction: str
    text: str


class TraceLines(msgspec.Struct, frozen=True):
    """What was noted, and how many lines had no room."""

    lines: list[TraceLine]
    dropped: int = 0


BrokerAnswer: TypeAlias = (
    ClientList | Kicked | RetainedList | Cleared | TraceStarted | TraceLines | None
)
