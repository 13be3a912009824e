"""How far a subscription has come, for whoever goes on with it in another life."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reached:
    """A place in the log, and from where on the way to it is known.

    Attributes:
        position: All that the log has up to here was handed out, if it is for the
            subscription; while current state is read it is where that began.
        begun: It tells each message after this one, itself or by another filter.
        since: Changes up to here were not wanted, or are in the current state that was told.
        is_scanning: Current state is not read to its end.
    """

    position: int
    begun: int
    since: int
    is_scanning: bool
