"""From a name and a password to an account: the one place where logins are decided.

A success is remembered for a while by a keyed hash of the pair, so that a client
that sends its password with each request pays for argon2id once. Nothing is
remembered of failures, and a change of a user record drops what is remembered of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from lyredb.errors import LoginFailed, LyreError
from lyredb.security.accounts import Account as Account
from lyredb.security.attempts import Attempts
from lyredb.security.elsewhere import Elsewhere
from lyredb.security.mosquitto_hashes import is_mosquitto_hash
from lyredb.security.passwords import Passwords
from lyredb.security.principals import ANONYMOUS, SUPER_USER
from lyredb.security.revocations import Revocations
from lyredb.security.users import User, UserDirectory

_Judged: TypeAlias = "tuple[Account, int | None]"
"""An account, and the version of the user's record that says so, ``None`` for who has none."""
Rehash: TypeAlias = Callable[[str, str, str], Awaitable[object]]
_logger: Final = logging.getLogger(__name__)
_AS_CARRIED: Final = b"as carried"
_BY_CLIENT: Final = b"by client"
MAX_REMEMBERED: Final = 10_000
"""Pairs remembered at most: about 3 MB."""


@dataclass(frozen=True, slots=True)
class AuthenticatorStatistics:
    """Logins so far: from memory, by a check, refused, made to wait; pairs remembered."""

    remembered_hits: int
    verified: int
    refused: int
    delayed: int
    remembered: int


