"""The directory of groups, beside the writer: hears workers and tells them of owners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from lyredb.sessions import groups_wire as wire
from lyredb.sessions.group_directory import Appointed, GroupDirectory
from lyredb.sessions.terms import group_client_id
from lyredb.storage.sequencer import CallService, Reply

CONFIRM_S: Final = 5.0
"""After a start of the writer, for workers to say what they own. They say it as soon as
they are attached; one that is gone is started anew by then, and owns nothing."""

GONE_S: Final = 1.0
"""Until a worker that others have seen go has no stream to the writer any more, at most."""


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
        self._names: dict[str, str] = {}
        self._call_later = call_later
        self._asked: dict[int, list[Reply]] = {}
        service.serve(wire.JOIN, self._join)
        service.serve(wire.LEAVE, self._leave)
        service.serve(wire.GONE, self._gone)
        service.on_detach(self._lose)
        call_later(CONFIRM_S, lambda: self._tell(self._directory.confirm()))

    def __len__(self) -> int:
        return len(self._directory)

    def is_claimed(self, client_id: str) -> bool:
        """Whether somebody owns the group whose session has this name."""
        name = self._names.get(client_id)
        return name is not None and self._directory.owner(name) is not None

    def _join(self, worker: int, body: bytes, _: Reply) -> None:
        join = wire.joins.decode(body)
        self._names[group_client_id(join.name)] = join.name
        self._tell(self._directory.join(worker, join.name, join.owner))

    def _leave(self, worker: int, body: bytes, _: Reply) -> None:
        name = wire.named.decode(body).name
        self._tell(self._directory.leave(worker, name))
        if self._directory.owner(name) is None:
            self._names.pop(group_client_id(name), None)

    def _gone(self, _: int, body: bytes, reply: Reply) -> None:
        """Answer when a worker has no stream any more; what it sent before is in the queue."""
        worker = wire.workers.decode(body).number
        if worker not in self._service.workers:
            reply(b"")
            return
        self._asked.setdefault(worker, []).append(reply)
        if len(self._asked[worker]) == 1:
            # It may be the next one with this number already.
            self._call_later(GONE_S, lambda: self._answer(worker))

    def _answer(self, worker: int) -> None:
        for reply in self._asked.pop(worker, []):
            reply(b"")

    def _lose(self, worker: int) -> None:
        self._answer(worker)
        self._tell(self._directory.lose(worker))
        for client_id in [one for one in self._names if not self.is_claimed(one)]:
            del self._names[client_id]

    def _tell(self, told: Sequence[Appointed]) -> None:
        for each in told:
            body = wire.encode(wire.Owner(each.name, each.owner, each.epoch))
            self._service.notify(each.worker, wire.OWNER, body)
