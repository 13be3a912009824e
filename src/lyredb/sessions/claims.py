"""Who has which client identifier: a directory of claims. No I/O and no clock.

A claim belongs to one connection of one worker, for one user. Whoever claims an
identifier that is taken waits until its owner has stopped; a connection of another user
is refused. Each method returns what has to be done now, as a list of `Action`.

Invariants:

* At most one connection owns an identifier. One that did not stop in time is *fenced*:
  it owns nothing any more, but its will is still kept for it.
* A will is published once: by the owner's worker before it releases the claim, or by
  whoever runs this directory (`Orphaned`) when that worker is lost before it did, or when
  it has to wait first (`lyredb.sessions.departures`).
* A will is on disk before its claim is answered, and until it is settled.
* Each claimant is answered once, unless its worker is lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

import msgspec

from lyredb.sessions.departures import Departure, Departures
from lyredb.sessions.wills import KeptWill, Will


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

    def kept(self, due_ms: int = 0) -> KeptWill | None:
        """The will as it is on disk, None when there is none."""
        if self.will is None:
            return None
        return KeptWill(self.client_id, self.epoch, self.user, self.will, due_ms)


@dataclass(frozen=True, slots=True)
class Claimant:
    """A connection that wants an identifier.

    Attributes:
        worker: Where it is.
        ticket: Names it in the answer.
        client_id: What it wants.
        user: Whose connection it is.
        will: As in `Claim`.
        clean_start: It does not go on with the session that the client had.
    """

    worker: int
    ticket: int
    client_id: str
    user: str
    will: Will | None = None
    clean_start: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """Tell a claimant that the identifier is its own now, once its will is on disk.

    Attributes:
        resumes: It goes on with a session whose will waits: `Directory.confirm` is due.
    """

    worker: int
    ticket: int
    epoch: int
    kept: KeptWill | None = None
    resumes: bool = False


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
    """Publish a will, for which nobody else is left, then grant what waits for it."""

    kept: KeptWill
    heir: Granted | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """Have a will on disk as it is now."""

    kept: KeptWill


@dataclass(frozen=True, slots=True)
class Settled:
    """Remove a will from the disk: it is published or discarded."""

    epoch: int


Action: TypeAlias = Granted | Refused | Revoked | Orphaned | Kept | Settled


@dataclass(slots=True)
class _Owner:
    """The owner of an identifier, and who waits for it.

    Attributes:
        resumed: Wills that it takes back once it has the session; until then they are as they
            were, on disk too.
    """

    worker: int
    claim: Claim
    waiting: Claimant | None = None
    resumed: list[Departure] = field(default_factory=list)


@dataclass(slots=True)
class _Fenced:
    """A connection that lost its identifier before it stopped.

    Attributes:
        claim: What it was granted.
        is_continued: Its successor goes on with its session: a will with a delay is void.
    """

    claim: Claim
    is_continued: bool


class Directory:
    """All claims of a server.

    Args:
        first_epoch: Above every epoch that an earlier directory of this server has given.
            By default microseconds since 1970: claims are granted more slowly than that.
    """

    def __init__(self, first_epoch: int | None = None) -> None:
        self._epoch = time.time_ns() // 1_000 if first_epoch is None else first_epoch
        self._owners: dict[str, _Owner] = {}
        self._fenced: dict[tuple[int, str, int], _Fenced] = {}
        self._departures = Departures()

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

    @property
    def delayed(self) -> int:
        """Wills of connections that are gone, which wait for their time."""
        return len(self._departures)

    @property
    def next_due_ms(self) -> int | None:
        """No will is due before this time (epoch milliseconds); None when none waits."""
        return self._departures.next_ms

    def owner(self, client_id: str) -> tuple[int, Claim] | None:
        """The worker and the claim of an identifier, None when it is free."""
        owner = self._owners.get(client_id)
        return None if owner is None else (owner.worker, owner.claim)

    def restore(self, wills: Iterable[KeptWill], now_ms: int, grace_ms: int) -> None:
        """Take over the wills that an earlier directory left on disk; comes first.

        Their connections may be there still and are announced then, or are gone with the
        server: each has ``grace_ms`` to come back, or its own delay when that is longer.
        """
        for kept in wills:
            self._epoch = max(self._epoch, kept.epoch)
            due_ms = kept.due_ms or now_ms + kept.will.delay_ms
            dated = msgspec.structs.replace(kept, due_ms=max(due_ms, now_ms + grace_ms))
            self._departures.add(Departure(dated, is_cut=not kept.due_ms))

    def claim(self, claimant: Claimant) -> list[Action]:
        """Grant, refuse, or let wait and ask the owner to stop."""
        owner = self._owners.get(claimant.client_id)
        if owner is None:
            return self._grant(claimant, [])
        if owner.claim.user != claimant.user:
            return [_refused(claimant, Refusal.OTHER_USER)]
        before, owner.waiting = owner.waiting, claimant
        if before is not None:
            # The owner has been asked already, and whoever came later wins.
            return [_refused(before, Refusal.SUPERSEDED)]
        return [_revoked(owner)]

    def confirm(self, worker: int, client_id: str, epoch: int) -> list[Action]:
        """A connection that was granted an identifier goes on with the session."""
        owner = self._owners.get(client_id)
        if owner is None or owner.worker != worker or owner.claim.epoch != epoch:
            return []
        return _taken_back(owner)

    def release(
        self,
        worker: int,
        client_id: str,
        epoch: int,
        due_ms: int = 0,
        *,
        was_let_in: bool = True,
    ) -> list[Action]:
        """A connection has stopped.

        Args:
            worker: Where it was.
            client_id: What it had.
            epoch: Of its claim.
            due_ms: When its will is published, unless the session is taken up before; 0
                when it is published or discarded already.
            was_let_in: False when its client was refused: the wills that it would have taken
                back go on waiting.
        """
        owner = self._owners.get(client_id)
        if owner is not None and owner.worker == worker and owner.claim.epoch == epoch:
            taken_back = _taken_back(owner) if was_let_in else []
            return taken_back + self._part(owner, due_ms)
        fenced = self._fenced.pop((worker, client_id, epoch), None)
        if fenced is not None:
            kept = fenced.claim.kept()
            if kept is not None and due_ms and not fenced.is_continued:
                return [Orphaned(kept)]
            return [] if kept is None else [Settled(epoch)]
        # Granted by an earlier directory, and released before it could be announced.
        departure = self._departures.pop(epoch)
        if departure is not None:
            return self._await(departure.kept, due_ms) if due_ms else [Settled(epoch)]
        departure = _taken_from(owner, epoch)
        if owner is None or departure is None:
            return []
        if not due_ms:
            return [Settled(epoch)]
        dated = msgspec.structs.replace(departure.kept, due_ms=due_ms)
        owner.resumed.append(Departure(dated))
        return [Kept(dated)]

    def set_will(self, worker: int, client_id: str, epoch: int, will: Will | None) -> list[Action]:
        """Replace what is published for a connection when its worker is lost."""
        owner = self._owners.get(client_id)
        of: _Owner | _Fenced | None = owner
        if owner is None or owner.worker != worker or owner.claim.epoch != epoch:
            of = self._fenced.get((worker, client_id, epoch))
        if of is None:
            return []
        of.claim = msgspec.structs.replace(of.claim, will=will)
        kept = of.claim.kept()
        return [Settled(epoch)] if kept is None else [Kept(kept)]

    def fence(self, client_id: str, epoch: int) -> list[Action]:
        """An owner that was asked to stop has not; whoever waits gets the identifier."""
        owner = self._owners.get(client_id)
        if owner is None or owner.claim.epoch != epoch or owner.waiting is None:
            return []
        self._set_aside(owner, is_continued=not owner.waiting.clean_start)
        return self._pass_on(owner, [])

    def lose(self, worker: int, now_ms: int) -> list[Action]:
        """A worker is gone with all its connections, at this time."""
        actions: list[Action] = []
        for key in [key for key in self._fenced if key[0] == worker]:
            actions += _lost(self._fenced.pop(key))
        for owner in list(self._owners.values()):
            if owner.waiting is not None and owner.waiting.worker == worker:
                owner.waiting = None
            if owner.worker == worker:
                actions += self._orphan(owner, now_ms)
        return actions

    def take_due(self, now_ms: int) -> list[Action]:
        """The delays of some wills have passed."""
        return [Orphaned(departure.kept) for departure in self._departures.take_due(now_ms)]

    def end_session(self, client_id: str) -> list[Action]:
        """A session has ended while its client was away: its wills wait no longer."""
        actions: list[Action] = []
        for departure in self._departures.of(client_id):
            self._departures.pop(departure.kept.epoch)
            actions.append(Orphaned(departure.kept))
        return actions

    def announce(self, worker: int, claims: Iterable[Claim]) -> list[Action]:
        """Take over what a worker had been granted by an earlier directory.

        Where two workers say that they have an identifier, connections of the same user
        are decided for the later one, which had replaced the other; of different users
        the earlier one keeps it.
        """
        actions: list[Action] = []
        for claim in claims:
            self._epoch = max(self._epoch, claim.epoch)
            kept = claim.kept()
            owner = self._owners.get(claim.client_id)
            departure = self._departures.pop(claim.epoch) or _taken_from(owner, claim.epoch)
            if departure is None and kept is not None:
                # A successor that came before the announcement has taken it off the disk.
                actions.append(Kept(kept))
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
        owner.resumed += other.resumed
        self._set_aside(other, is_continued=True)
        return _revoked(other)

    def _set_aside(self, owner: _Owner, *, is_continued: bool) -> None:
        claim = owner.claim
        key = owner.worker, claim.client_id, claim.epoch
        self._fenced[key] = _Fenced(claim, is_continued)

    def _part(self, owner: _Owner, due_ms: int) -> list[Action]:
        kept = owner.claim.kept()
        if kept is None:
            return self._pass_on(owner, [])
        settled: list[Action] = self._await(kept, due_ms) if due_ms else [Settled(kept.epoch)]
        return settled + self._pass_on(owner, [])

    def _orphan(self, owner: _Owner, now_ms: int) -> list[Action]:
        kept = owner.claim.kept()
        if kept is None:
            return self._pass_on(owner, [])
        if kept.will.delay_ms:
            return self._part(owner, now_ms + kept.will.delay_ms)
        return self._pass_on(owner, [Orphaned(kept)])

    def _await(self, kept: KeptWill, due_ms: int) -> list[Action]:
        dated = msgspec.structs.replace(kept, due_ms=due_ms)
        self._departures.add(Departure(dated))
        return [Kept(dated)]

    def _pass_on(self, owner: _Owner, orphans: list[Orphaned]) -> list[Action]:
        """Take an identifier from its owner, for whoever waits for it."""
        for departure in owner.resumed:
            self._departures.add(departure)
        del self._owners[owner.claim.client_id]
        return [*orphans] if owner.waiting is None else self._grant(owner.waiting, orphans)

    def _grant(self, claimant: Claimant, orphans: list[Orphaned]) -> list[Action]:
        """Grant an identifier; wills that the new connection makes due are published first.

        [MQTT-3.1.3-9]: whoever goes on with a session before its will's delay has passed
        takes the will back, as soon as it has the session; a clean start ends that, and so
        publishes the will.
        """
        actions: list[Action] = []
        resumed: list[Departure] = []
        for departure in self._departures.of(claimant.client_id):
            kept = departure.kept
            if kept.user != claimant.user:
                continue
            self._departures.pop(kept.epoch)
            if not claimant.clean_start:
                resumed.append(departure)
            elif departure.is_cut:
                actions.append(Settled(kept.epoch))
            else:
                orphans.append(Orphaned(kept))
        self._epoch += 1
        claim = Claim(claimant.client_id, self._epoch, claimant.user, claimant.will)
        self._owners[claimant.client_id] = _Owner(claimant.worker, claim, resumed=resumed)
        granted = Granted(
            claimant.worker, claimant.ticket, self._epoch, claim.kept(), resumes=bool(resumed)
        )
        if not orphans:
            return [*actions, granted]
        *others, last = orphans
        return [*actions, *others, Orphaned(last.kept, granted)]


def _taken_back(owner: _Owner) -> list[Action]:
    resumed, owner.resumed = owner.resumed, []
    return [Settled(departure.kept.epoch) for departure in resumed]


def _taken_from(owner: _Owner | None, epoch: int) -> Departure | None:
    """Take from an owner a will that it would take back: its connection was there still."""
    if owner is None:
        return None
    for departure in owner.resumed:
        if departure.kept.epoch == epoch:
            owner.resumed.remove(departure)
            return departure
    return None


def _lost(fenced: _Fenced) -> list[Action]:
    """What becomes of the will of a fenced connection whose worker is lost."""
    kept = fenced.claim.kept()
    if kept is None:
        return []
    is_void = bool(kept.will.delay_ms) and fenced.is_continued
    return [Settled(kept.epoch)] if is_void else [Orphaned(kept)]


def _refused(claimant: Claimant, why: Refusal) -> Refused:
    return Refused(claimant.worker, claimant.ticket, why)


def _revoked(owner: _Owner) -> Revoked:
    return Revoked(owner.worker, owner.claim.client_id, owner.claim.epoch)
