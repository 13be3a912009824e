"""The sessions of a worker that outlive their connections: opening and removing them.

A session is a record that says what it is, which every worker follows, and rows that say
how far it is. While its client sleeps nothing else is kept of it; what it will need is in
the log. See ``docs/design`` for why.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec.structs import replace

from lyredb.errors import FormatMismatch, InvalidKey, LyreError, PreconditionFailed, RecordExists
from lyredb.plugins.context import Context
from lyredb.resources.session_store import SessionStore
from lyredb.sessions import rows
from lyredb.sessions.claims import Refusal
from lyredb.sessions.inbound import Committed
from lyredb.sessions.progress import ProgressWriter
from lyredb.sessions.receipts import Receipt, ReceiptWriter
from lyredb.sessions.stored import StoredSession
from lyredb.sessions.terms import Description
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import Result
from lyredb.storage.session_row import (
    SessionProgress,
    Start,
    encode_progress,
    fence_of,
    progress_name,
)
from lyredb.storage.snapshot import Snapshot

OnOpen: TypeAlias = Callable[[StoredSession | Refusal | LyreError | None], None]
"""Gets the session, ``None`` for one that ends with its connection, or why there is none."""

_ATTEMPTS: Final = 4
"""Each fails only when a former owner's last write came between."""
_TRIMMED: Final = "The log no longer reaches back to where this session was"
_OTHER_LOG: Final = "The server was restored from a backup since this session slept"
_logger: Final = logging.getLogger(__name__)


