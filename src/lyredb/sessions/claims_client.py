"""Claims of client identifiers, as a worker makes them; the directory is elsewhere.

A claim that is not answered when the directory's process ends fails and may be made
again. Claims that were granted outlive that process: they are announced to the next one,
and so is every release that the former one may not have heard of, whose will would be
published again else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

from lyredb.errors import LyreError
from lyredb.sessions import claims_wire as wire
from lyredb.sessions.claims import Claim, Refusal
from lyredb.sessions.wills import Will
from lyredb.storage.sequencer import Calls

OnResult: TypeAlias = Callable[[int | Refusal | LyreError], None]
"""Gets the epoch of the claim, or why there is none."""

_ANNOUNCED_AT_ONCE: Final = 200
_ANNOUNCED_BYTES: Final = 500_000
"""Of wills in one notice, which may have 1 MB (`lyredb.storage.sequencer.Calls.call`)."""
MAX_WILL_BYTES: Final = 400_000
"""Of one will: it fits a call and a notice, with an identifier of 65,535 bytes beside it."""


class Claims:
    """The claims of one worker's connections.

    Args:
        calls: To the process that has the directory.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        # By epoch: no two claims of a server have the same, whatever their identifiers.
        self._held: dict[int, tuple[Claim, Callable[[], None]]] = {}
        self._unheard: dict[int, wire.Release] = {}
        self._resuming: set[int] = set()
        calls.on_notice(wire.REVOKE, self._revoke)
        calls.on_attach(self._announce)

    def __len__(self) -> int:
        return len(self._held)

    def claim(
        self,
        client_id: str,
        user: str,
        on_result: OnResult,
        on_revoke: Callable[[], None],
        will: Will | None = None,
        *,
        clean_start: bool = False,
    ) -> None:
        """Ask for an identifier; the connection that has it is ended first.

        Args:
            client_id: The identifier.
            user: Whose connection it is; ``""`` for nobody.
            on_result: Called once; at the latest some 2 s after the owner was asked to
                stop. With an epoch the claim is held until `release`.
            on_revoke: Called when somebody else claims it later: stop, publish the will,
                `release`. Called again when that takes long.
            will: What the directory publishes when this process is lost. It is on disk
                before the claim is granted.
            clean_start: The connection does not go on with the client's session: a will
                that waits for its delay is published before the claim is granted.
        """

        def answered(reply: bytes | LyreError) -> None:
            if isinstance(reply, LyreError):
                on_result(reply)
                return
            answer = wire.answers.decode(reply)
            if answer.refusal is not None:
                on_result(answer.refusal)
                return
            claim = Claim(client_id, answer.epoch, user, will)
            self._held[answer.epoch] = claim, on_revoke
            if answer.resumes:
                self._resuming.add(answer.epoch)
            on_result(answer.epoch)

        request = wire.Request(client_id, user, will, clean_start)
        self._calls.call(wire.CLAIM, wire.encode(request), answered)

    def confirm(self, client_id: str, epoch: int) -> None:
        """The client is let in: the wills that wait for it to stay away are void."""
        if epoch in self._resuming:
            self._resuming.remove(epoch)
            self._calls.notify(wire.OPENED, wire.encode(wire.Named(client_id, epoch)))

    def release(
        self, client_id: str, epoch: int, delay_ms: int = 0, *, was_let_in: bool = True
    ) -> None:
        """Give a claim back.

        Args:
            client_id: The identifier.
            epoch: Of the claim; one that is not held is nothing to give back.
            delay_ms: When the will is published from now, unless its client comes back
                before; 0 when it is published or discarded by now.
            was_let_in: False when the client was refused after all, or did not wait.
        """
        self._resuming.discard(epoch)
        held = self._held.pop(epoch, None)
        if held is not None:
            release = wire.Release(client_id, epoch, delay_ms, was_let_in)
            if held[0].will is not None:
                self._unheard[epoch] = release
            self._release(release)

    def end_session(self, client_id: str) -> None:
        """Tell that the session of a client that is away was removed: its will is due."""
        self._calls.notify(wire.ENDED, wire.encode(wire.Ended(client_id)))

    def _release(self, release: wire.Release) -> None:
        def heard(reply: bytes | LyreError) -> None:
            if not isinstance(reply, LyreError):
                self._unheard.pop(release.epoch, None)

        self._calls.call(wire.RELEASE, wire.encode(release), heard)

    def set_will(self, client_id: str, epoch: int, will: Will | None) -> None:
        """Replace what is published when this process is lost."""
        held = self._held.get(epoch)
        if held is None:
            return
        claim, on_revoke = held
        self._held[epoch] = Claim(client_id, epoch, claim.user, will), on_revoke
        self._calls.notify(wire.WILL, wire.encode(wire.NewWill(client_id, epoch, will)))

    def _revoke(self, body: bytes) -> None:
        named = wire.named.decode(body)
        held = self._held.get(named.epoch)
        if held is not None:
            held[1]()
        else:
            # It was released while the notice was under way, or in a stream that broke.
            unheard = self._unheard.get(named.epoch)
            self._release(unheard or wire.Release(named.client_id, named.epoch))

    def _announce(self) -> None:
        """Tell a directory that may be new what this worker holds."""
        for claims in _batches(claim for claim, _ in self._held.values()):
            self._calls.notify(wire.ANNOUNCE, wire.encode(claims))
        for release in list(self._unheard.values()):
            self._release(release)


def _batches(claims: Iterable[Claim]) -> Iterator[list[Claim]]:
    batch: list[Claim] = []
    size = 0
    for claim in claims:
        size += len(claim.client_id) * 4 + len(claim.user)
        size += 0 if claim.will is None else claim.will.mutation.size_bytes
        batch.append(claim)
        if len(batch) >= _ANNOUNCED_AT_ONCE or size >= _ANNOUNCED_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
