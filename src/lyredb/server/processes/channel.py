"""The control channel between the supervisor and a child: messages, some with a socket.

A pair of AF_UNIX sockets that keep borders (SOCK_SEQPACKET), so that a socket travels with
its message (SCM_RIGHTS). Sending never waits: a child that has not read some hundred
messages hangs, and is killed for it anyway.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from lyredb.server.processes.messages import Message, decode, encode

MAX_BYTES: Final = 128 * 1024
"""Of one message; the largest carry all settings, some kilobytes."""
_MAX_SOCKETS: Final = 4


class Channel:
    """One end of a control channel, in the running loop.

    Args:
        end: Connected; the channel's own from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    @staticmethod
    def pair() -> tuple[socket.socket, socket.socket]:
        """Return both ends."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def send(self, message: Message, sockets: Sequence[socket.socket] = ()) -> bool:
        """Send a message; sockets stay open here, and are the caller's to close.

        Returns:
            False when the other end is gone, or does not read.
        """
        body = encode(message)
        assert len(body) <= MAX_BYTES, message
        try:
            socket.send_fds(self._socket, [body], [one.fileno() for one in sockets])
        except OSError:  # BlockingIOError: it is full
            return False
        return True

    async def receive(self) -> tuple[Message, list[socket.socket]] | None:
        """Return the next message with its sockets, ``None`` once the other end is gone."""
        while True:
            try:
                body, descriptors, flags, _ = socket.recv_fds(self._socket, MAX_BYTES, _MAX_SOCKETS)
            except BlockingIOError:
                await self._wait_readable()
                continue
            except OSError:
                return None
            if not body:
                return None
            assert not flags & socket.MSG_TRUNC, "a message is at most MAX_BYTES"
            return decode(body), [_adopt(descriptor) for descriptor in descriptors]

    async def _wait_readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._socket, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._socket)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def _adopt(descriptor: int) -> socket.socket:
    one = socket.socket(fileno=descriptor)
    one.setblocking(False)
    one.set_inheritable(False)
    return one
