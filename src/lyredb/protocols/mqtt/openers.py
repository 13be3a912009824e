"""Who makes the subscription that a filter asks for: a table by the filter's first level.

``$share``, ``$SYS`` and ``$query`` are no topics of tables; each has an `Opener` of its own
in the table of the service (`Service.openers`), which whoever brings one adds to. All others
are the row ``""``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, runtime_checkable

from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Message, Subscriber
from lyredb.protocols.mqtt.packets import Request
from lyredb.protocols.mqtt.properties import NONE, Properties
from lyredb.protocols.mqtt.reasons import Reason
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import State
from lyredb.sessions.receipts import Receipt

EVERYTHING_ELSE: Final = ""
"""The row of filters whose first level has none."""


class Opened(Protocol):
    """One subscription, as `lyredb.resources.subscription.Subscription` is one."""

    @property
    def state(self) -> State:
        """Where it is in its life."""

    def start(self) -> None:
        """Begin; called once, after the SUBACK was written."""

    def resume(self) -> None:
        """Go on reading: the subscriber has drained."""

    def fall_behind(self) -> None:
        """Send nothing more until `resume`, and then what was missed; or do nothing."""

    def update(self, options: SubscribeOptions) -> None:
        """Serve by other options from now on, without current state."""

    def close(self) -> None:
        """End it; nothing is sent any more. A second call does nothing."""


class Outgoing(Protocol):
    """The outbox of a client, for those who hand it single messages and wait for its answer.

    Attributes:
        may_be_exact: Frames of QoS 2 may come: a subscription was granted it.
    """

    may_be_exact: bool

    def tell(
        self,
        message: Message,
        qos: int,
        ids: tuple[int, ...],
        settled: Callable[[bool], None],
        taken: Callable[[], None] | None = None,
        receipt: Receipt | None = None,
    ) -> None:
        """Send one message with this quality of service, behind all that was sent before.

        Args:
            message: What to tell.
            qos: 0 to 2.
            ids: Subscription identifiers.
            settled: Called once: with True when the client has acknowledged it (QoS 0: it
                went to the transport), with False when it will not any more. One of QoS 2
                that was sent counts as acknowledged, as nobody else may get it.
            taken: Called, at most once and before that, when the client's session has the
                message on disk, and so will bring it to its end [MQTT-4.8.2-4].
            receipt: Goes to disk with that. The message is not sent when it is refused.
        """


@runtime_checkable
class Slow(Protocol):
    """An `Opened` that needs some time until nothing that is published can be missed."""

    def when_ready(self, callback: Callable[[], None]) -> None:
        """Call back once that is so, possibly before this returns; the SUBACK waits for it."""


@runtime_checkable
class Lasting(Protocol):
    """An `Opened` that tells an UNSUBSCRIBE from the end of the connection."""

    def unsubscribe(self) -> None:
        """The client wants it no more; `Opened.close` follows."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asks for with one filter of a SUBSCRIBE.

    Attributes:
        request: The filter and its options, as they came.
        subscriber: The connection.
        outgoing: Its outbox.
        context: Whose rights decide; its ``session`` is the subscriber's number.
        options: For `lyredb.resources.database.Database.subscribe`.
        properties: Of the SUBSCRIBE.
        after: A position token: the session had this subscription when it slept, and goes
            on there. ``""`` for a new one.
        is_durable: The session outlives the connection.
    """

    request: Request
    subscriber: Subscriber
    outgoing: Outgoing
    context: Context
    options: SubscribeOptions
    properties: Properties = NONE
    after: str = ""
    is_durable: bool = False

    @property
    def filter(self) -> str:
        """The topic filter as the client sent it."""
        return self.request.filter


Opener: TypeAlias = Callable[[Wish], Opened]
"""Makes a subscription that is not started. Raises `Refusal` or a `LyreError`."""


class Refusal(Exception):
    """One filter of a SUBSCRIBE is refused; the others are not touched.

    Attributes:
        reason: What the SUBACK says of it.
    """

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def opener_of(openers: dict[str, Opener], topic_filter: str) -> Opener:
    """The opener of a filter."""
    first = topic_filter.partition("/")[0]
    return openers.get(first) or openers[EVERYTHING_ELSE]


def refuse_shared(wish: Wish) -> Opened:
    """Refuse ``$share/…``: nobody has brought an opener for it."""
    raise Refusal(
        Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, "Shared subscriptions are not available"
    )
