"""Messages that go through the log, because a durable session wants what their topics bring.

They are no records: each is an entry of the log, told to everybody from the tail, and read
from the log by sessions that were away. Several are one transaction with one reply.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import msgspec
from msgspec.structs import replace

from lyredb.delivery.admission import Destination
from lyredb.delivery.message import Message
from lyredb.errors import LyreError
from lyredb.plugins.context import Context
from lyredb.storage.apply import Rows
from lyredb.storage.keys import KeyValue, encode_full_key, is_short_form
from lyredb.storage.metadata import encode_metadata
from lyredb.storage.mutation import MESSAGE, Mutation

if TYPE_CHECKING:
    from lyredb.resources.writing import Writing
    from lyredb.storage.sequencer import Result

Logged: TypeAlias = Callable[[int | LyreError], None]
"""Gets the position of the last entry once all are on disk, or why none is."""

Published: TypeAlias = Callable[[LyreError | None], None]
"""Told once that a message is delivered or on disk, or why it is not."""

_logger: Final = logging.getLogger(__name__)


class LoggedMessage(msgspec.Struct, frozen=True, gc=False):
    """A message for the log, admitted: its topic was resolved for its publisher.

    Attributes:
        destination: What the topic names (`Path.destination`).
        payload: As received.
        qos: The publisher's, 0 to 2.
        content_type: Of the payload, ``""`` when nothing was said.
        properties: See `lyredb.plugins.delivery.Message`.
        expires_ms: Epoch ms after which it is void, 0 for never.
        retain: The flag as published.
    """

    destination: Destination
    payload: bytes
    qos: int = 1
    content_type: str = ""
    properties: bytes = b""
    expires_ms: int = 0
    retain: bool = False


class MessageLog:
    """Has messages logged, in order with the writes of this process.

    Args:
        writing: Where writes go; it holds direct messages back behind them.
    """

    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    def log(
        self,
        messages: Sequence[LoggedMessage],
        context: Context,
        done: Logged,
        session_rows: Rows = (),
    ) -> None:
        """Log messages, and rows of sessions beside them, in one transaction.

        Raises nothing: what cannot be taken is told to ``done`` before this returns, and
        nothing of it was written.

        Args:
            messages: In the order in which they are told; none where there are rows.
            context: Who publishes them.
            done: Called once; in order of arrival, with other writes too.
            session_rows: Of ``sess``.
        """

        def reply(result: Result) -> None:
            done(result if isinstance(result, LyreError) else result.position)

        try:
            self._writing.submit_messages(mutations_of(messages, context), reply, session_rows)
        except LyreError as error:
            done(error)

    def log_one(
        self,
        destination: Destination,
        message: Message,
        context: Context,
        done: Published | None,
    ) -> None:
        """Log one message; without ``done`` a failure is noted for the operator alone."""

        def told(result: int | LyreError) -> None:
            error = result if isinstance(result, LyreError) else None
            if done is not None:
                done(error)
            elif error is not None:
                _logger.error("a message to %r could not be logged: %s", message.topic, error)

        one = LoggedMessage(
            destination,
            message.data,
            message.qos,
            message.content_type,
            message.properties,
            message.expires_ms,
        )
        self.log((one,), context, told)


def mutations_of(messages: Sequence[LoggedMessage], context: Context) -> list[Mutation]:
    """Return what logs the messages of one publisher: one mutation for those that are alike."""
    user, session = context.user, context.session
    content_type, properties, metadata = "", b"", b""
    mutations: list[Mutation] = []
    first: LoggedMessage | None = None
    more: list[bytes] = []
    for message in messages:
        destination = message.destination
        if first is not None:
            if first.destination is destination and _is_alike(first, message):
                more.append(message.payload)
                continue
            if more:
                mutations[-1] = replace(mutations[-1], more=tuple(more))
                more.clear()
        first = message
        # Those of one publisher mostly say the same.
        if message.content_type != content_type or message.properties != properties:
            content_type, properties = message.content_type, message.properties
            metadata = encode_metadata(content_type=content_type, properties=properties)
        key = destination.key
        mutations.append(
            Mutation(
                slot=destination.slot,
                key=key,
                kind=MESSAGE,
                body=message.payload,
                metadata=metadata,
                full_id=_full_id_of(destination) if is_short_form(key) else b"",
                expires_ms=message.expires_ms,
                retain=message.retain,
                qos=message.qos,
                user=user,
                session=session,
            )
        )
    if more:
        mutations[-1] = replace(mutations[-1], more=tuple(more))
    return mutations


def _is_alike(first: LoggedMessage, other: LoggedMessage) -> bool:
    """Whether two messages to one place differ in nothing but what they carry."""
    return (
        first.qos == other.qos
        and first.properties == other.properties
        and first.content_type == other.content_type
        and first.expires_ms == other.expires_ms
        and first.retain == other.retain
    )


def _full_id_of(destination: Destination) -> bytes:
    return encode_full_key(cast("KeyValue", destination.id))
