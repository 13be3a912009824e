"""How many files a process of the server may have open: each connection is one.

Systems start programs with a low soft limit (often 1,024) for the sake of old ones that use
``select``; whoever does not is meant to raise it to the hard limit. Done once, in the process
that was started: its children inherit it.
"""

from __future__ import annotations

import logging
import resource
from typing import Final

from lyredb.plugins.scope import Settings

RESERVE: Final = 100
"""Of a process beside its connections: listeners, the store, streams to other processes."""
_MACOS_MOST: Final = 10_240
"""What macOS allows at most (``OPEN_MAX``) where it calls the hard limit infinite."""

_logger: Final = logging.getLogger(__name__)


def raise_open_files() -> int:
    """Raise the soft limit to the hard one and return what is allowed now.

    Returns:
        Files per process; `resource.RLIM_INFINITY` for no limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, _MACOS_MOST):
        if soft in (wanted, resource.RLIM_INFINITY):
            return soft
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            continue  # a further limit of the system is in the way
        return wanted
    return soft


def warn_of_too_few(allowed: int, settings: Settings, *, workers: int) -> None:
    """Log one line when a worker may have more connections than files.

    Args:
        allowed: What `raise_open_files` returned.
        settings: With the limit on connections of all workers.
        workers: Among which they are dealt out.
    """
    share = -(-settings.integer("network.maxConnections") // workers)
    if allowed == resource.RLIM_INFINITY or allowed >= share + RESERVE:
        return
    _logger.warning(
        "a process may have %d files open, but each worker may have %d connections"
        " (network.maxConnections): those that find no place are closed unheard. Raise the"
        " hard limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker) or"
        " lower network.maxConnections",
        allowed,
        share,
    )
