"""The directory of claims, beside the writer: answers workers and keeps the time.

A worker that is lost (`CallService.on_detach`) loses its claims; its wills are written
here, each before the identifier goes to whoever waits for it. So are those that wait for
their delay, and those that the server's last run has left (`ClaimsService.restore`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from lyredb.errors import LyreError
from lyredb.sessions import claims_wire as wire
from lyredb.sessions.claims import (
    Action,
    Claimant,
    Directory,
    Granted,
    Kept,
    Orphaned,
    Refused,
    Revoked,
    Settled,
)
from lyredb.sessions.orphans import Orphans, Readmit
from lyredb.sessions.will_rows import WillRows
from lyredb.sessions.wills import KeptWill
from lyredb.storage.sequencer import CallService, Reply, Sequencer

FENCE_S: Final = 2.0
"""How long a connection may take to stop for its successor. It needs a tick, and a commit
when its will is retained; a worker that takes longer is stuck or very busy."""

LONGEST_WAIT_S: Final = 3_600.0
"""Deadlines are by the wall clock, which may be set: nothing sleeps longer than this."""


@dataclass(frozen=True, slots=True)
class ClaimsStatistics:
    """Numbers of a directory.

    Attributes:
        claims: Client identifiers in use, on all workers.
        waiting: Connections that wait for another one to stop.
        fenced: Connections that lost their identifier before they stopped.
        wills_delayed: Wills of clients that are gone, which wait for their time.
        wills_published: Wills that were written here and not by the client's worker.
        wills_failed: Those that the writer refused.
        wills_waiting: Those that are not written yet.
    """

    claims: int
    waiting: int
    fenced: int
    wills_delayed: int
    wills_published: int
    wills_failed: int
    wills_waiting: int


class ClaimsService:
    """Runs a `Directory` for the workers of a server.

    Args:
        service: The workers.
        writer: Where the wills of lost workers go.
        call_later: As ``loop.call_later``.
        now_ms: Wall clock in epoch milliseconds, for deadlines of wills.
        directory: By default a new one, to which workers announce what they hold.
        readmit: Decides about the wills of lost workers by the rights of now.
        is_settled: Tells whether the will of an epoch has no row any more.
    """

    def __init__(
        self,
        service: CallService,
        writer: Sequencer,
        *,
        call_later: Callable[[float, Callable[[], None]], object],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        directory: Directory | None = None,
        readmit: Readmit = lambda mutation, client_id, role: mutation,
        is_settled: Callable[[int], bool] = lambda epoch: False,
    ) -> None:
        self._service = service
        self._call_later = call_later
        self._directory = Directory() if directory is None else directory
        self._now_ms = now_ms
        self._rows = WillRows(writer, call_later)
        self._orphans = Orphans(writer, call_later, now_ms, readmit, self._rows, is_settled)
        self._wakes_ms: int | None = None
        self._tickets = itertools.count(1)
        self._replies: dict[int, tuple[int, Reply]] = {}
        self._forgotten: dict[str, int] = {}
        service.serve(wire.CLAIM, self._claim)
        service.serve(wire.RELEASE, self._release)
        service.serve(wire.OPENED, self._opened)
        service.serve(wire.WILL, self._set_will)
        service.serve(wire.ANNOUNCE, self._announce)
        service.serve(wire.ENDED, self._end_session)
        service.on_detach(self._lose)

    def restore(self, wills: Iterable[KeptWill], grace_s: float) -> None:
        """Take over the wills that are on disk; before any worker asks something.

        Args:
            wills: As the last run has left them.
            grace_s: How long clients have to come back, since the server was what went.
        """
        self._directory.restore(wills, self._now_ms(), int(grace_s * 1_000))
        self._arm()

    def statistics(self) -> ClaimsStatistics:
        """The numbers of this moment."""
        return ClaimsStatistics(
            claims=self._directory.claims,
            waiting=self._directory.waiting,
            fenced=self._directory.fenced,
            wills_delayed=self._directory.delayed,
            wills_published=self._orphans.published,
            wills_failed=self._orphans.failed,
            wills_waiting=self._orphans.waiting,
        )

    def _claim(self, worker: int, body: bytes, reply: Reply) -> None:
        request = wire.requests.decode(body)
        ticket = next(self._tickets)
        self._replies[ticket] = worker, reply
        self._act(
            self._directory.claim(
                Claimant(
                    worker,
                    ticket,
                    request.client_id,
                    request.user,
                    request.will,
                    request.clean_start,
                )
            )
        )

    def _release(self, worker: int, body: bytes, reply: Reply) -> None:
        release = wire.releases.decode(body)
        due_ms = self._now_ms() + release.delay_ms if release.delay_ms else 0
        self._act(
            self._directory.release(
                worker, release.client_id, release.epoch, due_ms, was_let_in=release.was_let_in
            )
        )
        if self._forgotten:
            self._end_forgotten()
        reply(b"")

    def _opened(self, worker: int, body: bytes, _: Reply) -> None:
        named = wire.named.decode(body)
        self._act(self._directory.confirm(worker, named.client_id, named.epoch))

    def _set_will(self, worker: int, body: bytes, _: Reply) -> None:
        new = wire.new_wills.decode(body)
        self._act(self._directory.set_will(worker, new.client_id, new.epoch, new.will))

    def _end_session(self, worker: int, body: bytes, _: Reply) -> None:
        self.end_session(wire.ended.decode(body).client_id)

    def is_claimed(self, client_id: str) -> bool:
        """Whether a connection has an identifier."""
        return self._directory.owner(client_id) is not None

    def end_session(self, client_id: str) -> None:
        """Publish what waits of a client whose session has ended: nobody can take it up."""
        self._act(self._directory.end_session(client_id))

    def forget(self, client_id: str) -> None:
        """As `end_session`, of a client that may be about to stop: then that is waited for."""
        owner = self._directory.owner(client_id)
        if owner is None:
            self.end_session(client_id)
        else:
            self._forgotten[client_id] = owner[1].epoch

    def _end_forgotten(self) -> None:
        for client_id, epoch in list(self._forgotten.items()):
            owner = self._directory.owner(client_id)
            if owner is None or owner[1].epoch != epoch:
                del self._forgotten[client_id]
                self.end_session(client_id)

    def _announce(self, worker: int, body: bytes, _: Reply) -> None:
        self._act(self._directory.announce(worker, wire.announced.decode(body)))

    def _lose(self, worker: int) -> None:
        gone = [ticket for ticket, (owner, _) in self._replies.items() if owner == worker]
        for ticket in gone:
            del self._replies[ticket]
        self._act(self._directory.lose(worker, self._now_ms()))
        if self._forgotten:
            self._end_forgotten()

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Granted():
                    self._grant(action)
                case Refused():
                    self._answer(action.ticket, wire.Answer(0, action.why))
                case Revoked():
                    self._revoke(action)
                case Orphaned():
                    heirs = () if action.heir is None else (action.heir,)
                    then = partial(self._act, heirs)
                    self._orphans.publish(action.kept, then)
                case Kept():
                    self._rows.replace(action.kept)
                case Settled():
                    self._rows.delete(action.epoch)
        self._arm()

    def _grant(self, granted: Granted) -> None:
        """Answer a claim, once its will is on disk: the client may rely on it from then on."""
        kept = granted.kept
        answer = wire.Answer(granted.epoch, resumes=granted.resumes)
        if kept is None:
            self._answer(granted.ticket, answer)
            return

        def then(error: LyreError | None) -> None:
            if error is None:
                self._answer(granted.ticket, answer)
                return
            _, reply = self._replies.pop(granted.ticket, (0, None))
            self._act(
                self._directory.release(
                    granted.worker, kept.client_id, kept.epoch, was_let_in=False
                )
            )
            if reply is not None:
                reply(error)

        self._rows.put(kept, then)

    def _arm(self) -> None:
        """Look again when the next will is due."""
        due_ms = self._directory.next_due_ms
        if due_ms is None or (self._wakes_ms is not None and self._wakes_ms <= due_ms):
            return
        self._wakes_ms = due_ms
        wait_s = min(max(0, due_ms - self._now_ms()) / 1_000, LONGEST_WAIT_S)
        self._call_later(wait_s, partial(self._wake, due_ms))

    def _wake(self, due_ms: int) -> None:
        if self._wakes_ms != due_ms:
            return  # an earlier one was set after this
        self._wakes_ms = None
        self._act(self._directory.take_due(self._now_ms()))

    def _answer(self, ticket: int, answer: wire.Answer) -> None:
        _, reply = self._replies.pop(ticket, (0, None))
        if reply is not None:  # else its worker was lost meanwhile
            reply(wire.encode(answer))

    def _revoke(self, action: Revoked) -> None:
        named = wire.encode(wire.Named(action.client_id, action.epoch))
        self._service.notify(action.worker, wire.REVOKE, named)
        self._call_later(FENCE_S, partial(self._fence, action.client_id, action.epoch))

    def _fence(self, client_id: str, epoch: int) -> None:
        self._act(self._directory.fence(client_id, epoch))
