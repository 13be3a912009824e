"""The directory of groups, beside the writer: hears workers and tells them of owners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from lyredb.sessions import groups_wire as wire
from lyredb.sessions.group_directory import Appointed, GroupDirectory
from lyredb.storage.sequencer import CallService, Reply

CONFIRM_S: Final = 5.0
"""After a start of the writer, for workers to say what they own. They say it as soon as
they are attached; one that is gone is started anew by then, and owns nothing."""


class GroupsService:
    """Runs a `GroupDirectory` for the workers of a server.

    Args:
        service: The workers.
        call_later: As ``loop.call_later``.
    """

    def __init__(
        self,
        service: CallService,
        *,
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._service = service
        self._directory = GroupDirectory()
        service.serve(wire.JOIN, self._join)
        service.serve(wire.LEAVE, self._leave)
        service.on_detach(self._lose)
        call_later(CONFIRM_S, lambda: self._tell(self._directory.confirm()))

    def __len__(self) -> int:
        return len(self._directory)

    def _join(self, worker: int, body: bytes, _: Reply) -> None:
        join = wire.joins.decode(body)
        self._tell(self._directory.join(worker, join.name, join.owner))

    def _leave(self, worker: int, body: bytes, _: Reply) -> None:
        self._tell(self._directory.leave(worker, wire.named.decode(body).name))

    def _lose(self, worker: int) -> None:
        self._tell(self._directory.lose(worker))

    def _tell(self, told: Sequence[Appointed]) -> None:
        for each in told:
            body = wire.encode(wire.Owner(each.name, each.owner, each.epoch))
            self._service.notify(each.worker, wire.OWNER, body)
