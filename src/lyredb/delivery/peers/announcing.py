"""Telling the others what is wanted here, and knowing when they know.

Changes are numbered and told at the end of the tick; a peer acknowledges a number when
messages that it gets from then on are forwarded accordingly. Who has to be sure of that
(a SUBACK promises the messages that follow it) waits with `Announcing.when_known`. A
peer that says nothing for `SILENT_S` is not waited for until it speaks again: its
supervisor sees to it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from lyredb.delivery.peers.interest import Interest
from lyredb.delivery.peers.peer import Peer
from lyredb.delivery.peers.wire import interest_frames
from lyredb.delivery.pressure import CallLater

SILENT_S: Final = 2.0
"""As long as clients are used to wait for an answer; a healthy worker needs 1 ms."""
_FILTERS_PER_FRAME: Final = 1_000
"""About 5 ms of the receiver's time."""

_log = logging.getLogger(__name__)


class Announcing:
    """The numbers, who has acknowledged which, and who waits.

    Args:
        interest: What is wanted here.
        peers: Who is attached, by worker.
        call_later: As ``loop.call_later``.
    """

    def __init__(
        self, interest: Interest, peers: Mapping[int, Peer], call_later: CallLater
    ) -> None:
        self._interest = interest
        self._peers = peers
        self._call_later = call_later
        self._number = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def attach(self, peer: Peer) -> None:
        """Tell a new peer everything."""
        self._interest.begin()
        self.flush()
        self._number += 1
        self._tell(peer, list(self._interest.announced), [])

    def flush(self) -> None:
        """Tell all peers what has changed."""
        if not self._interest.has_changes:
            return
        wanted, unwanted = self._interest.changes()
        if wanted or unwanted or self._waiting:
            self._number += 1
            for peer in self._peers.values():
                if peer.asked:
                    self._tell(peer, wanted, unwanted)

    def _tell(self, peer: Peer, wanted: list[str], unwanted: list[str]) -> None:
        peer.asked = self._number
        peer.send(interest_frames(self._number, wanted, unwanted, _FILTERS_PER_FRAME))
        if peer.timer is None:
            self._watch(peer)

    def _watch(self, peer: Peer) -> None:
        peer.timer = self._call_later(SILENT_S, lambda: self._note_silence(peer))

    def _note_silence(self, peer: Peer) -> None:
        peer.timer = None
        if not peer.is_silent:
            peer.is_silent = True
            _log.warning("worker %d is silent; nobody waits for it now", peer.number)
        self.settle()

    def acknowledge(self, peer: Peer, number: int) -> None:
        """Note that a peer knows everything up to a number."""
        peer.known = number
        peer.is_silent = False
        if peer.timer is not None:
            peer.timer.cancel()
            peer.timer = None
        if peer.known < peer.asked:
            self._watch(peer)
        self.settle()

    def when_known(self, callback: Callable[[], None]) -> None:
        """Call back once all that is wanted by now is known to all who can be waited for."""
        need = self._number + self._interest.has_changes
        if not self._peers or self._is_known(need):
            callback()
        else:
            self._waiting.append((need, callback))

    def settle(self) -> None:
        """Call back who need not wait any more; after a peer spoke, fell silent or left."""
        while self._waiting and self._is_known(self._waiting[0][0]):
            _, callback = self._waiting.popleft()
            try:
                callback()
            except Exception:
                # The edge of a connection: its failure must not cost the others theirs.
                _log.exception("what waited for the other workers failed")

    def _is_known(self, need: int) -> bool:
        """Tell whether nobody has to be waited for.

        A number that was told already and not to a peer, since it greets another one, has
        nothing new for it.
        """
        is_told = need <= self._number
        return all(
            peer.known >= need or peer.is_silent or (is_told and peer.known >= peer.asked)
            for peer in self._peers.values()
        )
