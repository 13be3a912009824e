"""How a server ends: signals ask for it, steps do it in order, a deadline bounds it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

STOP_S: Final = 4.5
"""All steps together: a supervisor's patience is promised 5 s, exit included."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The last one is the end of the terminal that the server was started in, if there is one."""

_logger: Final = logging.getLogger(__name__)


class StopRequest:
    """Waits for SIGTERM, SIGINT or SIGHUP; a second one ends the process at once.

    SIGHUP never insists: kernel and shell both send one when a terminal is closed. Who
    started the server with SIGHUP ignored (``nohup``) wants it to outlive the terminal.
    To a server without a terminal it says what it says to every daemon: read your settings.

    Args:
        exit_now: Called with 128 + signal number at the second signal; tests replace it.
        reload: Called at SIGHUP where there is no terminal; without it SIGHUP is the end.
    """

    def __init__(
        self,
        exit_now: Callable[[int], object] = os._exit,
        *,
        reload: Callable[[], object] | None = None,
    ) -> None:
        self._requested = asyncio.Event()
        self._exit_now = exit_now
        self._reload = None if has_terminal() else reload
        self._taken: tuple[int, ...] = ()

    def listen(self) -> None:
        """Take the signals of this process; on the main thread, in the running loop."""
        loop = asyncio.get_running_loop()
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._taken = SIGNALS[:-1] if is_ignored else SIGNALS
        for number in self._taken:
            loop.add_signal_handler(number, self.receive, number)

    def deafen(self) -> None:
        """Give the signals back."""
        loop = asyncio.get_running_loop()
        for number in self._taken:
            loop.remove_signal_handler(number)

    def receive(self, number: int) -> None:
        """Note a signal."""
        if number == signal.SIGHUP and self._reload is not None:
            if not self._requested.is_set():
                self._reload()
            return
        if self._requested.is_set() and number != signal.SIGHUP:
            # Somebody insists. Nothing acknowledged is lost: commits are on disk.
            self._exit_now(128 + number)
            return
        self._requested.set()

    async def wait(self) -> None:
        """Return when the server shall stop."""
        await self._requested.wait()


def has_terminal() -> bool:
    """Tell whether a terminal controls this process: its end is told by SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:  # ENXIO: there is none
        return False
    return True


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the end.

    Attributes:
        name: For the log.
        run: Gets the seconds that it may take.
        most_s: Of the time that is left, it gets no more than this.
    """

    name: str
    run: Callable[[float], Awaitable[None]]
    most_s: float


async def run_steps(
    steps: Sequence[Step], *, within_s: float = STOP_S, grace_s: float = 0.2
) -> None:
    """Run steps one after the other; one that fails or hangs does not stop the next.

    Args:
        steps: In order.
        within_s: All together. Steps after the deadline still run, with no time to wait.
        grace_s: A step that outlives its time by this much is cancelled.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    for step in steps:
        share = max(0.0, min(step.most_s, deadline - loop.time()))
        try:
            async with asyncio.timeout(share + grace_s):
                await step.run(share)
        except TimeoutError:
            _logger.warning("stopping: %s took longer than %.1f s", step.name, share)
        except Exception:
            _logger.exception("stopping: %s failed", step.name)
