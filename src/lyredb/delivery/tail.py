"""The tail: follows the log and hands each entry to the hub, in order, once.

Commits poke it; pokes are hints, and how far there is something to read is seen in the
snapshot. Handlers for schema and access entries run before any later entry is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lyredb.delivery.hub import Hub
from lyredb.errors import PositionLost
from lyredb.storage.entry import Entry, decode_entry, head_of
from lyredb.storage.mutation import MESSAGE, Kind

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine
    from lyredb.storage.overlay import Address

STEP_ENTRIES: Final = 2_000
"""Entries per tick at most, about 10 ms of work, so that connections are served."""
STEP_BYTES: Final = 8 * 1024 * 1024
"""Bytes per tick at most: they are in memory until the tick's flush."""

_NONE: Final = -1, (-1, b"")

_log = logging.getLogger(__name__)


class Tail:
    """Delivers the log from the position at which the engine stands when it is made.

    Attributes:
        position: The last entry that was delivered (W).
        on_progress: Told of W at the end of each step, after its entries were delivered.
    """

    def __init__(
        self,
        engine: Engine,
        hub: Hub,
        *,
        schedule: Callable[[Callable[[], None]], object],
        step_entries: int = STEP_ENTRIES,
    ) -> None:
        """Start at the end of the log.

        Args:
            engine: What to read.
            hub: Gets each entry.
            schedule: Calls its argument in the next tick of the loop.
            step_entries: How many entries one tick delivers at most.
        """
        self._engine = engine
        self._hub = hub
        self._schedule = schedule
        self._step_entries = step_entries
        self._is_scheduled = False
        self._handlers: dict[Kind, list[Callable[[Entry], None]]] = {}
        self._slot_handlers: dict[int, list[Callable[[Entry], None]]] = {}
        self._skip_handlers: list[Callable[[], None]] = []
        self.position = engine.position
        self.on_progress: Callable[[int], None] | None = None
        hub.log_id = engine.log_id.hex()
        hub.position = self.position
        hub.peers.follow(self.advance_to)

    def on(self, kind: Kind, handler: Callable[[Entry], None]) -> None:
        """Call a handler for each entry of a kind, before any later entry is told."""
        self._handlers.setdefault(kind, []).append(handler)

    def on_slot(self, slot: int, handler: Callable[[Entry], None]) -> None:
        """Call a handler for each entry of a table, before any later entry is told."""
        self._slot_handlers.setdefault(slot, []).append(handler)

    def on_skip(self, handler: Callable[[], None]) -> None:
        """Call a handler after entries were passed over unseen: the log was trimmed meanwhile."""
        self._skip_handlers.append(handler)

    def poke(self, position: int) -> None:
        """Note that the log has come to a position; it is read in the next ticks."""
        if position > self.position and not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(self._tick)

    def _tick(self) -> None:
        self._is_scheduled = False
        if not self._engine.is_closed and self._step(self._step_entries, is_first=True):
            self.poke(self.position + 1)

    def advance_to(self, position: int) -> None:
        """Deliver all entries up to a position that is committed, before returning.

        What has been delivered is written at the end of the tick, or at the next edit
        of the subscriptions.
        """
        most = self._step_entries
        while self.position < position and self._step(min(most, position - self.position)):
            # What was read stays in memory until it is written: not all of it at once.
            self._hub.flush()

    def _step(self, limit: int, *, is_first: bool = False) -> bool:
        """Deliver the next entries; True when there may be more.

        Args:
            limit: How many at most.
            is_first: Tell first what other workers have sent. They sent it before the
                writes that this snapshot sees if it was published before them.
        """
        with self._engine.snapshot() as snapshot:
            if is_first:
                self._hub.peers.take_waiting()
                # It may have told entries itself, and by a younger snapshot than this one.
                if self.position > snapshot.position:
                    return False
            try:
                rows = snapshot.raw_entries(self.position, limit=limit, max_bytes=STEP_BYTES)
            except PositionLost as error:
                self._skip(snapshot.position, error)
                return False
            end = snapshot.position
        handlers, on_slots, hub = self._handlers, self._slot_handlers, self._hub
        unwanted = -1  # the table of the entry before, when nobody wanted it
        passed = _NONE  # kind and address of that entry
        is_behind = False  # more of these have been passed since the hub was told
        for seq, stored in rows:
            head = head_of(stored)
            if head == passed:
                self.position = seq
                is_behind = True
                continue
            if is_behind:
                is_behind = False
                if self._pass_by(passed[1]):
                    unwanted = -1
            passed = _NONE
            kind, address = head
            slot = address[0]
            if kind in handlers or slot in on_slots:
                self._deliver(decode_entry(seq, stored))
                unwanted = -1
                continue
            if (slot != unwanted or kind > MESSAGE) and hub.wants(kind, slot):
                if kind != MESSAGE or not self._deliver_message(seq, stored, address):
                    self._deliver(decode_entry(seq, stored))
                unwanted = -1
                continue
            # Decoding what nobody wants is half of the work.
            self.position = seq
            if self._pass_by(address):
                unwanted = -1  # who was let go on may have joined
            elif kind <= MESSAGE:
                unwanted, passed = slot, head
        if is_behind:
            self._pass_by(passed[1])
        if self.on_progress is not None and rows:
            self.on_progress(self.position)
        return self.position < end

    def _deliver_message(self, seq: int, stored: bytes, address: tuple[int, bytes]) -> bool:
        """Deliver a message without decoding all of it; False when that cannot be."""
        self.position = seq
        try:
            return self._hub.deliver_message(seq, stored, address)
        except Exception:
            _log.exception("log entry %d could not be delivered", seq)
            self._pass_by(address)
            return True

    def _pass_by(self, address: Address) -> bool:
        """Have the hub pass an entry by; True when something that waited may have been let go."""
        try:
            return self._hub.pass_by(self.position, address)
        except Exception:
            _log.exception("what waited for log entry %d could not be delivered", self.position)
            return True

    def _deliver(self, entry: Entry) -> None:
        """Deliver one entry; what fails in it is logged and costs nobody the next one."""
        self.position = entry.seq
        try:
            for handler in self._handlers.get(entry.kind, ()):
                handler(entry)
            for handler in self._slot_handlers.get(entry.slot, ()):
                handler(entry)
            self._hub.deliver(entry)
        except Exception:
            _log.exception("log entry %d could not be delivered", entry.seq)
            self._hub.pass_over(entry)

    def _skip(self, position: int, error: PositionLost) -> None:
        """Go on at the end: the log was trimmed before it was told.

        Nobody may miss events in silence, so all subscribers are ended; they come back
        with their positions and get current state.
        """
        _log.error("the log was trimmed to beyond position %d, which was not told", self.position)
        self.position = self._hub.position = position
        for handler in self._skip_handlers:
            handler()
        self._hub.close_all(error)
        if self.on_progress is not None:
            self.on_progress(position)
