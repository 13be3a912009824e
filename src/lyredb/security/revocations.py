"""Who has to be told that a login is void: connections that live longer than a request.

Told in the order of the log: whoever was told has ended before any later entry, and
before any later message of this process, reaches it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

_logger: Final = logging.getLogger(__name__)


class _Watch:
    """One callback; calling it ends the watch. Small, as each connection has one."""

    __slots__ = ("on_revoked", "revocations", "user")

    def __init__(
        self, revocations: Revocations, user: str, on_revoked: Callable[[str], None]
    ) -> None:
        self.revocations = revocations
        self.user = user
        self.on_revoked = on_revoked

    def __call__(self) -> None:
        self.revocations.forget(self)


class Revocations:
    """Callbacks by user name. Lives on one event loop."""

    def __init__(self) -> None:
        self._watching: dict[str, dict[_Watch, None]] = {}

    def watch(self, user: str, on_revoked: Callable[[str], None]) -> Callable[[], None]:
        """Be told when logins of a user are void: deleted, deactivated, other role or password.

        Args:
            user: The name; nothing ever happens to ``""``, nobody in particular.
            on_revoked: Called with a sentence that says why, once per change. It ends
                what the login carries, at once.

        Returns:
            What ends the watch; a second call does nothing.
        """
        watch = _Watch(self, user, on_revoked)
        self._watching.setdefault(user, {})[watch] = None
        return watch

    def forget(self, watch: _Watch) -> None:
        """End a watch."""
        watching = self._watching.get(watch.user, {})
        if watch in watching:
            del watching[watch]
            if not watching:
                del self._watching[watch.user]

    def tell(self, user: str, reason: str) -> None:
        """Call whoever watches a user; what fails in one keeps none of the others."""
        for watch in list(self._watching.get(user, ())):
            try:
                watch.on_revoked(reason)
            except Exception:
                _logger.exception("a connection of %s could not be told that %s", user, reason)

    def __len__(self) -> int:
        return sum(len(watching) for watching in self._watching.values())
