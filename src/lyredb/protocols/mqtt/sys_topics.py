"""``$SYS``: the numbers of the whole server as topics, as mosquitto has them.

They are in no table and no log: each worker asks for the numbers of all processes every
``mqtt.sysInterval`` and tells its own clients what has changed. Whoever subscribes gets the
last values first, as retained messages. Nobody can publish there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from lyredb.delivery.admission import Destination
from lyredb.delivery.filters import Levels, matches, parse_filter
from lyredb.delivery.message import Message
from lyredb.errors import NotAuthorised
from lyredb.plugins.context import Principal
from lyredb.plugins.scope import ProcessNumbers
from lyredb.protocols.mqtt.openers import Opened, Wish
from lyredb.protocols.mqtt.sys_values import Held, SysValues, totals_of
from lyredb.resources.batches import batch_of
from lyredb.resources.database import Database
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import State
from lyredb.sessions.rows import FIRST_KEY, STOP_KEY
from lyredb.storage.layout import SESSION_SLOT, TOPIC_SLOT

SYS: Final = "$SYS"
_QOS: Final = 2
"""The subscription alone decides, as with mosquitto."""
_FIRST_S: Final = 1.0
_TABLE: Final = "$SYS"
_logger: Final = logging.getLogger("lyredb.mqtt")


class Source(Protocol):
    """What ``$SYS`` is made from."""

    def held(self) -> Held:
        """What the database holds."""

    def may_read(self, principal: Principal, topic_filter: str) -> bool:
        """Tell whether all that a filter below ``$SYS`` matches may be read."""


class DatabaseSource:
    """A `Source` from a database.

    Args:
        database: Of this worker.
        is_open: Everybody who may log in may read.
    """

    def __init__(self, database: Database, *, is_open: bool) -> None:
        self._rooms = database.subscriptions.rooms
        self._is_open = is_open

    def held(self) -> Held:
        """See `Source`. O(log n); of many sessions the number is about right."""
        with self._rooms.engine.snapshot() as snapshot:
            return Held(
                snapshot.count(TOPIC_SLOT),
                snapshot.estimate_records(SESSION_SLOT, FIRST_KEY, STOP_KEY),
            )

    def may_read(self, principal: Principal, topic_filter: str) -> bool:
        """See `Source`: super users, and whose role has a pattern that covers the filter."""
        return self._is_open or self._rooms.access.may_read(principal, topic_filter)


class SysTopics:
    """All subscriptions to ``$SYS`` of a worker.

    Args:
        source: Of what is here.
        collected: Returns the numbers of all processes.
        interval_s: How often they are asked for; above 0.
        version: Of the server.
        now_s: Seconds since 1970.
    """

    def __init__(
        self,
        source: Source,
        collected: Callable[[], Awaitable[Sequence[ProcessNumbers]]],
        *,
        interval_s: float,
        version: str,
        now_s: Callable[[], float],
    ) -> None:
        self._source = source
        self._collected = collected
        self._interval_s = interval_s
        self._now_s = now_s
        self._made = SysValues(version)
        self._values: dict[str, str] = {}
        self._subscriptions: dict[SysSubscription, None] = {}
        self._task: asyncio.Task[None] | None = None

    def open(self, wish: Wish) -> Opened:
        """Make the subscription of a filter below ``$SYS`` (an `openers.Opener`).

        Raises:
            InvalidTopic: It is no filter.
            NotAuthorised: Who asks may not read all that it matches.
        """
        levels = parse_filter(wish.filter)
        if not self._source.may_read(wish.context.principal, wish.filter):
            raise NotAuthorised(f"{wish.context.principal.name} may not read {SYS}")
        return SysSubscription(self, wish, levels)

    def start(self) -> None:
        """Ask for numbers from now on, in the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ask no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        # Not at once: what counts is not ready before all of the server has started.
        await asyncio.sleep(min(_FIRST_S, self._interval_s))
        while True:
            try:
                await self.sample()
            except Exception:
                # A fault of ours must not end the numbers until the next restart.
                _logger.exception("the numbers of $SYS could not be made")
            await asyncio.sleep(self._interval_s)

    async def sample(self) -> None:
        """Take the numbers of this moment, if there are any, and tell what has changed."""
        processes = await self._collected()
        if not processes:
            return
        now_s = self._now_s()
        values = self._made.take(totals_of(processes, self._source.held()), now_s, self._interval_s)
        changed = {
            topic: value for topic, value in values.items() if self._values.get(topic) != value
        }
        self._values = values
        for subscription in list(self._subscriptions):
            subscription.tell(changed, is_current=False)

    def join(self, subscription: SysSubscription) -> Mapping[str, str]:
        """Tell a subscription what changes from now on; returns what there is."""
        self._subscriptions[subscription] = None
        return self._values

    def leave(self, subscription: SysSubscription) -> None:
        """Tell it nothing more."""
        self._subscriptions.pop(subscription, None)

    def access_changed(self, principal: Principal) -> None:
        """End what may not be read any more: the rights of a principal have changed."""
        for subscription in list(self._subscriptions):
            theirs = subscription.principal
            if theirs.name == principal.name and not self._source.may_read(
                theirs, subscription.filter
            ):
                subscription.end()


