"""What an ACL file gives here is what mosquitto itself gives by it, tried against mosquitto."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from lyredb.operations.mosquitto_files import read_access_file, role_of, roles_of
from lyredb.security.topics import TopicRights, TopicRules
from tests.protocols.mqtt import client_frames as frames

DEADLINE_S: Final = 15
ACL: Final = """topic read public/+

user admin
topic readwrite #

user alice
topic alice/#
topic deny alice/secret/#
topic read a b/c
topic write up/%u
topic read /+/x

pattern write sensor/%u/data
pattern readwrite dev/%c/#
pattern read mixed/%u/%c
pattern read end
"""
PLACES: Final = (
    "public/a", "alice", "alice/x", "alice/secret", "alice/secret/x", "a b/c", "a", "up/%u",
    "up/alice", "/1/x", "/x", "sensor/alice/data", "sensor/bob/data", "dev/c1", "dev/c1/x",
    "dev/c2/x", "mixed/alice/c1", "mixed/bob/c1", "mixed/bob/c2", "x/y", "/",
)  # fmt: skip
CLIENTS: Final = (("alice", "c1"), ("bob", "c1"), ("bob", "c2"), ("bob", "a/b"), ("alice", "x.y"))

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto") is None or shutil.which("mosquitto_passwd") is None,
    reason="needs mosquitto",
)


class Client:
    """One MQTT 5 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._rest = b""
        self._waiting: list[frames.Received] = []

    async def until(self, kind: int) -> frames.Received:
        while True:
            while self._waiting:
                packet = self._waiting.pop(0)
                if packet.kind == kind:
                    return packet
            data = await self._reader.read(65_536)
            if not data:
                raise EOFError
            self._waiting, self._rest = frames.split_whole(self._rest + data, 5)


@asynccontextmanager
async def client(port: int, user: str, client_id: str) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        made = Client(reader, writer)
        writer.write(frames.connect(5, client_id, username=user, password=user.encode()))
        assert (await made.until(2)).reason == 0
        yield made
    finally:
        writer.transport.abort()


def write_files(folder: Path) -> None:
    """The ACL, and a password for each user, which is its name."""
    for number, user in enumerate(("admin", "alice", "bob")):
        more = () if number else ("-c",)
        command = ("mosquitto_passwd", *more, "-b", str(folder / "pw"), user, user)
        subprocess.run(command, check=True, capture_output=True)
    (folder / "acl").write_text(ACL)


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[int]:
    """mosquitto with these files; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\n"
        f"password_file {folder / 'pw'}\nacl_file {folder / 'acl'}\nuser root\n"
    )
    process = await asyncio.create_subprocess_exec(
        "mosquitto", "-c", str(folder / "conf"), stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        async for line in process.stderr:
            if b"running" in line:
                break
        yield port
    finally:
        process.terminate()
        await process.communicate()


async def written(port: int, user: str, client_id: str) -> set[str]:
    """The topics that mosquitto lets a client publish to."""
    may: set[str] = set()
    async with client(port, user, client_id) as one:
        for topic in PLACES:
            one.writer.write(frames.publish(topic, b"1", version=5, qos=1))
            if (await one.until(4)).reason != 0x87:
                may.add(topic)
    return may


async def read(port: int, user: str, client_id: str) -> set[str]:
    """The topics of which mosquitto tells a client that wants all."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(client(port, user, client_id))
        one.writer.write(frames.subscribe("#", version=5))
        await one.until(9)
        admin = await stack.enter_async_context(client(port, "admin", "admin"))
        for topic in (*PLACES, "end"):
            admin.writer.write(frames.publish(topic, b"1", version=5))
        may: set[str] = set()
        while "end" not in may:
            may.add((await one.until(3)).topic)
    return may - {"end"}


def ours(folder: Path) -> Mapping[tuple[str, str], TopicRights]:
    access = read_access_file(folder / "acl")
    roles = roles_of(access, ["admin", "alice", "bob"])
    return {
        (user, client_id): TopicRules(roles[role_of(access, user)]).bound(user, client_id)
        for user, client_id in CLIENTS
    }


def test_what_mosquitto_lets_clients_do_is_what_the_roles_say(tmp_path: Path) -> None:
    """Publishing and reading, for users with and without lines, and several identifiers.

    The identifier ``a/b`` is what differs on purpose: mosquitto puts it into patterns as it
    is, so that it reaches topics below those of the client ``a``.
    """

    write_files(tmp_path)

    async def body() -> None:
        async with asyncio.timeout(DEADLINE_S), broker(tmp_path) as port:
            for (user, client_id), rights in ours(tmp_path).items():
                reads = {topic for topic in PLACES if rights.may_all("read", topic)}
                writes = {topic for topic in PLACES if rights.may_all("write", topic)}
                assert await written(port, user, client_id) == writes, (user, client_id)
                assert await read(port, user, client_id) == reads, (user, client_id)

    asyncio.run(body())
