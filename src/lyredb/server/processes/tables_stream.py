"""Tables from the supervisor to the writer, over a stream: they may be larger than a message."""

from __future__ import annotations

import asyncio
import socket

import msgspec

from lyredb.tables.schema import Schema, TableSchema

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[TableSchema, ...]).decode


async def send_tables(stream: socket.socket, schema: Schema) -> None:
    """Send the tables of a schema, and close the stream.

    A receiver that is gone is no error here: who takes its place is told again.
    """
    with stream:
        try:
            await asyncio.get_running_loop().sock_sendall(stream, _encode(schema.tables))
        except OSError:
            return


async def receive_tables(stream: socket.socket) -> Schema:
    """Return what was sent.

    Raises:
        msgspec.DecodeError: The sender has ended in the middle.
    """
    loop, parts = asyncio.get_running_loop(), []
    with stream:
        while part := await loop.sock_recv(stream, 1 << 16):
            parts.append(part)
    return Schema(_decode(b"".join(parts)))
