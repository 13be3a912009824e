"""The yardstick for REST: a bare ASGI handler on uvicorn with httptools and uvloop.

It does what any server must do for such a request, and nothing else: check Basic
credentials in a dict, look the record up in LMDB (or decode the body), encode JSON, send
an ETag. Frozen: when it changes, earlier figures mean nothing any more, so it is not
made faster or slower together with LyreDB.

``--put parse`` only decodes the body of a PUT; ``--put commit`` also writes it, all of
one tick in one LMDB transaction, and answers after its fsync.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import uvicorn

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX = b"/Bench/"
HEADER_BYTES = 20
"""Before a stored MessagePack body: version and three more fields, as LyreDB stores."""
MAP_BYTES = 1 << 30
REQUESTS_BEFORE_COMMIT = 2_000


class Store:
    """Records in LMDB; ``put`` returns after the group's fsync."""

    def __init__(self, folder: Path) -> None:
        self._environment = lmdb.open(str(folder), map_size=MAP_BYTES, max_dbs=8)
        self._records = self._environment.open_db(b"r4")
        self._waiting: list[tuple[bytes, bytes, asyncio.Future[None]]] = []

    def fill(self, records: int, text: str) -> None:
        """Store so many records with consecutive keys, as the load asks for them."""
        with self._environment.begin(db=self._records, write=True) as transaction:
            for number in range(records):
                body = msgspec.msgpack.encode({"seq": number, "text": text})
                transaction.put(b"k%05d" % number, stamp() + body)

    def get(self, key: bytes) -> bytes | None:
        """Return the stored bytes, or None."""
        with self._environment.begin(db=self._records) as transaction:
            found: bytes | None = transaction.get(key)
            return found

    async def put(self, key: bytes, value: bytes) -> None:
        """Store together with everything else that arrives in this tick."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((key, value, done))
        if len(self._waiting) == 1:
            loop.call_soon(self._commit)
        await done

    def _commit(self) -> None:
        group = self._waiting[:REQUESTS_BEFORE_COMMIT]
        del self._waiting[:REQUESTS_BEFORE_COMMIT]
        with self._environment.begin(db=self._records, write=True) as transaction:
            for key, value, _ in group:
                transaction.put(key, value)
        for *_, done in group:
            done.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._commit)


def stamp() -> bytes:
    """Return the header of a record that is stored now."""
    return (time.time_ns() // 1_000_000 * 4096).to_bytes(8, "big") + bytes(HEADER_BYTES - 8)


def etag(header: bytes) -> bytes:
    """Return the quoted ETag of a version."""
    return b'"' + base64.urlsafe_b64encode(header[:8])[:11] + b'"'


class Handler:
    """The ASGI application."""

    def __init__(self, store: Store, accounts: dict[bytes, str], *, commits: bool) -> None:
        self._store, self._accounts, self._commits = store, accounts, commits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        credentials = next((v for k, v in scope["headers"] if k == b"authorization"), b"")
        path: bytes = scope["raw_path"]
        if credentials not in self._accounts:
            await answer(send, 401, [(b"www-authenticate", b"Basic")])
        elif not path.startswith(PREFIX):
            await answer(send, 404, [])
        elif scope["method"] == "PUT":
            await self._put(path[len(PREFIX) :], receive, send)
        else:
            await self._get(path[len(PREFIX) :], send)

    async def _get(self, key: bytes, send: Send) -> None:
        stored = self._store.get(key)
        if stored is None:
            await answer(send, 404, [])
            return
        record = msgspec.msgpack.decode(stored[HEADER_BYTES:])
        body = msgspec.json.encode({"id": key.decode(), **record})
        await answer(send, 200, [(b"etag", etag(stored))], body)

    async def _put(self, key: bytes, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        record = msgspec.json.decode(body)
        header = stamp()
        if self._commits:
            await self._store.put(key, header + msgspec.msgpack.encode(record))
        await answer(send, 204, [(b"etag", etag(header))])


async def answer(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b""
) -> None:
    """Send a whole response."""
    if status != 204:
        headers += [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Server(uvicorn.Server):
    """Says on standard output, in one line of JSON, that it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        port = sockets[0].getsockname()[1]
        print(json.dumps({"ready": True, "http": f"http://127.0.0.1:{port}"}), flush=True)


def main() -> None:
    """Serve on a free loopback port until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--credentials", required=True)
    parser.add_argument("--put", choices=["parse", "commit"], default="parse")
    options = parser.parse_args()
    store = Store(options.data)
    store.fill(options.records, options.text)
    basic = b"Basic " + base64.b64encode(options.credentials.encode())
    handler = Handler(store, {basic: "bench"}, commits=options.put == "commit")
    configuration = uvicorn.Config(
        handler,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    Server(configuration).run(sockets=[listener])


if __name__ == "__main__":
    main()
