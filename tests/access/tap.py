"""What a server sends, byte by byte: a proxy that writes down what passes it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress


class Tap:
    """Listens on a port of its own, and passes everything to a server and back.

    Attributes:
        told: All that the server has sent, over all connections, in pieces as they came.
    """

    def __init__(self) -> None:
        self.told = bytearray()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int, stack: AsyncExitStack) -> tuple[str, int]:
        """Return where to connect instead of the server's own address."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            with suppress(OSError, asyncio.CancelledError):
                inner_reader, inner_writer = await asyncio.open_connection(host, port)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(_pass(reader, inner_writer, None))
                        group.create_task(_pass(inner_reader, writer, self.told))
                finally:
                    inner_writer.transport.abort()
                    writer.transport.abort()
            self._tasks.discard(task)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        stack.push_async_callback(self._close, server)
        address = server.sockets[0].getsockname()
        return address[0], address[1]

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray | None
) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            if record is not None:
                record += data
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.transport.abort()  # one end is gone: so is the other