class Sessions:
    """Opens sessions, once their client identifiers were granted.

    Args:
        store: Where they are.
        call_later: As ``loop.call_later``.
        call_soon: As ``loop.call_soon``.
        new_number: Makes numbers of sessions, which no other publisher has.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        call_later: Callable[[float, Callable[[], None]], object],
        call_soon: Callable[[Callable[[], None]], object],
        new_number: Callable[[], int] = lambda: secrets.randbits(62) + 1,
    ) -> None:
        self._store = store
        self._progress = ProgressWriter(store, call_later, call_soon)
        self._receipts = ReceiptWriter(store, call_later, call_soon)
        self._new_number = new_number

    def __len__(self) -> int:
        """How many are open here."""
        return len(self._progress)

    def open(
        self,
        context: Context,
        epoch: int,
        *,
        clean_start: bool,
        expiry_s: int,
        on_open: OnOpen,
    ) -> None:
        """Take up a client's session, or begin one.

        Args:
            context: Of the connection, with client identifier and user.
            epoch: Of the claim that was granted for it.
            clean_start: Forget what there is.
            expiry_s: How long it is to outlive the connection, 0 for not at all.
            on_open: Called once. `Refusal.OTHER_USER`: it sleeps and is another user's.
        """
        _Opening(self._store, self._progress, context, epoch, on_open, self._new_number).begin(
            clean_start=clean_start, expiry_s=expiry_s
        )

    def has(self, client_id: str) -> bool:
        """Tell whether there is a session that has not ended.

        Raises:
            EngineClosed, StorageFailed, FormatMismatch: Nobody can tell.
        """
        with self._store.snapshot() as snapshot:
            try:
                found = rows.find(snapshot, client_id)
            except InvalidKey:
                return False  # nor can there be one
            return found is not None and not found.is_over(snapshot.now_ms)

    def write_receipt(self, receipt: Receipt, done: Callable[[bool], None]) -> None:
        """Write down that a member whose session ends with its connection takes a message.

        ``done`` is called once, with False when the message may not be sent.
        """
        self._receipts.write(receipt, done)

    def delete(self, client_id: str, done: Committed) -> None:
        """Remove a session, whoever has it: a connection that does is lost.

        ``done`` is called without an error also when there is none.
        """
        try:
            with self._store.snapshot() as snapshot:
                found = rows.find(snapshot, client_id)
                removed = (
                    ()
                    if found is None
                    else rows.removal_of_rows(snapshot, found.description.number)
                )
        except LyreError as error:
            done(error)
            return
        if found is None:
            done(None)
            return

        def replied(result: Result) -> None:
            if isinstance(result, PreconditionFailed):
                self.delete(client_id, done)
            else:
                done(result if isinstance(result, LyreError) else None)

        removal = rows.removal_of(client_id, found.version)
        if found.is_over(self._store.now_ms()):
            removal = rows.expiration_of(found)
        self._store.submit((removal,), removed, replied)


class _Opening:
    """One session on its way to its connection."""

    def __init__(
        self,
        store: SessionStore,
        progress: ProgressWriter,
        context: Context,
        epoch: int,
        on_open: OnOpen,
        new_number: Callable[[], int],
    ) -> None:
        self._store = store
        self._progress = progress
        self._context = context
        self._epoch = epoch
        self._on_open = on_open
        self._new_number = new_number
        self._attempts = 0
        self._again: Callable[[], None] = lambda: None

    def begin(self, *, clean_start: bool, expiry_s: int) -> None:
        """Look what there is and write what will be; again when somebody came between."""
        self._attempts += 1
        self._again = lambda: self.begin(clean_start=clean_start, expiry_s=expiry_s)
        try:
            with self._store.snapshot() as snapshot:
                self._decide(snapshot, clean_start=clean_start, expiry_s=expiry_s)
        except LyreError as error:
            self._on_open(error)

    def _decide(self, snapshot: Snapshot, *, clean_start: bool, expiry_s: int) -> None:
        context = self._context
        found = rows.find(snapshot, context.client_id)
        removed: Rows = ()
        if found is not None:
            is_over = found.is_over(snapshot.now_ms)
            # One that was to end with its connection, which was lost without a word.
            has_ended = is_over or not found.description.expiry_s
            if not has_ended and found.description.user != context.user:
                self._on_open(Refusal.OTHER_USER)
                return
            if not is_over and found.description.epoch > self._epoch:
                self._on_open(Refusal.SUPERSEDED)
                return
            if not has_ended and not clean_start:
                self._take_up(found, expiry_s)
                return
            removed = rows.removal_of_rows(snapshot, found.description.number)
            if is_over:
                found = None
        if expiry_s:
            self._create(found, removed, expiry_s)
        elif found is not None:
            self._remove(found, removed)
        else:
            self._on_open(None)

    def _take_up(self, found: rows.Found, expiry_s: int) -> None:
        """Take the session; then see how far it is, and write that down as its owner.

        In this order, since the last writes of the former owner may wait for their commit:
        they are on disk when the answer comes, and what comes from it later is void.
        """
        description = self._described(found.description, expiry_s)
        was_cut_off = found.description.connected

        def taken(version: int) -> None:
            try:
                with self._store.snapshot() as snapshot:
                    progress, lost = self._progress_of(snapshot, description)
                    stale = rows.single_removals(snapshot, description.number)
                    doubtful = snapshot.position if was_cut_off else description.doubtful
            except LyreError as error:
                self._on_open(error)
                return
            progress = replace(progress, epoch=self._epoch, log=self._store.log)
            session = self._made(
                description, version, progress, is_present=True, lost=lost, doubtful=doubtful
            )
            name = progress_name(description.number)
            session.write_first([*stale, (name, encode_progress(progress))])
            self._on_open(session)

        fence = fence_of(description.number, self._epoch)
        self._write(rows.replacement_of(description, found.version), (fence,), taken)

    def _create(self, found: rows.Found | None, removed: Rows, expiry_s: int) -> None:
        context = self._context
        description = self._described(
            Description(context.client_id, context.user, 0, self._new_number(), 0, True, 0),
            expiry_s,
        )
        progress = SessionProgress(self._epoch, self._store.log, self._store.position)
        name = progress_name(description.number)
        mutation = (
            rows.creation_of(description)
            if found is None
            else rows.replacement_of(description, found.version)
        )

        def taken(version: int) -> None:
            self._on_open(self._made(description, version, progress, is_present=False, lost=""))

        fence = fence_of(description.number, self._epoch)
        self._write(mutation, [*removed, fence, (name, encode_progress(progress))], taken)

    def _described(self, description: Description, expiry_s: int) -> Description:
        return replace(
            description,
            epoch=self._epoch,
            expiry_s=expiry_s,
            connected=True,
            since_ms=self._store.now_ms(),
        )

    def _remove(self, found: rows.Found, removed: Rows) -> None:
        removal = rows.removal_of(self._context.client_id, found.version)
        self._write(removal, removed, lambda _: self._on_open(None))

    def _write(self, mutation: Mutation, written: Rows, then: Callable[[int], None]) -> None:
        """Commit; ``then`` gets the version of the description."""

        def replied(result: Result) -> None:
            if isinstance(result, LyreError):
                self._refuse(result)
            else:
                then(result.outcomes[0].version)

        self._store.submit((mutation,), written, replied)

    def _made(
        self,
        description: Description,
        version: int,
        progress: SessionProgress,
        *,
        is_present: bool,
        lost: str,
        doubtful: int = 0,
    ) -> StoredSession:
        session = StoredSession(
            self._store,
            self._progress,
            self._context,
            description,
            version,
            progress,
            is_present=is_present,
            lost=lost,
            doubtful=doubtful,
        )
        self._progress.add(session)
        return session

    def _refuse(self, error: LyreError) -> None:
        """Try again when somebody came between, else tell why it cannot be."""
        if isinstance(error, (PreconditionFailed, RecordExists)) and self._attempts < _ATTEMPTS:
            self._again()
        else:
            self._on_open(error)

    def _progress_of(
        self, snapshot: Snapshot, description: Description
    ) -> tuple[SessionProgress, str]:
        """How far the session was, and why that is of no use, or ``""``."""
        try:
            progress = rows.progress_in(snapshot, description.number)
        except FormatMismatch as error:
            _logger.error("the session of %r begins anew: %s", description.client_id, error)
            progress = None
        if progress is None:
            progress, lost = SessionProgress(self._epoch, self._store.log, 0), _TRIMMED
        elif progress.log != self._store.log:
            lost = _OTHER_LOG
        elif progress.position < snapshot.floor - 1:
            lost = _TRIMMED
        else:
            return progress, ""
        return self._anew(progress, description), lost

    def _anew(self, progress: SessionProgress, description: Description) -> SessionProgress:
        """A session whose position is lost: all filters begin with current state.

        What was in flight is finished: by what the log still has of it, else by PUBREL.
        """
        here = self._store.position
        is_same_log = progress.log == self._store.log
        return replace(
            progress,
            position=here,
            acknowledged=(),
            starts=tuple(Start(one.filter, here, 0) for one in description.subscriptions),
            in_flight=tuple(
                one if is_same_log else replace(one, seq=0) for one in progress.in_flight
            ),
        )
