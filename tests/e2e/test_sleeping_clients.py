"""Clients that sleep while messages come and the server is killed, with other people's clients.

What was published with QoS 1 and 2, and what was written over REST, is there when they wake:
each once, in order, whichever protocol version they speak.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.e2e.clients import DEADLINE_S, MqttClient, rest
from tests.e2e.server_process import (
    PASSWORD,
    SCHEMA,
    USER,
    ServerProcess,
    start_server,
)

V31, V311, V5 = (
    MQTTProtocolVersion.MQTTv31,
    MQTTProtocolVersion.MQTTv311,
    MQTTProtocolVersion.MQTTv5,
)
HOUR_S = 3600


class Sleeper(MqttClient):
    """A client of paho whose session lasts."""

    def __init__(self, server: ServerProcess, client_id: str, version: MQTTProtocolVersion) -> None:
        super().__init__(server, version=version, client_id=client_id)
        if version != V5:
            self.paho = _of_old(client_id, version, self.paho)
        self.was_present = False
        self._version = version
        on_connect = self.paho.on_connect
        assert on_connect is not None

        def connected(
            client: paho.Client,
            data: object,
            flags: paho.ConnectFlags,
            reason: object,
            properties: Properties | None,
        ) -> None:
            self.was_present = flags.session_present
            on_connect(client, data, flags, reason, properties)  # type: ignore[call-arg, arg-type]  # paho types its three forms as one

        self.paho.on_connect = connected

    def connect(self, **options: object) -> int:
        """Connect, and keep what there is."""
        if self._version == V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
            properties.SessionExpiryInterval = HOUR_S
            self.paho.connect(
                "127.0.0.1",
                self._server.mqtt_port,
                clean_start=False,
                properties=properties,
            )
        else:
            self.paho.connect("127.0.0.1", self._server.mqtt_port)
        self.paho.loop_start()
        return self.connected.get(timeout=DEADLINE_S)


def _of_old(client_id: str, version: MQTTProtocolVersion, like: paho.Client) -> paho.Client:
    """The same client with Clean Session 0."""
    made = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, clean_session=False
    )
    made.username_pw_set(USER, PASSWORD)
    made.on_connect, made.on_message = like.on_connect, like.on_message
    made.on_subscribe, made.on_publish = like.on_subscribe, like.on_publish
    made.on_disconnect = like.on_disconnect
    return made


def mosquitto_sub(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``mosquitto_sub -c`` with QoS 2, which prints RETAIN, QoS and payload of each message."""
    return subprocess.run(
        [
            *("mosquitto_sub", "-h", "127.0.0.1", "-p", str(server.mqtt_port)),
            *("-u", USER, "-P", PASSWORD, "-i", "mosquitto", "-c", "-q", "2"),
            *("-t", "Sensor/#", "-F", "%r %q %p", *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@contextmanager
def application() -> Iterator[tuple[Path, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder) / "app"
        app.mkdir()
        (app / "schema.graphql").write_text(SCHEMA)
        yield app, Path(folder) / "data"


def publish(server: ServerProcess, numbers: Sequence[int]) -> list[tuple[str, int]]:
    """Publish with QoS 1 and 2 and write over REST, in turns; what readers are to be told."""
    expected: list[tuple[str, int]] = []
    with MqttClient(server) as publisher, rest(server) as http:
        for number in numbers:
            qos = 1 + number % 2
            assert publisher.publish("Sensor/hall", b"%d" % number, qos=qos) == 0
            expected.append((f"{number}", qos))
            if number % 3 == 0:
                http.put("/Sensor/hall", json={"value": number}).raise_for_status()
                expected.append((f'{{"id":"hall","value":{number}}}', 1))
    return expected


def heard(sleeper: MqttClient, count: int) -> list[tuple[str, int]]:
    messages = [sleeper.next() for _ in range(count)]
    return [(bytes(message.payload).decode(), message.qos) for message in messages]


def assert_heard(told: list[tuple[str, int]], expected: list[tuple[str, int]]) -> None:
    """Everything once, in order. These clients hand QoS 2 over at its PUBREL, hence by QoS."""
    for qos in (1, 2):
        assert [one for one in told if one[1] == qos] == [one for one in expected if one[1] == qos]


def test_messages_and_records_wait_for_sleeping_clients_through_a_kill() -> None:
    with application() as (app, data):
        server = start_server(app, data)
        try:
            for client_id, version in (("old", V31), ("older", V311), ("new", V5)):
                with Sleeper(server, client_id, version) as sleeper:
                    assert not sleeper.was_present
                    assert sleeper.subscribe("Sensor/#", qos=2) == [2]
            assert mosquitto_sub(server, "-E").returncode == 0
            expected = publish(server, range(6))
            server.kill()
        finally:
            _end(server)
        server = start_server(app, data)
        try:
            expected += publish(server, range(6, 12))
            for client_id, version in (("old", V31), ("older", V311), ("new", V5)):
                _wakes(server, client_id, version, expected)
            # It subscribes again, as most clients do, and gets the current state once more.
            told = mosquitto_sub(server, "-C", str(len(expected) + 1), "-W", "10")
            assert told.returncode == 0, told.stderr
            lines = [line.split(" ", 2) for line in told.stdout.splitlines()]
            changes = [(payload, int(qos)) for retain, qos, payload in lines if retain == "0"]
            assert_heard(changes, expected)
            # QoS 2 has its last PUBCOMP outstanding, perhaps; nothing else may come again.
            again = mosquitto_sub(server, "-W", "1")
            assert [line[0] for line in again.stdout.splitlines()] == ["1"]
        finally:
            server.kill()
            _end(server)


def _wakes(
    server: ServerProcess,
    client_id: str,
    version: MQTTProtocolVersion,
    expected: list[tuple[str, int]],
) -> None:
    with Sleeper(server, client_id, version) as sleeper:
        assert sleeper.was_present or version == V31  # which has no word for it
        assert_heard(heard(sleeper, len(expected)), expected)
        _assert_no_more(server, sleeper)
    with Sleeper(server, client_id, version) as sleeper:
        _assert_no_more(server, sleeper)


def _assert_no_more(server: ServerProcess, sleeper: Sleeper) -> None:
    """What is published now comes next; by then the client has answered all that came before."""
    assert sleeper.subscribe("Counter/#", qos=0) == [0]
    with MqttClient(server) as publisher:
        publisher.publish("Counter/7", b"end")
    assert bytes(sleeper.next().payload) == b"end"
    sleeper.paho.unsubscribe("Counter/#")


def _end(server: ServerProcess) -> None:
    if server.process.poll() is None:
        server.kill()
    assert server.process.stdout is not None
    server.process.stdout.close()
