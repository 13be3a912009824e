r"""The states of a connection; each is left by one method of `connection.Connection`.

CONNECTING --CONNECT--> ENTERING --identifier granted--> CONNECTED
     |                     |                                 |
     +----------refused, violation, timeout, peer gone, revoked, server stopping-----> ENDED

What happens while it is ENTERING stands in `entrance.Entrance`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a connection is in its life."""

    CONNECTING = auto()
    ENTERING = auto()
    CONNECTED = auto()
    ENDED = auto()


# To name a member of an enumeration takes 60 ns in Python 3.11, a constant 7.
CONNECTED: Final = State.CONNECTED
ENDED: Final = State.ENDED
