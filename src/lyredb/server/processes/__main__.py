"""A child of the supervisor: ``python -m lyredb.server.processes TITLE ORDER CONTROL``.

The title is for whoever looks at the list of processes; the other two are descriptors.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from typing import Final

import uvloop

from lyredb.errors import LyreError
from lyredb.server.board import Board
from lyredb.server.logs import set_up_logs_from
from lyredb.server.processes import worker_process, writer_process
from lyredb.server.processes.channel import Channel
from lyredb.server.processes.child_end import die_with, ignore_signals
from lyredb.server.processes.messages import WRITER, Failed
from lyredb.server.processes.order import Order

_logger: Final = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Carry out the order that was inherited, and return the exit code."""
    ignore_signals()
    order = Order.read(int(arguments[1]))
    die_with(order.supervisor)
    control = socket.socket(fileno=int(arguments[2]))
    os.set_inheritable(control.fileno(), False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(order, Channel(control)))


async def _live(order: Order, channel: Channel) -> int:
    """Live until told to stop; what keeps it from starting is told to the supervisor."""
    life = writer_process.live if order.number == WRITER else worker_process.live
    try:
        launch = order.launch()
        set_up_logs_from(launch.settings, process=order.title)
        await life(order, launch, channel, Board.open(order.board))
    except LyreError as error:
        channel.send(Failed(str(error), expected=True))
        return 1
    except Exception as error:
        _logger.exception("%s fails", order.title)
        channel.send(Failed(f"{type(error).__name__}: {error}", expected=False))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
