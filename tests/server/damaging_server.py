"""``lyredb`` whose workers send each other nonsense when they get SIGUSR1."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

from lyredb.cli.main import main
from lyredb.delivery.peers.link import SocketLink
from lyredb.server.processes import __main__ as processes
from lyredb.server.processes import child

CHILD = "lyredb.server.processes"
"""First argument of the processes that the server starts, as in the true one's list."""

_begin = SocketLink.begin


def begin(
    self: SocketLink,
    on_data: Callable[[bytes], None],
    on_drained: Callable[[], None],
    on_lost: Callable[[], None],
) -> None:
    _begin(self, on_data, on_drained, on_lost)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, self.send, b"\xff" * 64)


if __name__ == "__main__":
    child.PROGRAM[:] = [__file__, CHILD]
    if sys.argv[1] == CHILD:
        SocketLink.begin = begin  # type: ignore[method-assign]
        sys.exit(processes.main(sys.argv[2:]))
    main()
