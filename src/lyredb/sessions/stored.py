"""One session that outlives its connection, while a connection has it.

States: open → closed, or lost to another owner. The writes of its description go one after
the other, each naming the version that the one before has made; commits of progress in
between wait for the answer. After it is lost or closed nothing is written any more.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from lyredb.errors import LyreError, Overloaded, PreconditionFailed, SessionTakenOver
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Message
from lyredb.resources.session_store import SessionStore
from lyredb.sessions import rows
from lyredb.sessions.described import Changes, Closing, changed, taken_over
from lyredb.sessions.inbound import Committed
from lyredb.sessions.outbound import Outbound
from lyredb.sessions.reading import Reader, Starts
from lyredb.sessions.stored_inbound import StoredInbound
from lyredb.sessions.terms import Description
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import Result
from lyredb.storage.session_row import (
    InFlight,
    SessionProgress,
    encode_progress,
    fence_name,
    progress_name,
)
from lyredb.storage.snapshot import Snapshot


class SessionState(Enum):
    """Where a session is in the life of its connection."""

    OPEN = "open"
    CLOSED = "closed"
    LOST = "lost"


class Scheduler(Protocol):
    """What a session asks of all sessions of its worker: to be written in time."""

    def note_changed(self, session: StoredSession) -> None:
        """Write its progress within a second."""

    def want_commit(self, session: StoredSession) -> None:
        """Write its progress in this tick."""

    def forget(self, session: StoredSession) -> None:
        """It is closed or lost."""


class StoredSession:
    """See the module. Made by `lyredb.sessions.store.Sessions.open`.

    Attributes:
        client_id: Whose it is.
        number: For `Context.session`, as long as the session lasts.
        context: As it was opened, with the number.
        is_present: It was there before: what a CONNACK says.
        lost: Why its position was of no use, as a sentence, or ``""``. Its filters begin
            with current state then.
        subscriptions: What is on disk, by filter.
        inbound: Packet identifiers of QoS 2 from the client.
        outbound: Messages to the client.
        state: See `SessionState`.
        on_lost: Called when another owner has it: nothing may be sent or acknowledged any
            more. May be set anew.
        stored_position: The position that is on disk.

    Args:
        description: As it was written at the opening.
        version: Of its record.
        progress: How far it was.
        doubtful: See `Outbound`.
    """

    def __init__(
        self,
        store: SessionStore,
        scheduler: Scheduler,
        context: Context,
        description: Description,
        version: int,
        progress: SessionProgress,
        *,
        is_present: bool,
        lost: str,
        doubtful: int = 0,
    ) -> None:
        self.client_id = description.client_id
        self.number = description.number
        self.context = replace(context, session=description.number)
        self.is_present = is_present
        self.lost = lost
        self.subscriptions = {one.filter: one for one in description.subscriptions}
        self.state = SessionState.OPEN
        self.on_lost: Callable[[LyreError], None] = _ignore
        self.stored_position = progress.position
        self._store = store
        self._scheduler = scheduler
        self._description = description
        self._version = version
        self._inbound_then = progress.inbound
        self._readers: dict[str, Reader] = {}
        self._given_up: set[str] = set()
        self._starts = Starts(progress.position, progress.starts, lambda: store.position)
        self.inbound = StoredInbound(self.number, description.epoch, progress.inbound, store.submit)
        self.outbound = Outbound(
            self._starts,
            progress.acknowledged,
            progress.in_flight,
            finder=self,
            on_change=lambda: scheduler.note_changed(self),
            on_commit=self._want_commit,
            doubtful=doubtful,
        )
        self._waiting: list[Committed] = []
        self._wanted: list[tuple[Changes, Committed]] = []
        self._closing: Closing | None = None
        self._forgotten: list[bytes] = []
        self._is_describing = False

    # Filters

    def start_of(self, filter: str) -> tuple[str, bool]:
        """Where a stored filter goes on: a position token, and whether to omit current state.

        A filter of QoS 0 whose current state was told goes on with what comes from now on:
        nothing is kept for it (as mosquitto does; MQTT 5 §4.1 leaves it open).
        """
        start = self._starts.of(filter)
        stored = self.subscriptions.get(filter)
        if not start.is_scan and stored is not None and not stored.qos:
            return "", True
        slot = start.slot if start.is_scan else None
        return self._store.token(start.seq, slot, start.key), False

    def go_on(self, filter: str, reader: Reader) -> None:
        """Note the subscription with which a stored filter goes on.

        Until each stored filter has gone on, or was given up with `detach`, the session
        stays at its position. Filters that begin with ``$`` read no log here.
        """
        self._readers[filter] = reader
        self._given_up.discard(filter)

    def begin(
        self, filter: str, reader: Reader, *, is_current: bool, is_replay: bool = False
    ) -> None:
        """Note the subscription of a new filter, or one that begins anew.

        To be called before `set_subscriptions` and before the subscription starts, so
        that where it begins is on disk with the filter.

        Args:
            filter: As the client sent it.
            reader: The subscription.
            is_current: It begins with current state.
            is_replay: It begins with a part of the log.
        """
        self.go_on(filter, reader)
        is_old = filter in self.subscriptions
        self._starts.begin(filter, is_current=is_current, is_old=is_old, is_replay=is_replay)

    def restart(self, filter: str) -> None:
        """Note that a filter begins with current state again: its position was lost.

        To be called at once when the subscription says so (`SubscribeOptions.on_reset`).
        """
        self._starts.begin(filter, is_current=True, is_old=False)

    def detach(self, filter: str) -> None:
        """Note that a filter brings nothing any more, though it may be stored."""
        self._readers.pop(filter, None)
        self._starts.forget(filter)
        self._given_up.add(filter)

    def set_subscriptions(self, changes: Changes, done: Committed) -> None:
        """Change the description; ``done`` once it is on disk and every worker knows.

        What is published with QoS 1 or 2 after that, by anybody, is in the log for the
        filters that were added.
        """
        if self.state is not SessionState.OPEN or self._closing is not None:
            done(taken_over())
            return
        for filter, subscription in changes.items():
            if subscription is None:
                self._readers.pop(filter, None)
                self._starts.forget(filter)
        self._wanted.append((changes, done))
        self._describe()

    # Progress

    def _want_commit(self, done: Committed) -> None:
        if self.state is not SessionState.OPEN or self._closing is not None:
            done(taken_over())
            return
        self._waiting.append(done)
        self._scheduler.want_commit(self)

    def write_first(self, rows_of_owner: Rows) -> None:
        """Write the rows of its new owner, before anything else that it writes."""

        def replied(result: Result) -> None:
            self.committed(result if isinstance(result, LyreError) else None, [])

        check = rows.check_of(self.client_id, self._version)
        self._store.submit((check,), rows_of_owner, replied)

    @property
    def epoch(self) -> int:
        """Of the owner that has it here."""
        return self._description.epoch

    def snapshot(self) -> Snapshot:
        """What is committed now."""
        return self._store.snapshot()

    def forget_row(self, name: bytes) -> None:
        """Remove a row with the next commit of progress.

        One that fails leaves it: the next owner removes whatever is there.
        """
        self._forgotten.append(name)
        self._scheduler.note_changed(self)

    @property
    def is_busy(self) -> bool:
        """A write of its description is under way: its version is not known."""
        return self._is_describing

    def take_commit(self) -> tuple[Mutation, Rows, list[Committed]]:
        """What commits its progress as of now, and who waits for that; not while busy."""
        waiting = self._take_waiting()
        return rows.check_of(self.client_id, self._version), self._progress_rows(waiting), waiting

    def _take_waiting(self) -> list[Committed]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def committed(self, error: LyreError | None, waiting: list[Committed]) -> None:
        """Take note of what a commit has come to.

        What could not be written for the moment, as when another writer is being started, is
        written with what changes meanwhile: a client waits then, and keeps its connection.
        """
        is_going_on = self.state is SessionState.OPEN and self._closing is None
        if isinstance(error, Overloaded) and is_going_on:
            self._waiting[:0] = waiting
            self._scheduler.note_changed(self)
            return
        if isinstance(error, SessionTakenOver) and is_going_on and self._give_up_receipts():
            self._waiting[:0] = waiting
            self._scheduler.want_commit(self)
            return
        if isinstance(error, PreconditionFailed):
            self.lose()
            error = taken_over()
        for done in waiting:
            done(error)

    def lose(self) -> None:
        """Another owner has the session: stop."""
        if self.state is not SessionState.OPEN:
            return
        self.state = SessionState.LOST
        self._scheduler.forget(self)
        error = taken_over()
        waiting = [*self._waiting, *(done for _, done in self._wanted)]
        if self._closing is not None:
            waiting.append(self._closing.done)
        self._waiting, self._wanted, self._closing = [], [], None
        for done in waiting:
            done(error)
        self.on_lost(error)

    def _progress_rows(self, waiting: list[Committed]) -> Rows:
        """Its progress and what goes with it; ``waiting`` gets who has to know of that, too."""
        progress = self._flushed()
        forgotten, self._forgotten = self._forgotten, []
        row = progress_name(self.number), encode_progress(progress)
        return (*self._receipt_rows(waiting), row, *((name, None) for name in forgotten))

    def _flushed(self) -> SessionProgress:
        self._store.flush()  # what was told to the hub is counted as told to the client
        progress = self._progress()
        self.stored_position = progress.position
        return progress

    def _receipt_rows(self, waiting: list[Committed]) -> Rows:
        receipts = self.outbound.receipts
        rows_of_receipts, packet_ids = receipts.rows()

        def written(error: LyreError | None) -> None:
            if error is None:
                receipts.note_written(packet_ids)

        if packet_ids:
            waiting.insert(0, written)
        return rows_of_receipts

    def _give_up_receipts(self) -> bool:
        """Drop what a group has given whose owner is another one now: that gives it again.

        False when nobody can tell.
        """
        try:
            with self._store.snapshot() as snapshot:
                refused = self.outbound.receipts.refuse(snapshot)
        except LyreError:
            return False
        for packet_id in refused:
            self.outbound.completed(packet_id)
        return True

    def _progress(self) -> SessionProgress:
        readers = self._readers if self._is_awake() else None
        position, acknowledged, starts = self.outbound.reached(readers)
        return SessionProgress(
            self._description.epoch,
            self._store.log,
            position,
            acknowledged,
            starts,
            tuple(self.outbound.in_flight.values()),
            self._inbound_then,
        )

    def _is_awake(self) -> bool:
        return all(
            filter in self._readers or filter in self._given_up or filter[:1] == "$"
            for filter in self.subscriptions
        )

    # The description

    def close(self, expiry_s: int, done: Committed) -> None:
        """End the connection's part: progress and deadline in one transaction.

        To be called before the subscriptions are closed, since it asks them how far they
        are; nothing is sent after it. The claim is released after ``done``.

        Args:
            expiry_s: How long the session lasts from now; 0 removes it.
            done: Called once; with an error the session is as it was at the last commit.
        """
        if self.state is not SessionState.OPEN or self._closing is not None:
            done(taken_over())
            return
        if expiry_s:
            removed: Rows = ((fence_name(self.number), None),)
        else:
            with self._store.snapshot() as snapshot:
                removed = rows.removal_of_rows(snapshot, self.number)
        now_ms, doubtful = self._store.now_ms(), self.outbound.doubtful
        self._closing = Closing(expiry_s, removed, self._flushed(), done, now_ms, doubtful)
        self._describe()

    def _describe(self) -> None:
        """Write the description that is wanted, unless an answer is still to come."""
        closing = self._closing
        if self._is_describing or not (self._wanted or closing):
            return
        wanted, self._wanted = self._wanted, []
        description = self._description
        for changes, _ in wanted:
            description = changed(description, changes)
        if closing is not None:
            description = closing.applied_to(description)
        if closing is not None and not closing.expiry_s:
            mutation = rows.removal_of(self.client_id, self._version)
        else:
            mutation = rows.replacement_of(description, self._version)
        told = [done for _, done in wanted]
        waiting = self._take_waiting()
        self._is_describing = True

        def replied(result: Result) -> None:
            self._is_describing = False
            if isinstance(result, SessionTakenOver) and self._give_up_receipts():
                self._wanted[:0], self._waiting[:0] = wanted, waiting
                self._go_on_writing()
            elif isinstance(result, LyreError):
                self._not_described(result, closing, told + waiting)
            else:
                self._description, self._version = description, result.outcomes[0].version
                self.subscriptions = {one.filter: one for one in description.subscriptions}
                self._described(result.position, closing, told, waiting)

        written = (
            self._progress_rows(waiting)
            if closing is None
            else self._closing_rows(closing, waiting)
        )
        self._store.submit((mutation,), written, replied)

    def _closing_rows(self, closing: Closing, waiting: list[Committed]) -> Rows:
        """As of the close, but for what a group has taken back since."""
        if not closing.expiry_s:
            return closing.removed
        known = self.outbound.in_flight
        in_flight = tuple(one for one in closing.progress.in_flight if one.packet_id in known)
        progress = replace(closing.progress, in_flight=in_flight)
        row = progress_name(self.number), encode_progress(progress)
        forgotten = ((name, None) for name in self._forgotten)
        return (*self._receipt_rows(waiting), row, *closing.removed, *forgotten)

    def _described(
        self,
        position: int,
        closing: Closing | None,
        told: list[Committed],
        waiting: list[Committed],
    ) -> None:
        for done in waiting:
            done(None)
        for done in told:
            self._store.when_told(position, partial(done, None))
        if closing is not None:
            self._end(closing, None)
        else:
            self._go_on_writing()

    def _not_described(
        self, error: LyreError, closing: Closing | None, waiting: list[Committed]
    ) -> None:
        is_lost = isinstance(error, PreconditionFailed)
        for done in waiting:
            done(taken_over() if is_lost else error)
        if is_lost:
            self.lose()
        elif closing is not None:
            self._end(closing, error)
        else:
            self._go_on_writing()

    def _go_on_writing(self) -> None:
        """Write what has been wanted while an answer was to come."""
        self._describe()
        if self._waiting and not self._is_describing:
            self._scheduler.want_commit(self)

    def _end(self, closing: Closing, error: LyreError | None) -> None:
        self.state = SessionState.CLOSED
        self._scheduler.forget(self)
        closing.done(error)

    # Finding what is in flight

    def place_of(self, message: Message) -> tuple[int, bytes]:
        """See `lyredb.sessions.outbound.Finder`."""
        return self._store.place_of(message, self.context)

    def find(self, one: InFlight) -> Message | None:
        """See `lyredb.sessions.outbound.Finder`."""
        if one.is_current:
            return self._store.current_at(one.slot, one.key, self.context)
        return self._store.message_at(one.seq, self.context)

    def is_void(self, message: Message) -> bool:
        """Whether it may not be sent for the first time any more [MQTT-3.3.2-5]."""
        return message.kind == "message" and 0 < message.expires_ms <= self._store.now_ms()


def _ignore(error: LyreError) -> None:
    """Nobody has to be told."""