class SysSubscription:
    """One filter of one client; an `Opened`."""

    __slots__ = ("_levels", "_options", "_topics", "_wish", "state")

    def __init__(self, topics: SysTopics, wish: Wish, levels: Levels) -> None:
        self.state = State.PREPARED
        self._topics = topics
        self._wish = wish
        self._levels = levels
        self._options = wish.options

    @property
    def principal(self) -> Principal:
        """Whose it is."""
        return self._wish.context.principal

    @property
    def filter(self) -> str:
        """The topic filter."""
        return self._wish.filter

    def start(self) -> None:
        """See `Opened`: the last values, then what changes."""
        if self.state is not State.PREPARED:
            return
        self.state = State.LIVE
        values = self._topics.join(self)
        if not self._options.omit_current:
            self.tell(values, is_current=True)

    def tell(self, values: Mapping[str, str], *, is_current: bool) -> None:
        """Send those that the filter matches."""
        found = [
            _message(topic, value, is_current=is_current)
            for topic, value in values.items()
            if matches(self._levels, topic.encode())
        ]
        if found:
            self._send(found)

    def _send(self, messages: Sequence[Message]) -> None:
        if self._options.encoding.takes_messages:
            for message in messages:
                self._wish.outgoing.tell(
                    message, self._options.qos, self._options.ids, _note_nothing
                )
        else:
            self._wish.subscriber.write(batch_of(messages, self._options))

    def resume(self) -> None:
        """See `Opened`: nothing is read here, and the next sample says it anew."""

    def fall_behind(self) -> None:
        """See `Opened`: a sample in 10 s is no burden."""

    def update(self, options: SubscribeOptions) -> None:
        """See `Opened`."""
        self._options = options

    def close(self) -> None:
        """See `Opened`."""
        self.state = State.CLOSED
        self._topics.leave(self)

    def end(self) -> None:
        """End it, as it may not be read any more."""
        if self.state is not State.CLOSED:
            self.close()
            if self._options.on_error is not None:
                self._options.on_error(NotAuthorised(f"{SYS} may not be read any more"))


def _message(topic: str, value: str, *, is_current: bool) -> Message:
    encoded = topic.encode()
    destination = Destination(slot=TOPIC_SLOT, key=encoded, id=topic, table=_TABLE, is_opaque=True)
    message = Message.direct(encoded, value.encode(), destination, qos=_QOS)
    message.current = is_current
    return message


def _note_nothing(_is_acknowledged: bool, /) -> None:
    """The next sample says it anew."""
