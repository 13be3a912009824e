"""Decision classes: everybody of one role is decided for in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Role:
    """The rights of a user; a ``plugins.context.Principal``.

    Attributes:
        name: Stands in the user's record. What it may do is looked up by it at each
            decision, so that connections need not be told when it changes.
        super_user: May do everything, whatever is defined: the built-in role. A role that
            was defined with ``super_user: true`` is looked up like others.
    """

    name: str
    super_user: bool = False


SUPER_USER: Final = Role("super_user", super_user=True)
ANONYMOUS: Final = Role("anonymous")
"""Nobody in particular: a role like any other, without rights until somebody defines it."""


def role_named(name: str) -> Role:
    """Return the role of a user record. A role that nobody defined has no rights."""
    return SUPER_USER if name == SUPER_USER.name else Role(name)
