"""Turns accepted transactions into states and log entries. No I/O.

Transactions are staged in order of arrival against the overlay. One that breaks a
precondition or a limit is rejected alone: it leaves neither a state nor an entry nor a
gap in the positions. Stamps are made here, so version order is log order.

What a transaction has read is compared with the state before it; its other preconditions
are those of writes one after the other: each sees what the ones before it have made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from msgspec.structs import replace

from lyredb.errors import (
    InvalidRecord,
    LyreError,
    RecordTooLarge,
)
from lyredb.storage import entry as entries
from lyredb.storage import meta
from lyredb.storage.blob import PackedBlob, files_in, has_blob
from lyredb.storage.blob_rows import BlobRows, note_change
from lyredb.storage.body import load_body
from lyredb.storage.changed_body import packed_operations, patched_body, replaced_body
from lyredb.storage.clock import Clock
from lyredb.storage.conditions import LONGEST_USER, check_conditions, check_key, check_read
from lyredb.storage.deadline import deadline_ms
from lyredb.storage.entry import Entry, encode_entry, encode_plain_put
from lyredb.storage.keys import LONGEST_NATURAL
from lyredb.storage.layout import TableLayout
from lyredb.storage.merge import MAP_BYTES
from lyredb.storage.message_staging import are_messages, stage_messages, state_after
from lyredb.storage.mutation import PUT, Applied, DeleteReason, Kind, Mutation, Outcome
from lyredb.storage.overlay import Draft, Overlay, State
from lyredb.storage.record import (
    BLOBS,
    DELETED,
    MESSAGED,
    OPAQUE,
    QOS_SHIFT,
    RecordHeader,
    body_offset_of,
    decode_header,
    encode_plain_record,
    encode_record,
    has_files,
    history_of,
)
from lyredb.storage.snapshot import seq_key

_NOTHING: Final = State(None, None)
_OF_WHAT_IS_GONE: Final = (DeleteReason.EXPIRED, DeleteReason.EVICTED)
_T = TypeVar("_T")


class Staging:
    """One group in the making.

    Args:
        overlay: The states of the group.
        layouts: The tables by slot.
        clock: Stamps versions.
        position: The last committed position; entries are numbered from the next.
        half: Predecessors below this position may soon be trimmed; see
            `directory.half_of`.
        now_ms: The wall clock of the group.
        max_record_bytes: Largest stored record.

    Attributes:
        position: The position after all that was staged.
        log: Key and value of every entry, in order.
        addresses: Slot and key of every entry, in order.
        meta_rows: Rows of ``meta`` to put, or with ``None`` to delete.
        blob_rows: Rows of ``unref``, likewise.
        has_blobs: A record has what older versions cannot read, see `format.BLOBS_FLAG`.
    """

    __slots__ = (
        "_clock",
        "_half",
        "_layouts",
        "_max_record_bytes",
        "_now_ms",
        "addresses",
        "blob_rows",
        "has_blobs",
        "log",
        "meta_rows",
        "overlay",
        "position",
    )

    def __init__(
        self,
        overlay: Overlay,
        layouts: Mapping[int, TableLayout],
        clock: Clock,
        *,
        position: int,
        half: int,
        now_ms: int,
        max_record_bytes: int,
    ) -> None:
        self.overlay = overlay
        self._layouts = layouts
        self._clock = clock
        self._half = half
        self._now_ms = now_ms
        self._max_record_bytes = max_record_bytes
        self.position = position
        self.log: list[tuple[bytes, bytes]] = []
        self.addresses: list[tuple[int, bytes]] = []
        self.meta_rows: dict[bytes, bytes | None] = {}
        self.blob_rows: BlobRows = {}
        self.has_blobs = False

    def stage(self, transaction: Sequence[Mutation]) -> Applied:
        """Take a transaction into the group, whole or not at all.

        Raises:
            LyreError: It is rejected; nothing of it is in the group. Its ``mutation`` says
                at which of several.
        """
        if is_plain_put(transaction):
            return self._stage_plain_put(transaction[0])
        if are_messages(transaction):
            return stage_messages(self, transaction)
        return self._stage_any(transaction)

    def _stage_plain_put(self, mutation: Mutation) -> Applied:
        """Do what `_stage_any` does for one put, without a draft and an `Entry`.

        Most transactions are such: it takes 2.5 µs instead of 6.5.
        """
        layout = self._layouts.get(mutation.slot)
        if layout is None or layout.expiration_ms or layout.expires_from or layout.blobs:
            return self._stage_any((mutation,))
        address = (mutation.slot, mutation.key)
        state = self.overlay.get(address)
        if mutation.precondition is not None:
            header = self.live_header(state)
            check_read(header, mutation.precondition)
            check_conditions(header, mutation.precondition)
        old, before, created = state.image, b"", 0
        flags = mutation.qos << entries.QOS_SHIFT | entries.LAST
        if mutation.retain:
            flags |= entries.RETAIN
        if old is None:
            prev_seq = state.last_seq
        else:
            prev_seq, old_flags, created = history_of(old, self._now_ms)
            if old_flags & BLOBS:  # its attributes were blobs before
                return self._stage_any((mutation,))
            flags |= entries.EXISTED
            if prev_seq < self._half or old_flags & MESSAGED:
                before = old
        version, seq = self._clock.tick_at(self._now_ms), self.position + 1
        record_flags = mutation.qos << QOS_SHIFT | (OPAQUE if mutation.opaque else 0)
        image = encode_plain_record(mutation.body, version, seq, record_flags, created or version)
        if len(image) > self._max_record_bytes:
            self.check_size(image)
        row = encode_plain_put(mutation, flags, self._now_ms, version, prev_seq, image, before)
        self.overlay.final[address] = State(image, None)
        self.log.append((seq_key(seq), row))
        self.addresses.append(address)
        self.position = seq
        return Applied(seq, (Outcome(seq, version, created > 0),))

    def _stage_any(self, transaction: Sequence[Mutation]) -> Applied:
        work = _Work(self, Draft(self.overlay), len(transaction))
        for number, mutation in enumerate(transaction):
            if mutation.precondition is not None:
                _placed(number, work.check_read, mutation)
        outcomes = tuple(
            [_placed(number, work.apply, mutation) for number, mutation in enumerate(transaction)]
        )
        if work.made and not work.made[-1].is_last:
            work.made[-1] = replace(work.made[-1], flags=work.made[-1].flags | entries.LAST)
        self._accept(work)
        return Applied(self.position, outcomes)

    def _accept(self, work: _Work) -> None:
        encoded = [(seq_key(entry.seq), encode_entry(entry)) for entry in work.made]
        work.draft.accept()
        self.log += encoded
        self.addresses += [(entry.slot, entry.key) for entry in work.made]
        self.meta_rows.update(work.meta_rows)
        self.blob_rows.update(work.blob_rows)
        self.has_blobs |= work.has_blobs
        self.position += len(encoded)

    def live_header(self, state: State) -> RecordHeader | None:
        """Return the header of a record that is there and whose deadline has not passed."""
        if state.image is None:
            return None
        header = decode_header(state.image)
        return None if header.is_expired(self._now_ms) else header

    def layout(self, slot: int) -> TableLayout:
        """Return a table's layout.

        Raises:
            InvalidRecord: There is no such table.
        """
        layout = self._layouts.get(slot)
        if layout is None:
            raise InvalidRecord("the table of this record does not exist any more")
        return layout

    def tick(self) -> int:
        """Return the next version."""
        return self._clock.tick_at(self._now_ms)

    def ticks(self, count: int) -> int:
        """Return the first of so many versions."""
        return self._clock.ticks(count)

    @property
    def now_ms(self) -> int:
        """The wall clock of the group."""
        return self._now_ms

    @property
    def half(self) -> int:
        """Where the newest half of the ring begins."""
        return self._half

    def check_size(self, image: bytes) -> None:
        """Refuse a record that is too large.

        Raises:
            RecordTooLarge: It is.
        """
        if len(image) > self._max_record_bytes:
            raise RecordTooLarge(
                f"a record may have {self._max_record_bytes} bytes, this one has {len(image)}"
            )


class _Work:
    """One transaction while it is staged."""

    __slots__ = (
        "_expected",
        "_staging",
        "blob_rows",
        "draft",
        "has_blobs",
        "made",
        "meta_rows",
    )

    def __init__(self, staging: Staging, draft: Draft, expected: int) -> None:
        self._expected = expected
        self._staging = staging
        self.draft = draft
        self.made: list[Entry] = []
        self.meta_rows: dict[bytes, bytes | None] = {}
        self.blob_rows: BlobRows = {}
        self.has_blobs = False

    def check_read(self, mutation: Mutation) -> None:
        """Compare what was read with the draft, in which nothing was done yet."""
        if mutation.precondition is not None:
            check_read(self._header(mutation), mutation.precondition)

    def _header(self, mutation: Mutation) -> RecordHeader | None:
        """Return the header of the live record that a mutation is about, as of now."""
        self._staging.layout(mutation.slot)
        return self._staging.live_header(self.draft.get((mutation.slot, mutation.key)))

    def apply(self, mutation: Mutation) -> Outcome:
        """Do one mutation on the draft, if its precondition holds there."""
        kind = mutation.kind
        if mutation.precondition is not None:
            check_conditions(self._header(mutation), mutation.precondition)
        if kind is Kind.CHECK:
            header = self._header(mutation)
            return Outcome(0, header.version if header else 0, header is not None)
        check_key(mutation)
        if kind is Kind.SCHEMA or kind is Kind.ACCESS:
            return self._note(mutation)
        layout = self._staging.layout(mutation.slot)
        state = self.draft.get((mutation.slot, mutation.key)) if mutation.key else _NOTHING
        header = self._staging.live_header(state)
        if kind is Kind.MESSAGE:
            assert not mutation.more, (
                "several go by `stage_messages`, in a transaction of their own"
            )
            return self._message(mutation, state, header)
        if kind is Kind.DELETE or kind is Kind.INVALIDATE:
            return self._delete(mutation, state, header)
        if kind is Kind.PUT:
            body = mutation.body
            if not mutation.opaque and (not body or body[0] not in MAP_BYTES):
                raise InvalidRecord("the body is no MessagePack map of attributes")
            if mutation.may_change is not None:
                body = replaced_body(layout, mutation, state, header)
        else:
            body = patched_body(layout, mutation, state, header)
        return self._put(mutation, state, header, body)

    def _put(
        self, mutation: Mutation, state: State, header: RecordHeader | None, body: bytes
    ) -> Outcome:
        staging = self._staging
        version, seq = staging.tick(), self._next_seq()
        patch = mutation.kind is Kind.PATCH and header is not None
        layout = staging.layout(mutation.slot)
        expires_ms = deadline_ms(layout, mutation, header, body, staging.now_ms)
        has_files = self._note_files(mutation, state, seq, body=body, live=header is not None)
        image = encode_record(
            body,
            version=version,
            last_seq=seq,
            flags=mutation.qos << QOS_SHIFT
            | (OPAQUE if mutation.opaque else 0)
            | (BLOBS if has_files else 0),
            created=header.created if header else version,
            expires_ms=expires_ms,
            metadata=mutation.metadata or (header.metadata_bytes if patch and header else b""),
            full_id=mutation.full_id,
        )
        staging.check_size(image)
        if expires_ms != mutation.expires_ms:
            mutation = replace(mutation, expires_ms=expires_ms)
        self._log(mutation, state, version, image=image, operations=packed_operations(mutation))
        self.draft.put((mutation.slot, mutation.key), State(image, None))
        return Outcome(seq, version, header is not None)

    def _delete(self, mutation: Mutation, state: State, header: RecordHeader | None) -> Outcome:
        if state.image is None:
            return Outcome(0, 0, existed=False)
        if header is not None and mutation.reason in _OF_WHAT_IS_GONE:
            return Outcome(0, header.version, existed=True)  # written again meanwhile
        version, seq = self._staging.tick(), self._next_seq()
        self._note_files(mutation, state, seq)
        self._log(mutation, state, version, reason=mutation.reason)
        grave = encode_record(
            b"", version=version, last_seq=seq, flags=DELETED, full_id=mutation.full_id
        )
        self.draft.put((mutation.slot, mutation.key), State(None, grave))
        return Outcome(seq, version, header is not None)

    def _note_files(
        self,
        mutation: Mutation,
        state: State,
        seq: int,
        *,
        body: bytes = b"",
        live: bool = False,
    ) -> bool:
        """Note which files a write takes and drops; tell whether its record has any.

        Raises:
            InvalidRecord: It refers to one that it may not have.
        """
        old = _files_of(state.image)
        new: frozenset[PackedBlob] = frozenset()
        if body and not mutation.opaque and (old or self._staging.layout(mutation.slot).blobs):
            record = load_body(body)
            new = files_in(record)
            self.has_blobs |= has_blob(record)
        if old or new:
            note_change(
                self.blob_rows,
                old,
                new,
                made=mutation.blobs,
                slot=mutation.slot,
                key=mutation.key,
                seq=seq,
                live=live,
            )
        return bool(new)

    def _message(self, mutation: Mutation, state: State, header: RecordHeader | None) -> Outcome:
        seq = self._next_seq()
        stamp = self._staging.tick()
        self._log(mutation, state, stamp, payload=mutation.body, metadata=mutation.metadata)
        if mutation.key:
            after = state_after(state, seq, mutation.full_id)
            self.draft.put((mutation.slot, mutation.key), after)
        return Outcome(seq, header.version if header else 0, header is not None)

    def _note(self, mutation: Mutation) -> Outcome:
        """Log a schema or access change; the former also is a meta row."""
        seq, version = self._next_seq(), self._staging.tick()
        if mutation.kind is Kind.SCHEMA:
            self.meta_rows[meta.SCHEMA_PREFIX + mutation.key] = mutation.body or None
        self._log(mutation, _NOTHING, version, payload=mutation.body, metadata=mutation.metadata)
        return Outcome(seq, version, existed=False)

    def _next_seq(self) -> int:
        return self._staging.position + len(self.made) + 1

    def _log(
        self,
        mutation: Mutation,
        state: State,
        version: int,
        *,
        image: bytes = b"",
        operations: bytes = b"",
        payload: bytes = b"",
        metadata: bytes = b"",
        reason: DeleteReason = DeleteReason.NONE,
    ) -> None:
        flags = mutation.qos << entries.QOS_SHIFT
        if len(self.made) + 1 == self._expected:
            flags |= entries.LAST
        if mutation.retain:
            flags |= entries.RETAIN
        if state.image is not None:
            flags |= entries.EXISTED
        self.made.append(
            Entry(
                self._next_seq(),
                mutation.kind,
                flags,
                reason,
                mutation.slot,
                0,
                self._staging.now_ms,
                version,
                state.last_seq,
                len(self.made),
                mutation.key,
                image,
                self._before(mutation, state),
                operations,
                payload,
                metadata,
                0,
                mutation.session,
                mutation.expires_ms,
                mutation.user,
                mutation.full_id,
            )
        )

    def _before(self, mutation: Mutation, state: State) -> bytes:
        """Return the record before, where the log may not be able to tell it later."""
        if state.image is None or mutation.kind is Kind.MESSAGE:
            return b""
        is_recent = state.last_seq >= self._staging.half
        return b"" if is_recent and not state.image[19] & MESSAGED else state.image


def _placed(number: int, act: Callable[[Mutation], _T], mutation: Mutation) -> _T:
    """Act, and let an error tell which mutation of the transaction it is about."""
    try:
        return act(mutation)
    except LyreError as error:
        error.mutation = number
        raise


def is_plain_put(transaction: Sequence[Mutation]) -> bool:
    """Tell whether a transaction is one put without deadline, metadata, full id and limit.

    One that has to be refused is none.
    """
    if len(transaction) != 1:
        return False
    mutation = transaction[0]
    return (
        mutation.kind is PUT
        and not mutation.expires_ms
        and not mutation.metadata
        and not mutation.full_id
        and mutation.may_change is None
        and 0 < len(mutation.key) <= LONGEST_NATURAL
        and len(mutation.user) * 4 <= LONGEST_USER
        and (mutation.opaque or (mutation.body != b"" and mutation.body[0] in MAP_BYTES))
    )


def _files_of(image: bytes | None) -> frozenset[PackedBlob]:
    """The files that a stored record refers to."""
    if image is None or not has_files(image):
        return frozenset()
    return files_in(load_body(image[body_offset_of(image) :]))
