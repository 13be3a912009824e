"""What the writer does between groups, one bounded step at a time.

In this order: seal a segment that has become old, drop segments that are too old or
too much, then in turns: fill and empty indexes of tables, write the index of sealed segments,
purge graves. A step takes about 10 ms at most. One that finds the disk full waits for the next
group.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lyredb.errors import DiskFull, StorageFailed
from lyredb.storage import retention
from lyredb.storage.index_builds import IndexBuilds
from lyredb.storage.overlay import Address
from lyredb.storage.retention import GravePurge

if TYPE_CHECKING:
    from lyredb.storage.commit import Committer
    from lyredb.storage.engine import Engine

_logger: Final = logging.getLogger(__name__)


class Maintenance:
    """The steps for one engine, and what they need to know of each commit.

    Attributes:
        builds: Of the indexes of tables.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._purge = GravePurge(engine)
        self._log_index = engine.log_index
        self.builds = IndexBuilds(engine)
        self._was_build = False

    def note_logged(self, first_seq: int, addresses: Sequence[Address]) -> None:
        """Take the addresses that a commit has logged."""
        self._log_index.note(first_seq, addresses)

    def step(self, committer: Committer) -> bool:
        """Do one step and tell whether more is due. An engine that failed does none."""
        if self._engine.failure or self._engine.is_closed:
            return False
        try:
            return self._step(committer)
        except DiskFull as error:
            _logger.debug("maintenance waits: %s", error)  # the engine has warned
        except StorageFailed as error:
            _logger.error("maintenance ends: %s", error)
        return False

    def _step(self, committer: Committer) -> bool:
        committer.rotate_if_due()
        if retention.drop_oldest(self._engine, committer.open_bytes, self._engine.now_ms()):
            return True
        others = self._log_index.is_due or self._purge.is_due
        # Neither may wait for the other to end: a large build takes minutes.
        self._was_build = self.builds.is_due and not (self._was_build and others)
        if self._was_build:
            self.builds.step()
        elif self._log_index.is_due:
            self._log_index.step()
        elif self._purge.is_due:
            self._purge.step()
        return self.builds.is_due or self._log_index.is_due or self._purge.is_due
