"""Passwords as argon2id hashes, computed beside the event loop.

One check takes about 100 ms and 64 MB by design, so checks run in a few threads (the
hash releases the GIL), as many wait as a bound allows, and the rest is turned away.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError

from lyredb.errors import Overloaded
from lyredb.security.mosquitto_hashes import is_mosquitto_hash, matches_mosquitto_hash

T = TypeVar("T")

MAX_PASSWORD_BYTES: Final = 4096
"""Longer ones are wrong without a look: hashing must not cost what the sender wants."""
THREADS: Final = 2
"""64 MB each; more would let strangers' logins take the machine."""
MAX_WAITING: Final = 100
"""About 5 s of waiting with two threads: longer, and clients have given up."""


class Passwords:
    """Makes and checks password hashes without holding up the event loop.

    Args:
        hasher: Its parameters decide what a check costs; argon2-cffi's defaults are
            RFC 9106's second recommendation (t=3, 64 MiB, p=4).
        threads: How many checks run at once.
        max_waiting: How many may run and wait before `Overloaded`.
    """

    def __init__(
        self,
        hasher: PasswordHasher | None = None,
        *,
        threads: int = THREADS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="lyredb-password")
        self._max_waiting = max_waiting
        self._waiting = 0
        self._turns = asyncio.Semaphore(threads)
        self._queued = 0
        self._nobody = _hash_of_nobody(self._hasher)

    async def hash(self, password: str | bytes) -> str:
        """Return the argon2id hash of a password, in the PHC string format.

        Raises:
            ValueError: The password is empty or longer than `MAX_PASSWORD_BYTES`.
            Overloaded: Too many hashes are being computed.
        """
        secret = _as_bytes(password)
        if not 0 < len(secret) <= MAX_PASSWORD_BYTES:
            raise ValueError(f"a password must have 1 to {MAX_PASSWORD_BYTES} bytes")
        return await self._beside_the_loop(lambda: self._hasher.hash(secret))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn to check a password; there are as many as there are threads.

        Whoever waits for one can look, when it has come, at what became of those before.

        Raises:
            Overloaded: Too many have or want one.
        """
        if self._queued >= self._max_waiting:
            raise _overloaded()
        self._queued += 1
        try:
            async with self._turns:
                yield
        finally:
            self._queued -= 1

    async def matches(self, stored: str | None, password: str | bytes) -> bool:
        """Tell whether this is the password of a hash.

        Takes the same time for ``None`` (no such user) as for a wrong password, so
        that nobody learns which names exist.

        Raises:
            Overloaded: Too many passwords are being checked.
        """
        secret = _as_bytes(password)[: MAX_PASSWORD_BYTES + 1]
        known = stored is not None and len(secret) <= MAX_PASSWORD_BYTES
        against = stored if stored is not None else self._nobody
        found = await self._beside_the_loop(lambda: self._verify(against, secret))
        return found and known

    def _verify(self, stored: str, secret: bytes) -> bool:
        if is_mosquitto_hash(stored):
            if matches_mosquitto_hash(stored, secret):
                return True
            stored = self._nobody  # else its speed would tell whose hash is from elsewhere
        try:
            return self._hasher.verify(stored, secret)
        except (Argon2Error, InvalidHashError):
            return False

    async def _beside_the_loop(self, compute: Callable[[], T]) -> T:
        if self._waiting >= self._max_waiting:
            raise _overloaded()
        self._waiting += 1
        computing = asyncio.get_running_loop().run_in_executor(self._executor, compute)
        # Counted by the computation's end, not the caller's (hence the shield): whoever
        # gives up early leaves its hash running in the thread.
        computing.add_done_callback(self._one_less)
        return await asyncio.shield(computing)

    def _one_less(self, _: object) -> None:
        self._waiting -= 1

    def close(self) -> None:
        """Drop what waits; the threads end with the hash they are at."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def is_known_hash(stored: str) -> bool:
    """Tell whether a hash is one that `Passwords.matches` can check."""
    if is_mosquitto_hash(stored):
        return True
    try:
        extract_parameters(stored)
    except InvalidHashError:
        return False
    return True


def _overloaded() -> Overloaded:
    return Overloaded("too many passwords are being checked; try again", retry_after_s=2)


def _as_bytes(password: str | bytes) -> bytes:
    # surrogatepass: an ill-formed string is a wrong password, not an exception.
    return password if isinstance(password, bytes) else password.encode("utf-8", "surrogatepass")


def _hash_of_nobody(hasher: PasswordHasher) -> str:
    """Return a hash with the hasher's parameters that no password has (random digest)."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()
        for size in (hasher.salt_len, hasher.hash_len)
    )
    return (
        f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost}"
        f",p={hasher.parallelism}${salt}${digest}"
    )
