"""What a child does first: it dies with its supervisor, and takes no signal but a kill."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1
_IGNORED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""A terminal and a service manager send these to the supervisor as well, which then ends
workers before the writer. A child that took them itself would drop that order."""


def die_with(supervisor: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends.

    Args:
        supervisor: The parent; when it is gone already, this process ends at once.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != supervisor:
        os._exit(1)


def ignore_signals() -> None:
    """Leave the usual signals to the supervisor."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)


def end_at_once() -> NoReturn:
    """End, because the supervisor is gone: the kernel's kill is on its way, or is none.

    Where the kernel does not tell of a parent's death, the end of the control channel does.
    Nothing acknowledged is lost, and whoever starts the server again waits for this process.
    """
    os._exit(1)
