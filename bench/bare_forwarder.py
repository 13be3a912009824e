"""The floor of a broker on our event loop: bytes of a publisher go to all subscribers.

    python bench/bare_forwarder.py

It answers CONNECT and SUBSCRIBE, and knows nothing else of MQTT: no topics, no sessions, no
checks. What a message costs here is what uvloop and the kernel take, whoever is the broker.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import cast

import uvloop

CONNECT, PUBLISH, SUBSCRIBE = 0x10, 0x30, 0x82
CONNACK, SUBACK = b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00"


class Forwarder(asyncio.Protocol):
    """One connection, which becomes a subscriber's by its SUBSCRIBE, or a publisher's.

    Args:
        subscribers: All that are connected.
    """

    def __init__(self, subscribers: dict[Forwarder, None]) -> None:
        self._subscribers = subscribers
        self._is_publisher = False
        self.transport = asyncio.Transport()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        first = data[0]
        if first == PUBLISH or self._is_publisher:
            # What a read cut off goes on in the next one, which may begin with anything.
            self._is_publisher = True
            for subscriber in self._subscribers:
                subscriber.transport.write(data)
        elif first == CONNECT:
            self.transport.write(CONNACK)
        elif first == SUBSCRIBE:
            self._subscribers[self] = None
            self.transport.write(SUBACK)

    def connection_lost(self, exc: Exception | None) -> None:
        self._subscribers.pop(self, None)


async def main() -> None:
    """Serve until SIGTERM."""
    loop, subscribers = asyncio.get_running_loop(), dict[Forwarder, None]()
    server = await loop.create_server(lambda: Forwarder(subscribers), "127.0.0.1", 0)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"ready": True, "mqtt": f"mqtt://127.0.0.1:{port}"}), flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
