"""How much a transaction may have, and how much may wait."""

from __future__ import annotations

from collections.abc import Sequence

from lyredb.errors import Overloaded, TransactionTooLarge
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Mutation
from lyredb.storage.settings import StorageSettings


def measure(transaction: Sequence[Mutation], session_rows: Rows) -> tuple[int, int]:
    """Return what counts for the limits: mutations, each message as one, and bytes."""
    # As `Mutation.size_bytes`, written out: it is asked twice for each write.
    if len(transaction) == 1 and not session_rows and not transaction[0].more:
        one = transaction[0]
        return 1, len(one.body) + len(one.operations) + len(one.metadata) + len(one.key)
    count, size = len(transaction), 0
    for one in transaction:
        size += len(one.body) + len(one.operations) + len(one.metadata) + len(one.key)
        if one.more:
            count += len(one.more)
            size += sum(map(len, one.more))
    for name, value in session_rows:
        size += len(name) + len(value or b"")
    return count, size


def check_limits(
    mutations: int,
    size_bytes: int,
    waiting_mutations: int,
    waiting_bytes: int,
    settings: StorageSettings,
) -> None:
    """Check one transaction, and that it may wait too; alone it always may.

    Args:
        mutations: Of `measure`.
        size_bytes: Likewise.
        waiting_mutations: In all that waits already.
        waiting_bytes: Of all that waits already.
        settings: The limits.

    Raises:
        TransactionTooLarge: It can never be taken.
        Overloaded: Too much is waiting.
    """
    if (
        mutations > settings.max_transaction_mutations
        or size_bytes > settings.max_transaction_bytes
    ):
        raise TransactionTooLarge(
            f"a transaction may have {settings.max_transaction_mutations} mutations and "
            f"{settings.max_transaction_bytes} bytes, "
            f"this one has {mutations} and {size_bytes}"
        )
    if (waiting_mutations or waiting_bytes) and (
        waiting_mutations + mutations > settings.max_outstanding_mutations
        or waiting_bytes + size_bytes > settings.max_outstanding_bytes
    ):
        raise Overloaded("too many writes are waiting; try again in a moment")
