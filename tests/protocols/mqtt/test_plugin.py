"""The plugin: real sockets on loopback, upgrades, settings, and an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from lyredb.errors import SettingError
from lyredb.formats import CBOR
from lyredb.plugins.scope import Scope
from lyredb.plugins.settings import SettingValue
from lyredb.protocols.http.listen import bind_socket
from lyredb.protocols.http.request import Request
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.plugin import MqttPlugin
from lyredb.protocols.mqtt.settings import MQTT_SETTINGS
from lyredb.protocols.mqtt.upgrade import Upgrades
from lyredb.protocols.net.addresses import is_loopback
from lyredb.resources.database import Database
from lyredb.security.authenticator import Authenticator
from lyredb.sessions.claims_service import ClaimsService
from lyredb.storage.remote.local import LocalCalls
from lyredb.storage.sequencer import Sequencer
from tests.protocols.http.harness import a_network
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import (
    FakeAuthenticator,
    FakeDatabase,
    FakeTransport,
    Harness,
    run,
)
from tests.sessions.streams import FakeWriter

DEADLINE_S = 5
PLAIN = "mqtt.network.port"


class FakeSettings:
    def __init__(self, **changed: SettingValue) -> None:
        self._values = {row.name: row.default for row in MQTT_SETTINGS}
        self._values["mqtt.network.port"] = 0
        self._values["mqtt.sysInterval"] = 0  # the fake database has no numbers
        self._values.update({name.replace("__", "."): value for name, value in changed.items()})

    def flag(self, name: str) -> bool:
        return bool(self._values[name])

    def integer(self, name: str) -> int:
        return int(self._values[name])

    def seconds(self, name: str) -> float:
        return float(self._values[name])

    def text(self, name: str) -> str:
        return str(self._values[name])

    def values(self) -> Mapping[str, SettingValue]:
        return self._values


@dataclass
class FakeHttp:
    authentication: object = None
    upgrades: dict[str, Callable[..., object]] = field(default_factory=dict)

    def mount(self, name: str, predicate: Any, handler: Any, **more: Any) -> None:
        raise AssertionError("MQTT mounts nothing")

    def upgrade(self, subprotocol: str, factory: Callable[..., object]) -> None:
        self.upgrades[subprotocol] = factory


@dataclass
class Listening:
    plugin: MqttPlugin
    database: FakeDatabase
    http: FakeHttp
    port: int


async def listen(*, authorize_local: bool = False, **changed: SettingValue) -> Listening:
    database = FakeDatabase(asyncio.get_running_loop())
    http = FakeHttp()
    plugin = MqttPlugin()
    loop = asyncio.get_running_loop()
    local = LocalCalls(loop)
    ClaimsService(local.service, cast(Sequencer, FakeWriter()), call_later=loop.call_later)
    plugin.prepare(
        Scope(
            settings=FakeSettings(**changed),
            resources=cast(Database, database),
            authenticator=cast(Authenticator, FakeAuthenticator()),
            http=http,
            host="127.0.0.1",
            listeners=lambda name: (bind_socket("127.0.0.1", 0),) if name == PLAIN else (),
            network=a_network(),
            on_reload=lambda apply: None,
            calls=local.calls,
            authorize_local=authorize_local,
        )
    )
    (address,) = await plugin.start()
    assert str(address) == f"mqtt://127.0.0.1:{address.port}"
    return Listening(plugin, database, http, address.port)


class Socket:
    """A client's end of a TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._data = b""

    async def receive(self, version: int = 4) -> client.Received | None:
        """The next packet, None at the end of the stream."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                packets, _ = client.split_whole(self._data, version)
                if packets:
                    whole = len(packets[0].body)
                    self._data = self._data[1 + len(client.remaining_length(whole)) + whole :]
                    return packets[0]
                more = await self._reader.read(65_536)
                if not more:
                    return None
                self._data += more

    def send(self, *frames: bytes) -> None:
        self._writer.write(b"".join(frames))


@asynccontextmanager
async def tcp(port: int, *frames: bytes) -> AsyncIterator[Socket]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    socket = Socket(reader, writer)
    socket.send(*frames)
    try:
        yield socket
    finally:
        writer.close()
        await writer.wait_closed()


def test_a_client_over_tcp_subscribes_and_hears_itself() -> None:
    async def body() -> None:
        listening = await listen()
        async with tcp(
            listening.port,
            client.connect(4, username="alice", password=b"right"),
            client.subscribe("open/a"),
            client.publish("open/a", b"hello"),
        ) as socket:
            packets = [await socket.receive() for _ in range(3)]
        assert [packet.kind for packet in packets if packet is not None] == [2, 9, 3]
        assert packets[2] is not None
        assert packets[2].payload == b"hello"
        await asyncio.wait_for(listening.plugin.stop(2.0), DEADLINE_S)

    run(body)


@pytest.mark.parametrize(("authorize_local", "code"), [(True, 0), (False, 5)])
def test_loopback_without_credentials_is_let_in_by_the_rule_only(
    authorize_local: bool, code: int
) -> None:
    async def body() -> None:
        listening = await listen(authorize_local=authorize_local)
        async with tcp(listening.port, client.connect(4)) as socket:
            connack = await socket.receive()
        assert connack is not None
        assert connack.reason == code
        await asyncio.wait_for(listening.plugin.stop(2.0), DEADLINE_S)

    run(body)


def test_stop_says_goodbye_and_leaves_no_socket() -> None:
    """v5 0x8B, then the end of the stream; afterwards nobody listens."""

    async def body() -> None:
        listening = await listen(authorize_local=True)
        async with tcp(listening.port, client.connect(5)) as socket:
            assert await socket.receive(5)
            stopping = asyncio.create_task(listening.plugin.stop(2.0))
            goodbye = await socket.receive(5)
            assert goodbye is not None
            assert (goodbye.kind, goodbye.reason) == (14, 0x8B)
            assert await socket.receive(5) is None
        await asyncio.wait_for(stopping, DEADLINE_S)
        assert listening.plugin.statistics().connections == 0
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", listening.port)

    run(body)


def test_web_sockets_are_taken_unless_the_setting_says_no() -> None:
    async def body() -> None:
        for wanted in (True, False):
            listening = await listen(mqtt__webSocket=wanted)
            assert list(listening.http.upgrades) == (["mqtt", "mqttv3.1"] if wanted else [])
            await listening.plugin.stop(1.0)

    run(body)


class FakeUpgradedTransport(FakeTransport):
    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert isinstance(data, bytes), "the framer masks nothing and takes bytes only"
        super().write(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert low is not None
        assert high > low

    def is_closing(self) -> bool:
        return self.is_closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


def upgrade_request(*headers: tuple[bytes, bytes], peer: str = "127.0.0.1") -> Request:
    async def nothing(*_: object) -> Any:
        raise AssertionError("no ASGI message is exchanged")

    scope = {
        "type": "websocket",
        "extensions": {},
        "query_string": b"",
        "headers": list(headers),
        "client": (peer, 1),
    }
    return Request(scope, nothing, nothing)


def test_an_upgraded_connection_uses_the_formats_and_the_account_of_its_request() -> None:
    async def body() -> None:
        harness = Harness()
        transport = FakeUpgradedTransport()
        request = upgrade_request(
            (b"accept", b"application/cbor"), (b"content-type", b"application/cbor")
        )
        upgrades = Upgrades(harness.service, authorize_local=False)
        connection = upgrades(transport, request, FakeAuthenticator.local)
        text = harness.connected(4, "text")
        text.send(client.subscribe("open/a"))
        text.take()
        connection.feed(client.connect(4) + client.subscribe("open/a"))
        connection.feed(client.publish("open/a", CBOR.encode({"v": 1})))
        await harness.tick()
        *_, message = client.split(bytes(transport.data))
        assert CBOR.decode(message.payload) == {"v": 1}
        assert [packet.payload for packet in text.take()] == [b'{"v":1}']
        connection.shutdown()
        assert transport.is_closed

    run(body)


@pytest.mark.parametrize(
    ("authorize_local", "peer", "code"),
    [(True, "127.0.0.1", 0), (True, "192.0.2.1", 5), (False, "127.0.0.1", 5)],
)
def test_the_loopback_rule_holds_for_upgrades_too(
    authorize_local: bool, peer: str, code: int
) -> None:
    async def body() -> None:
        harness = Harness()
        transport = FakeUpgradedTransport()
        upgrades = Upgrades(harness.service, authorize_local=authorize_local)
        upgrades(transport, upgrade_request(peer=peer), None).feed(client.connect(4))
        harness.streams.run()
        assert [packet.reason for packet in client.split(bytes(transport.data))] == [code]

    run(body)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("10.0.0.1", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_loopback_is_decided_by_address(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_defaults_of_settings_and_limits_agree() -> None:
    """The settings table is the truth; `Limits` repeats its defaults for tests."""
    assert Limits.of(FakeSettings()) == Limits()


def test_every_setting_has_a_sentence_and_a_default_that_is_allowed() -> None:
    for row in MQTT_SETTINGS:
        assert row.sentence.endswith(".")
        assert row.parse(row.default) == row.default
    with pytest.raises(SettingError):
        next(row for row in MQTT_SETTINGS if row.name == "mqtt.onQueueFull").parse("explode")


def test_certificates_that_nobody_is_asked_for_are_refused() -> None:
    """The plain port would be open to all, to whom a certificate was thought to be needed."""

    async def body() -> None:
        with pytest.raises(SettingError, match=r"mqtt\.network\.securePort is off"):
            await listen(mqtt__network__mtls="required")

    run(body)
