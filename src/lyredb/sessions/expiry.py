"""Removes sessions whose time is over, beside the writer.

A session whose deadline has passed is absent for everybody who asks, from that moment on;
what is left to do is to remove its record, its rows, and with them its filters. A session
whose connection is lost without a word (its worker or the server died) has no deadline yet:
it gets one when nobody has claimed its identifier for a while.

All sessions are looked at in rounds, a page in each step; what is found is written under
the condition that nobody has written it since.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from lyredb.errors import FormatMismatch, LyreError
from lyredb.sessions import rows
from lyredb.storage.apply import Rows
from lyredb.storage.engine import Engine
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.mutation import Mutation
from lyredb.storage.record import decode_header
from lyredb.storage.sequencer import Result, Sequencer
from lyredb.storage.snapshot import Snapshot

PAGE: Final = 200
"""Sessions in one step, some 1 ms; 7 ms of CPU in all processes when all of them are over, so
that a hundred thousand go within half a minute and nobody waits for long."""
STEP_S: Final = 0.05
"""Between steps of a round."""
ROUND_S: Final = 30.0
"""Between rounds: so late a session is removed, and an orphan gets its deadline; long enough
for workers to announce their claims to a writer that was started anew."""

_logger: Final = logging.getLogger(__name__)


class SessionExpiry:
    """See the module.

    Attributes:
        removed: Sessions whose time was over.
        orphaned: Sessions that were given a deadline, as their connection was lost.

    Args:
        engine: The store.
        writer: Where removals go.
        is_claimed: Tells whether a connection has a client identifier, or is about to.
        on_removed: Called with the client identifier of each session that was removed.
    """

    def __init__(
        self,
        engine: Engine,
        writer: Sequencer,
        *,
        is_claimed: Callable[[str], bool],
        on_removed: Callable[[str], None],
    ) -> None:
        self.removed = 0
        self.orphaned = 0
        self._engine = engine
        self._writer = writer
        self._is_claimed = is_claimed
        self._on_removed = on_removed
        self._after: bytes | None = None

    def step(self) -> float:
        """Look at the next page; return after how many seconds to come again.

        Raises:
            LyreError: The store cannot be read; it goes on where it was.
        """
        if SESSION_SLOT not in self._engine.layouts:
            return ROUND_S
        with self._engine.snapshot() as snapshot:
            page = snapshot.scan_stored(
                SESSION_SLOT, rows.FIRST_KEY, rows.STOP_KEY, after=self._after
            )
            for looked_at, (key, stored) in enumerate(page, 1):
                self._after = key
                self._look_at(snapshot, key, stored)
                if looked_at == PAGE:
                    return STEP_S
        self._after = None
        return ROUND_S

    def _look_at(self, snapshot: Snapshot, key: bytes, stored: bytes) -> None:
        deadline_ms = decode_header(stored).expires_ms
        if deadline_ms > snapshot.now_ms:
            return
        try:
            found = rows.read(key, stored)
        except FormatMismatch:
            _logger.exception("the session %r stays as it is", key)
            return
        if deadline_ms:
            removed = rows.removal_of_rows(snapshot, found.description.number)
            self._remove(found, removed)
        else:
            self._look_for_owner(found, snapshot)

    def _remove(self, found: rows.Found, removed: Rows) -> None:
        """Remove a session that is over; one that has begun anew since then stays."""

        def replied(result: Result) -> None:
            if isinstance(result, LyreError):
                _logger.debug("a session that is over stays for now: %s", result)
            elif result.outcomes[0].seq:
                self.removed += 1
                self._on_removed(found.description.client_id)

        self._submit(rows.expiration_of(found), removed, replied)

    def _look_for_owner(self, found: rows.Found, snapshot: Snapshot) -> None:
        """Let a session end in time whose connection was lost without a word."""
        description = found.description
        if not description.connected or self._is_claimed(description.client_id):
            return
        closed = replace(
            description,
            connected=False,
            since_ms=snapshot.now_ms,
            doubtful=snapshot.position,  # what comes later it cannot have sent
        )

        def replied(result: Result) -> None:
            if not isinstance(result, LyreError):
                self.orphaned += 1

        # Refused when somebody has it by then, who has written it.
        self._submit(rows.replacement_of(closed, found.version), (), replied)

    def _submit(
        self,
        mutation: Mutation,
        written: Rows,
        replied: Callable[[Result], None],
    ) -> None:
        try:
            self._writer.submit((mutation,), replied, session_rows=written, bulk=True)
        except LyreError as error:
            replied(error)
