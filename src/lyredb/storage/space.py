"""Whether there is space for writes: told to the client, to the health check and to the log."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lyredb.errors import DiskFull
from lyredb.storage.data_directory import NO_SPACE
from lyredb.storage.settings import StorageSettings

WARN_MS: Final = 10_000
"""A lack of space is logged at most once in this time: each write finds it again."""

_PROBE_BYTES: Final = 64 * 1024

_logger: Final = logging.getLogger(__name__)


class Space:
    """The space of one data directory, as far as writes have found it.

    Args:
        path: The directory.
        settings: Its limits.
        now_ms: The wall clock.
        free_bytes_of: Tells the free space on the disk of a path.
    """

    def __init__(
        self,
        path: Path,
        settings: StorageSettings,
        now_ms: Callable[[], int],
        free_bytes_of: Callable[[Path], int],
    ) -> None:
        self._path = path
        self._settings = settings
        self._now_ms = now_ms
        self._free_bytes_of = free_bytes_of
        self._found = ""
        self._warned_ms = -WARN_MS

    @property
    def lack(self) -> str:
        """What has no space: ``disk full`` or ``data file full``, else empty."""
        return "disk full" if self.is_below_minimum() else self._found

    def note_success(self) -> None:
        """Take note of a commit that had space."""
        self._found = ""

    def is_below_minimum(self) -> bool:
        """Tell whether the disk is nearly full; where that cannot be told, the commit will."""
        try:
            return self._free_bytes_of(self._path) < self._settings.min_free_bytes
        except OSError:
            return False

    def is_used_up(self) -> bool:
        """Tell whether a little more can be written: by trying, since quotas are not told.

        A write that finds room for a part of its bytes is no error for the system: it says
        how many. The engine makes an I/O error of it, as if the disk were broken; after it
        there is no space left.
        """
        try:
            with tempfile.TemporaryFile(dir=self._path, buffering=0) as file:
                return (file.write(bytes(_PROBE_BYTES)) or 0) < _PROBE_BYTES
        except OSError as error:
            return error.errno in NO_SPACE

    def below_minimum(self) -> DiskFull:
        """Return the error of a write below the minimum."""
        return self._warned(
            "the disk is nearly full, with less free space than storage.minFree "
            f"({self._settings.min_free_bytes:,} bytes); nothing was written"
        )

    def disk_full(self) -> DiskFull:
        """Return the error of a commit that found the disk full."""
        self._found = "disk full"
        return self._warned("the disk of storage.path is full; nothing was written")

    def file_full(self) -> DiskFull:
        """Return the error of a commit that found the data file at its largest size."""
        self._found = "data file full"
        return self._warned("the data file has its largest size; raise storage.mapSize")

    def _warned(self, sentence: str) -> DiskFull:
        now_ms = self._now_ms()
        if abs(now_ms - self._warned_ms) >= WARN_MS:  # the clock may have been set back
            self._warned_ms = now_ms
            _logger.warning("%s (%s: %s)", sentence, self._path, self._free_text())
        return DiskFull(sentence)

    def _free_text(self) -> str:
        try:
            return f"{self._free_bytes_of(self._path)} bytes free"
        except OSError as error:
            return f"free space unknown, {error.strerror}"
