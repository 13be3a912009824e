"""What a message costs that goes through the log: CPU of worker and writer together.

    .venv/bin/python bench/logged.py [SECONDS] [--profile NAME]

Batches of messages, as one read of a socket gives them, go to `Database.log`; each waits for
the one before. Worker and writer share one event loop here but talk over their real stream,
so that the time of this process is that of both. No clients and no sockets to them.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from lyredb.errors import LyreError
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Batch
from lyredb.plugins.delivery import Message as AnyMessage
from lyredb.resources.logged import LoggedMessage
from lyredb.resources.requests import SubscribeOptions
from lyredb.security.principals import SUPER_USER
from lyredb.server.node import Node
from lyredb.server.store import Store
from lyredb.sessions.terms import Description, StoredSubscription
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.remote.client import RemoteWriter
from lyredb.storage.remote.service import WriterService
from lyredb.storage.sequencer import settling
from lyredb.tables.sdl import parse_sdl

PAYLOAD = b"x" * 64
CONTEXT = Context(SUPER_USER, "mqtt", user="device", session=7)


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        batch: Messages in one call.
        topics: They go to so many, in turn.
        readers: That listen to all of it live.
        remote: The writer is at the other end of a stream.
    """

    batch: int
    topics: int = 1
    readers: int = 0
    remote: bool = True

    @property
    def name(self) -> str:
        where = "stream" if self.remote else "inline"
        return f"{where}-{self.batch}-{self.topics}t-{self.readers}r"


CASES = [
    Case(batch, topics, readers, remote)
    for remote in (False, True)
    for batch, topics, readers in (
        (1, 1, 0),
        (16, 1, 0),
        (50, 1, 0),
        (50, 50, 0),
        (50, 1, 1),
        (100, 1, 0),
        (100, 100, 0),
        (1000, 10, 0),
    )
]


@dataclass(frozen=True)
class Frames:
    """Frames as bytes."""

    raw: str = "m4"
    takes_messages: bool = False

    def frame(
        self, message: AnyMessage, *, qos: int, retain: bool, ids: tuple[int, ...]
    ) -> tuple[bytes, int]:
        return b"\x32" + message.topic + b"\x00\x00" + PAYLOAD, 1 + len(message.topic)


class Sink:
    """A subscriber that takes everything."""

    is_congested = False

    def write(self, batch: Batch) -> None:
        pass

    def write_messages(self, messages: Sequence[AnyMessage]) -> None:
        pass

    def close(self, reason: Exception) -> None:
        """The node ends it."""


@asynccontextmanager
async def opened(path: Path, *, remote: bool) -> AsyncIterator[Node]:
    """A node, with the writer behind a stream or not."""
    if not remote:
        node = Node.open(path, parse_sdl(""), open_topics=True)
        yield node
        await node.close()
        return
    loop = asyncio.get_running_loop()
    store = Store.open(path, parse_sdl(""))
    service = WriterService(store.engine, store.writer, loop=loop)
    client = RemoteWriter(store.engine, 1, loop=loop)
    ours, theirs = socket.socketpair()
    service.attach(1, ours)
    client.attach(theirs)
    while not client.is_attached:  # noqa: ASYNC110  # it has no event
        await asyncio.sleep(0)
    node = Node(store.engine, client, store.catalogue, client.calls, open_topics=True)
    client.before_send = node.hub.flush_to_peers
    node.hub.tail_may_lead = True
    yield node
    await node.close()
    service.close()
    await store.close()


async def know_session(node: Node) -> None:
    """Have a durable session that is away, which wants everything."""
    described = Description("away", "", 1, 1, 60, False, 0, (StoredSubscription("#", 1),))
    key = encode_key("client/away")
    body = msgspec.msgpack.encode(described)
    applied = await node.writer.commit([Mutation(SESSION_SLOT, key, Kind.PUT, body)])
    node.tail.advance_to(applied.position)


async def run(case: Case, seconds: float, profile: cProfile.Profile | None) -> float:
    """Return microseconds of CPU per message."""
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder) / "data", remote=case.remote) as node:
            await know_session(node)
            for _ in range(case.readers):
                options = SubscribeOptions(Frames(), qos=1, omit_current=True)
                node.database.subscribe("#", Sink(), CONTEXT, options).start()
            ingress = node.database.ingress(CONTEXT, "m4")
            topics = [b"site/%d/value" % number for number in range(case.topics)]

            async def one() -> None:
                paths = ingress.paths
                batch = [
                    LoggedMessage((paths.get(topic) or ingress.path(topic)).destination, PAYLOAD)
                    for topic in (topics * case.batch)[: case.batch]
                ]
                done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                node.database.log(batch, CONTEXT, settling(done))
                result: int | LyreError = await done
                assert isinstance(result, int)

            for _ in range(20):
                await one()
            if profile is not None:
                profile.enable()
            count = 0
            end, begun = time.monotonic() + seconds, time.process_time()
            while time.monotonic() < end:
                await one()
                count += case.batch
            used = time.process_time() - begun
            if profile is not None:
                profile.disable()
            return 1e6 * used / count


def main() -> None:
    """Run all cases, or profile one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=0.5)
    parser.add_argument("--profile", metavar="NAME")
    given = parser.parse_args()
    for case in CASES:
        if given.profile and case.name != given.profile:
            continue
        profile = cProfile.Profile() if given.profile else None
        cost = uvloop.run(run(case, given.seconds, profile))
        print(f"{case.name:24} {cost:7.2f} us of CPU a message")
        if profile is not None:
            pstats.Stats(profile).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    main()
