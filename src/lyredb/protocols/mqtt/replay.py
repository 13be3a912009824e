"""Subscriptions that begin with a part of the log, for clients of every version.

A v5 client says it in user properties of SUBSCRIBE: ``startTime``, ``previousCount``,
``omitCurrent`` (`with_beginning`). For the others it is in the filter:
``$query/<percent-encoded path?query>/#``, the path and query being those of SSE. What comes
is delivered as ``$query/<the same>/<id>``, beside whatever else the client subscribes to.

Current state, where it is sent after all as the log does not reach back, is told apart by
its RETAIN flag: what is replayed has none.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote_to_bytes

from lyredb.errors import InvalidQuery
from lyredb.plugins.delivery import Batch, Encoding, Message
from lyredb.protocols.http.beginning import beginning_in
from lyredb.protocols.mqtt.openers import Opened, Outgoing, Refusal, Wish
from lyredb.protocols.mqtt.properties import Properties
from lyredb.protocols.mqtt.reasons import Reason
from lyredb.resources.database import Database
from lyredb.resources.registry import MAX_TOPIC_BYTES
from lyredb.resources.replay import NAMES, parse_beginning
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import State, Subscription

QUERY: Final = "$query"
_LEVELS: Final = 3
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def with_beginning(
    topic_filter: str, options: SubscribeOptions, properties: Properties
) -> SubscribeOptions:
    """Return the options with what the user properties of a SUBSCRIBE ask for.

    Others than the three are the client's own, and mean nothing here.

    Raises:
        InvalidQuery: A value makes no sense, or the filter is not one of topics of tables.
    """
    said = [(name, value) for name, value in properties.user if name in NAMES]
    if not said:
        return options
    if topic_filter.startswith("$"):
        raise InvalidQuery(
            f"{said[0][0]} is for topics of records and messages: not for $share, $SYS and $query"
        )
    asked = parse_beginning(said)
    return replace(
        options,
        omit_current=options.omit_current or asked.omit_current,
        start_ms=asked.start_ms,
        previous_count=asked.previous_count,
    )


def open_query(database: Database, wish: Wish) -> Opened:
    """Make the subscription of a filter ``$query/<percent-encoded path?query>/#``.

    Raises:
        Refusal: 0x8F, it is no such filter.
        InvalidQuery: The query has conditions, or a value that makes no sense.
        LyreError: As of `Database.resolve` and `Database.subscribe`.
    """
    levels = wish.filter.split("/")
    if len(levels) != _LEVELS or levels[-1] != "#" or not levels[1]:
        raise Refusal(
            Reason.TOPIC_FILTER_INVALID, f"It must be {QUERY}/<percent-encoded path?query>/#"
        )
    if _BROKEN_ESCAPE.search(levels[1]):
        raise Refusal(
            Reason.TOPIC_FILTER_INVALID, f"{QUERY}: after each % must come two hexadecimal digits"
        )
    path, query = _decoded(levels[1])
    asked = beginning_in(query, "position")
    target = database.meant(database.resolve(path.lstrip("/"), wish.context))
    base = database.registry.base_of(target.table)
    place = _Place(f"{QUERY}/{levels[1]}".encode(), len(base.encode()) + 1 if base else 0)
    options = replace(
        wish.options,
        omit_current=wish.options.omit_current or asked.omit_current,
        start_ms=asked.start_ms,
        previous_count=asked.previous_count,
    )
    after = wish.after or asked.after
    return Replaying(database, wish, place, target.filter, options, after)


def _decoded(text: str) -> tuple[str, bytes]:
    """The path, and the query as it stands in a request.

    Raises:
        InvalidQuery: The path is no text.
    """
    path, _, query = unquote_to_bytes(text).partition(b"?")
    try:
        return path.decode(), query
    except UnicodeDecodeError:
        raise InvalidQuery("the path must be UTF-8, percent-encoded") from None


@dataclass(frozen=True, slots=True)
class _Place:
    """How topics are called.

    Attributes:
        topic: What stands before the id.
        base: How many bytes of a topic come before it, the slash included.
    """

    topic: bytes
    base: int

    def named(self, message: Message) -> Message | None:
        """The message under its topic here; None when that would be too long (MQTT 5 §1.5.4)."""
        rest = message.topic[self.base :]
        topic = self.topic + b"/" + rest if rest else self.topic
        if len(topic) > MAX_TOPIC_BYTES:
            return None
        renamed = copy.copy(message)
        renamed.topic = topic
        return renamed


@dataclass(frozen=True, slots=True)
class QueryEncoding:
    """How messages look to one such subscription (a ``delivery.Encoding``).

    Attributes:
        encoding: Of the client.
        place: Where they lie.
    """

    encoding: Encoding
    place: _Place

    @property
    def raw(self) -> str:
        """No frame of a publisher has this topic."""
        return ""

    @property
    def takes_messages(self) -> bool:
        """Takes frames."""
        return False

    def frame(
        self, message: Message, *, qos: int, retain: bool, ids: tuple[int, ...]
    ) -> tuple[bytes, int]:
        """Encode one PUBLISH, or nothing where its topic would be too long."""
        named = self.place.named(message)
        if named is None:
            return b"", 0
        return self.encoding.frame(named, qos=qos, retain=retain, ids=ids)


class Replaying:
    """One subscription by query: an `Opened`, and the `Subscriber` of what it brings.

    Delivery knows it apart from the connection's other subscriptions: its messages come
    besides theirs, under other topics.
    """

    __slots__ = ("_database", "_ids", "_outgoing", "_place", "_qos", "_subscription", "_wish")

    def __init__(
        self,
        database: Database,
        wish: Wish,
        place: _Place,
        topic_filter: str,
        options: SubscribeOptions,
        after: str,
    ) -> None:
        self._database = database
        self._wish = wish
        self._outgoing: Outgoing = wish.outgoing
        self._place = place
        self._subscription: Subscription = database.subscribe(
            topic_filter, self, wish.context, self._adapted(options), after
        )

    def _adapted(self, options: SubscribeOptions) -> SubscribeOptions:
        self._qos, self._ids = options.qos, options.ids
        if options.encoding.takes_messages:
            # A session that outlives its connection does not keep this one: its place in the
            # log, and what is lost of it, are no matter of the session's.
            return replace(options, on_messages=None, on_reset=None)
        return replace(options, encoding=QueryEncoding(options.encoding, self._place))

    @property
    def state(self) -> State:
        """See `Opened`, as for all up to `close`."""
        return self._subscription.state

    def start(self) -> None:
        """See `Opened`."""
        self._subscription.start()

    def resume(self) -> None:
        """See `Opened`; publishers may go on too, which is known of each subscriber."""
        self._database.drained(self)
        self._subscription.resume()

    def fall_behind(self) -> None:
        """See `Opened`."""
        self._subscription.fall_behind()

    def update(self, options: SubscribeOptions) -> None:
        """See `Opened`."""
        self._subscription.update(self._adapted(options))

    def close(self, reason: Exception | None = None) -> None:
        """End it (`Opened`); with a reason the connection too (`Subscriber`)."""
        self._subscription.close()
        if reason is not None:
            self._wish.subscriber.close(reason)

    def write(self, batch: Batch) -> None:
        """Send the frames of a tick (`Subscriber`)."""
        self._wish.subscriber.write(batch)

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Send them one by one (`Subscriber`): this client's own frames are made of each."""
        for message in messages:
            named = self._place.named(message)
            if named is not None:
                self._outgoing.tell(named, self._qos, self._ids, _ignore)

    @property
    def is_congested(self) -> bool:
        """True while the connection is (`Subscriber`)."""
        return self._wish.subscriber.is_congested


def _ignore(_is_acknowledged: bool, /) -> None:
    """What a replay has told is not told again."""
