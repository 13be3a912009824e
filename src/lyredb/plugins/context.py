"""Who asks: the principal that rights are decided for, and the context of a request."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Principal(Protocol):
    """A decision class: everybody for whom each access decision is the same.

    Hashable and compared by identity or value; rooms below ``resources`` use it as
    a key only and never look inside.
    """

    @property
    def name(self) -> str:
        """The name, for logs and statistics; changes of rights are told by it.

        Several principals may have it, such as those of the users of one role.
        """

    @property
    def key(self) -> str:
        """A text that equal principals have, and no others; without NUL."""


class Context(msgspec.Struct, frozen=True):
    """What is known of the one who asks, for one request or one connection.

    Attributes:
        principal: Whose rights decide.
        protocol: ``"rest"``, ``"sse"``, ``"ws"``, ``"mqtt"`` or ``"python"``; the
            protocol switches of an export look at it.
        user: The user's name, ``""`` for nobody. Stands in each log entry.
        session: A number that is unique to a connection on this server, 0 for
            none. Stands in each log entry, so that no-local works.
        address: The peer's address for logs, ``""`` in process.
        client_id: The client identifier, ``""`` where the protocol has none.
    """

    principal: Principal
    protocol: str
    user: str = ""
    session: int = 0
    address: str = ""
    client_id: str = ""
