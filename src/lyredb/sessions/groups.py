"""The groups of shared subscribers of one worker: joined, owned, and served for others.

Where a group is owned stands in the directory beside the writer (`groups_service`); between
workers its messages go as notes of the peers' streams. What is given to a worker, and what
it has settled, is gathered for a tick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from lyredb.errors import LyreError, NotAuthorised, Overloaded
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Message
from lyredb.resources.in_process import ENCODING
from lyredb.resources.requests import SubscribeOptions
from lyredb.sessions import groups_wire as wire
from lyredb.sessions.claims import Refusal
from lyredb.sessions.group import Member, Sharing
from lyredb.sessions.group_messages import packed, receipt_of, unpacked
from lyredb.sessions.group_parts import Feed, Group, GroupName, Peers
from lyredb.sessions.group_session import GroupSession, GroupSessions
from lyredb.sessions.receipts import Receipt
from lyredb.storage.sequencer import Answer, Calls

_logger: Final = logging.getLogger(__name__)


class Groups:
    """All groups of a worker.

    Args:
        worker: Its number.
        feed: Where messages come from.
        peers: The other workers.
        calls: To the directory.
        call_soon: Calls its argument in the next tick.
        sessions: Opens the sessions of durable groups.
    """

    def __init__(
        self,
        worker: int,
        feed: Feed,
        peers: Peers,
        calls: Calls,
        call_soon: Callable[[Callable[[], None]], object],
        sessions: GroupSessions,
    ) -> None:
        self._worker = worker
        self._feed = feed
        self._peers = peers
        self._calls = calls
        self._call_soon = call_soon
        self._sessions = sessions
        self._groups: dict[str, Group] = {}
        self._gives: dict[tuple[int, str, int], list[wire.Given]] = {}
        self._dones: dict[tuple[int, str, int], tuple[list[int], list[int]]] = {}
        self._is_scheduled = False
        calls.on_notice(wire.OWNER, self._appointed)
        calls.on_attach(self._announce)
        peers.notes.watch(self._attached, self._detached)
        for kind, handler in (
            (wire.MEMBERS, self._take_members),
            (wire.READY, self._take_ready),
            (wire.GIVE, self._take_give),
            (wire.DONE, self._take_done),
            (wire.ENDED, self._take_ended),
        ):
            peers.notes.on_note(kind, handler)

    def __len__(self) -> int:
        return len(self._groups)

    # Members

    def reserve(self, name: GroupName, context: Context, *, is_durable: bool, is_new: bool) -> None:
        """A member is about to join; each reservation is ended by `join` or `give_up`.

        Args:
            name: Of the group.
            context: The member's.
            is_durable: Its session outlives its connection: so does the group then.
            is_new: It has subscribed now, and not before its session slept.
        """
        text = str(name)
        group = self._groups.get(text)
        if group is None:
            group = self._groups[text] = Group(text, name.filter, context)
            # What sleeping members will want goes through the session, whoever gets it.
            group.is_durable = self._sessions.is_kept(text)
            self._calls.notify(wire.JOIN, wire.encode(wire.Join(text)))
        group.coming += 1
        if is_durable:
            group.change += is_new
            if not group.is_durable:
                group.is_durable, group.is_ready = True, False
        self._tell_members(group)

    def unsubscribe(self, name: GroupName) -> None:
        """A durable membership ends, and not only its connection; before `leave`."""
        group = self._groups.get(str(name))
        if group is not None:
            group.change -= 1

    def when_ready(self, name: GroupName, callback: Callable[[], None]) -> None:
        """Call back once the group gets what is published; for who has reserved a seat."""
        group = self._groups.get(str(name))
        if group is None or group.is_ready:
            callback()
        else:
            group.on_ready.append(callback)

    def join(self, name: GroupName, member: Member) -> bool:
        """Take the seat that was reserved; False when the group has ended since."""
        group = self._groups.get(str(name))
        if group is None:
            return False
        group.coming -= 1
        group.desk.add(member)
        self._tell_members(group)
        return True

    def give_up(self, name: GroupName) -> None:
        """End a reservation."""
        group = self._groups.get(str(name))
        if group is not None:
            group.coming -= 1
            self._tell_members(group)

    def leave(self, name: GroupName, member: Member) -> None:
        """A member goes; what it does not acknowledge any more is given to others."""
        group = self._groups.get(str(name))
        if group is not None:
            group.desk.remove(member)
            # Before anything comes back, which would be given to the one that has left.
            self._tell_members(group)
            group.desk.give_back()

    def write_receipt(self, receipt: Receipt, done: Callable[[bool], None]) -> None:
        """See `lyredb.sessions.store.Sessions.write_receipt`."""
        self._sessions.write_receipt(receipt, done)

    def note_room(self, name: GroupName, member: Member) -> None:
        """A member can take more again."""
        group = self._groups.get(str(name))
        if group is not None:
            group.desk.note_room(member)

    def _tell_members(self, group: Group) -> None:
        """Tell the owner how many there are here; whoever is not needed any more leaves."""
        count = len(group.desk.members)
        if group.sharing is not None:
            group.sharing.set_members(self._worker, count, partial(self._give_here, group))
            if group.is_durable:
                self._make_durable(group)
        elif group.owner is not None:
            told = wire.Members(group.name, count, group.coming, group.is_durable, group.change)
            group.change = 0
            self._peers.note(group.owner, wire.MEMBERS, wire.encode(told))
        self._drop_idle(group)

    def _drop_idle(self, group: Group) -> None:
        if group.desk.members or group.coming:
            return
        if group.sharing is not None and (group.sharing.members or any(group.elsewhere.values())):
            return
        self._forget(group)
        self._calls.notify(wire.LEAVE, wire.encode(wire.Named(group.name)))

    def _forget(self, group: Group) -> None:
        if self._groups.get(group.name) is group:
            del self._groups[group.name]
        self._close(group)

    @staticmethod
    def _close(group: Group) -> None:
        subscription, group.subscription = group.subscription, None
        sharing, group.sharing = group.sharing, None
        session, group.session = group.session, None
        if sharing is not None:
            sharing.stop()
        if session is not None:
            session.close()
        if subscription is not None:
            subscription.close()
        if sharing is not None:
            sharing.end()

    # The directory

    def _announce(self) -> None:
        for group in self._groups.values():
            self._calls.notify(wire.JOIN, wire.encode(wire.Join(group.name, group.owner)))

    def _appointed(self, body: bytes) -> None:
        told = wire.owners.decode(body)
        group = self._groups.get(told.name)
        if group is None or group.owner == told.owner:
            return
        group.owner, group.epoch = told.owner, told.epoch
        group.desk.drop_of_others(told.epoch)
        if told.owner == self._worker:
            self._own(group)
        else:
            self._close(group)
        self._tell_members(group)

    def _own(self, group: Group) -> None:
        """Be the one that subscribes for the whole group."""
        group.is_ready = False

        def end(reason: Exception) -> None:
            self._end(group, reason)

        group.sharing = Sharing(group.context, on_drained=partial(self._drained, group), on_end=end)
        if not group.is_durable:
            self._subscribe(group, group.sharing)

    def _subscribe(self, group: Group, sharing: Sharing) -> None:
        """Have messages come, in place of a subscription that there is."""
        session = group.session
        options = SubscribeOptions(
            ENCODING,
            qos=2,
            omit_current=True,
            on_messages=None if session is None else sharing.take_read,
            on_error=partial(self._end, group),
        )
        after = "" if session is None else session.after()
        try:
            made = self._feed.subscribe(group.filter, sharing, group.context, options, after)
        except LyreError as error:
            self._end(group, error)
            return
        before, group.subscription = group.subscription, made
        waits = 1 if session is None else 2

        def ready(error: LyreError | None = None) -> None:
            nonlocal waits
            waits -= 1
            if error is not None:
                self._end(group, error)
            elif group.subscription is made and not waits:
                if before is not None:
                    before.close()
                made.start()
                self._be_ready(group)

        if session is not None:
            session.begin(made)
            session.note_memberships(self._take_change(group), ready)
            sharing.keep(session, made.fall_behind)
        self._feed.when_known(ready)

    def _make_durable(self, group: Group) -> None:
        """Open the group's session, or count the memberships that have changed."""
        sharing = group.sharing
        if group.session is not None:
            if group.change:
                group.session.note_memberships(self._take_change(group), _ignore)
            return
        if group.is_opening or sharing is None:
            return
        group.is_opening, group.is_ready = True, False

        def opened(result: GroupSession | LyreError | Refusal | None) -> None:
            group.is_opening = False
            if isinstance(result, GroupSession):
                if group.sharing is not sharing:
                    result.close()
                    return
                group.session = result
                result.stored.on_lost = partial(self._end, group)
                self._subscribe(group, sharing)
            elif group.sharing is sharing:
                error = result if isinstance(result, LyreError) else None
                self._end(group, error or Overloaded("the shared session is not available"))

        self._sessions.open(group.name, group.filter, group.context, group.epoch, opened)

    @staticmethod
    def _take_change(group: Group) -> int:
        change, group.change = group.change, 0
        return change

    def _be_ready(self, group: Group) -> None:
        group.is_ready = True
        waiting, group.on_ready = group.on_ready, []
        for callback in waiting:
            callback()
        asked, group.asked = group.asked, []
        for worker in asked:
            self._peers.note(worker, wire.READY, wire.encode(wire.Named(group.name)))

    def _drained(self, group: Group) -> None:
        if group.sharing is not None:
            self._feed.drained(group.sharing)
        if group.subscription is not None:
            group.subscription.resume()

    def _end(self, group: Group, reason: Exception) -> None:
        """The rights to it are gone, or it cannot be: for all members, on all workers."""
        if self._groups.get(group.name) is not group:
            return
        self._forget(group)
        self._calls.notify(wire.LEAVE, wire.encode(wire.Named(group.name)))
        for worker in group.elsewhere:
            self._peers.note(worker, wire.ENDED, wire.encode(wire.Named(group.name)))
        _end_members(group, reason)

    # Other workers

    def _attached(self, worker: int) -> None:
        for group in list(self._groups.values()):
            if group.owner == worker:
                self._tell_members(group)

    def _detached(self, worker: int) -> None:
        for group in list(self._groups.values()):
            if group.sharing is not None:
                group.elsewhere.pop(worker, None)
                self._lose(group, group.sharing, worker)
                self._drop_idle(group)

    def _lose(self, group: Group, sharing: Sharing, worker: int) -> None:
        """A worker is gone; what its members took last may be on its way to the disk."""
        doubtful, session = sharing.lose(worker), group.session
        if session is None or not doubtful:
            return

        def committed(error: LyreError | None) -> None:
            if error is None and group.sharing is sharing:
                sharing.resolve(doubtful)

        def is_gone(_: Answer) -> None:
            session.stored.outbound.commit(committed)

        self._calls.call(wire.GONE, wire.encode(wire.Worker(worker)), is_gone)

    def _take_members(self, worker: int, body: bytes) -> None:
        told = wire.members.decode(body)
        group = self._groups.get(told.name)
        if group is None or group.sharing is None:
            return  # the directory will tell it of another owner
        group.elsewhere[worker] = told.coming
        group.change += told.change
        if told.is_durable and not group.is_durable:
            group.is_durable, group.is_ready = True, False
        if group.is_durable:
            self._make_durable(group)
        give = partial(self._give_there, group, worker)
        group.sharing.set_members(worker, told.count, give)
        if group.is_ready:
            self._peers.note(worker, wire.READY, wire.encode(wire.Named(group.name)))
        else:
            group.asked.append(worker)
        self._drop_idle(group)

    def _take_ready(self, worker: int, body: bytes) -> None:
        group = self._groups.get(wire.named.decode(body).name)
        if group is not None and group.owner == worker and not group.is_ready:
            self._be_ready(group)

    def _take_ended(self, worker: int, body: bytes) -> None:
        group = self._groups.get(wire.named.decode(body).name)
        if group is not None and group.owner == worker:
            self._forget(group)
            self._calls.notify(wire.LEAVE, wire.encode(wire.Named(group.name)))
            _end_members(group, NotAuthorised("the rights to the shared subscription are gone"))

    # Messages

    def _give_here(self, group: Group, message: Message, number: int) -> None:
        sharing = group.sharing
        assert sharing is not None, "its owner gives"

        def settled(is_done: bool) -> None:
            sharing.settle(self._worker, number, is_done=is_done)

        group.desk.offer(message, settled, _receipt(group, message, number))

    def _give_there(self, group: Group, worker: int, message: Message, number: int) -> None:
        given = packed(message, number, _receipt(group, message, number))
        self._gives.setdefault((worker, group.name, group.epoch), []).append(given)
        self._schedule()

    def _take_give(self, worker: int, body: bytes) -> None:
        give = wire.gives.decode(body)
        group = self._groups.get(give.name)
        for each in give.messages:
            settled = partial(self._done, worker, give.name, give.epoch, each.number)
            if group is None:
                settled(False)
            else:
                group.desk.offer(unpacked(each), settled, receipt_of(each, give.epoch))

    def _done(self, worker: int, name: str, epoch: int, number: int, is_done: bool) -> None:
        settled, returned = self._dones.setdefault((worker, name, epoch), ([], []))
        (settled if is_done else returned).append(number)
        self._schedule()

    def _take_done(self, worker: int, body: bytes) -> None:
        done = wire.dones.decode(body)
        group = self._groups.get(done.name)
        if group is None or group.sharing is None or group.epoch != done.epoch:
            return  # it is given again by its owner of now, or it was the last there was
        for number in done.settled:
            group.sharing.settle(worker, number, is_done=True)
        for number in reversed(done.returned):
            group.sharing.settle(worker, number, is_done=False)

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._call_soon(self._flush)

    def _flush(self) -> None:
        """Send what was gathered in this tick."""
        self._is_scheduled = False
        gives, self._gives = self._gives, {}
        for (worker, name, epoch), messages in gives.items():
            self._peers.note(worker, wire.GIVE, wire.encode(wire.Give(name, epoch, messages)))
        dones, self._dones = self._dones, {}
        for (worker, name, epoch), (settled, returned) in dones.items():
            done = wire.Done(name, epoch, settled, returned)
            self._peers.note(worker, wire.DONE, wire.encode(done))


def _receipt(group: Group, message: Message, number: int) -> Receipt | None:
    return None if group.session is None else group.session.receipt(number, message)


def _ignore(error: LyreError | None) -> None:
    """Nobody waits for a count; one that is not on disk only lets the session last longer."""


def _end_members(group: Group, reason: Exception) -> None:
    for member in list(group.desk.members):
        group.desk.remove(member)
        member.end(reason)
    group.desk.give_back()
    waiting, group.on_ready = group.on_ready, []
    for callback in waiting:
        callback()
