"""The directory of claims: one owner per identifier, each will once, each claimant answered."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lyredb.sessions.claims import (
    Action,
    Claim,
    Claimant,
    Directory,
    Granted,
    Kept,
    Orphaned,
    Refusal,
    Refused,
    Revoked,
    Settled,
)
from lyredb.sessions.wills import KeptWill, Will
from tests.sessions.wills import kept, number_of, will

NOW_MS = 1_000_000


def granted(actions: list[Action]) -> int:
    (action,) = actions
    assert isinstance(action, Granted), action
    return action.epoch


def claimant(worker: int, ticket: int, user: str = "u", will_number: int = 0) -> Claimant:
    registered = will(will_number) if will_number else None
    return Claimant(worker, ticket, "c", user, registered)


def delayed(worker: int, ticket: int, number: int, *, user: str = "u") -> Claimant:
    """One whose will waits a second."""
    return Claimant(worker, ticket, "c", user, will(number, delay_ms=1_000))


def orphan(number: int, epoch: int, heir: Granted | None = None) -> Orphaned:
    return Orphaned(kept(number, epoch), heir)


def test_a_free_identifier_is_granted_at_once_with_a_growing_epoch() -> None:
    directory = Directory(7)
    first = granted(directory.claim(claimant(1, 1)))
    directory.release(1, "c", first)
    assert granted(directory.claim(claimant(2, 2))) > first > 7


def test_another_user_is_refused_and_the_owner_not_disturbed() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(claimant(1, 1, "u")))
    assert directory.claim(claimant(2, 2, "v")) == [Refused(2, 2, Refusal.OTHER_USER)]
    assert directory.owner("c") == (1, Claim("c", epoch, "u"))


def test_a_claimant_waits_until_the_owner_has_stopped() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(claimant(1, 1)))
    assert directory.claim(claimant(2, 2)) == [Revoked(1, "c", epoch)]
    assert directory.waiting == 1
    assert directory.release(1, "c", epoch) == [Granted(2, 2, epoch + 1)]


def test_of_two_that_wait_the_later_one_gets_the_identifier() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(claimant(1, 1)))
    directory.claim(claimant(2, 2))
    assert directory.claim(claimant(3, 3)) == [Refused(2, 2, Refusal.SUPERSEDED)]
    assert directory.release(1, "c", epoch) == [Granted(3, 3, epoch + 1)]


def test_an_owner_that_does_not_stop_is_fenced_and_its_will_is_still_kept() -> None:
    """Its worker may yet publish it, or be lost: one of both, and not both."""
    directory = Directory(0)
    epoch = granted(directory.claim(claimant(1, 1, will_number=5)))
    directory.claim(claimant(2, 2))
    assert directory.fence("c", epoch) == [Granted(2, 2, epoch + 1)]
    assert directory.fenced == 1
    assert directory.lose(1, NOW_MS) == [orphan(5, epoch)]
    assert directory.owner("c") == (2, Claim("c", epoch + 1, "u"))


def test_a_fenced_owner_that_stops_late_takes_its_will_with_it() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(claimant(1, 1, will_number=5)))
    directory.claim(claimant(2, 2))
    directory.fence("c", epoch)
    assert directory.release(1, "c", epoch) == [Settled(epoch)]
    assert directory.lose(1, NOW_MS) == []


def test_a_fence_that_comes_too_late_or_for_nobody_does_nothing() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(claimant(1, 1)))
    assert directory.fence("c", epoch) == [], "nobody waits"
    directory.claim(claimant(2, 2))
    directory.release(1, "c", epoch)
    assert directory.fence("c", epoch) == []
    assert directory.owner("c") == (2, Claim("c", epoch + 1, "u"))


def test_a_lost_worker_leaves_its_wills_before_its_identifiers() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(claimant(1, 1, will_number=5)))
    directory.claim(claimant(2, 2))
    assert directory.lose(1, NOW_MS) == [orphan(5, epoch, Granted(2, 2, epoch + 1))]


def test_a_will_can_be_withdrawn_by_the_owner_only() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(claimant(1, 1, will_number=5)))
    directory.set_will(2, "c", epoch, None)
    directory.set_will(1, "c", epoch + 1, None)
    assert directory.owner("c") == (1, Claim("c", epoch, "u", will(5)))
    directory.set_will(1, "c", epoch, None)
    assert directory.lose(1, NOW_MS) == []


def test_of_two_announced_claims_of_one_user_the_later_stays() -> None:
    for order in ((5, 6), (6, 5)):
        directory = Directory(100)
        actions: list[Action] = []
        for epoch in order:
            actions += directory.announce(epoch, [Claim("c", epoch, "u")])
        assert actions == [Revoked(5, "c", 5)]
        assert directory.owner("c") == (6, Claim("c", 6, "u"))


def test_of_two_announced_claims_of_different_users_the_earlier_stays() -> None:
    """Nobody gets another user's identifier because the directory was away."""
    for order in ((5, 6), (6, 5)):
        directory = Directory(100)
        actions: list[Action] = []
        for epoch in order:
            actions += directory.announce(epoch, [Claim("c", epoch, f"user{epoch}")])
        assert actions == [Revoked(6, "c", 6)]
        assert directory.owner("c") == (5, Claim("c", 5, "user5"))


