"""Writes a staged group: final states, changed index keys, every entry, the position.

All in the one transaction given; the caller commits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from lyredb.storage.environment import Handle, Handles, Transaction
from lyredb.storage.indexing import IndexExtractor
from lyredb.storage.overlay import Overlay, State
from lyredb.storage.staging import Staging

Rows: TypeAlias = Sequence[tuple[bytes, bytes | None]]
"""Key and value to put, or ``None`` to delete."""
Pairs: TypeAlias = dict[int, list[tuple[bytes, bytes]]]
"""By index slot: encoded value and record key."""


def state_loader(transaction: Transaction, handles: Handles) -> Callable[[int, bytes], State]:
    """Return the function by which an overlay reads stored states in a transaction."""
    records, graves, get = handles.records, handles.graves, transaction.get

    def load(slot: int, key: bytes) -> State:
        image = get(key, db=records[slot])
        return State(image, None if image is not None else get(key, db=graves[slot]))

    return load


def apply_group(
    transaction: Transaction,
    handles: Handles,
    staging: Staging,
    *,
    log: Handle,
    extractors: Mapping[int, IndexExtractor],
    position_row: tuple[bytes, bytes],
    session_rows: Rows,
) -> None:
    """Write a group.

    Args:
        transaction: The write transaction, in which the overlay was loaded.
        handles: The open databases.
        staging: The group.
        log: The open segment.
        extractors: By table slot, for the tables with indexes.
        position_row: Name and value of the meta row for the new position.
        session_rows: Rows of ``sess``.
    """
    _put_states(transaction, handles, staging.overlay, extractors)
    if staging.log:
        with transaction.cursor(log) as cursor:
            consumed, _ = cursor.putmulti(staging.log, append=True)
        assert consumed == len(staging.log), "positions only grow"
    _put_rows(transaction, handles.meta, [*staging.meta_rows.items(), position_row])
    _put_rows(transaction, handles.sess, session_rows)
    _put_rows(transaction, handles.unref, tuple(staging.blob_rows.items()))


def _put_rows(transaction: Transaction, handle: Handle, rows: Rows) -> None:
    for name, value in rows:
        if value is None:
            transaction.delete(name, db=handle)
        else:
            transaction.put(name, value, db=handle)


def _put_states(
    transaction: Transaction,
    handles: Handles,
    overlay: Overlay,
    extractors: Mapping[int, IndexExtractor],
) -> None:
    """Write in key order: neighbours share pages, and the tree is walked once.

    Records go by `putmulti`, whose cursor stays on its page: half the time of single puts.
    Index keys go sorted, by index: what a group adds to a large index is far apart, and in
    order a page is changed once.
    """
    stored, final, delete = overlay.stored, overlay.final, transaction.delete
    records: dict[int, list[tuple[bytes, bytes]]] = {}
    removed: Pairs = {}
    added: Pairs = {}
    for address in sorted(final):
        slot, key = address
        old, new = stored[address], final[address]
        if new.image is not None:
            rows = records.get(slot)
            if rows is None:
                rows = records[slot] = []
            rows.append((key, new.image))
        elif old.image is not None:
            delete(key, db=handles.records[slot])
        if new.grave is not None:
            transaction.put(key, new.grave, db=handles.graves[slot])
        elif old.grave is not None:
            delete(key, db=handles.graves[slot])
        if slot in extractors:
            out, into = extractors[slot].changes(old.image, new.image)
            for index_slot, encoded in out:
                removed.setdefault(index_slot, []).append((encoded, key))
            for index_slot, encoded in into:
                added.setdefault(index_slot, []).append((encoded, key))
    for slot, rows in records.items():
        with transaction.cursor(handles.records[slot]) as cursor:
            cursor.putmulti(rows)
    _put_index_keys(transaction, handles, removed, added)


def _put_index_keys(
    transaction: Transaction, handles: Handles, removed: Pairs, added: Pairs
) -> None:
    """A record has a pair or has it not, so the order of pairs does not matter."""
    for slot, pairs in removed.items():
        handle = handles.indexes[slot]
        for encoded, key in sorted(pairs):
            transaction.delete(encoded, key, db=handle)
    for slot, pairs in added.items():
        pairs.sort()
        with transaction.cursor(handles.indexes[slot]) as cursor:
            cursor.putmulti(pairs)
