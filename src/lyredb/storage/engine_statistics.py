"""The numbers of one engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lyredb.storage import directory as directories
from lyredb.storage.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """Numbers of one engine at one moment. Sizes are bytes."""

    position: int
    floor: int
    segments: int
    log_bytes: int
    used_bytes: int
    readers: int
    tables: int
    building: int
    failed: bool

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        *,
        used_bytes: int,
        readers: int,
        tables: int,
        building: int,
        failed: bool,
    ) -> Self:
        """Return the numbers as of a snapshot."""
        open_bytes = snapshot.log_bytes(directories.ring_slot(snapshot.directory[-1]))
        return cls(
            position=snapshot.position,
            floor=snapshot.floor,
            segments=len(snapshot.directory),
            log_bytes=open_bytes + sum(part.size_bytes for part in snapshot.directory),
            used_bytes=used_bytes,
            readers=readers,
            tables=tables,
            building=building,
            failed=failed,
        )
