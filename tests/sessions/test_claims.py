"""The directory of claims: one owner per identifier, each will once, each claimant answered."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lyredb.sessions.claims import (
    Action,
    Claim,
    Claimant,
    Directory,
    Granted,
    Orphaned,
    Refusal,
    Refused,
    Revoked,
)
from tests.sessions.wills import number_of, will


def granted(actions: list[Action]) -> int:
    (action,) = actions
    assert isinstance(action, Granted), action
    return action.epoch


def claimant(worker: int, ticket: int, user: str = "u", will_number: int = 0) -> Claimant:
    kept = will(will_number) if will_number else None
    return Claimant(worker, ticket, "c", user, kept)


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
    assert directory.lose(1) == [Orphaned("c", will(5))]
    assert directory.owner("c") == (2, Claim("c", epoch + 1, "u"))


def test_a_fenced_owner_that_stops_late_takes_its_will_with_it() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(claimant(1, 1, will_number=5)))
    directory.claim(claimant(2, 2))
    directory.fence("c", epoch)
    assert directory.release(1, "c", epoch) == []
    assert directory.lose(1) == []


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
    assert directory.lose(1) == [Orphaned("c", will(5), Granted(2, 2, epoch + 1))]


def test_a_will_can_be_withdrawn_by_the_owner_only() -> None:
    directory = Directory(0)
    epoch = granted(directory.claim(claimant(1, 1, will_number=5)))
    directory.set_will(2, "c", epoch, None)
    directory.set_will(1, "c", epoch + 1, None)
    assert directory.owner("c") == (1, Claim("c", epoch, "u", will(5)))
    directory.set_will(1, "c", epoch, None)
    assert directory.lose(1) == []


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
        assert directory.lose(5) == [Orphaned("c", will(5))]


def test_a_claimant_that_waits_goes_on_waiting_when_an_owner_is_announced() -> None:
    directory = Directory(100)
    epoch = granted(directory.claim(claimant(1, 1)))
    directory.claim(claimant(1, 2))
    assert directory.announce(2, [Claim("c", epoch + 50, "u")]) == [Revoked(1, "c", epoch)]
    assert directory.release(2, "c", epoch + 50) == [Granted(1, 2, epoch + 1)]


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
                    self.published[number_of(action.will)] += 1
                    if action.heir is not None:
                        self.grant(action.heir)

    def grant(self, action: Granted) -> None:
        asked = self.asking.pop(action.ticket)
        assert asked.worker == action.worker
        key = (asked.client_id, action.epoch)
        assert key not in self.held, "an epoch is given once"
        number = number_of(asked.will) if asked.will is not None else 0
        self.held[key] = Held(asked.worker, *key, asked.user, number)

    @rule(worker=WORKERS, client_id=IDS, user=USERS, has_will=st.booleans())
    def claim(self, worker: int, client_id: str, user: str, has_will: bool) -> None:
        ticket = next(self.numbers)
        kept = will(ticket) if has_will else None
        one = Claimant(worker, ticket, client_id, user, kept)
        self.asking[ticket] = one
        self.act(self.directory.claim(one))

    def stop(self, key: tuple[str, int]) -> None:
        held = self.held.pop(key)
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
            self.directory.set_will(held.worker, *key, None)

    @rule(worker=WORKERS)
    def a_worker_is_lost(self, worker: int) -> None:
        lost = [key for key, held in self.held.items() if held.worker == worker]
        for key in lost:
            held = self.held.pop(key)
            if held.will:
                self.due.add(held.will)
        for ticket in [t for t, one in self.asking.items() if one.worker == worker]:
            del self.asking[ticket]
        self.act(self.directory.lose(worker))

    @rule(order=st.permutations([1, 2, 3]), data=st.data())
    def the_directory_is_lost(self, order: list[int], data: st.DataObject) -> None:
        """Claims that were not answered fail; workers come back one by one."""
        self.asking.clear()
        began = next(self.numbers) * 1_000_000
        self.directory = Directory(began)
        for worker in order:
            if data.draw(st.booleans()):
                self.claim(worker, data.draw(IDS), data.draw(USERS), True)
            claims = [
                Claim(held.client_id, held.epoch, held.user, will(held.will) if held.will else None)
                for held in self.held.values()
                if held.worker == worker and held.epoch <= began
            ]
            self.act(self.directory.announce(worker, claims))

    @invariant()
    def each_will_that_is_due_is_published_once(self) -> None:
        assert self.published == Counter(dict.fromkeys(self.due, 1))

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
TestWorld.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
