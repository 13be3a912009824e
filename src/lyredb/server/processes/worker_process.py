"""A worker: reads the store, sends its writes to the writer, serves the shared ports.

It begins when its stream to the writer comes. Once the store is open it says so, is joined
to the other workers, and listens when it knows what they want to hear: no message that one
of its clients publishes may miss a subscriber elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from lyredb.plugins.scope import Address
from lyredb.server.board import Board
from lyredb.server.collector import spare_collector
from lyredb.server.core_settings import peer_limits, query_limits, storage_settings
from lyredb.server.launch import Launch
from lyredb.server.node import Node
from lyredb.server.processes import messages
from lyredb.server.processes.channel import Channel
from lyredb.server.processes.child_end import end_at_once
from lyredb.server.processes.messages import WRITER
from lyredb.server.processes.order import Order
from lyredb.server.processes.pulse import Pulse
from lyredb.server.ready import Ready
from lyredb.server.settings import SettingsInForce
from lyredb.server.worker import Seat, Worker

GOODBYE_S: Final = 1.0
"""For the clients of a worker that ends by itself: answers in flight, then they come back."""


async def live(order: Order, launch: Launch, channel: Channel, board: Board) -> None:
    """Serve until the supervisor says stop; when it is gone, the process ends here.

    Raises:
        LyreError: It cannot start.
    """
    stream = await _stream_to_writer(channel)
    if stream is None:
        return
    node = Node.attach(
        launch.data_dir,
        worker=order.number,
        stream=stream,
        storage=storage_settings(launch.settings),
        open_topics=order.open_topics,
        peer_limits=peer_limits(launch.settings),
        query_limits=query_limits(launch.settings),
        passed=board.passed,
    )
    node.tail.on_progress = lambda position: board.publish(order.number, position)
    board.publish(order.number, node.tail.position)
    seat = Seat(
        order.number, node, order.take_listeners(), board.lack, is_successor=order.is_successor
    )
    worker = Worker(launch, seat)
    pulse = Pulse(board, order.number)
    pulse.beat()
    channel.send(messages.Opened())
    await _Life(worker, node, channel).run()
    pulse.stop()


async def _stream_to_writer(channel: Channel) -> socket.socket | None:
    """Wait for the first stream to the writer; ``None`` when there is nothing to serve."""
    while (received := await channel.receive()) is not None:
        message, sockets = received
        match message:
            case messages.Wire(number=0):
                return sockets[0]
            case messages.Stop():
                return None
            case _:  # who came or went before we are joined does not concern us
                for one in sockets:
                    one.close()
    return None


class BrokenOff(RuntimeError):
    """A worker and another one are apart, and nothing joins them again while both live."""


class _Life:
    """From the open store to the end: two tasks, of which the first that ends decides."""

    def __init__(self, worker: Worker, node: Node, channel: Channel) -> None:
        self._worker = worker
        self._node = node
        self._channel = channel
        self._may_begin = asyncio.Event()
        self._within_s = 0.0
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        node.hub.peers.on_broken = self._break_off

    def _break_off(self, reason: str) -> None:
        """End: a worker that others do not hear is worth less than a new one."""
        if not self._broken.done():
            self._within_s = GOODBYE_S
            self._broken.set_exception(BrokenOff(reason))

    async def run(self) -> None:
        """Serve until told to stop, and stop.

        Raises:
            LyreError: It cannot listen.
            BrokenOff: It has lost its connection to another worker.
        """
        obeying = asyncio.create_task(self._obey())
        starting = asyncio.create_task(self._start())
        waiting = {obeying, starting, self._broken}
        try:
            while not obeying.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for one in done - {obeying}:
                    one.result()  # raises what went wrong
            await obeying
        finally:
            self._broken.cancel()
            obeying.cancel()
            starting.cancel()
            await asyncio.gather(obeying, starting, return_exceptions=True)
            await self._worker.stop(self._within_s)

    async def _start(self) -> None:
        """Listen as soon as it is known what the other workers want to hear."""
        await self._may_begin.wait()
        known = asyncio.Event()
        self._node.hub.peers.when_known(known.set)
        await known.wait()
        # Who waits for a position to be told everywhere did not wait for us before we were on
        # the board: no client may meet us behind what was committed until then.
        self._node.tail.advance_to(self._node.engine.refresh())
        ready = await self._worker.start()
        spare_collector()
        self._channel.send(_listening(ready))

    async def _obey(self) -> None:
        """Do what the supervisor says until it says stop; without it the process ends."""
        while (received := await self._channel.receive()) is not None:
            message, sockets = received
            match message:
                case messages.Stop(within_s=within_s):
                    self._within_s = within_s
                    return
                case messages.Begin():
                    self._may_begin.set()
                case messages.Wire(number=number):
                    self._attach(number, sockets[0])
                case messages.Gone(number=number):
                    if number != WRITER:  # that stream tells its end itself
                        self._node.hub.peers.detach(number)
                case messages.Reload(values=values):
                    self._worker.reload.run(SettingsInForce(values))
                case _:
                    raise AssertionError(f"a worker is never told {message}")
        end_at_once()

    def _attach(self, number: int, stream: socket.socket) -> None:
        if number == WRITER:
            assert self._node.remote is not None, "a worker has no store of its own"
            self._node.remote.attach(stream)
        else:
            self._node.hub.peers.attach(number, stream)


def _listening(ready: Ready) -> messages.Listening:
    return messages.Listening(
        http=_parts(ready.http),
        operations=_parts(ready.operations),
        listeners={
            name: [_parts(address) for address in addresses]
            for name, addresses in ready.listeners.items()
        },
    )


def _parts(address: Address) -> tuple[str, str, int]:
    return address.scheme, address.host, address.port