def test_the_will_of_an_announced_claim_that_lost_is_still_its_workers() -> None:
    for order in ((5, 6), (6, 5)):
        directory = Directory(100)
        for epoch in order:
            directory.announce(epoch, [Claim("c", epoch, "u", will(epoch))])
        assert directory.lose(5, NOW_MS) == [orphan(5, 5)]


def test_a_claimant_that_waits_goes_on_waiting_when_an_owner_is_announced() -> None:
    directory = Directory(100)
    epoch = granted(directory.claim(claimant(1, 1)))
    directory.claim(claimant(1, 2))
    assert directory.announce(2, [Claim("c", epoch + 50, "u")]) == [Revoked(1, "c", epoch)]
    assert directory.release(2, "c", epoch + 50) == [Granted(1, 2, epoch + 51)]


def test_a_will_is_to_be_on_disk_before_its_claim_is_answered() -> None:
    directory = Directory(0)
    assert directory.claim(claimant(1, 1, will_number=5)) == [Granted(1, 1, 1, kept(5, 1))]


def test_a_will_with_a_delay_is_due_when_it_has_passed() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(delayed(1, 1, 5)))
    (stored,) = directory.release(1, "c", epoch, NOW_MS + 1_000)
    assert isinstance(stored, Kept)
    assert (stored.kept.epoch, stored.kept.due_ms) == (epoch, NOW_MS + 1_000)
    assert directory.next_due_ms == NOW_MS + 1_000
    assert directory.take_due(NOW_MS + 999) == []
    assert directory.take_due(NOW_MS + 1_000) == [Orphaned(stored.kept)]
    assert directory.next_due_ms is None


def test_whoever_goes_on_with_the_session_takes_the_will_back() -> None:
    """[MQTT-3.1.3-9]."""
    directory = Directory(0)
    epoch = granted(directory.claim(delayed(1, 1, 5)))
    directory.release(1, "c", epoch, NOW_MS + 1_000)
    assert directory.claim(claimant(2, 2)) == [Granted(2, 2, epoch + 1, resumes=True)]
    assert directory.take_due(NOW_MS + 1_000) == []
    assert directory.confirm(2, "c", epoch + 1) == [Settled(epoch)]
    assert directory.confirm(2, "c", epoch + 1) == []


@pytest.mark.parametrize("ends", ["refused", "lost", "taken over"])
def test_whoever_is_not_let_in_takes_no_will_back(ends: str) -> None:
    """Its row is as it was all the time, so a crash changes nothing either."""
    directory = Directory(0)
    epoch = granted(directory.claim(delayed(1, 1, 5)))
    (stored,) = directory.release(1, "c", epoch, NOW_MS + 1_000)
    assert isinstance(stored, Kept)
    directory.claim(claimant(2, 2))
    if ends == "refused":
        assert directory.release(2, "c", epoch + 1, was_let_in=False) == []
    elif ends == "lost":
        assert directory.lose(2, NOW_MS) == []
    else:
        directory.claim(claimant(3, 3, will_number=7))
        directory.fence("c", epoch + 1)
        assert directory.release(3, "c", epoch + 2, was_let_in=False) == [Settled(epoch + 2)]
    assert directory.next_due_ms == NOW_MS + 1_000
    assert directory.take_due(NOW_MS + 1_000) == [Orphaned(stored.kept)]


def test_the_end_of_a_connection_that_was_let_in_leaves_no_will_of_before() -> None:
    """Whether its confirmation was heard or not."""
    directory = Directory(0)
    epoch = granted(directory.claim(delayed(1, 1, 5)))
    directory.release(1, "c", epoch, NOW_MS + 1_000)
    directory.claim(claimant(2, 2))
    assert directory.release(2, "c", epoch + 1) == [Settled(epoch)]
    assert directory.delayed == 0


