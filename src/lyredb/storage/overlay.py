"""What a group of transactions has made of the records, before anything is written.

The overlay holds the final state of every key that the group has touched; transactions
are checked against it in order of arrival. A transaction works on a `Draft`, which is
thrown away when the transaction is rejected, so that the others do not notice.
No I/O: the stored state comes through the function given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from lyredb.storage.record import last_seq_of

Address: TypeAlias = tuple[int, bytes]
"""Table slot and record key."""


class State(msgspec.Struct, frozen=True, gc=False):
    """A key's record and grave as stored; at most one of them is there."""

    image: bytes | None
    grave: bytes | None

    @property
    def last_seq(self) -> int:
        """Position of the key's last log entry, 0 when it has none."""
        stored = self.image or self.grave
        return last_seq_of(stored) if stored else 0


class Overlay:
    """The states of a group's keys: as stored, and as they are to be.

    Args:
        load: Returns the stored state of a key.
    """

    __slots__ = ("_load", "final", "stored")

    def __init__(self, load: Callable[[int, bytes], State]) -> None:
        self._load = load
        self.stored: dict[Address, State] = {}
        self.final: dict[Address, State] = {}

    def get(self, address: Address) -> State:
        """Return a key's state after the transactions accepted so far."""
        state = self.final.get(address) or self.stored.get(address)
        if state is None:
            state = self.stored[address] = self._load(*address)
        return state


class Draft:
    """The states that one transaction wants; nobody sees them before `accept`."""

    __slots__ = ("_overlay", "_states")

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._states: dict[Address, State] = {}

    def get(self, address: Address) -> State:
        """Return a key's state as this transaction has made it."""
        return self._states.get(address) or self._overlay.get(address)

    def put(self, address: Address, state: State) -> None:
        """Set a key's state."""
        self._states[address] = state

    def accept(self) -> None:
        """Make the states those of the group."""
        self._overlay.final.update(self._states)
