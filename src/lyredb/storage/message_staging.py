"""Staging of transactions that are messages and nothing else: the hot path of the log.

What `Staging` does for any transaction, without a draft and an `Entry` each, and with one
look-up and one state per topic: 2 µs a message instead of 11. Like it without I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lyredb.errors import LyreError
from lyredb.storage import entry as entries
from lyredb.storage.conditions import check_key
from lyredb.storage.message_entry import encode_message, encode_run
from lyredb.storage.mutation import MESSAGE, Applied, Mutation
from lyredb.storage.overlay import Address, State
from lyredb.storage.record import MESSAGED, encode_record, with_last_seq
from lyredb.storage.snapshot import seq_key

if TYPE_CHECKING:
    from lyredb.storage.staging import Staging

_ROOT = State(None, None)
"""Of a table's root topic, which has no key: its messages stand in the log alone."""


def are_messages(transaction: Sequence[Mutation]) -> bool:
    """Tell whether there are only messages in a transaction, without preconditions."""
    for mutation in transaction:
        if mutation.kind is not MESSAGE or mutation.precondition is not None:
            return False
    return bool(transaction)


def stage_messages(staging: Staging, transaction: Sequence[Mutation]) -> Applied:
    """Take messages into a group, all or none.

    Returns:
        Without outcomes: each message has an entry, at the positions up to this one.

    Raises:
        LyreError: One of them is refused, its ``mutation`` says which.
    """
    found = _states(staging, transaction)
    full_ids = {(one.slot, one.key): one.full_id for one in transaction if one.full_id}
    lasts = {address: state.last_seq for address, state in found.items()}
    seq, now_ms = staging.position, staging.now_ms
    version = staging.ticks(sum([1 + len(one.more) for one in transaction]))
    final = len(transaction) - 1
    log: list[tuple[bytes, bytes]] = []
    addresses: list[Address] = []
    for number, mutation in enumerate(transaction):
        address = (mutation.slot, mutation.key)
        flags = mutation.qos << entries.QOS_SHIFT
        if number == final:
            flags |= entries.LAST
        if mutation.retain:
            flags |= entries.RETAIN
        if found[address].image is not None:
            flags |= entries.EXISTED
        index, before = len(log), lasts[address]
        seq += 1
        if mutation.more:
            rows = encode_run(mutation, flags, now_ms, version + index, before, index, seq=seq)
            log += [(seq_key(each), row) for each, row in enumerate(rows, seq)]
            addresses += [address] * len(rows)
            seq += len(mutation.more)
        else:
            row = encode_message(mutation, flags, now_ms, version + index, before, index)
            log.append((seq_key(seq), row))
            addresses.append(address)
        if mutation.key:
            lasts[address] = seq
    for address, state in found.items():
        if address[1]:
            full_id = full_ids.get(address, b"")
            staging.overlay.final[address] = state_after(state, lasts[address], full_id)
    staging.log += log
    staging.addresses += addresses
    staging.position = seq
    return Applied(seq, ())


def _states(staging: Staging, transaction: Sequence[Mutation]) -> dict[Address, State]:
    """The state of each topic before the messages, which are checked."""
    found: dict[Address, State] = {}
    user = None
    for number, mutation in enumerate(transaction):
        address = (mutation.slot, mutation.key)
        if address in found and mutation.user == user:
            continue
        user = mutation.user
        try:
            staging.layout(mutation.slot)
            check_key(mutation)
        except LyreError as error:
            error.mutation = number
            raise
        if address not in found:
            found[address] = staging.overlay.get(address) if mutation.key else _ROOT
    return found


def state_after(state: State, seq: int, full_id: bytes) -> State:
    """Return a record's state, or its absence, after a message at a position.

    Args:
        state: Before it.
        seq: The position.
        full_id: Beside a short-form key.
    """
    if state.image is not None:
        return State(with_last_seq(state.image, seq, add_flags=MESSAGED), None)
    if state.grave is not None:
        return State(None, with_last_seq(state.grave, seq, add_flags=MESSAGED))
    grave = encode_record(b"", version=0, last_seq=seq, flags=MESSAGED, full_id=full_id)
    return State(None, grave)
