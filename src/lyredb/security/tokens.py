"""Bearer tokens: JSON Web Tokens (RFC 7519) that say who somebody is, and nothing else.

What the user may do is not in a token: the user is looked up on each use. A token names
the version of the user's record that it was issued for, so that a new password or role
voids it, without clocks and without a list of what was revoked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import jwt

from lyredb.errors import LoginFailed
from lyredb.security.authenticator import Account
from lyredb.security.users import User, UserDirectory

Purpose = Literal["access", "refresh"]

ACCESS_S: Final = 86_400.0
REFRESH_S: Final = 30 * 86_400.0
MAX_TOKEN_BYTES: Final = 4096
"""Ours have about 300. Longer ones are refused before anything is decoded."""
_ALGORITHM: Final = "HS256"
_ISSUER: Final = "lyredb"


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login gives a program.

    Attributes:
        access: For ``Authorization: Bearer``. Does not print.
        refresh: For a new access token, and nothing else. Does not print.
        expires_in_s: How long ``access`` is good.
    """

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_in_s: int


class Tokens:
    """Issues and verifies tokens.

    Args:
        key: See `lyredb.security.token_key`.
        users: Where user records come from.
        access_s: How long an access token is good.
        refresh_s: How long a refresh token is good.
        now_s: The wall clock, in seconds since 1970.
    """

    def __init__(
        self,
        key: bytes,
        users: UserDirectory,
        *,
        access_s: float = ACCESS_S,
        refresh_s: float = REFRESH_S,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._users = users
        self._lasting_s: dict[Purpose, float] = {"access": access_s, "refresh": refresh_s}
        self._now_s = now_s

    def issue(self, name: str) -> TokenPair:
        """Return a new pair for a user who has just logged in.

        Raises:
            LoginFailed: There is no such user any more, or it is inactive.
        """
        user = self._active(name)
        return TokenPair(
            self._sign(user, "access"),
            self._sign(user, "refresh"),
            int(self._lasting_s["access"]),
        )

    def verify(self, token: str) -> Account:
        """Return the account of an access token.

        Raises:
            LoginFailed: It is no access token of ours, its time is over, or it was issued
                before the last change of its user.
        """
        user = self._user_of(token, "access")
        return Account(user.name, user.principal)

    def refresh(self, token: str) -> TokenPair:
        """Return a new access token for a refresh token, which stays as it is.

        Raises:
            LoginFailed: As `verify`, of a refresh token.
        """
        user = self._user_of(token, "refresh")
        return TokenPair(self._sign(user, "access"), token, int(self._lasting_s["access"]))

    def _sign(self, user: User, purpose: Purpose) -> str:
        now_s = self._now_s()
        claims = {
            "iss": _ISSUER,
            "sub": user.name,
            "use": purpose,
            "ver": user.version,
            "iat": int(now_s),
            "exp": int(now_s + self._lasting_s[purpose]),
        }
        return jwt.encode(claims, self._key, _ALGORITHM)

    def _user_of(self, token: str, purpose: Purpose) -> User:
        claims = self._claims(token)
        if claims.get("use") != purpose:
            raise LoginFailed(f"invalid token: this is no {purpose} token")
        if not isinstance(claims["exp"], int) or claims["exp"] <= self._now_s():
            raise LoginFailed("invalid token: its time is over")
        user = self._active(claims["sub"])
        if claims.get("ver") != user.version:
            raise LoginFailed("invalid token: the user was changed since it was issued")
        return user

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_BYTES:
            raise LoginFailed("invalid token")
        try:
            # Times are checked against our own clock, which tests can move.
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                options={
                    "require": ["iss", "sub", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise LoginFailed("invalid token") from None
        return claims

    def _active(self, name: str) -> User:
        user = self._users.find(name)
        if user is None or not user.active:
            raise LoginFailed("invalid token: there is no such user, or it is inactive")
        return user
