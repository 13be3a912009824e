"""Users whom somebody else knows: by a token of an issuer, or by a service that is asked.

A user that is stored here is decided here: its own role holds, an inactive one stays out, and
no service is asked for its password. Nobody gets a role that may do everything by what others
say: at many issuers people choose their names, and "admin" is one. Whoever shall have it is
made a user, and logs in with the password.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import replace

from lyredb.errors import LoginFailed
from lyredb.security.accounts import Account
from lyredb.security.changes import is_name
from lyredb.security.issued_tokens import IssuedTokens, looks_like_token
from lyredb.security.login_service import LoginService, Question
from lyredb.security.principals import Role
from lyredb.security.users import UserDirectory


class Elsewhere:
    """Makes accounts of what others say.

    Args:
        users: Who is stored here.
        is_super_user: Tells whether a role may do everything.
        tokens: Of an issuer; ``None``: there is none.
        service: Is asked for passwords; ``None``: there is none.
    """

    def __init__(
        self,
        users: UserDirectory,
        is_super_user: Callable[[str], bool],
        *,
        tokens: IssuedTokens | None = None,
        service: LoginService | None = None,
    ) -> None:
        self._users = users
        self._is_super_user = is_super_user
        self._tokens = tokens
        self.service = service

    def takes(self, password: str | bytes) -> bool:
        """Tell whether a password is a token, and is decided as one."""
        return self._tokens is not None and looks_like_token(password)

    def asks_about(self, name: str) -> bool:
        """Tell whether the service decides about a user."""
        return self.service is not None and self._users.find(name) is None

    def of_token(self, token: str) -> Account | None:
        """Return whose token it is, ``None`` when there is no issuer.

        Raises:
            LoginFailed: It is not valid, or its user may not log in.
        """
        if self._tokens is None:
            return None
        claim = self._tokens.verify(token)
        return replace(self._account(claim.name, claim.role), until_s=claim.until_s, is_issued=True)

    def of_password(self, password: str | bytes, name: str) -> Account:
        """Return whose token a password is; see `takes`.

        Args:
            password: As sent.
            name: Whom its sender says to be; ``""`` says nothing.

        Raises:
            LoginFailed: As `of_token`, or it is somebody else's.
        """
        text = password if isinstance(password, str) else password.decode("ascii", "replace")
        account = self.of_token(text)
        if account is None or (name and name != account.name):
            raise LoginFailed("invalid token: it is of another user")
        return account

    async def ask(self, name: str, password: str | bytes, client_id: str, address: str) -> Account:
        """Return the account of somebody whom the service lets in.

        Raises:
            LoginFailed: It says no, or the name or role can be nobody's.
            Overloaded: It does not answer.
        """
        assert self.service is not None, "asked first"
        try:
            text = password if isinstance(password, str) else password.decode()
        except UnicodeDecodeError:
            raise LoginFailed("Login failed") from None
        if not is_name(name):
            raise LoginFailed("Login failed")
        role = await self.service.ask(Question(name, text, client_id, address))
        if self._users.find(name) is not None:
            raise LoginFailed("Login failed")  # made meanwhile, with a password of its own
        return self._account(name, role)

    def _account(self, name: str, role: str) -> Account:
        user = self._users.find(name)
        if user is not None:
            if not user.active:
                raise LoginFailed("Cannot complete request: User is inactive")
            if self._is_super_user(user.role):
                raise LoginFailed("Login failed: who may do everything logs in with the password")
            return Account(user.name, user.principal)
        if not is_name(name) or not is_name(role):
            raise LoginFailed("Login failed: there is no such user, and nothing gives it a role")
        if self._is_super_user(role):
            raise LoginFailed("Login failed: only a user of this server may do everything")
        return Account(name, Role(role), is_stored=False)

    def close(self) -> None:
        """End the threads of the service."""
        if self.service is not None:
            self.service.close()


def watch_end(account: Account, on_end: Callable[[str], None]) -> Callable[[], None]:
    """Have somebody told when a login ends by itself.

    Returns:
        What ends the watch; a second call does nothing.
    """
    if math.isinf(account.until_s):
        return _nothing
    left_s = max(account.until_s - time.time(), 0.0)
    timer = asyncio.get_running_loop().call_later(min(left_s, _LONGEST_S), on_end, _OVER)
    return timer.cancel


_OVER = "the time of its token is over"
_LONGEST_S = 30 * 86_400.0
"""Event loops take no longer timers; whoever is connected for so long logs in again."""


def _nothing() -> None:
    return
