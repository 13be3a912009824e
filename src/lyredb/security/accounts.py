"""Somebody who is known to be who it says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lyredb.security.principals import Role


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who is known to be who it says.

    Attributes:
        name: The user's name, ``""`` for nobody.
        principal: The decision class.
        until_s: When the login ends by itself, in seconds since 1970; infinite for not.
        is_issued: An issuer's token says so, which must not become a login that lasts longer.
        is_stored: It is a user of this server, or nobody in particular; else its role is what
            somebody else says.
    """

    name: str
    principal: Role
    until_s: float = math.inf
    is_issued: bool = field(default=False, compare=False)
    is_stored: bool = field(default=True, compare=False)