class Authenticator:
    """Decides logins.

    Lives on one event loop; only `Passwords` uses threads.

    Attributes:
        revocations: Tells connections that their login is void.

    Args:
        users: Where user records come from.
        passwords: Checks them.
        attempts: Bounds how fast somebody can guess.
        cache_ttl_s: How long a success is remembered, 0 for not at all.
        max_remembered: The oldest pair is forgotten beyond it.
        now_s: A monotonic clock.
        rehash: Stores another hash of a password, as `Users.rehash`; ``None``: hashes that
            came from another broker stay.
        elsewhere: Knows who is not stored here; ``None``: nobody does.
    """

    anonymous: Final = Account("", ANONYMOUS)
    local: Final = Account("local", SUPER_USER)
    """Whoever comes over loopback without credentials, where that is allowed."""

    def __init__(
        self,
        users: UserDirectory,
        passwords: Passwords,
        *,
        attempts: Attempts | None = None,
        cache_ttl_s: float = 30.0,
        max_remembered: int = MAX_REMEMBERED,
        now_s: Callable[[], float] = time.monotonic,
        rehash: Rehash | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._rehash = rehash
        self._elsewhere = elsewhere
        self._users = users
        self._passwords = passwords
        self._attempts = attempts or Attempts()
        self.revocations = Revocations()
        self._ttl_s = cache_ttl_s
        self._max_remembered = max_remembered
        self._now_s = now_s
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, tuple[float, Account]] = {}
        self._checks: dict[bytes, asyncio.Task[_Judged | None]] = {}
        self._changes = 0
        self._hits = self._verified = self._refused = 0

    def cached(
        self, name: str, password: str | bytes, address: str = "", client_id: str = ""
    ) -> Account | None:
        """Return the account of a pair that was right a short while ago, without waiting.

        ``None`` says nothing about the pair: `verify` it. So it is for an address that has
        to wait, or it could guess here, and for another client than a service was asked about.
        """
        found = self._recalled(self._digest(name, password), address)
        if found is None and self._elsewhere is not None:
            found = self._recalled(self._digest_for(name, password, client_id), address)
        return found

    def of_token(self, token: str) -> Account | None:
        """Return whose token of an issuer it is, ``None`` when there is no issuer.

        Raises:
            LoginFailed: It is not valid.
        """
        return None if self._elsewhere is None else self._elsewhere.of_token(token)

    def recall(self, credentials: bytes, address: str = "") -> Account | None:
        """As `cached`, for the bytes in which a protocol carries a pair; see `note`."""
        return self._recalled(self._digest_of(credentials), address)

    def _recalled(self, digest: bytes, address: str) -> Account | None:
        found = self._remembered.get(digest)
        if found is None or found[0] <= self._now_s():
            return None
        account = found[1]
        if not self._attempts.may_recall(account.name, address):
            return None
        self._hits += 1
        return account

    def note(self, credentials: bytes, name: str, password: str | bytes) -> None:
        """Let `recall` answer for these bytes, which say this pair, while it is remembered.

        Spares decoding them each time. Only their keyed hash is kept, as of the pair.
        """
        found = self._remembered.get(self._digest(name, password))
        if found is not None:
            self._keep(self._digest_of(credentials), *found)

    def by_name(self, name: str) -> Account | None:
        """Return the account of somebody whom something else than a password has proven.

        That is a certificate, a token or a cookie. ``None``: there is no such user, or
        it is inactive.
        """
        user = self._users.find(name)
        return Account(user.name, user.principal) if user is not None and user.active else None

    async def verify(
        self, name: str, password: str | bytes, *, address: str = "", client_id: str = ""
    ) -> Account:
        """Return the account of a name and its password.

        Callers with the same pair at the same time share one check. A failure takes
        the same time whether the user exists or not.

        Args:
            name: As sent.
            password: As sent.
            address: Of the peer; failures are counted by it, too.
            client_id: The client identifier, for a service that is asked.

        Raises:
            LoginFailed: Wrong, or the user is inactive.
            TooManyAttempts: There were too many failures for this name or address. A
                pair that is remembered is not refused where its user works.
            Overloaded: Too many passwords are being checked.
        """
        if self._elsewhere is not None and self._elsewhere.takes(password):
            return self._verify_token(self._elsewhere, name, password)
        account = self.cached(name, password, address, client_id)
        if account is not None:
            return account
        while True:
            self._attempts.admit(name, address)
            judged = await self._checked(name, password, address, client_id)
            if judged is None:
                continue  # others failed while this one waited for its turn
            account, version = judged
            user = self._users.find(name)
            if version == (None if user is None else user.version):
                break  # else it changed before the caller could watch for that
        self._attempts.succeeded(name, address)
        return account

    def _verify_token(self, elsewhere: Elsewhere, name: str, password: str | bytes) -> Account:
        # Nobody guesses signatures, and devices without a user name must not wait for
        # others without one: these failures do not count.
        try:
            account = elsewhere.of_password(password, name)
        except LoginFailed:
            self._refused += 1
            raise
        self._verified += 1
        return account

    async def _checked(
        self, name: str, password: str | bytes, address: str, client_id: str
    ) -> _Judged | None:
        """Return the account and the version of the user record that says so.

        ``None``: by now it has to wait, or the one with whom it shared the check.
        """
        elsewhere = self._elsewhere
        if elsewhere is not None and elsewhere.asks_about(name):
            digest = self._digest_for(name, password, client_id)
            work = self._ask(elsewhere, name, password, address, client_id, digest)
        else:
            digest = self._digest(name, password)
            work = self._check(name, password, address, digest)
        check = self._checks.get(digest)
        if check is not None:
            work.close()
        else:
            check = asyncio.create_task(work)
            self._checks[digest] = check
            check.add_done_callback(lambda done: self._end_check(digest, done))
        # Shielded: one caller that gives up must not fail the others.
        return await asyncio.shield(check)

    def forget(self, name: str) -> None:
        """Drop what is remembered of a user; its next login is checked anew."""
        self._changes += 1
        stale = [key for key, (_, account) in self._remembered.items() if account.name == name]
        for key in stale:
            del self._remembered[key]

    def statistics(self) -> AuthenticatorStatistics:
        """Return the counts so far."""
        return AuthenticatorStatistics(
            self._hits,
            self._verified,
            self._refused,
            self._attempts.refused,
            len(self._remembered),
        )

    async def close(self) -> None:
        """Give up the checks that run, and end the threads."""
        checks = list(self._checks.values())
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        self._passwords.close()
        if self._elsewhere is not None:
            self._elsewhere.close()

    async def _check(
        self, name: str, password: str | bytes, address: str, digest: bytes
    ) -> _Judged | None:
        # What fails is counted here and before the next one's turn: callers hang up, and a
        # hundred guesses that are sent at once must not all be checked.
        async with self._passwords.turn():
            if self._attempts.wait_s(name, address) > 0:
                return None
            try:
                account, version = await self._judge(name, password)
            except LoginFailed:
                self._attempts.failed(name, address)
                raise
        version = await self._renew(name, password, version)
        self._remember(digest, account)
        return account, version

    async def _ask(
        self,
        elsewhere: Elsewhere,
        name: str,
        password: str | bytes,
        address: str,
        client_id: str,
        digest: bytes,
    ) -> _Judged | None:
        """As `_check`, by the service that decides about whoever is not stored here."""
        assert elsewhere.service is not None, "it decides"
        async with elsewhere.service.turn():
            if self._attempts.wait_s(name, address) > 0:
                return None
            try:
                account = await elsewhere.ask(name, password, client_id, address)
            except LoginFailed:
                self._refused += 1
                self._attempts.failed(name, address)
                raise
        self._verified += 1
        if self._users.find(name) is None:
            self._remember(digest, account)
        return account, None

    async def _renew(self, name: str, password: str | bytes, version: int | None) -> int | None:
        """Give a password that was right a hash of ours, where its hash is from elsewhere.

        Returns the version of the user's record that says that it is right. The login does
        not depend on it: what fails is tried again by the next one.
        """
        user = self._users.find(name)
        if self._rehash is None or user is None or user.version != version or not password:
            return version
        if not is_mosquitto_hash(user.password):
            return version
        try:
            hashed = await self._passwords.hash(password)
            await self._rehash(name, user.password, hashed)
        except LyreError as error:
            _logger.warning("the hash of %s stays as it was imported: %s", name, error)
            return version
        renewed = self._users.find(name)
        is_ours = renewed is not None and renewed.password == hashed
        return renewed.version if renewed is not None and is_ours else version

    async def _judge(self, name: str, password: str | bytes) -> _Judged:
        while True:
            changes = self._changes
            user = self._users.find(name)
            stored = None if user is None else user.password
            right = await self._passwords.matches(stored, password)
            if changes == self._changes:
                break  # else a user record changed meanwhile: the answer may be void
        return self._decide(user, right=right)

    def _decide(self, user: User | None, *, right: bool) -> _Judged:
        if user is None or not right:
            self._refused += 1
            raise LoginFailed("Login failed")
        if not user.active:
            self._refused += 1
            raise LoginFailed("Cannot complete request: User is inactive")
        self._verified += 1
        return Account(user.name, user.principal), user.version

    def _remember(self, digest: bytes, account: Account) -> None:
        if self._ttl_s <= 0 or self._max_remembered <= 0:
            return
        self._keep(digest, self._now_s() + self._ttl_s, account)

    def _keep(self, digest: bytes, until_s: float, account: Account) -> None:
        self._remembered.pop(digest, None)
        while len(self._remembered) >= self._max_remembered:
            del self._remembered[next(iter(self._remembered))]  # the oldest
        self._remembered[digest] = (until_s, account)

    def _end_check(self, digest: bytes, check: asyncio.Task[_Judged | None]) -> None:
        self._checks.pop(digest, None)
        if not check.cancelled():
            check.exception()  # every caller may have left: the failure was seen

    def _digest(self, name: str, password: str | bytes) -> bytes:
        """Return what stands for a pair in memory; without the key it tells nothing."""
        user = name.encode("utf-8", "surrogatepass")
        secret = (
            password if isinstance(password, bytes) else password.encode("utf-8", "surrogatepass")
        )
        pair = b"%d:%b:%b" % (len(user), user, secret)
        return hashlib.blake2b(pair, digest_size=16, key=self._key).digest()

    def _digest_for(self, name: str, password: str | bytes, client_id: str) -> bytes:
        """As `_digest`, of a pair that a service decided on for one client."""
        client = client_id.encode("utf-8", "surrogatepass")
        pair = self._digest(name, password) + client
        return hashlib.blake2b(pair, digest_size=16, key=self._key, person=_BY_CLIENT).digest()

    def _digest_of(self, credentials: bytes) -> bytes:
        """As `_digest`, and never the same as that of a pair."""
        return hashlib.blake2b(
            credentials, digest_size=16, key=self._key, person=_AS_CARRIED
        ).digest()