def test_a_clean_start_ends_the_session_and_so_publishes_its_will_first() -> None:
    """§3.1.2.5: when the delay has passed or the session ends, whichever is first."""
    directory = Directory(0)
    epoch = granted(directory.claim(delayed(1, 1, 5)))
    (stored,) = directory.release(1, "c", epoch, NOW_MS + 1_000)
    assert isinstance(stored, Kept)
    heir = Granted(2, 2, epoch + 1)
    clean = Claimant(2, 2, "c", "u", clean_start=True)
    assert directory.claim(clean) == [Orphaned(stored.kept, heir)]


def test_another_user_does_not_take_a_will_back() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(delayed(1, 1, 5)))
    directory.release(1, "c", epoch, NOW_MS + 1_000)
    assert directory.claim(claimant(2, 2, "v")) == [Granted(2, 2, epoch + 1)]
    assert len(directory.take_due(NOW_MS + 1_000)) == 1


def test_a_takeover_without_a_clean_start_discards_a_will_with_a_delay() -> None:
    """§3.1.4, the note: sent unless Clean Start is 0 and there is a delay."""
    directory = Directory(0)
    epoch = granted(directory.claim(delayed(1, 1, 5)))
    directory.claim(claimant(2, 2))
    *_, last = directory.release(1, "c", epoch, NOW_MS + 1_000)
    assert last == Granted(2, 2, epoch + 1, resumes=True)
    assert directory.confirm(2, "c", epoch + 1) == [Settled(epoch)]


def test_the_delay_of_a_lost_workers_will_begins_with_the_loss() -> None:
    directory = Directory(0)
    granted(directory.claim(delayed(1, 1, 5)))
    (stored,) = directory.lose(1, NOW_MS)
    assert isinstance(stored, Kept)
    assert directory.take_due(NOW_MS + 1_000) == [Orphaned(stored.kept)]


def test_the_end_of_a_session_publishes_what_waits() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(delayed(1, 1, 5)))
    directory.release(1, "c", epoch, NOW_MS + 1_000)
    assert len(directory.end_session("c")) == 1
    assert (directory.end_session("c"), directory.delayed) == ([], 0)


def test_a_fenced_owners_delayed_will_goes_with_its_successors_kind() -> None:
    """Who goes on with the session takes it back, however late the old owner stops."""
    for is_clean in (False, True):
        directory = Directory(0)
        epoch = granted(directory.claim(delayed(1, 1, 5)))
        directory.claim(Claimant(2, 2, "c", "u", clean_start=is_clean))
        directory.fence("c", epoch)
        (action,) = directory.release(1, "c", epoch, NOW_MS + 1_000)
        assert isinstance(action, Orphaned if is_clean else Settled)


def test_wills_of_the_last_run_wait_for_their_clients() -> None:
    directory = Directory(0)
    directory.restore([kept(5, 70), kept(6, 71, "d")], NOW_MS, 30_000)
    assert directory.claim(Claimant(1, 1, "c", "u", clean_start=True)) == [
        Settled(70),
        Granted(1, 1, 72),
    ], "the client has not gone, whatever it begins anew, and epochs go on growing"
    assert directory.take_due(NOW_MS + 29_999) == []
    (due,) = directory.take_due(NOW_MS + 30_000)
    assert isinstance(due, Orphaned)
    assert number_of(due.kept.will) == 6


def test_a_will_of_the_last_run_whose_connection_is_announced_is_live() -> None:
    directory = Directory(0)
    directory.restore([kept(5, 70)], NOW_MS, 30_000)
    directory.announce(1, [Claim("c", 70, "u", will(5))])
    assert directory.take_due(NOW_MS + 30_000) == []
    assert directory.lose(1, NOW_MS) == [orphan(5, 70)]


def test_a_release_that_the_last_directory_did_not_hear_settles_its_will() -> None:
    directory = Directory(0)
    directory.restore([kept(5, 70), kept(6, 71, "d")], NOW_MS, 30_000)
    assert directory.release(1, "c", 70) == [Settled(70)]
    (stored,) = directory.release(1, "d", 71, NOW_MS + 60_000)
    assert isinstance(stored, Kept)
    assert directory.take_due(NOW_MS + 59_999) == []
    assert len(directory.take_due(NOW_MS + 60_000)) == 1


def directory_whose_successor_was_first() -> Directory:
    """Its owner goes on with a session whose connection, of epoch 70, was only cut off."""
    directory = Directory(0)
    directory.restore([kept(5, 70)], NOW_MS, 30_000)
    assert directory.claim(claimant(2, 2)) == [Granted(2, 2, 71, resumes=True)]
    return directory


