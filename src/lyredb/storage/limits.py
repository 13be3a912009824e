"""How much a transaction may have, and how much may wait."""

from __future__ import annotations

from collections.abc import Sequence

from lyredb.errors import Overloaded, TransactionTooLarge
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Mutation
from lyredb.storage.settings import StorageSettings


def size_of(transaction: Sequence[Mutation], session_rows: Rows) -> int:
    """Return the bytes of a transaction that count for the limits."""
    # As `Mutation.size_bytes`, written out: it is asked twice for each write.
    if len(transaction) == 1 and not session_rows:
        one = transaction[0]
        return len(one.body) + len(one.operations) + len(one.metadata) + len(one.key)
    size = sum(
        [
            len(one.body) + len(one.operations) + len(one.metadata) + len(one.key)
            for one in transaction
        ]
    )
    if session_rows:
        size += sum([len(name) + len(value or b"") for name, value in session_rows])
    return size


def check_limits(
    transaction: Sequence[Mutation],
    size_bytes: int,
    waiting_mutations: int,
    waiting_bytes: int,
    settings: StorageSettings,
) -> None:
    """Check one transaction, and that it may wait too; alone it always may.

    Args:
        transaction: What is to be done.
        size_bytes: Of `size_of`.
        waiting_mutations: In all that waits already.
        waiting_bytes: Of all that waits already.
        settings: The limits.

    Raises:
        TransactionTooLarge: It can never be taken.
        Overloaded: Too much is waiting.
    """
    mutations = len(transaction)
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
