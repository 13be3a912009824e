"""Writes the progress of a worker's sessions: soon after it changed, or in this tick.

QoS 1 needs no more than once a second, since doubles after a crash are allowed; QoS 2 waits
for a commit at the points where the protocol needs one. What many sessions want to have
written goes into few transactions; a session that another owner has is refused alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from lyredb.errors import LyreError, SessionTakenOver
from lyredb.resources.session_store import SessionStore
from lyredb.sessions.inbound import Committed
from lyredb.sessions.stored import SessionState, StoredSession
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import Result
from lyredb.storage.session_row import CONDITION

PERIOD_S: Final = 1.0
"""Between two looks at what has changed."""
AT_ONCE: Final = 100
"""Sessions in one transaction: some 3 kB of rows each with a window of 100 in flight."""

_Commit = tuple[StoredSession, Mutation, Rows, list[Committed]]


class ProgressWriter:
    """See the module; a `lyredb.sessions.stored.Scheduler`.

    Args:
        store: Where rows go.
        call_later: As ``loop.call_later``.
        call_soon: As ``loop.call_soon``.
    """

    def __init__(
        self,
        store: SessionStore,
        call_later: Callable[[float, Callable[[], None]], object],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._store = store
        self._call_later = call_later
        self._call_soon = call_soon
        self._open: set[StoredSession] = set()
        self._changed: set[StoredSession] = set()
        self._urgent: dict[StoredSession, None] = {}
        self._is_timing = False
        self._is_scheduled = False
        self._half = store.half

    def __len__(self) -> int:
        """How many sessions are open."""
        return len(self._open)

    def add(self, session: StoredSession) -> None:
        """Take care of a session from now on."""
        self._open.add(session)
        self._start_timer()

    def forget(self, session: StoredSession) -> None:
        """See `Scheduler`."""
        self._open.discard(session)
        self._changed.discard(session)
        self._urgent.pop(session, None)

    def note_changed(self, session: StoredSession) -> None:
        """See `Scheduler`."""
        self._changed.add(session)

    def want_commit(self, session: StoredSession) -> None:
        """See `Scheduler`."""
        self._urgent[session] = None
        if not self._is_scheduled:
            self._is_scheduled = True
            self._call_soon(self._tick)

    def _start_timer(self) -> None:
        if not self._is_timing:
            self._is_timing = True
            self._call_later(PERIOD_S, self._look)

    def _look(self) -> None:
        """Write what has changed, and what stands so far back that the log may lose it."""
        self._is_timing = False
        if not self._open:
            return
        self._start_timer()
        if self._store.half != self._half:
            self._half = self._store.half
            self._changed |= {one for one in self._open if one.stored_position < self._half}
        changed, self._changed = self._changed, set()
        self.write(changed)

    def _tick(self) -> None:
        self._is_scheduled = False
        urgent, self._urgent = self._urgent, {}
        self.write(urgent)

    def write(self, sessions: Iterable[StoredSession]) -> None:
        """Commit the progress of these sessions; busy ones are written by their next answer."""
        commits = [
            (session, *session.take_commit())
            for session in sessions
            if session.state is SessionState.OPEN and not session.is_busy
        ]
        for at in range(0, len(commits), AT_ONCE):
            self._submit(commits[at : at + AT_ONCE])

    def _submit(self, commits: list[_Commit]) -> None:
        def replied(result: Result) -> None:
            if not isinstance(result, LyreError):
                for session, _, _, waiting in commits:
                    session.committed(None, waiting)
            elif isinstance(result, SessionTakenOver) and len(commits) > 1:
                self._submit_apart(commits)
            elif len(commits) == 1 or result.mutation is None:
                for session, _, _, waiting in commits:
                    session.committed(result, waiting)
            else:
                (refused,) = commits[result.mutation : result.mutation + 1]
                refused[0].committed(result, refused[3])
                self._submit([one for one in commits if one is not refused])

        self._store.submit(
            [check for _, check, _, _ in commits],
            _gathered(commits),
            replied,
        )

    def _submit_apart(self, commits: list[_Commit]) -> None:
        """Submit alone what depends on who has a group: for one of them that has changed."""
        others: list[_Commit] = []
        for commit in commits:
            if _is_condition(commit[2][0]):
                self._submit([commit])
            else:
                others.append(commit)
        if others:
            self._submit(others)


def _gathered(commits: list[_Commit]) -> Rows:
    """The rows of all of them, conditions first, each once."""
    rows = [row for _, _, rows, _ in commits for row in rows]
    conditions = dict.fromkeys(row for row in rows if _is_condition(row))
    return [*conditions, *(row for row in rows if not _is_condition(row))] if conditions else rows


def _is_condition(row: tuple[bytes, bytes | None]) -> bool:
    return row[0].startswith(CONDITION)
