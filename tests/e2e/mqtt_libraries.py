"""Clients of other people under one surface: paho-mqtt, MQTT.js, and mosquitto's tools.

Each is a `Station`: it connects with a session that lasts, subscribes, publishes and waits,
and tells what it heard as `Heard`, with properties under the names of the standard.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.e2e.secure_server import port_of
from tests.e2e.server_process import PASSWORD, USER, ServerProcess

HOUR_S: Final = 3_600
DEADLINE_S: Final = 15.0
TRANSPORTS: Final = ("tcp", "tls", "ws", "wss")
NODE_MODULES: Final = Path(__file__).parents[2] / ".venv" / "node" / "node_modules"
STATION: Final = Path(__file__).parent / "mqtt_js" / "station.cjs"
HAS_MQTT_JS: Final = bool(shutil.which("node")) and (NODE_MODULES / "mqtt").is_dir()
HAS_MOSQUITTO: Final = bool(shutil.which("mosquitto_sub"))

Told: TypeAlias = Mapping[str, object]
"""Properties by paho's names: ``ContentType``, ``UserProperty`` with pairs, and so on."""
NOTHING: Final[Told] = MappingProxyType({})


@dataclass(frozen=True)
class Heard:
    """A message as a client's library handed it over."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Told = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a client connects and how.

    Attributes:
        server: Has all ports.
        transport: One of `TRANSPORTS`.
        version: 3, 4 or 5.
        authority: File of the authority of the server's certificate.
    """

    server: ServerProcess
    transport: str
    version: int
    authority: Path

    @property
    def port(self) -> int:
        if self.transport == "ws":
            return self.server.http_port
        if self.transport == "tcp":
            return self.server.mqtt_port
        return port_of(self.server, {"tls": "mqtts", "wss": "https"}[self.transport])

    @property
    def is_secure(self) -> bool:
        return self.transport in ("tls", "wss")


class Station(Protocol):
    """A client whose session outlives its connections.

    Attributes:
        was_present: The server had its session, at the last `connect`. None: it cannot tell.
    """

    was_present: bool | None

    def connect(self) -> None: ...

    def subscribe(self, filter: str, qos: int, identifier: int = 0) -> None:
        """Subscribe and wait for the answer; v5: with an identifier unless that is 0."""

    def publish(
        self, topic: str, payloads: Sequence[bytes], qos: int, properties: Told = NOTHING
    ) -> None:
        """Publish to the end of each handshake."""

    def hear(self, count: int) -> list[Heard]:
        """The next messages."""

    def leave(self) -> None:
        """Disconnect; the session stays."""


# --- paho-mqtt


