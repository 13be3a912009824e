"""Sessions of browsers: a random secret in a cookie, and a row that knows its hash."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

from lyredb.errors import LoginFailed
from lyredb.security.authenticator import Account
from lyredb.security.session_rows import (
    WebSession,
    creation_of,
    expired_in,
    key_of,
    removal_of,
    session_in,
)
from lyredb.security.users import User, user_in
from lyredb.storage.engine import Engine
from lyredb.storage.sequencer import Sequencer

LASTING_S: Final = 30 * 86_400.0
"""As long as browsers are used to stay logged in."""
MAX_SECRET_LENGTH: Final = 128
"""Ours have 43 characters."""
_SWEEP_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a login gives a browser.

    Attributes:
        secret: The cookie's value. Does not print.
        expires_in_s: How long it is good, at most.
    """

    secret: str = field(repr=False)
    expires_in_s: int


class WebSessions:
    """Makes, finds and ends web sessions.

    Args:
        engine: Where they are read.
        sequencer: Where changes go.
        lasting_s: How long a session lasts from the login.
    """

    def __init__(
        self,
        engine: Engine,
        sequencer: Sequencer,
        *,
        lasting_s: float = LASTING_S,
    ) -> None:
        self._engine = engine
        self._sequencer = sequencer
        self._lasting_s = lasting_s
        self._swept_ms = 0

    async def create(self, name: str) -> NewSession:
        """Make a session of a user who has just logged in. On return it is on disk.

        Raises:
            LoginFailed: There is no such user any more, or it is inactive.
            StorageError, Overloaded: As every write.
        """
        now_ms = self._engine.now_ms()
        with self._engine.snapshot() as snapshot:
            user = user_in(snapshot, name)
            due = now_ms - self._swept_ms >= _SWEEP_MS
            ended = expired_in(snapshot, now_ms) if due else ()
        if user is None or not user.active:
            raise LoginFailed("there is no such user, or it is inactive")
        secret = secrets.token_urlsafe(32)
        expires_ms = now_ms + int(self._lasting_s * 1000)
        session = WebSession(user.name, user.version, now_ms, expires_ms)
        await self._sequencer.commit((creation_of(key_of(secret), session), *ended))
        if due:
            self._swept_ms = now_ms
        return NewSession(secret, int(self._lasting_s))

    def find(self, secret: str) -> Account | None:
        """Return whose session a cookie is, ``None`` when it is none, over, or void.

        A change of the user's role or password voids the sessions from before it.
        """
        if not 0 < len(secret) <= MAX_SECRET_LENGTH:
            return None
        user: User | None = None
        with self._engine.snapshot() as snapshot:
            session = session_in(snapshot, key_of(secret))
            if session is not None and session.expires_ms > self._engine.now_ms():
                user = user_in(snapshot, session.user)
        if session is None or user is None or not user.active or user.version != session.version:
            return None
        return Account(user.name, user.principal)

    async def remove(self, secret: str) -> None:
        """End a session, which may have ended already."""
        if 0 < len(secret) <= MAX_SECRET_LENGTH:
            await self._sequencer.commit((removal_of(key_of(secret)),))
