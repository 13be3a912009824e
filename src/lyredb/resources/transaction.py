"""A transaction of code: reads of one position, own writes on top, one commit.

It holds neither a lock nor a snapshot. What it reads is read **as of** the position at which
it began (`lyredb.storage.asof`), so no page of the data file is kept. What it writes stays
here until its end; then all goes to the writer as one transaction, with the version of every
record that was read: if one of them has another version by then, nothing is written and
`WriteConflict` is raised. Writes that read nothing (a put, a patch, an increment of a record
that was not looked at) do not conflict; increments commute.

So transactions are serialisable in the records that they read by key or found. Records that
a search did *not* find are not checked: two transactions may each find no record, and each
make one (write skew on ranges). Read or write a record that stands for the range if that
must not be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from lyredb.errors import LyreError, PositionLost, Timeout, TransactionTooLarge, WriteConflict
from lyredb.plugins.context import Context
from lyredb.resources.mutations import Planned
from lyredb.resources.requests import Reading, Write, Written
from lyredb.resources.target import Target
from lyredb.resources.writing import Writing
from lyredb.storage.asof import image_at
from lyredb.storage.clock import Clock
from lyredb.storage.mutation import Kind, Mutation, Outcome, Precondition
from lyredb.storage.overlay import Address, Overlay, State
from lyredb.storage.record import last_seq_of
from lyredb.storage.staging import Staging

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

MAX_AGE_S: Final = 10.0
"""A record that others write all the time is found by walking back through the log, and old
transactions conflict: beyond it both are no good."""
_HOW_LONG: Final = "a transaction may take {:g} s; it was given up, and nothing was written"


class Phase(Enum):
    """Where a transaction stands."""

    ACTIVE = "active"
    COMMITTING = "being committed"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"


class Savepoint:
    """What a transaction had written at some moment."""

    __slots__ = ("blind", "final", "messages", "mutations")

    def __init__(
        self,
        mutations: int,
        messages: int,
        blind: dict[Address, list[Mutation]],
        final: dict[Address, State],
    ) -> None:
        self.mutations = mutations
        self.messages = messages
        self.blind = {address: list(waiting) for address, waiting in blind.items()}
        self.final = dict(final)


class Transaction:
    """One transaction of one task; made by `lyredb.resources.attempts`.

    Args:
        engine: What it reads.
        writing: Where it commits.
        context: Whose rights decide.
        max_age_s: After so long it cannot be used any more.
    """

    def __init__(
        self, engine: Engine, writing: Writing, context: Context, max_age_s: float = MAX_AGE_S
    ) -> None:
        self.context = context
        self._engine = engine
        self._writing = writing
        self._task = asyncio.current_task()
        self._max_age_s = max_age_s
        self._deadline = time.monotonic() + max_age_s
        self._phase = Phase.ACTIVE
        with engine.snapshot() as snapshot:
            self._position = snapshot.position
            self._now_ms = snapshot.now_ms
        settings = engine.settings
        self._max_reads = settings.max_transaction_mutations
        self._bytes_left = settings.max_transaction_bytes
        self._overlay = Overlay(self._load)
        self._staging = Staging(
            self._overlay,
            engine.layouts,
            Clock(engine.now_ms),
            position=self._position,
            half=0,
            now_ms=self._now_ms,
            max_record_bytes=settings.max_record_bytes,
        )
        self._read: dict[Address, int] = {}
        self._blind: dict[Address, list[Mutation]] = {}
        self._mutations: list[Mutation] = []
        self._planned: list[Planned] = []
        self._messages: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<transaction at {self._position}, {self._phase.value}>"

    @property
    def position(self) -> int:
        """The log position that it reads as of."""
        return self._position

    @property
    def now_ms(self) -> int:
        """The time by which records count as expired for it."""
        return self._now_ms

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        return self._phase

    def require_usable(self) -> None:
        """See to it that it may be used here and now.

        Raises:
            RuntimeError: It has ended, or belongs to another task.
            Timeout: It has taken too long.
        """
        if self._phase is not Phase.ACTIVE:
            raise RuntimeError(f"this transaction is {self._phase.value} and cannot be used")
        if asyncio.current_task() is not self._task:
            raise RuntimeError(
                "a transaction belongs to the task that began it. Tasks that are started inside "
                "it (asyncio.gather, create_task, wait_for before Python 3.12) cannot use it; "
                "start them with context=contextvars.Context() to work beside it"
            )
        if time.monotonic() > self._deadline:
            raise Timeout(_HOW_LONG.format(self._max_age_s))

    def get(self, target: Target) -> Reading | None:
        """Return a record as this transaction sees it, ``None`` when there is none.

        Raises:
            WriteConflict: It was changed by others meanwhile, and this transaction has
                written: its commit would be refused.
            TransactionTooLarge: It has read more than it may.
            LyreError: What was written to the record before cannot be done.
        """
        self.require_usable()
        assert target.id is not None, "a record has a key"
        stored = self.image(target.table.slot, target.key)
        return None if stored is None else Reading(target.table, target.id, stored)

    def image(self, slot: int, key: bytes) -> bytes | None:
        """Return a stored record as this transaction sees it; see `get`."""
        address = (slot, key)
        self._look_at(address)
        state = self._overlay.get(address)
        return None if self._staging.live_header(state) is None else state.image

    def note_read(self, slot: int, key: bytes, stored: bytes | None) -> None:
        """Note what was found as of the position, so that the commit checks it."""
        address = (slot, key)
        if address not in self._read and address not in self._overlay.final:
            self._note_version(address, int.from_bytes(stored[:8], "big") if stored else 0)

    def own(self, slot: int) -> dict[bytes, bytes | None]:
        """Return what it has written to a table: the records as they will be, or ``None``.

        Patches of records that were not looked at are done first, which looks at them.
        """
        for address in [one for one in self._blind if one[0] == slot]:
            self._look_at(address)
        final = self._overlay.final.items()
        return {
            key: None if self._staging.live_header(state) is None else state.image
            for (where, key), state in final
            if where == slot
        }

    async def write(self, write: Write) -> Written:
        """Take a write; the record is as it will be for all that follows in here.

        Its precondition is decided at once, on what the transaction sees. Of a put or patch
        that has none, of a record that was not looked at, ``existed`` is not known and
        ``False``; versions and positions are not known before the commit and 0.

        Raises:
            LyreError: As of a single write; the transaction goes on without it.
        """
        self.require_usable()
        write = await self._writing.save(write, self.context)
        while True:
            planned = await self._writing.plan(write, self.context)
            self.require_usable()
            try:
                existed = self._take(planned)
            except LyreError as error:
                error.mutation = None
                if planned.integer is not None and self._is_taken(planned):
                    self._writing.integers.discard(planned.mutation.slot)
                    continue
                raise planned.meaning(error) from None
            return Written(planned.id, 0, 0, existed, write.target.table)

    def _is_taken(self, planned: Planned) -> bool:
        return self.image(planned.mutation.slot, planned.mutation.key) is not None

    def _take(self, planned: Planned) -> bool:
        mutation = planned.mutation
        address = (mutation.slot, mutation.key)
        decides = mutation.precondition is not None or mutation.kind is Kind.DELETE
        existed = False
        if not decides and not self._is_known(address):
            self._blind.setdefault(address, []).append(mutation)
        else:
            self._look_at(address)
            outcome = self._stage(mutation)
            existed = outcome.existed
            if mutation.kind is Kind.DELETE and not outcome.seq:
                return existed
        self._mutations.append(replace(mutation, precondition=None))
        self._planned.append(planned)
        return existed

    def publish(self, send: Callable[[], None]) -> None:
        """Have a message sent after the commit, and not at all without one."""
        self.require_usable()
        self._messages.append(send)

    def savepoint(self) -> Savepoint:
        """Return where `undo` goes back to."""
        self.require_usable()
        return Savepoint(
            len(self._mutations), len(self._messages), self._blind, self._overlay.final
        )

    def undo(self, to: Savepoint) -> None:
        """Forget what was written and published since; what was read is still checked."""
        del self._mutations[to.mutations :], self._planned[to.mutations :]
        del self._messages[to.messages :]
        self._blind = to.blind
        self._overlay.final = to.final

    def roll_back(self) -> None:
        """End it; nothing was written."""
        if self._phase is Phase.ACTIVE:
            self._phase = Phase.ROLLED_BACK
            self._writing.discard(self._mutations)

    async def commit(self) -> None:
        """Write all or nothing, then send what was published. Without writes it is free.

        A cancelled wait does not take it back.

        Raises:
            WriteConflict: A record that was read has changed; nothing was written.
            LyreError: A write was refused, or as of `Writing.send_all`.
        """
        try:
            self.require_usable()
        except BaseException:
            self.roll_back()
            raise
        self._phase = Phase.COMMITTING
        if not self._mutations:
            self._committed()
            return
        mutations = self._with_conditions()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[LyreError | None] = loop.create_future()

        def done(result: object) -> None:
            failure = result if isinstance(result, LyreError) else None
            if failure is None:
                self._committed()
            else:
                self._phase = Phase.ROLLED_BACK
                self._writing.discard(self._mutations, failure)
            if not future.done():
                future.set_result(failure)

        try:
            self._writing.submit_all(mutations, done)
        except BaseException:
            self._phase = Phase.ROLLED_BACK
            raise
        failure = await future
        if failure is not None:
            raise self._meaning(failure, len(mutations) - len(self._mutations))

    def _meaning(self, error: LyreError, checks: int) -> LyreError:
        number = error.mutation
        error.mutation = None
        if number is None or number < checks:
            return error
        return self._planned[number - checks].meaning(error)

    def _committed(self) -> None:
        self._phase = Phase.COMMITTED
        for send in self._messages:
            send()

    def _with_conditions(self) -> Sequence[Mutation]:
        """What the writer gets: the versions that were read, and the writes in their order."""
        read = dict(self._read)
        writes: list[Mutation] = []
        for mutation in self._mutations:
            version = read.pop((mutation.slot, mutation.key), None)
            if version is not None:
                mutation = replace(mutation, precondition=Precondition(read_version=version))
            writes.append(mutation)
        checks = [
            Mutation(slot, key, Kind.CHECK, precondition=Precondition(read_version=version))
            for (slot, key), version in read.items()
        ]
        return [*checks, *writes]

    def _is_known(self, address: Address) -> bool:
        return address in self._overlay.stored or address in self._overlay.final

    def _look_at(self, address: Address) -> None:
        """Do what was written blindly to a record on what is there."""
        self._overlay.get(address)
        for mutation in self._blind.pop(address, ()):
            self._stage(mutation)

    def _stage(self, mutation: Mutation) -> Outcome:
        """Do a mutation here, by the rules of the writer."""
        outcome = self._staging.stage([mutation]).outcomes[0]
        self._staging.log.clear()
        self._staging.addresses.clear()
        self._staging.blob_rows.clear()
        self._spend(mutation.size_bytes)
        return outcome

    def _load(self, slot: int, key: bytes) -> State:
        """Return what a record was at the position, and note that it was read."""
        with self._engine.snapshot() as snapshot:
            if snapshot.floor - 1 > self._position:
                raise PositionLost("the log does not hold the beginning of the transaction")
            stored = snapshot.stored(slot, key)
            last = stored if stored is not None else snapshot.grave(slot, key)
            seq = last_seq_of(last) if last else 0
            image = stored
            if seq > self._position:
                image = image_at(snapshot, stored, seq, self._position)
                self._require_same(stored, image)
        state = State(image, None)
        header = self._staging.live_header(state)
        self._note_version((slot, key), header.version if header else 0)
        self._spend(len(image or b""))
        return state

    def _require_same(self, stored: bytes | None, image: bytes | None) -> None:
        """End early what cannot be committed any more."""
        if self._mutations and (stored or b"")[:8] != (image or b"")[:8]:
            raise WriteConflict("a record that is read has been changed by others meanwhile")

    def _note_version(self, address: Address, version: int) -> None:
        self._read.setdefault(address, version)
        if len(self._read) > self._max_reads:
            raise TransactionTooLarge(f"a transaction may read {self._max_reads} records")

    def _spend(self, size_bytes: int) -> None:
        self._bytes_left -= size_bytes
        if self._bytes_left < 0:
            limit = self._engine.settings.max_transaction_bytes
            raise TransactionTooLarge(f"a transaction may read and write {limit} bytes")