class Paho:
    """paho-mqtt for Python: a program that starts anew each time that it connects."""

    def __init__(self, place: Place, name: str) -> None:
        self.was_present: bool | None = None
        self._place = place
        self._name = name
        self._connected: queue.Queue[int] = queue.Queue()
        self._subscribed: queue.Queue[bool] = queue.Queue()
        self._published: queue.Queue[int] = queue.Queue()
        self._messages: queue.Queue[Heard] = queue.Queue()
        self._paho = self._made()

    def _made(self) -> paho.Client:
        place = self._place
        made = paho.Client(
            CallbackAPIVersion.VERSION2,
            self._name,
            clean_session=None if place.version == 5 else False,
            protocol=MQTTProtocolVersion(place.version),
            transport="websockets" if place.transport in ("ws", "wss") else "tcp",
        )
        made.username_pw_set(USER, PASSWORD)
        if place.is_secure:
            made.tls_set(ca_certs=str(place.authority))
        made.on_connect = self._on_connect
        made.on_subscribe = lambda *_: self._subscribed.put(True)
        made.on_publish = lambda c, d, mid, reason, p: self._published.put(reason.value)
        made.on_message = lambda client, data, message: self._messages.put(_of_paho(message))
        return made

    def _on_connect(
        self,
        client: paho.Client,
        data: object,
        flags: paho.ConnectFlags,
        reason: object,
        properties: Properties | None,
    ) -> None:
        self.was_present = None if self._place.version == 3 else flags.session_present
        self._connected.put(reason.value)  # type: ignore[attr-defined]  # paho's own union

    def connect(self) -> None:
        if self._place.version == 5:
            kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
            kept.SessionExpiryInterval = HOUR_S
            self._paho.connect("localhost", self._place.port, clean_start=False, properties=kept)
        else:
            self._paho.connect("localhost", self._place.port)
        self._paho.loop_start()
        assert self._connected.get(timeout=DEADLINE_S) == 0

    def subscribe(self, filter: str, qos: int, identifier: int = 0) -> None:
        if self._place.version == 5:
            named = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]  # paho
            if identifier:
                named.SubscriptionIdentifier = identifier
            self._paho.subscribe(filter, options=SubscribeOptions(qos), properties=named)
        else:
            self._paho.subscribe(filter, qos)
        assert self._subscribed.get(timeout=DEADLINE_S)

    def publish(
        self, topic: str, payloads: Sequence[bytes], qos: int, properties: Told = NOTHING
    ) -> None:
        for number, payload in enumerate(payloads):
            told: Properties | None = None
            if properties:
                told = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho
                for name, value in properties.items():
                    setattr(told, name, value)
            is_known = number and "TopicAlias" in properties
            self._paho.publish("" if is_known else topic, payload, qos, properties=told)
        for _ in payloads:
            assert self._published.get(timeout=DEADLINE_S) in (0, 0x10)

    def hear(self, count: int) -> list[Heard]:
        return [self._messages.get(timeout=DEADLINE_S) for _ in range(count)]

    def leave(self) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()
        self._paho = self._made()  # the old one closes what is left of its sockets now


def _of_paho(message: paho.MQTTMessage) -> Heard:
    # `json` has the names of the standard, and binary data as text.
    told = dict(message.properties.json()) if message.properties else {}  # type: ignore[no-untyped-call]  # paho
    if "UserProperty" in told:
        told["UserProperty"] = [tuple(pair) for pair in told["UserProperty"]]
    if "CorrelationData" in told:
        told["CorrelationData"] = bytes.fromhex(told["CorrelationData"])
    return Heard(message.topic, bytes(message.payload), message.qos, message.retain, told)


# --- MQTT.js


