"""What of the log a subscription tells by itself: for filters that overlap, and for a later life.

Where filters of one subscriber overlap while some of them read, a change is told by one of
them. A change is a record's or a message: a record's is also told by a later state of it, a
message by nothing but itself.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lyredb.delivery.cursor import CatchUp
from lyredb.plugins.delivery import Message
from lyredb.resources.held import Place
from lyredb.resources.reached import Reached
from lyredb.resources.siblings import UP_TO_DATE
from lyredb.resources.subscription_parts import State

_NOT_BEGUN = -1


class Telling(msgspec.Struct, gc=False):
    """How a subscription has begun, and what follows from that.

    Numbers only, so that the garbage collector need not look at a million of it.

    Attributes:
        began_at: Where the log stood when it was prepared.
        since: It tells each change after this position; -1 before it has begun.
        wanted_since: Changes up to here were not wanted, or are in the current state that was
            told to its end; -1 while that is not known.
        has_state: It began with current state.
        cut: Up to where it has told the log when it fell behind, or before it begins.
        replayed_upto: What the log had up to here was asked for as a replay, besides.
        resumes: What it reads first is a part of the log.
    """

    began_at: int
    cut: int
    resumes: bool
    since: int = _NOT_BEGUN
    wanted_since: int = _NOT_BEGUN
    replayed_upto: int = 0
    has_state: bool = False

    def begin(self, reading: CatchUp, since: int | None) -> None:
        """Note what is read first.

        Args:
            reading: Current state, or a part of the log.
            since: The position that it follows; ``None`` for current state from its start.
        """
        self.has_state = reading.is_scan
        if since is None:
            self.replayed_upto = 0
        self.since = _NOT_BEGUN if since is None else since
        self.wanted_since = _NOT_BEGUN if reading.is_scan else self.since

    def note_step(self, reading: CatchUp) -> None:
        """Note a step: current state tells each message from its first one on."""
        if self.since == _NOT_BEGUN:
            self.since = reading.position

    def go_live(self, position: int) -> None:
        """Note that everything after a position comes from the tail."""
        if self.since == _NOT_BEGUN:
            self.since = position
        if self.wanted_since == _NOT_BEGUN:
            self.wanted_since = position

    def place(self, state: State, reading: CatchUp | None) -> int:
        """Up to where it has told the log, while the log has more for it; else `UP_TO_DATE`."""
        if reading is not None:
            return UP_TO_DATE if reading.is_scan else reading.position
        is_due = self.resumes and (state is State.PREPARED or state is State.ANNOUNCED)
        return self.cut if is_due or state is State.BEHIND else UP_TO_DATE

    def brings(
        self,
        change: Message,
        state: State,
        reading: CatchUp | None,
        place_of: Callable[[Message], Place],
        *,
        is_better: bool,
    ) -> bool:
        """Tell whether this one has told a change or a later state, or surely will.

        Args:
            change: A change that another subscription has read from the log.
            state: Of this one.
            reading: What this one reads, if it does.
            place_of: Returns slot and key of a message's record.
            is_better: It sends with a higher quality than the other. Of two with the same
                the first to read it tells it.
        """
        if self.since == _NOT_BEGUN:
            return False
        if change.seq <= self.since or (reading is not None and reading.is_scan):
            if change.kind != "message":
                return self._has_state_of(change, reading, place_of, is_better=is_better)
            if change.seq <= self.since:
                return False
        if state is State.LIVE or is_better:
            return True
        return change.seq <= (self.cut if reading is None else reading.position)

    def _has_state_of(
        self,
        change: Message,
        reading: CatchUp | None,
        place_of: Callable[[Message], Place],
        *,
        is_better: bool,
    ) -> bool:
        if not self.has_state:
            return False
        if reading is None or not reading.is_scan:
            return True
        return reading.covers(*place_of(change)) and (is_better or reading.position >= change.seq)

    def reached(self, state: State, reading: CatchUp | None, told: int, *, begins: bool) -> Reached:
        """How far it has come.

        Args:
            state: Where it is in its life.
            reading: What it reads, if it does.
            told: The position that all that are live have been told.
            begins: What it reads first is current state.
        """
        if state is State.LIVE:
            return Reached(told, self.since, self.wanted_since, False)
        since = self.cut if self.wanted_since == _NOT_BEGUN else self.wanted_since
        if reading is not None:
            position = self.cut if self.since == _NOT_BEGUN else reading.position
            is_scanning = reading.is_scan and not reading.done
            return Reached(position, min(self.since, since), since, is_scanning)
        is_new = state in (State.PREPARED, State.ANNOUNCED)
        begun = since if self.since == _NOT_BEGUN else self.since
        return Reached(self.cut, begun, since, is_new and begins)
