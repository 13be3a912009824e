"""Who has which client identifier: a directory of claims. No I/O and no clock.

A claim belongs to one connection of one worker, for one user. Whoever claims an
identifier that is taken waits until its owner has stopped; a connection of another user
is refused. Each method returns what has to be done now, as a list of `Action`.

Invariants:

* At most one connection owns an identifier. One that did not stop in time is *fenced*:
  it owns nothing any more, but its will is still kept for it.
* A will is published once: by the owner's worker before it releases the claim, or by
  whoever runs this directory (`Orphaned`) when that worker is lost before it did.
* Each claimant is answered once, unless its worker is lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import msgspec

from lyredb.storage.mutation import Mutation


class Will(msgspec.Struct, frozen=True):
    """What is written when nobody is left to publish it.

    Attributes:
        mutation: Ready for the writer, but for its deadline: a MESSAGE, PUT or DELETE.
        lifetime_ms: From the publication to its deadline, 0 for none.
    """

    mutation: Mutation
    lifetime_ms: int = 0

    def at(self, now_ms: int) -> Mutation:
        """The mutation when it is published at this time."""
        if not self.lifetime_ms:
            return self.mutation
        return msgspec.structs.replace(self.mutation, expires_ms=now_ms + self.lifetime_ms)


class Refusal(IntEnum):
    """Why a claim is not granted."""

    OTHER_USER = 1
    """A connection of another user has the identifier."""
    SUPERSEDED = 2
    """While this claim waited, a later one came for the same identifier."""


class Claim(msgspec.Struct, frozen=True):
    """A claim that was granted.

    Attributes:
        client_id: The identifier.
        epoch: Grows with each grant; tells this claim from others of the identifier.
        user: Whose connection it is.
        will: Published when the worker is lost, None for nothing.
    """

    client_id: str
    epoch: int
    user: str
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class Claimant:
    """A connection that wants an identifier.

    Attributes:
        worker: Where it is.
        ticket: Names it in the answer.
        client_id: What it wants.
        user: Whose connection it is.
        will: As in `Claim`.
    """

    worker: int
    ticket: int
    client_id: str
    user: str
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """Tell a claimant that the identifier is its own now."""

    worker: int
    ticket: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Tell a claimant that it does not get the identifier."""

    worker: int
    ticket: int
    why: Refusal


@dataclass(frozen=True, slots=True)
class Revoked:
    """Ask a worker to stop a connection; `Directory.fence` it when it does not."""

    worker: int
    client_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Orphaned:
    """Publish the will of a connection whose worker is lost, then grant what waits for it."""

    client_id: str
    will: Will
    heir: Granted | None = None


Action: TypeAlias = Granted | Refused | Revoked | Orphaned


@dataclass(slots=True)
class _Owner:
    """The owner of an identifier, and who waits for it."""

    worker: int
    claim: Claim
    waiting: Claimant | None = None


