"""A subscription: current state, then every later change, without gap or double.

States: prepared → reading (current state or the missed part of the log, in steps)
→ live (member of delivery's groups) → closed. While it reads it gets direct messages
at once, since the log does not hold them; logged changes come from its own reading
until it stands where the tail stands, and from the tail after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lyredb.delivery.cursor import CatchUp
from lyredb.delivery.hub import Hub, Terms
from lyredb.delivery.position import format_position, parse_position
from lyredb.delivery.tail import Tail
from lyredb.errors import LyreError, PositionLost
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Batch, Message, Subscriber
from lyredb.resources.access import Access
from lyredb.resources.coverage import coverage
from lyredb.resources.registry import Registry
from lyredb.resources.requests import SubscribeOptions
from lyredb.storage.engine import Engine
from lyredb.storage.frontier import KeyRange

if TYPE_CHECKING:
    from asyncio import Handle


class State(Enum):
    """Where a subscription is in its life."""

    PREPARED = "prepared"
    READING = "reading"
    LIVE = "live"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a subscription works with; one for all subscriptions of a database."""

    engine: Engine
    registry: Registry
    access: Access
    hub: Hub
    tail: Tail


class Subscription:
    """One filter of one subscriber; made by `Database.subscribe`.

    Attributes:
        filter: The topic filter.
        state: See `State`.
    """

    __slots__ = (
        "_after",
        "_context",
        "_on_close",
        "_options",
        "_pending",
        "_ranges",
        "_reading",
        "_rooms",
        "_subscriber",
        "filter",
        "state",
    )

    def __init__(
        self,
        rooms: Rooms,
        topic_filter: str,
        subscriber: Subscriber,
        context: Context,
        options: SubscribeOptions,
        after: str,
        on_close: Callable[[Subscription], None],
    ) -> None:
        self.filter = topic_filter
        self.state = State.PREPARED
        self._rooms = rooms
        self._subscriber = subscriber
        self._context = context
        self._options = options
        self._after = parse_position(after) if after else None
        self._ranges: Sequence[KeyRange] = coverage(
            topic_filter, rooms.registry, rooms.access, context
        )
        self._reading: CatchUp | None = None
        self._pending: Handle | None = None
        self._on_close = on_close

    def start(self) -> None:
        """Begin: send what there is, then what comes. Must be called once, on the loop."""
        if self.state is not State.PREPARED:
            raise RuntimeError(f"a subscription that is {self.state.value} cannot be started")
        self.state = State.READING
        self._reading = self._open()
        if self._reading is None:
            self._rooms.tail.advance_to(self._rooms.engine.position)
            self._go_live(self._rooms.tail.position)
            return
        self._pump()

    def _open(self) -> CatchUp | None:
        """What is to be read first; ``None`` when changes from now on are enough."""
        rooms = self._rooms
        if self._after is not None:
            try:
                return CatchUp.resume(
                    rooms.engine, rooms.registry, self.filter, self._ranges, self._after
                )
            except PositionLost as error:
                self._reset(str(error))
        elif self._options.omit_current:
            return None
        return CatchUp.current(rooms.engine, rooms.registry, self.filter, self._ranges)

    def _reset(self, reason: str) -> None:
        if self._options.on_reset is not None:
            self._options.on_reset(reason)

    def _pump(self) -> None:
        """One step: what the subscriber can take now; the next step in the next tick."""
        self._pending = None
        if self.state is not State.READING or self._subscriber.is_congested:
            return  # `resume` goes on when the subscriber has drained
        reading = self._reading
        assert reading is not None, "reading until live"
        try:
            messages = reading.step()
        except PositionLost as error:
            self._start_over(str(error))
            return
        except LyreError as error:
            self.end(error)
            return
        self._send(messages)
        if self.state is not State.READING:
            return  # the subscriber closed while it was written to
        if reading.done:
            self._rooms.tail.advance_to(reading.position)
            self._go_live(reading.position)
            return
        self._join(scanning=True)
        if self.state is not State.READING:
            return
        self._pending = asyncio.get_running_loop().call_soon(self._pump)

    def _start_over(self, reason: str) -> None:
        """The log was trimmed below the scan: begin again with current state."""
        self._reset(reason)
        rooms = self._rooms
        self._reading = CatchUp.current(rooms.engine, rooms.registry, self.filter, self._ranges)
        self._pending = asyncio.get_running_loop().call_soon(self._pump)

    def _send(self, messages: Sequence[Message]) -> None:
        if self._options.no_local and self._context.session:
            own = self._context.session
            messages = [message for message in messages if message.session != own]
        if not messages:
            return
        if self._options.encoding.takes_messages:
            self._subscriber.write_messages(messages)
            return
        self._subscriber.write(self._batch(messages))

    def _batch(self, messages: Sequence[Message]) -> Batch:
        options = self._options
        frames: list[bytes] = []
        ends: list[int] = []
        ids: list[int] = []
        size = 0
        for message in messages:
            qos = min(message.qos, options.qos)
            retain = message.current or (message.retain and options.retain_as_published)
            frame, id_offset = options.encoding.frame(
                message, qos=qos, retain=retain, ids=options.ids
            )
            frames.append(frame)
            ids.append(size + id_offset if id_offset else 0)
            size += len(frame)
            ends.append(size)
        if not any(ids):
            return Batch(b"".join(frames), len(frames))
        return Batch(b"".join(frames), len(frames), ends, ids)

    def _go_live(self, position: int) -> None:
        """The tail stands where reading ended: from here on the groups deliver."""
        self._reading = None
        self._join(scanning=False)
        if self.state is not State.READING:
            return
        self.state = State.LIVE
        if self._options.on_ready is not None:
            self._options.on_ready(format_position(self._rooms.hub.log_id, position))

    def _join(self, *, scanning: bool) -> None:
        options = self._options
        terms = Terms(
            encoding=options.encoding,
            qos=options.qos,
            principal=self._context.principal,
            protocol=self._context.protocol,
            ids=options.ids,
            retain_as_published=options.retain_as_published,
            no_local=self._context.session if options.no_local else 0,
            scanning=scanning,
        )
        self._rooms.hub.join(self.filter, self._subscriber, terms)
        if self.state is State.CLOSED:
            # Joining writes out what waits, which may have closed this very subscriber.
            self._rooms.hub.leave(self.filter, self._subscriber)

    def resume(self) -> None:
        """Go on reading; called by the subscriber when it can take more again."""
        if self.state is State.READING and self._pending is None:
            self._pending = asyncio.get_running_loop().call_soon(self._pump)

    def update(self, options: SubscribeOptions) -> None:
        """Serve by other options from now on, without current state."""
        self._options = options
        if self.state is State.LIVE:
            self._join(scanning=False)

    def close(self) -> None:
        """End it; nothing is sent any more. A second call does nothing."""
        if self.state is State.CLOSED:
            return
        joined = self.state in (State.READING, State.LIVE)
        self.state = State.CLOSED
        if self._pending is not None:
            self._pending.cancel()
        if joined:
            self._rooms.hub.leave(self.filter, self._subscriber)
        self._on_close(self)

    def end(self, reason: Exception) -> None:
        """Close it and tell the subscriber why."""
        if self.state is State.CLOSED:
            return
        self.close()
        if self._options.on_error is not None:
            self._options.on_error(reason)
        else:
            self._subscriber.close(reason)
