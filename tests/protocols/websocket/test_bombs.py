"""A compressed message that is 100 MB long costs no more than one that is allowed."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
import zlib

from lyredb.protocols.http import HttpLimits
from lyredb.protocols.http.frames import Opcode, frame
from lyredb.protocols.websocket.plugin import WebSocketPlugin
from tests.protocols.node import LOGIN, serving

INFLATED = 100_000_000
MAX_BYTES = 32_000_000
MAX_CPU_S = 0.1
SLOWER = 8
"""The measure of time is for a machine at rest; tests run beside others."""

UPGRADE = (
    b"GET /Sensor/a HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n"
)


def bomb() -> bytes:
    """One masked frame that inflates to `INFLATED` zeros (RFC 7692 §7.2.1)."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -12)
    block = bytes(10_000_000)
    parts = [compressor.compress(block) for _ in range(INFLATED // len(block))]
    payload = b"".join((*parts, compressor.flush(zlib.Z_SYNC_FLUSH)))[:-4]
    unmasked = bytearray(frame(Opcode.BINARY, payload))
    head = len(unmasked) - len(payload)
    unmasked[0] |= 0x40  # compressed
    unmasked[1] |= 0x80  # masked, by zeros
    return bytes(unmasked[:head]) + bytes(4) + payload


def test_an_inflated_message_beyond_the_limit_ends_the_connection_cheaply() -> None:
    data = bomb()

    async def body() -> None:
        limits = HttpLimits(deflate=True)
        async with serving(WebSocketPlugin(), limits=limits) as node:
            client = await node.connect()
            client.send(UPGRADE + LOGIN + b"\r\n")
            status, headers = await client.head()
            assert status == 101
            assert "permessage-deflate" in headers["sec-websocket-extensions"]
            tracemalloc.start()
            before = time.process_time()
            try:
                client.send(data)
                answer = await client.reader.read()
                cpu_s = time.process_time() - before
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert (1009).to_bytes(2, "big") in answer
            assert peak < MAX_BYTES, f"{peak} bytes"
            assert cpu_s < MAX_CPU_S * SLOWER, f"{cpu_s} s"

    asyncio.run(body())
