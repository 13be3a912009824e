"""A place in a sequence of values where others may have a turn.

A search that looks at many records and finds few would keep the event loop for itself.
It puts `PAUSE` between its values; whoever iterates passes over it and awaits something.
"""

from __future__ import annotations

from typing import Final


class Pause:
    """The type of `PAUSE`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PAUSE"


PAUSE: Final = Pause()
"""No value; compared by identity."""
