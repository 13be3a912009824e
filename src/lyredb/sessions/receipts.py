"""What members of a durable group have taken with QoS 2, so that nobody else gets it.

A receipt is a row of the group's session. It commits with what makes the message the
member's: the progress of the member's session, which has it in flight from then on, or, where
that ends with its connection, alone. Only then the message leaves. So whoever owns the group
after a crash knows what was given, however old the progress of the group is.

It is written on the condition that the group still has the owner that gave the message: what
a former one gave is given again by the next, and a member that asks too late does not get it
[MQTT-4.8.2-5]. Each giving has a name of its own; a receipt that nobody needs any more does
no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from lyredb.errors import EngineClosed, LyreError, SessionTakenOver, StorageFailed
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import Result
from lyredb.storage.session_row import fence_name, fence_value, owner_condition, receipt_name
from lyredb.storage.snapshot import Snapshot

_RETRY_S: Final = 0.1


class Receipt:
    """One message that a member is given, to be taken by it once.

    Attributes:
        number: Of the session of the group.
        epoch: Of the owner that gives.
        seq: The message's entry in the log.
        turn: Tells it from other givings of the same message by this owner.
        is_void: Somebody else owns the group, and gives the message again.
    """

    __slots__ = ("epoch", "is_void", "number", "seq", "turn")

    def __init__(self, number: int, epoch: int, seq: int, turn: int) -> None:
        self.number = number
        self.epoch = epoch
        self.seq = seq
        self.turn = turn
        self.is_void = False

    @property
    def name(self) -> bytes:
        """Of its row."""
        return receipt_name(self.number, self.seq, self.turn)

    def check(self, snapshot: Snapshot) -> None:
        """Note whether its owner has the group no more."""
        owner = snapshot.session_row(fence_name(self.number))
        self.is_void = owner != fence_value(self.epoch)


class Store(Protocol):
    """What is needed of a `lyredb.resources.session_store.SessionStore`."""

    def submit(
        self, mutations: tuple[Mutation, ...], rows: Rows, done: Callable[[Result], None]
    ) -> None:
        """Commit."""


def rows_of(receipts: list[Receipt]) -> list[tuple[bytes, bytes | None]]:
    """The rows of receipts, behind their conditions."""
    conditions = {owner_condition(one.number, one.epoch): None for one in receipts}
    return [*conditions, *((one.name, fence_value(one.epoch)) for one in receipts)]


class MemberReceipts:
    """Those of one member whose session lasts that are not known to be on disk."""

    __slots__ = ("_asked", "_pending", "_refused")

    def __init__(self) -> None:
        self._pending: dict[int, Receipt] = {}
        self._asked: set[int] = set()
        self._refused: set[int] = set()

    def add(self, packet_id: int, receipt: Receipt) -> None:
        """A message is in flight, to be committed with its receipt."""
        self._pending[packet_id] = receipt

    def take_back(self, packet_id: int) -> bool:
        """Forget one; False when a commit may have it by now."""
        if packet_id in self._asked:
            return False
        self._pending.pop(packet_id, None)
        return True

    def rows(self) -> tuple[Rows, list[int]]:
        """What commits all of them, and for which identifiers; conditions come first."""
        if not self._pending:
            return (), []
        self._asked.update(self._pending)
        return rows_of(list(self._pending.values())), list(self._pending)

    def note_written(self, packet_ids: list[int]) -> None:
        """They are on disk."""
        for packet_id in packet_ids:
            self._pending.pop(packet_id, None)
            self._asked.discard(packet_id)

    def refuse(self, snapshot: Snapshot) -> list[int]:
        """Give up those whose owner has the group no more; returns their identifiers."""
        refused: list[int] = []
        for packet_id, receipt in list(self._pending.items()):
            receipt.check(snapshot)
            if receipt.is_void:
                refused.append(packet_id)
        self.note_written(refused)
        self._refused.update(refused)
        return refused

    def take_refused(self) -> set[int]:
        """The identifiers of messages that may not leave."""
        refused, self._refused = self._refused, set()
        return refused


class ReceiptWriter:
    """Commits receipts that no session goes with, those of a tick together.

    Args:
        store: Where they go.
        call_later: As ``loop.call_later``.
        call_soon: As ``loop.call_soon``.
    """

    def __init__(
        self,
        store: Store,
        call_later: Callable[[float, Callable[[], None]], object],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._store = store
        self._call_later = call_later
        self._call_soon = call_soon
        self._waiting: list[tuple[Receipt, Callable[[bool], None]]] = []

    def write(self, receipt: Receipt, done: Callable[[bool], None]) -> None:
        """Write one; ``done`` gets False when the message may not be sent."""
        if not self._waiting:
            self._call_soon(self._flush)
        self._waiting.append((receipt, done))

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        by_owner: dict[tuple[int, int], list[tuple[Receipt, Callable[[bool], None]]]] = {}
        for each in waiting:
            by_owner.setdefault((each[0].number, each[0].epoch), []).append(each)
        for each_owner in by_owner.values():
            self._submit(each_owner)

    def _submit(self, asked: list[tuple[Receipt, Callable[[bool], None]]]) -> None:
        def replied(result: Result) -> None:
            is_over = isinstance(result, (SessionTakenOver, EngineClosed, StorageFailed))
            if isinstance(result, LyreError) and not is_over:
                self._call_later(_RETRY_S, lambda: self._submit(asked))
                return
            for receipt, done in asked:
                receipt.is_void = isinstance(result, SessionTakenOver)
                done(not is_over)

        self._store.submit((), rows_of([receipt for receipt, _ in asked]), replied)
