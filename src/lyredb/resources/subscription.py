"""A subscription: current state, then every later change, without gap or double.

States: prepared → announced (the other workers are told of the filter) → reading
(current state or the missed part of the log, in steps) → live (member of delivery's
groups) → closed. Logged changes come from its own reading
until it stands where the tail stands, and from the tail after that. Direct messages,
which no log holds, are held meanwhile, each until the reading has passed its record.

live → behind → reading → live: a subscriber that holds more than it may leaves the groups
and keeps what it has. When it has drained it reads what the log got since, exactly from
the cut, and is live again. Direct messages of the time behind are lost, and counted.

Filters of one subscriber may overlap while some of them still read: what a live one
brings, the others leave out, so that a change comes once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lyredb.delivery.cursor import STEP_BYTES, CatchUp
from lyredb.delivery.hub import Terms
from lyredb.delivery.position import Position, format_position, parse_position
from lyredb.errors import LyreError, PositionLost
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Encoding, Message, Subscriber
from lyredb.resources.batches import batch_of
from lyredb.resources.coverage import coverage, ranges_of
from lyredb.resources.held import Held
from lyredb.resources.in_process import ENCODING
from lyredb.resources.reached import Reached
from lyredb.resources.replay import check_replay, first_reading, is_replay
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.siblings import Siblings
from lyredb.resources.sight import Sight
from lyredb.resources.subscription_parts import Rooms as Rooms
from lyredb.resources.subscription_parts import State as State
from lyredb.resources.telling import Telling


class Subscription(Sight):
    """One filter of one subscriber; made by `Database.subscribe`.

    Attributes:
        state: See `State`.
        subscriber: Who is told.
        telling: What of the log it tells by itself.

    Args:
        siblings: All subscriptions of the same subscriber.
        on_close: Called once, when it is over.
    """

    __slots__ = (
        "_after",
        "_held",
        "_is_holding",
        "_is_known",
        "_is_returning",
        "_on_close",
        "_options",
        "_reading",
        "_siblings",
        "state",
        "subscriber",
        "telling",
    )

    def __init__(
        self,
        rooms: Rooms,
        topic_filter: str,
        subscriber: Subscriber,
        context: Context,
        options: SubscribeOptions,
        after: str,
        *,
        siblings: Siblings[Subscription],
        on_close: Callable[[Subscription], None],
    ) -> None:
        check_replay(topic_filter, options)
        begins_after = parse_position(after) if after else None
        super().__init__(rooms, topic_filter, context)
        self.state = State.PREPARED
        self.subscriber = subscriber
        self._options = options
        self._after = begins_after
        begins_at = self._after.seq if self._after else rooms.engine.position
        resumes = self._after is not None and self._after.slot is None
        self.telling = Telling(begins_at, begins_at, resumes)
        self._reading: CatchUp | None = None
        self._held: Held | None = None
        self._siblings = siblings
        self._is_holding = False
        self._is_returning = False
        self._on_close = on_close
        # From here on, so that whoever answers before the start can wait for it to be known,
        # and then start at once, whatever others have announced meanwhile.
        self._is_known = False
        rooms.hub.peers.interest.add(topic_filter)
        rooms.hub.peers.when_known(self._note_known)

    def start(self) -> None:
        """Begin: send what there is, then what comes. Must be called once, on the loop.

        Does nothing when it has ended already: the rights to it may have.
        """
        if self.state is State.CLOSED:
            return
        if self.state is not State.PREPARED:
            raise RuntimeError(f"a subscription that is {self.state.value} cannot be started")
        self.state = State.ANNOUNCED
        if self._is_known:
            self._begin()

    def _note_known(self) -> None:
        """All workers forward what the filter matches: nothing can be missed from here on."""
        self._is_known = True
        if self.state is State.ANNOUNCED:
            self._begin()

    def _begin(self) -> None:
        self.state = State.READING
        if self._after is None and not is_replay(self._options):
            self._after = self._place_to_wait_at()
        self._reading = self._open()
        if self._reading is None:
            self._rooms.tail.advance_to(self._rooms.engine.position)
            if not self._is_closed:  # what the tail told may have taken the right to it
                self._go_live(self._rooms.tail.position)
            return
        self._siblings.note_place(self)
        self._pump()

    def _place_to_wait_at(self) -> Position | None:
        """Where it begins when it cannot begin now: what comes meanwhile is told then."""
        now = self._rooms.engine.refresh()
        must_wait = self._comes_after(now)
        if not self._options.omit_current and (must_wait or self.subscriber.is_congested):
            return Position(self._rooms.hub.log_id, now, 0, b"")
        return Position(self._rooms.hub.log_id, now) if must_wait else None

    def _comes_after(self, since: int) -> bool:
        """Whether others of its session have yet to tell what came before this one began.

        What comes from the log is told in its order there, also where a filter begins while
        others are behind.
        """
        is_of_session = self._options.on_messages is not None
        return is_of_session and self._siblings.are_before(self, since)

    def _open(self) -> CatchUp | None:
        """What is to be read first; ``None`` when changes from now on are enough."""
        rooms = self._rooms
        since = self._after.seq if self._after is not None else None
        if since is None and is_replay(self._options):
            since = self.telling.replayed_upto = rooms.engine.refresh()
        try:
            reading = first_reading(rooms, self.filter, self._where, self._after, self._options)
        except PositionLost as error:
            return self._reset(str(error))
        if reading is not None and not self._is_returning:
            self.telling.begin(reading, since)
        return reading

    def _reset(self, reason: str) -> CatchUp:
        """Begin with current state after all; say why."""
        self._is_returning = False  # what follows is news to the subscriber
        if self._options.on_reset is not None:
            self._options.on_reset(reason)
        rooms = self._rooms
        reading = CatchUp.current(rooms.engine, rooms.registry, self.filter, self._where())
        self.telling.begin(reading, None)
        return reading

    def _pump(self) -> None:
        """One step: what the subscriber can take now; the next step in its next turn."""
        if self.state is not State.READING:
            return
        if self.subscriber.is_congested:
            self._start_holding()
            return  # `resume` goes on when the subscriber has drained
        if self._comes_after(self.telling.since):
            self._start_holding()
            self._siblings.wait(self)
            return
        self._tell_gap()
        reading = self._reading
        assert reading is not None, "reading until live"
        try:
            messages = reading.step(STEP_BYTES)
        except PositionLost as error:
            self._start_over(str(error))
            return
        except LyreError as error:
            self.end(error)
            return
        self.telling.note_step(reading)
        self._catch_up_with_rights()
        if self.state is not State.READING:
            return
        self._send([one for one in messages if one.current or not self._is_brought(one)])
        if self.state is not State.READING:
            return  # the subscriber closed while it was written to
        if reading.done:
            self._rooms.tail.advance_to(reading.position)
            if self.state is State.READING:
                self._go_live(reading.position)
            return
        self._hold(reading)
        if self.state is State.READING:
            self._rooms.turns.ask(self)

    def _catch_up_with_rights(self) -> None:
        """Let the tail tell each change of rights that is in the store already.

        A step reads what is committed, the tail may be behind it: between the two somebody
        may have lost the right to what the step has read.
        """
        rooms = self._rooms
        changed_at = rooms.access.changed_at()
        if changed_at > rooms.tail.position:
            rooms.tail.advance_to(changed_at)

    def access_changed(self) -> None:
        """Decide anew: what may not be read any more is not sent from now on.

        The subscription goes on with the tables that are left, and ends when there is
        none. A table that it gains brings its later changes, not its current state, and so
        does an attribute.
        """
        if self.state is State.CLOSED:
            return
        try:
            self._decide_again()
        except LyreError as error:
            self.revoke(error)

    def tables_changed(self) -> None:
        """Follow the filter into another schema; end when it reaches nothing there.

        A table that it gains brings its later changes, not its current state. One that
        reads begins again when there is other to be read.
        """
        self.access_changed()
        if self.state is State.CLOSED:
            return
        rooms = self._rooms
        covered = coverage(self.filter, rooms.registry, rooms.access, self.context)
        if not self._has_lost:
            self._tables = covered.tables
        if self._reading is None:
            return
        ranges = ranges_of(self.filter, rooms.registry, self.context.protocol, covered.tables)
        if ranges != self._ranges:
            self._ranges = ranges
            self._start_over("tables were added or are exported elsewhere")

    def revoke(self, reason: Exception) -> None:
        """End it because of lost rights: not even what waits for its turn is sent."""
        self._lose_all()
        self.end(reason)

    def _hold(self, reading: CatchUp) -> None:
        """Keep direct messages from now on; send those whose records have been read.

        Only while the reading stands where the tail stands: the tail lets a message go
        behind the write that came before it, and the reading has told that write then.
        """
        held = self._start_holding()
        if reading.position >= self._rooms.tail.position:
            self._send(held.take(reading.covers))

    def _start_holding(self) -> Held:
        held = self._holder()
        if not self._is_holding:
            self._is_holding = True
            self._rooms.hub.join(self.filter, held, self._terms(ENCODING))
        return held

    def _holder(self) -> Held:
        if self._held is None:
            self._held = Held(self._place_of, self._must_bring, self._overflow, self._rooms.held)
        return self._held

    def _must_bring(self, message: Message) -> bool:
        return self._siblings.must_bring(self, message)

    def _is_brought(self, message: Message) -> bool:
        """Tell whether another subscription of the same subscriber brings this change.

        What is replayed was asked for besides, whatever else has told it.
        """
        return message.seq > self.telling.replayed_upto and self._siblings.bring(self, message)

    def brings(self, change: Message, qos: int) -> bool:
        """Tell whether this one has told a change or a later state, or surely will.

        Args:
            change: A change that another subscription has read from the log.
            qos: What the other would send it with at most.
        """
        return self.qos >= qos and self.telling.brings(
            change, self.state, self._reading, self._place_of, is_better=self.qos > qos
        )

    def reached(self) -> Reached:
        """How far it has handed out what it tells, for who goes on with it in another life.

        Of one that is live it is what the hub was told: flush it first.
        """
        begins = self._after.slot is not None if self._after else not self._options.omit_current
        told = self._rooms.hub.position
        return self.telling.reached(self.state, self._reading, told, begins=begins)

    @property
    def place(self) -> int:
        """Up to where it has told the log, while the log has more for it; else `UP_TO_DATE`."""
        return self.telling.place(self.state, self._reading)

    @property
    def qos(self) -> int:
        """The highest quality of service that it sends with."""
        return self._options.qos

    def _start_over(self, reason: str) -> None:
        """The log was trimmed below the scan: begin again with current state."""
        self._reading = self._reset(reason)
        self._rooms.turns.ask(self)

    def _send(self, messages: Sequence[Message]) -> None:
        if self._options.no_local and self.context.session:
            own = self.context.session
            messages = [message for message in messages if message.session != own]
        messages = self._seen(messages)
        if not messages:
            return
        if self._options.encoding.takes_messages:
            (self._options.on_messages or self.subscriber.write_messages)(messages)
            return
        self.subscriber.write(batch_of(messages, self._options))

    def _go_live(self, position: int) -> None:
        """The tail stands where reading ended: from here on the groups deliver."""
        self._reading = self._ranges = None
        if self._held is not None:
            self._release(self._held)
        self._join()
        if self.state is not State.READING:
            return
        self.state = State.LIVE
        self.telling.go_live(position)
        self._wake_siblings()
        was_returning, self._is_returning = self._is_returning, False
        if self._options.on_ready is not None and not was_returning:
            self._options.on_ready(format_position(self._rooms.hub.log_id, position))

    def _release(self, held: Held) -> None:
        """Send what is still held; nothing is held any more."""
        self._stop_holding(held)
        self._tell_gap()
        self._send(held.take_all())
        if held.is_empty:
            self._held = None

    def _stop_holding(self, held: Held) -> None:
        if self._is_holding:
            self._is_holding = False
            self._rooms.hub.leave(self.filter, held)  # hands over this tick's messages

    def _hand_over(self) -> None:
        """Give what is held to those who read for the same subscriber, else send it.

        Out of turn is better than lost.
        """
        held = self._held
        if held is None:
            return
        self._stop_holding(held)
        self._send([one for one in held.take_all() if not self._siblings.bequeath(one)])

    def may_inherit(self, message: Message) -> bool:
        """Tell whether this one has yet to read what a direct message waits for."""
        waiting = (State.PREPARED, State.ANNOUNCED, State.READING)
        return self.state in waiting and self.matches(message)

    def inherit(self, message: Message) -> None:
        """Hold a direct message that came to a subscription which has ended."""
        self._holder().add(message)

    def _terms(self, encoding: Encoding) -> Terms:
        shared = self._rooms.terms
        return shared.of(self._options, encoding, self.context, scanning=self._is_holding)

    def _join(self) -> None:
        hub = self._rooms.hub
        if not self._is_closed:
            hub.join(self.filter, self.subscriber, self._terms(self._options.encoding))
        if self._is_closed:
            # Joining writes out what waits, which may have closed this very subscriber.
            hub.leave(self.filter, self.subscriber)

    @property
    def _is_closed(self) -> bool:
        return self.state is State.CLOSED

    def resume(self) -> None:
        """Go on reading; called by the subscriber when it can take more again."""
        if self.state in (State.READING, State.BEHIND):
            self._rooms.turns.ask(self)

    def take_turn(self) -> None:
        """Read on, or begin to read what was missed; called when it is its turn."""
        if self.state is State.BEHIND:
            self.state = State.READING
            self._reading = self._open()
            self._siblings.note_place(self)
        self._pump()

    def fall_behind(self) -> None:
        """Send nothing more until `resume`; called by a subscriber that holds too much.

        It gets what was pushed before this call; then nothing but marks until it has
        drained. What the log gets meanwhile comes then, in order and once. Direct
        messages do not: ``on_gap`` tells how many. Does nothing unless it is live.
        """
        if self.state is not State.LIVE:
            return
        hub = self._rooms.hub
        self.state = State.BEHIND  # before the flush, which comes here again
        self._is_returning = self._is_holding = True
        held = self._holder()
        held.count_only()
        if hub.set_aside(self.filter, self.subscriber, held, self._terms(ENCODING)):
            self._after = Position(hub.log_id, hub.position)
            self.telling.cut = hub.position
        self._siblings.note_place(self)

    def _tell_gap(self) -> None:
        """Tell what was missed; from here on messages are kept."""
        held = self._held
        if held is None:
            return
        held.keep()
        gap = held.take_gap()
        if gap is not None and self._options.on_gap is not None:
            self._options.on_gap(gap)

    def _overflow(self) -> None:
        """Too much is held: losing it would be worse than its order, while there is room."""
        held = self._holder()
        if self._options.on_gap is not None and self.subscriber.is_congested:
            held.count_only()
        else:
            self._send(held.take_all())

    def update(self, options: SubscribeOptions) -> None:
        """Serve by other options from now on, without current state."""
        self._options = options
        if self.state is State.LIVE:
            self._join()

    def close(self) -> None:
        """End it; nothing is sent any more. A second call does nothing."""
        if self.state is State.CLOSED:
            return
        was, self.state = self.state, State.CLOSED
        self._rooms.turns.forget(self)
        self._hand_over()
        if was in (State.LIVE, State.BEHIND, State.READING):
            self._rooms.hub.leave(self.filter, self.subscriber)  # or its place when it is aside
        self._rooms.hub.peers.interest.remove(self.filter)
        self._held = None
        self._on_close(self)
        self._wake_siblings()

    def _wake_siblings(self) -> None:
        """Let those of the session go on that wait for this one."""
        if self._options.on_messages is not None:
            self._siblings.wake()

    def end(self, reason: Exception) -> None:
        """Close it and tell the subscriber why."""
        if self.state is State.CLOSED:
            return
        self.close()
        if self._options.on_error is not None:
            self._options.on_error(reason)
        else:
            self.subscriber.close(reason)
