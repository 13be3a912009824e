"""Which worker owns which group of shared subscribers. No I/O and no clock.

A group lives on every worker that has members of it, and one of these owns it: that one
subscribes, and gives each message to one member. The owner stays until it is lost, or
leaves; then another worker of the group takes over.

Invariants: a group has an owner as long as a worker has joined it, and the owner is one of
those; every worker of a group is told who owns it, in the order of changes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Appointed:
    """Tell a worker who owns a group, and by which appointment."""

    worker: int
    name: str
    owner: int
    epoch: int


@dataclass(slots=True)
class _Group:
    """The workers of a group, in the order in which they came; the owner is one of them."""

    owner: int
    epoch: int
    workers: dict[int, None] = field(default_factory=dict)


class GroupDirectory:
    """All groups of a server.

    Args:
        first_epoch: Above every epoch that an earlier directory of this server has given.
    """

    def __init__(self, first_epoch: int | None = None) -> None:
        self._epoch = time.time_ns() // 1_000 if first_epoch is None else first_epoch
        self._groups: dict[str, _Group] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def owner(self, name: str) -> int | None:
        """Who owns a group, None when there is no such group."""
        group = self._groups.get(name)
        return None if group is None else group.owner

    def join(self, worker: int, name: str, owner: int | None = None) -> list[Appointed]:
        """A worker has a member of a group.

        Args:
            worker: Which.
            name: Of the group; joining it twice says the same again.
            owner: Whom it knows as the owner, from an earlier directory. It owns the group
                here too, unless another one was appointed in the meantime.
        """
        group = self._groups.get(name)
        if group is None:
            self._epoch += 1
            group = self._groups[name] = _Group(worker if owner is None else owner, self._epoch)
        group.workers[worker] = None
        return [Appointed(worker, name, group.owner, group.epoch)]

    def leave(self, worker: int, name: str) -> list[Appointed]:
        """A worker has nothing to do with a group any more."""
        group = self._groups.get(name)
        return [] if group is None else self._remove(worker, name, group)

    def lose(self, worker: int) -> list[Appointed]:
        """A worker is gone."""
        told: list[Appointed] = []
        for name, group in list(self._groups.items()):
            told += self._remove(worker, name, group)
        return told

    def confirm(self) -> list[Appointed]:
        """All workers had time to join: owners of before that have not come are gone."""
        told: list[Appointed] = []
        for name, group in list(self._groups.items()):
            if group.owner not in group.workers:
                told += self._remove(group.owner, name, group)
        return told

    def _remove(self, worker: int, name: str, group: _Group) -> list[Appointed]:
        group.workers.pop(worker, None)
        if not group.workers:
            del self._groups[name]
            return []
        if group.owner != worker:
            return []
        self._epoch += 1
        group.owner, group.epoch = next(iter(group.workers)), self._epoch
        return [Appointed(each, name, group.owner, group.epoch) for each in group.workers]