def test_a_will_whose_connection_is_announced_after_its_successor_is_live() -> None:
    """The successor takes it back no more: it is published once, and is on disk till then."""
    directory = directory_whose_successor_was_first()
    assert directory.announce(1, [Claim("c", 70, "u", will(5))]) == [Revoked(1, "c", 70)]
    assert directory.confirm(2, "c", 71) == [], "the row stays"
    assert directory.lose(1, NOW_MS) == [orphan(5, 70)]
    directory.release(2, "c", 71, was_let_in=False)
    assert (directory.delayed, directory.take_due(NOW_MS + 30_000)) == (0, [])


@pytest.mark.parametrize("due_ms", [0, NOW_MS + 60_000])
def test_a_release_that_comes_after_the_successor_says_what_becomes_of_the_will(
    due_ms: int,
) -> None:
    """Published or discarded by its worker, or waiting: then unless the successor is let in."""
    directory = directory_whose_successor_was_first()
    (action,) = directory.release(1, "c", 70, due_ms)
    directory.release(2, "c", 71, was_let_in=False)
    due = directory.take_due(NOW_MS + 60_000)
    if due_ms:
        assert isinstance(action, Kept)
        assert due == [Orphaned(action.kept)]
        assert action.kept.due_ms == due_ms
    else:
        assert (action, due) == (Settled(70), [])


WORKERS = st.integers(1, 3)
IDS = st.sampled_from(["a", "b"])
USERS = st.sampled_from(["u", "v"])


@dataclass(frozen=True)
class Held:
    """A connection that was granted its identifier; lives until it stops or is lost."""

    worker: int
    client_id: str
    epoch: int
    user: str
    will: int
    delay_ms: int = 0


def registered(held: Held) -> Will | None:
    return will(held.will, delay_ms=held.delay_ms) if held.will else None


