"""A durable group: one session with one cursor, whoever its members are.

It is a session as clients have them, under a name that no client can have. While all its
members sleep, what is published with QoS 1 and 2 waits in the log. Its owner opens it; when
that is lost, the next owner goes on where the last commit of progress was, which is at most
a second old, and with what members have taken with QoS 2 since (`lyredb.sessions.receipts`):
of the others what was acknowledged since is given again.

How many durable memberships there are, awake or asleep, stands beside its filter: with the
last one that unsubscribes the session ends, else it ends with its expiry.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

from msgspec.structs import replace

from lyredb.errors import LyreError
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Message
from lyredb.sessions.claims import Refusal
from lyredb.sessions.reading import Reader
from lyredb.sessions.receipts import Receipt
from lyredb.sessions.store import OnOpen
from lyredb.sessions.stored import StoredSession
from lyredb.sessions.terms import StoredSubscription, group_client_id

_logger: Final = logging.getLogger(__name__)

_LAST_ID: Final = 65_535
_GIVEN_WITH: Final = 1
"""Every message of a group waits for one acknowledgement, whatever its member's QoS is."""


class GroupSession:
    """The session of a group, open here.

    Attributes:
        filter: What the group is subscribed to.
        stored: The session.
        is_new: It was not there before: it begins with what comes from now on.

    Args:
        expiry_s: How long it lasts when all members are away.
    """

    def __init__(self, stored: StoredSession, filter: str, expiry_s: int) -> None:
        self.filter = filter
        self.stored = stored
        self.is_new = filter not in stored.subscriptions or bool(stored.lost)
        self._expiry_s = expiry_s
        self._last_id = 0
        self._turn = 0
        self._receipts: dict[int, Receipt] = {}
        known = stored.subscriptions.get(filter)
        self._memberships = 0 if known is None else known.identifier

    @property
    def waiting(self) -> int:
        """Messages that were not given to anybody yet."""
        return len(self.stored.outbound)

    @property
    def head(self) -> Message | None:
        """The next message to give."""
        return self.stored.outbound.head

    def begin(self, subscription: Reader) -> None:
        """Note the subscription, before it is started."""
        if self.is_new:
            self.stored.begin(self.filter, subscription, is_current=False)
        else:
            self.stored.go_on(self.filter, subscription)

    def after(self) -> str:
        """The token of where it goes on, ``""`` for what comes from now on."""
        return "" if self.is_new else self.stored.start_of(self.filter)[0]

    def note_memberships(self, change: int, done: Callable[[LyreError | None], None]) -> None:
        """Count members that have subscribed or unsubscribed; ``done`` once it is on disk."""
        self._memberships = max(0, self._memberships + change)
        kept = StoredSubscription(self.filter, 2, self._memberships)
        self.stored.set_subscriptions({self.filter: kept}, done)

    def given_up(self) -> list[tuple[Message, int]]:
        """What the last owner had given and nobody has acknowledged, with its numbers."""
        given: list[tuple[Message, int]] = []
        for one, message in self.stored.outbound.resend():
            if message is None or self.stored.is_void(message):
                self.settle(one.packet_id)  # its next member would be its first
            else:
                given.append((message, one.packet_id))
        return given

    def take(self) -> tuple[Message, int]:
        """Take the head; its number is 0 when nobody acknowledges it."""
        outbound = self.stored.outbound
        if outbound.head is not None and not outbound.head.qos:
            return outbound.skip(), 0
        number = self._free_id()
        return outbound.send(number, _GIVEN_WITH), number

    @property
    def has_free_id(self) -> bool:
        """True while another message may be in flight."""
        return len(self.stored.outbound.in_flight) < _LAST_ID

    def _free_id(self) -> int:
        in_flight = self.stored.outbound.in_flight
        while True:
            self._last_id = self._last_id % _LAST_ID + 1
            if self._last_id not in in_flight:
                return self._last_id

    def receipt(self, number: int, message: Message) -> Receipt | None:
        """What says that a member has taken a message that is in flight.

        It is written for QoS 2; with QoS 1 it only tells who has given the message.
        """
        if not message.seq:
            return None
        stored = self.stored
        self._turn = self._turn % 0xFFFF_FFFF + 1
        made = Receipt(stored.number, stored.epoch, message.seq, self._turn)
        if message.qos == 2:
            self._receipts[number] = made
        return made

    @property
    def receipted(self) -> Collection[int]:
        """The numbers of messages that a member may take by a receipt."""
        return self._receipts.keys()

    def taken(self, numbers: Iterable[int]) -> set[int]:
        """Those of which a receipt is on disk.

        Raises:
            EngineClosed, StorageFailed: Nobody can tell.
        """
        with self.stored.snapshot() as snapshot:
            return {
                number
                for number in numbers
                if snapshot.session_row(self._receipts[number].name) is not None
            }

    def settle(self, number: int) -> None:
        """A message is acknowledged."""
        self.take_back(number)
        self.stored.outbound.acknowledge(number)

    def take_back(self, number: int) -> None:
        """A message comes back: whatever receipt there is does not count."""
        receipt = self._receipts.pop(number, None)
        if receipt is not None:
            self.stored.forget_row(receipt.name)

    def close(self) -> None:
        """Let it sleep; or end it, when no durable member is left anywhere.

        To be called before its subscription is closed.
        """

        def closed(error: LyreError | None) -> None:
            if error is not None:
                _logger.warning("the shared session of %r: %s", self.filter, error)

        self.stored.close(self._expiry_s if self._memberships else 0, closed)


class Opener(Protocol):
    """All sessions of the worker: `lyredb.sessions.store.Sessions`."""

    def open(
        self, context: Context, epoch: int, *, clean_start: bool, expiry_s: int, on_open: OnOpen
    ) -> None:
        """Take up a session, or begin one."""

    def write_receipt(self, receipt: Receipt, done: Callable[[bool], None]) -> None:
        """Write that a member takes a message."""

    def has(self, client_id: str) -> bool:
        """Tell whether there is a session."""


class GroupSessions:
    """Opens the sessions of groups.

    Args:
        sessions: All sessions of the worker.
        expiry_s: Of a group whose members are all away.
    """

    def __init__(self, sessions: Opener, expiry_s: int) -> None:
        self._sessions = sessions
        self._expiry_s = expiry_s

    def is_kept(self, name: str) -> bool:
        """Tell whether a group has a session: members of it sleep, or are on some worker."""
        return self._sessions.has(group_client_id(name))

    def write_receipt(self, receipt: Receipt, done: Callable[[bool], None]) -> None:
        """See `lyredb.sessions.store.Sessions.write_receipt`."""
        self._sessions.write_receipt(receipt, done)

    def open(
        self,
        name: str,
        filter: str,
        context: Context,
        epoch: int,
        on_open: Callable[[GroupSession | LyreError | Refusal | None], None],
    ) -> None:
        """Open the session of a group.

        Args:
            name: The group's.
            filter: What it is subscribed to.
            context: Whose rights decide.
            epoch: Above that of every former owner, which writes nothing any more then.
            on_open: Called once.
        """

        def opened(result: StoredSession | LyreError | Refusal | None) -> None:
            if isinstance(result, StoredSession):
                on_open(GroupSession(result, filter, self._expiry_s))
            else:
                on_open(result)

        own = replace(context, client_id=group_client_id(name), user="")
        self._sessions.open(own, epoch, clean_start=False, expiry_s=self._expiry_s, on_open=opened)