class Directory:
    """All claims of a server.

    Args:
        first_epoch: Above every epoch that an earlier directory of this server has given.
            By default microseconds since 1970: claims are granted more slowly than that.
    """

    def __init__(self, first_epoch: int | None = None) -> None:
        self._epoch = time.time_ns() // 1_000 if first_epoch is None else first_epoch
        self._owners: dict[str, _Owner] = {}
        self._fenced: dict[tuple[int, str, int], Will | None] = {}

    @property
    def claims(self) -> int:
        """Identifiers that are owned."""
        return len(self._owners)

    @property
    def waiting(self) -> int:
        """Claimants that wait for an owner to stop; O(claims)."""
        return sum(owner.waiting is not None for owner in self._owners.values())

    @property
    def fenced(self) -> int:
        """Connections that did not stop in time and have not been heard of since."""
        return len(self._fenced)

    def owner(self, client_id: str) -> tuple[int, Claim] | None:
        """The worker and the claim of an identifier, None when it is free."""
        owner = self._owners.get(client_id)
        return None if owner is None else (owner.worker, owner.claim)

    def claim(self, claimant: Claimant) -> list[Action]:
        """Grant, refuse, or let wait and ask the owner to stop."""
        owner = self._owners.get(claimant.client_id)
        if owner is None:
            return [self._grant(claimant)]
        if owner.claim.user != claimant.user:
            return [_refused(claimant, Refusal.OTHER_USER)]
        before, owner.waiting = owner.waiting, claimant
        if before is not None:
            # The owner has been asked already, and whoever came later wins.
            return [_refused(before, Refusal.SUPERSEDED)]
        return [_revoked(owner)]

    def release(self, worker: int, client_id: str, epoch: int) -> list[Action]:
        """A connection has stopped; its will is published or discarded."""
        owner = self._owners.get(client_id)
        if owner is None or owner.worker != worker or owner.claim.epoch != epoch:
            self._fenced.pop((worker, client_id, epoch), None)
            return []
        return _listed(self._pass_on(owner))

    def set_will(self, worker: int, client_id: str, epoch: int, will: Will | None) -> None:
        """Replace what is published for a connection when its worker is lost."""
        owner = self._owners.get(client_id)
        if owner is not None and owner.worker == worker and owner.claim.epoch == epoch:
            owner.claim = msgspec.structs.replace(owner.claim, will=will)
        elif (worker, client_id, epoch) in self._fenced:
            self._fenced[worker, client_id, epoch] = will

    def fence(self, client_id: str, epoch: int) -> list[Action]:
        """An owner that was asked to stop has not; whoever waits gets the identifier."""
        owner = self._owners.get(client_id)
        if owner is None or owner.claim.epoch != epoch or owner.waiting is None:
            return []
        self._set_aside(owner)
        return _listed(self._pass_on(owner))

    def lose(self, worker: int) -> list[Action]:
        """A worker is gone with all its connections."""
        actions: list[Action] = []
        for key in [key for key in self._fenced if key[0] == worker]:
            will = self._fenced.pop(key)
            if will is not None:
                actions.append(Orphaned(key[1], will))
        for owner in list(self._owners.values()):
            if owner.waiting is not None and owner.waiting.worker == worker:
                owner.waiting = None
            if owner.worker == worker:
                actions += self._orphan(owner)
        return actions

    def announce(self, worker: int, claims: Iterable[Claim]) -> list[Action]:
        """Take over what a worker had been granted by an earlier directory.

        Where two workers say that they have an identifier, connections of the same user
        are decided for the later one, which had replaced the other; of different users
        the earlier one keeps it.
        """
        actions: list[Action] = []
        for claim in claims:
            owner = self._owners.get(claim.client_id)
            if owner is None:
                self._owners[claim.client_id] = _Owner(worker, claim)
            elif owner.worker == worker and owner.claim.epoch == claim.epoch:
                owner.claim = claim
            else:
                actions.append(self._settle(owner, _Owner(worker, claim)))
        return actions

    def _settle(self, owner: _Owner, other: _Owner) -> Action:
        is_later = other.claim.epoch > owner.claim.epoch
        if is_later == (other.claim.user == owner.claim.user):
            owner, other = other, owner
            owner.waiting, other.waiting = other.waiting, None
            self._owners[owner.claim.client_id] = owner
        self._set_aside(other)
        return _revoked(other)

    def _set_aside(self, owner: _Owner) -> None:
        claim = owner.claim
        self._fenced[owner.worker, claim.client_id, claim.epoch] = claim.will

    def _orphan(self, owner: _Owner) -> list[Action]:
        heir = self._pass_on(owner)
        claim = owner.claim
        if claim.will is None:
            return _listed(heir)
        return [Orphaned(claim.client_id, claim.will, heir)]

    def _pass_on(self, owner: _Owner) -> Granted | None:
        """Take an identifier from its owner, for whoever waits for it."""
        del self._owners[owner.claim.client_id]
        return None if owner.waiting is None else self._grant(owner.waiting)

    def _grant(self, claimant: Claimant) -> Granted:
        self._epoch += 1
        claim = Claim(claimant.client_id, self._epoch, claimant.user, claimant.will)
        self._owners[claimant.client_id] = _Owner(claimant.worker, claim)
        return Granted(claimant.worker, claimant.ticket, self._epoch)


def _listed(granted: Granted | None) -> list[Action]:
    return [] if granted is None else [granted]


def _refused(claimant: Claimant, why: Refusal) -> Refused:
    return Refused(claimant.worker, claimant.ticket, why)


def _revoked(owner: _Owner) -> Revoked:
    return Revoked(owner.worker, owner.claim.client_id, owner.claim.epoch)
