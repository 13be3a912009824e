r"""The states of a connection; each is left by one method of `connection.Connection`.

CONNECTING --CONNECT--> VERIFYING --password right--> CONNECTED
     |  \---------remembered or no password--------->    |
     |                     |                             |
     +----------refused, violation, timeout, peer gone, server stopping-----> ENDED
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """Where a connection is in its life."""

    CONNECTING = auto()
    VERIFYING = auto()
    CONNECTED = auto()
    ENDED = auto()
