"""The directory of claims, beside the writer: answers workers and keeps the time.

A worker that is lost (`CallService.on_detach`) loses its claims; its wills are written
here, each before the identifier goes to whoever waits for it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from lyredb.sessions import claims_wire as wire
from lyredb.sessions.claims import Action, Claimant, Directory, Granted, Orphaned, Refused, Revoked
from lyredb.sessions.orphans import Orphans
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import CallService, Reply, Sequencer

FENCE_S: Final = 2.0
"""How long a connection may take to stop for its successor. It needs a tick, and a commit
when its will is retained; a worker that takes longer is stuck or very busy."""


@dataclass(frozen=True, slots=True)
class ClaimsStatistics:
    """Numbers of a directory.

    Attributes:
        claims: Client identifiers in use, on all workers.
        waiting: Connections that wait for another one to stop.
        fenced: Connections that lost their identifier before they stopped.
        wills_published: Wills of lost workers that were written.
        wills_failed: Those that the writer refused.
        wills_waiting: Those that are not written yet.
    """

    claims: int
    waiting: int
    fenced: int
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
    """

    def __init__(
        self,
        service: CallService,
        writer: Sequencer,
        *,
        call_later: Callable[[float, Callable[[], None]], object],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        directory: Directory | None = None,
        readmit: Callable[[Mutation], Mutation] = lambda mutation: mutation,
    ) -> None:
        self._service = service
        self._call_later = call_later
        self._directory = Directory() if directory is None else directory
        self._orphans = Orphans(writer, call_later, now_ms, readmit)
        self._tickets = itertools.count(1)
        self._replies: dict[int, tuple[int, Reply]] = {}
        service.serve(wire.CLAIM, self._claim)
        service.serve(wire.RELEASE, self._release)
        service.serve(wire.WILL, self._set_will)
        service.serve(wire.ANNOUNCE, self._announce)
        service.on_detach(self._lose)

    def statistics(self) -> ClaimsStatistics:
        """The numbers of this moment."""
        return ClaimsStatistics(
            claims=self._directory.claims,
            waiting=self._directory.waiting,
            fenced=self._directory.fenced,
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
                Claimant(worker, ticket, request.client_id, request.user, request.will)
            )
        )

    def _release(self, worker: int, body: bytes, _: Reply) -> None:
        named = wire.named.decode(body)
        self._act(self._directory.release(worker, named.client_id, named.epoch))

    def _set_will(self, worker: int, body: bytes, _: Reply) -> None:
        new = wire.new_wills.decode(body)
        self._directory.set_will(worker, new.client_id, new.epoch, new.will)

    def _announce(self, worker: int, body: bytes, _: Reply) -> None:
        self._act(self._directory.announce(worker, wire.announced.decode(body)))

    def _lose(self, worker: int) -> None:
        gone = [ticket for ticket, (owner, _) in self._replies.items() if owner == worker]
        for ticket in gone:
            del self._replies[ticket]
        self._act(self._directory.lose(worker))

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Granted():
                    self._answer(action.ticket, wire.Answer(action.epoch))
                case Refused():
                    self._answer(action.ticket, wire.Answer(0, action.why))
                case Revoked():
                    self._revoke(action)
                case Orphaned():
                    heirs = () if action.heir is None else (action.heir,)
                    then = partial(self._act, heirs)
                    self._orphans.publish(action.client_id, action.will, then)

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