class World(RuleBasedStateMachine):
    """Workers with connections around a directory that may be lost and made anew."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Directory(0)
        self.numbers = itertools.count(1)
        self.asking: dict[int, Claimant] = {}
        self.held: dict[tuple[str, int], Held] = {}
        self.asked_to_stop: set[tuple[str, int]] = set()
        self.published: Counter[int] = Counter()
        self.due: set[int] = set()
        self.rows: dict[int, KeptWill] = {}
        self.parted: set[int] = set()
        self.taken_back: set[int] = set()
        self.now_ms = NOW_MS

    def act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Granted():
                    self.grant(action)
                case Refused():
                    refused = self.asking.pop(action.ticket)
                    assert refused.worker == action.worker
                    if action.why is Refusal.OTHER_USER:
                        owner = self.directory.owner(refused.client_id)
                        assert owner is not None
                        assert owner[1].user != refused.user
                case Revoked():
                    assert (action.client_id, action.epoch) in self.held
                    self.asked_to_stop.add((action.client_id, action.epoch))
                case Orphaned():
                    self.published[number_of(action.kept.will)] += 1
                    self.rows.pop(action.kept.epoch, None)
                    if action.heir is not None:
                        self.grant(action.heir)
                case Kept():
                    self.rows[action.kept.epoch] = action.kept
                case Settled():
                    gone = self.rows.pop(action.epoch, None)
                    if gone is not None and number_of(gone.will) in self.parted:
                        self.taken_back.add(number_of(gone.will))

    def grant(self, action: Granted) -> None:
        asked = self.asking.pop(action.ticket)
        assert asked.worker == action.worker
        key = (asked.client_id, action.epoch)
        assert key not in self.held, "an epoch is given once"
        number = number_of(asked.will) if asked.will is not None else 0
        delay_ms = asked.will.delay_ms if asked.will is not None else 0
        self.held[key] = Held(asked.worker, *key, asked.user, number, delay_ms)
        if action.kept is not None:
            self.rows[action.epoch] = action.kept

    @rule(
        worker=WORKERS,
        client_id=IDS,
        user=USERS,
        has_will=st.booleans(),
        delay_ms=st.sampled_from([0, 0, 500, 5_000]),
        is_clean=st.booleans(),
    )
    def claim(
        self,
        worker: int,
        client_id: str,
        user: str,
        has_will: bool,
        delay_ms: int = 0,
        is_clean: bool = False,
    ) -> None:
        ticket = next(self.numbers)
        registered = will(ticket, delay_ms=delay_ms) if has_will else None
        one = Claimant(worker, ticket, client_id, user, registered, is_clean)
        self.asking[ticket] = one
        self.act(self.directory.claim(one))

    def stop(self, key: tuple[str, int]) -> None:
        held = self.held.pop(key)
        if held.will and held.delay_ms:
            self.parted.add(held.will)
            self.act(self.directory.release(held.worker, *key, self.now_ms + held.delay_ms))
            return
        if held.will:
            self.published[held.will] += 1
            self.due.add(held.will)
        self.act(self.directory.release(held.worker, *key))

    @rule(data=st.data())
    def a_connection_stops(self, data: st.DataObject) -> None:
        if self.held:
            self.stop(data.draw(st.sampled_from(sorted(self.held))))

    @rule(data=st.data())
    def one_that_was_asked_stops(self, data: st.DataObject) -> None:
        keys = sorted(self.asked_to_stop & self.held.keys())
        if keys:
            self.stop(data.draw(st.sampled_from(keys)))

    @rule(data=st.data())
    def one_that_was_asked_is_late(self, data: st.DataObject) -> None:
        if self.asked_to_stop:
            key = data.draw(st.sampled_from(sorted(self.asked_to_stop)))
            self.act(self.directory.fence(*key))

    @rule(data=st.data())
    def a_will_is_withdrawn(self, data: st.DataObject) -> None:
        if self.held:
            key = data.draw(st.sampled_from(sorted(self.held)))
            held = self.held[key]
            self.held[key] = Held(held.worker, *key, held.user, 0)
            self.act(self.directory.set_will(held.worker, *key, None))

    @rule(worker=WORKERS)
    def a_worker_is_lost(self, worker: int) -> None:
        lost = [key for key, held in self.held.items() if held.worker == worker]
        for key in lost:
            held = self.held.pop(key)
            if held.will:
                (self.parted if held.delay_ms else self.due).add(held.will)
        for ticket in [t for t, one in self.asking.items() if one.worker == worker]:
            del self.asking[ticket]
        self.act(self.directory.lose(worker, self.now_ms))

    @rule(order=st.permutations([1, 2, 3]), data=st.data())
    def the_directory_is_lost(self, order: list[int], data: st.DataObject) -> None:
        """Claims that were not answered fail; workers come back one by one."""
        self.asking.clear()
        began = next(self.numbers) * 1_000_000
        self.directory = Directory(began)
        self.directory.restore(list(self.rows.values()), self.now_ms, 1_000)
        for worker in order:
            if data.draw(st.booleans()):
                self.claim(worker, data.draw(IDS), data.draw(USERS), True)
            claims = [
                Claim(held.client_id, held.epoch, held.user, registered(held))
                for held in self.held.values()
                if held.worker == worker and held.epoch <= began
            ]
            self.act(self.directory.announce(worker, claims))

    @rule()
    def the_server_is_killed(self) -> None:
        """Rows are what is left; nobody announces anything."""
        self.asking.clear()
        self.parted |= {held.will for held in self.held.values() if held.will}
        self.held.clear()
        self.directory = Directory(next(self.numbers) * 1_000_000)
        self.directory.restore(list(self.rows.values()), self.now_ms, 1_000)

    @rule(passed_ms=st.integers(1, 2_000))
    def time_passes(self, passed_ms: int) -> None:
        self.now_ms += passed_ms
        self.act(self.directory.take_due(self.now_ms))

    @invariant()
    def each_will_that_waits_is_on_disk_until_it_is_published_or_taken_back(self) -> None:
        on_disk = {number_of(one.will) for one in self.rows.values()}
        for number in self.parted:
            ways = (number in on_disk) + self.published[number] + (number in self.taken_back)
            assert ways == 1, number

    @invariant()
    def what_is_on_disk_is_of_a_connection_or_waits(self) -> None:
        known = {held.will for held in self.held.values()} | self.parted
        assert {number_of(one.will) for one in self.rows.values()} <= known

    @invariant()
    def each_will_that_is_due_is_published_once(self) -> None:
        published = {number: n for number, n in self.published.items() if number in self.due}
        assert published == dict.fromkeys(self.due, 1)
        assert self.published.keys() <= self.due | self.parted

    @invariant()
    def all_but_one_connection_of_an_identifier_were_asked_to_stop(self) -> None:
        going_on = Counter(key[0] for key in self.held.keys() - self.asked_to_stop)
        assert all(count == 1 for count in going_on.values())

    @invariant()
    def an_identifier_is_owned_by_a_connection_that_lives(self) -> None:
        for client_id in ("a", "b"):
            owner = self.directory.owner(client_id)
            if owner is not None:
                held = self.held[client_id, owner[1].epoch]
                assert (held.worker, held.user) == (owner[0], owner[1].user)
            else:
                assert not [
                    key for key in self.held.keys() - self.asked_to_stop if key[0] == client_id
                ]

    @invariant()
    def only_who_waits_is_not_answered(self) -> None:
        assert len(self.asking) == self.directory.waiting


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=60, stateful_step_count=40)
