"""Failed logins, counted by address and by user name, and how long they have to wait.

After so many failures each further one doubles the wait. Neither a name nor an address that
others share must lock a user out, or anybody could do that to anybody: where the user has
logged in lately, only failures of that name at that address count.

Each process counts for itself: with N workers a guesser has N times as many tries.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final, Generic, TypeVar

from lyredb.errors import TooManyAttempts

K = TypeVar("K")
V = TypeVar("V")

MAX_ATTEMPTS: Final = 5
"""As many as people need who mistype, and far fewer than guessing needs."""
FIRST_WAIT_S: Final = 1.0
MAX_WAIT_S: Final = 60.0
"""A longer one would punish the wrong ones: addresses are shared, names are known."""
FORGOTTEN_S: Final = 900.0
"""Failures older than this do not count any more."""
MAX_REMEMBERED: Final = 10_000
"""Names and addresses remembered, each; about 2 MB. The one idle for longest goes first."""

MAX_REFUSED: Final = 100
"""Tries during one wait of a user where it works, before memory does not answer them either.
A program with an old password makes fewer, and must not keep its user out."""


@dataclass(slots=True)
class _Failures:
    count: int
    last_s: float
    until_s: float
    refused: int = 0


class _Bounded(Generic[K, V]):
    """A mapping that forgets what was not set for longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        return self._items.get(key)

    def set(self, key: K, value: V) -> None:
        self._items.pop(key, None)
        self._items[key] = value
        if len(self._items) > self._most:
            del self._items[next(iter(self._items))]

    def discard(self, key: K) -> None:
        self._items.pop(key, None)

    def __len__(self) -> int:
        return len(self._items)


class Attempts:
    """Counts failed logins and refuses the next for a while.

    Args:
        max_attempts: Failures before the first wait, 0 for no limit at all.
        first_wait_s: The first wait; each further failure doubles it.
        max_wait_s: The longest wait.
        max_remembered: Names, and addresses, that are remembered.
        now_s: A monotonic clock.
    """

    def __init__(
        self,
        *,
        max_attempts: int = MAX_ATTEMPTS,
        first_wait_s: float = FIRST_WAIT_S,
        max_wait_s: float = MAX_WAIT_S,
        max_remembered: int = MAX_REMEMBERED,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_attempts = max_attempts
        self._first_wait_s = first_wait_s
        self._max_wait_s = max_wait_s
        self._now_s = now_s
        self._by_address: _Bounded[str, _Failures] = _Bounded(max_remembered)
        self._by_name: _Bounded[str, _Failures] = _Bounded(max_remembered)
        self._good: _Bounded[tuple[str, str], float] = _Bounded(max_remembered)
        self._by_good: _Bounded[tuple[str, str], _Failures] = _Bounded(max_remembered)
        self._somebody_waits_until_s = now_s()
        self.refused = 0

    def admit(self, name: str, address: str) -> None:
        """Let a login be checked, or not yet.

        Args:
            name: Of the user, who need not exist.
            address: Of the peer, ``""`` when it has none: then only the name counts.

        Raises:
            TooManyAttempts: With the seconds after which another try makes sense.
        """
        wait_s = self.wait_s(name, address)
        if wait_s > 0:
            self.refused += 1
            where_it_works = self._by_good.get((name, network_of(address)))
            if where_it_works is not None:
                where_it_works.refused += 1
            raise TooManyAttempts(math.ceil(wait_s))

    def wait_s(self, name: str, address: str) -> float:
        """Return how long a login has to wait, 0 or less when it has not; see `admit`."""
        if not self._max_attempts:
            return 0.0
        place = network_of(address)
        if self._is_known_good(name, place):
            return self._left_s(self._by_good.get((name, place)))
        return max(self._left_s(self._by_address.get(place)), self._left_s(self._by_name.get(name)))

    def may_recall(self, name: str, address: str) -> bool:
        """Tell whether a login that is remembered may be answered without a check.

        Memory knows right passwords only, so whoever has to wait could go on guessing by
        it, at the speed of the network. Where the user works it answers all the same, so
        that few failures keep nobody out, as long as somebody is not guessing like that.
        """
        if self._now_s() >= self._somebody_waits_until_s:
            return True
        place = network_of(address)
        if not self._is_known_good(name, place):
            return self.wait_s(name, address) <= 0
        failures = self._by_good.get((name, place))
        return failures is None or failures.refused < MAX_REFUSED or self._left_s(failures) <= 0

    def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        place = network_of(address)
        if place:
            self._count(self._by_address, place)
        self._count(self._by_name, name)
        if self._is_known_good(name, place):
            self._count(self._by_good, (name, place))

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name.

        Not those of the address: whoever has one account could guess at others in between.
        Nor those of the name at the address: somebody there may guess while the user works.
        """
        self._by_name.discard(name)
        place = network_of(address)
        if place:
            self._good.set((name, place), self._now_s())

    def _is_known_good(self, name: str, place: str) -> bool:
        since_s = self._good.get((name, place))
        return since_s is not None and self._now_s() - since_s < FORGOTTEN_S

    def _count(self, failures: _Bounded[K, _Failures], key: K) -> None:
        now_s = self._now_s()
        known = failures.get(key)
        count = 1 if known is None or now_s - known.last_s >= FORGOTTEN_S else known.count + 1
        wait_s = 0.0
        if self._max_attempts and count >= self._max_attempts:
            doublings = min(count - self._max_attempts, 30)  # 30: beyond every cap
            wait_s = min(self._first_wait_s * 2.0**doublings, self._max_wait_s)
        failures.set(key, _Failures(count, now_s, now_s + wait_s))
        self._somebody_waits_until_s = max(self._somebody_waits_until_s, now_s + wait_s)

    def _left_s(self, failures: _Failures | None) -> float:
        return 0.0 if failures is None else failures.until_s - self._now_s()


def network_of(address: str) -> str:
    """Return what stands for a peer: its IPv4 address, or its IPv6 network of 64 bits.

    Everybody with one IPv6 address has the other 2**64 of the network, too.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    if parsed.is_loopback:
        return str(parsed)
    return str(IPv6Network((int(parsed), 64), strict=False))
