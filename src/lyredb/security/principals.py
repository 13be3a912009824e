"""Decision classes: everybody of one class is decided for in the same way.

A class is a role; a user of it where the role's topic patterns have ``%u``, a connection
where they have ``%c``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Role:
    """The rights of a user; a ``plugins.context.Principal``.

    Who makes one for a context asks ``Database.identify``: what the role's patterns need is
    told apart, and no more, so that as many as possible share what is made for them.

    Attributes:
        name: Stands in the user's record. What it may do is looked up by it at each
            decision, so that connections need not be told when it changes.
        super_user: May do everything, whatever is defined: the built-in role. A role that
            was defined with ``super_user: true`` is looked up like others.
        user: The user's name, where it matters; ``None``: everybody of the role.
        client: The client identifier, where it matters; ``None``: every connection.
    """

    name: str
    super_user: bool = False
    user: str | None = None
    client: str | None = None

    @property
    def key(self) -> str:
        """See `plugins.context.Principal.key`."""
        if self.user is None and self.client is None:
            return self.name
        # No role or user has control characters in its name; what a client has is last.
        user = "" if self.user is None else f"u{self.user}"
        return f"{self.name}\1{user}\1" + ("" if self.client is None else f"c{self.client}")


SUPER_USER: Final = Role("super_user", super_user=True)
ANONYMOUS: Final = Role("anonymous")
"""Nobody in particular: a role like any other, without rights until somebody defines it."""


def role_named(name: str) -> Role:
    """Return the role of a user record. A role that nobody defined has no rights."""
    return SUPER_USER if name == SUPER_USER.name else Role(name)