class Node:
    """One process of Node.js, in which all clients of MQTT.js live."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", str(STATION)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"NODE_PATH": str(NODE_MODULES)},
        )
        self.events: dict[str, dict[str, queue.Queue[dict[str, object]]]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            self.events[event["client"]][event["event"]].put(event)

    def tell(self, client: str, command: str, **more: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, "client": client, **more}) + "\n")
        self._process.stdin.flush()

    def open(self, client: str) -> None:
        names = ("connected", "subscribed", "published", "message", "ended", "failed")
        self.events[client] = {name: queue.Queue() for name in names}

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        self._process.stdout.close()


@contextmanager
def node() -> Iterator[Node | None]:
    """Node.js with MQTT.js where both are installed."""
    if not HAS_MQTT_JS:
        yield None
        return
    process = Node()
    try:
        yield process
    finally:
        process.close()


class MqttJs:
    """MQTT.js for Node.js and browsers."""

    def __init__(self, place: Place, name: str, process: Node) -> None:
        self.was_present: bool | None = None
        self._place = place
        self._name = name
        self._node = process
        process.open(name)

    def connect(self) -> None:
        place = self._place
        scheme = {"tcp": "mqtt", "tls": "mqtts"}.get(place.transport, place.transport)
        options: dict[str, object] = {
            "clientId": self._name,
            "username": USER,
            "password": PASSWORD,
            "clean": False,
            "protocolVersion": place.version,
            "protocolId": "MQIsdp" if place.version == 3 else "MQTT",
        }
        if place.version == 5:
            options["properties"] = {"sessionExpiryInterval": HOUR_S, "receiveMaximum": 10}
        url = f"{scheme}://localhost:{place.port}/mqtt"
        ca = str(place.authority) if place.is_secure else ""
        self._node.tell(self._name, "connect", url=url, options=options, ca=ca)
        present = bool(self._next("connected")["present"])
        self.was_present = None if place.version == 3 else present

    def _next(self, event: str) -> dict[str, object]:
        events = self._node.events[self._name]
        try:
            return events[event].get(timeout=DEADLINE_S)
        except queue.Empty:
            why = [] if events["failed"].empty() else [events["failed"].get()]
            raise AssertionError(f"MQTT.js tells of no {event}: {why}") from None

    def subscribe(self, filter: str, qos: int, identifier: int = 0) -> None:
        options: dict[str, object] = {"qos": qos}
        if identifier:
            options["properties"] = {"subscriptionIdentifier": identifier}
        self._node.tell(self._name, "subscribe", filter=filter, options=options)
        assert self._next("subscribed")["codes"] == [qos]

    def publish(
        self, topic: str, payloads: Sequence[bytes], qos: int, properties: Told = NOTHING
    ) -> None:
        told = {_TO_JS[name]: value for name, value in properties.items()}
        if "payloadFormatIndicator" in told:
            told["payloadFormatIndicator"] = bool(told["payloadFormatIndicator"])
        if "correlationData" in told:
            told["correlationData"] = bytes(told["correlationData"]).decode("latin-1")  # type: ignore[call-overload]  # bytes by its name
        for number, payload in enumerate(payloads):
            is_known = number and "topicAlias" in told
            self._node.tell(
                self._name,
                "publish",
                topic="" if is_known else topic,
                payload=payload.decode("latin-1"),
                options={"qos": qos},
                properties=told or None,
            )
        for _ in payloads:
            self._next("published")

    def hear(self, count: int) -> list[Heard]:
        return [_of_js(self._next("message")) for _ in range(count)]

    def leave(self) -> None:
        self._node.tell(self._name, "end")
        self._next("ended")


_TO_JS: Final = {
    "PayloadFormatIndicator": "payloadFormatIndicator",
    "MessageExpiryInterval": "messageExpiryInterval",
    "ContentType": "contentType",
    "ResponseTopic": "responseTopic",
    "CorrelationData": "correlationData",
    "UserProperty": "userProperties",
    "SubscriptionIdentifier": "subscriptionIdentifier",
    "TopicAlias": "topicAlias",
}


def _of_js(event: Mapping[str, object]) -> Heard:
    told = event["properties"]
    assert isinstance(told, dict)
    found = {name: told[js] for name, js in _TO_JS.items() if js in told}
    found["UserProperty"] = [tuple(pair) for pair in found["UserProperty"]]
    if not found["UserProperty"]:
        del found["UserProperty"]
    if "CorrelationData" in found:
        found["CorrelationData"] = found["CorrelationData"].encode("latin-1")
    if "PayloadFormatIndicator" in found:
        found["PayloadFormatIndicator"] = int(found["PayloadFormatIndicator"])
    named = found.get("SubscriptionIdentifier")
    if named is not None:
        found["SubscriptionIdentifier"] = named if isinstance(named, list) else [named]
    qos = event["qos"]
    assert isinstance(qos, int)
    payload = str(event["payload"]).encode("latin-1")
    return Heard(str(event["topic"]), payload, qos, bool(event["retain"]), found)


# --- mosquitto_pub and mosquitto_sub


class Mosquitto:
    """mosquitto_sub and mosquitto_pub: each command is a connection of its own.

    While it is connected it does not listen: `hear` starts a mosquitto_sub with the same
    identifier, which gets what waits and as much more as is asked for.
    """

    def __init__(self, place: Place, name: str) -> None:
        self.was_present: bool | None = None
        self._place = place
        self._name = name
        self._wanted: list[str] = []

    def connect(self) -> None:
        """Nothing: the tools connect when there is something to do."""

    def subscribe(self, filter: str, qos: int, identifier: int = 0) -> None:
        self._wanted = ["-t", filter, "-q", str(qos)]
        if identifier:
            self._wanted += ["-D", "subscribe", "subscription-identifier", str(identifier)]
        done = self._run("mosquitto_sub", *self._kept, *self._wanted, "-E")
        assert done.returncode == 0, done.stderr

    @property
    def _kept(self) -> tuple[str, ...]:
        expiry = ("-x", str(HOUR_S)) if self._place.version == 5 else ()
        return ("-i", self._name, "-c", *expiry)

    def publish(
        self, topic: str, payloads: Sequence[bytes], qos: int, properties: Told = NOTHING
    ) -> None:
        words = [word for name, value in properties.items() for word in _words_of(name, value)]
        done = self._run(
            "mosquitto_pub",
            *("-t", topic, "-q", str(qos), "-l", *words),
            standard_input=b"".join(payload + b"\n" for payload in payloads).decode(),
        )
        assert (done.returncode, done.stderr) == (0, "")

    def hear(self, count: int) -> list[Heard]:
        # %j would be shorter, but has no subscription identifiers in this version.
        done = self._run(
            "mosquitto_sub",
            *(*self._kept, *self._wanted, "-C", str(count), "-W", str(int(DEADLINE_S))),
            *("-F", _SEPARATOR.join(f"%{letter}" for letter in _FORMAT)),
        )
        assert done.returncode == 0, (done.stderr, done.stdout)
        return [_of_mosquitto(line) for line in done.stdout.splitlines()]

    def leave(self) -> None:
        """Nothing: see `connect`."""

    def _run(
        self, command: str, *arguments: str, standard_input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        place = self._place
        version = {3: "mqttv31", 4: "mqttv311", 5: "mqttv5"}[place.version]
        secure = ("--cafile", str(place.authority)) if place.is_secure else ()
        return subprocess.run(
            [
                *(command, "-h", "localhost", "-p", str(place.port), "-V", version),
                *("-u", USER, "-P", PASSWORD, *secure, *arguments),
            ],
            input=standard_input,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE_S,
            check=False,
        )


_SEPARATOR: Final = "|"
_FORMAT: Final = "qrtFECRDSPp"


def _of_mosquitto(line: str) -> Heard:
    values = dict(zip(_FORMAT, line.split(_SEPARATOR), strict=True))
    told: dict[str, object] = {
        name: values[letter] for letter, name in _BY_LETTER.items() if values[letter]
    }
    for name in ("PayloadFormatIndicator", "MessageExpiryInterval"):
        if name in told:
            told[name] = int(str(told[name]))
    if values["S"]:
        told["SubscriptionIdentifier"] = [int(values["S"])]
    if values["P"]:
        told["UserProperty"] = [tuple(pair.split(":", 1)) for pair in values["P"].split(" ")]
    if "CorrelationData" in told:
        told["CorrelationData"] = str(told["CorrelationData"]).encode()
    is_retained = values["r"] == "1"
    return Heard(values["t"], values["p"].encode(), int(values["q"]), is_retained, told)


_BY_LETTER: Final = {
    "F": "PayloadFormatIndicator",
    "E": "MessageExpiryInterval",
    "C": "ContentType",
    "R": "ResponseTopic",
    "D": "CorrelationData",
}
_TO_WORDS: Final = {
    "PayloadFormatIndicator": "payload-format-indicator",
    "MessageExpiryInterval": "message-expiry-interval",
    "ContentType": "content-type",
    "ResponseTopic": "response-topic",
    "CorrelationData": "correlation-data",
    "TopicAlias": "topic-alias",
}


def _words_of(name: str, value: object) -> list[str]:
    """The ``-D`` of a property."""
    if name == "UserProperty":
        assert isinstance(value, list)
        return [
            word
            for key, text in value
            for word in ("-D", "publish", "user-property", str(key), str(text))
        ]
    text = value.decode() if isinstance(value, bytes) else str(value)
    return ["-D", "publish", _TO_WORDS[name], text]
