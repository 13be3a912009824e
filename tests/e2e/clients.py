"""Real clients for end-to-end tests, each with a queue and deadlines."""

from __future__ import annotations

import base64
import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from websockets.sync.client import ClientConnection, connect

from tests.e2e.server_process import PASSWORD, USER, ServerProcess

DEADLINE_S = 10
QUIET_S = 0.5
"""How long nothing must arrive to say that nothing does; only after a later marker."""

AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class MqttClient:
    """paho-mqtt with its messages, acknowledgements and end in queues."""

    def __init__(
        self,
        server: ServerProcess,
        *,
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311,
        client_id: str = "",
        user: str = USER,
        password: str = PASSWORD,
    ) -> None:
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.subscribed: queue.Queue[list[int]] = queue.Queue()
        self.published: queue.Queue[tuple[int, int]] = queue.Queue()
        self.connected: queue.Queue[int] = queue.Queue()
        self.ended: queue.Queue[int] = queue.Queue()
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version)
        self.paho.username_pw_set(user, password)
        self.paho.on_connect = self._on_connect
        self.paho.on_message = lambda client, data, message: self.messages.put(message)
        self.paho.on_subscribe = self._on_subscribe
        self.paho.on_publish = self._on_publish
        self.paho.on_disconnect = self._on_disconnect
        self._server = server

    def _on_connect(
        self,
        client: paho.Client,
        data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self.connected.put(reason.value)

    def _on_subscribe(
        self,
        client: paho.Client,
        data: object,
        packet: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        self.subscribed.put([reason.value for reason in reasons])

    def _on_publish(
        self,
        client: paho.Client,
        data: object,
        packet: int,
        reason: ReasonCode,
        properties: Properties,
    ) -> None:
        self.published.put((packet, reason.value))

    def _on_disconnect(
        self,
        client: paho.Client,
        data: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self.ended.put(reason.value)

    def __enter__(self) -> Self:
        self.connect()
        return self

    def connect(self, **options: object) -> int:
        """Connect and return the reason code."""
        self.paho.connect("127.0.0.1", self._server.mqtt_port, keepalive=30)
        self.paho.loop_start()
        return self.connected.get(timeout=DEADLINE_S)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def subscribe(self, topic: str, qos: int = 1) -> list[int]:
        self.paho.subscribe(topic, qos)
        return self.subscribed.get(timeout=DEADLINE_S)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> int:
        """Publish; for QoS 1 wait for the acknowledgement and return its reason code."""
        self.paho.publish(topic, payload, qos=qos, retain=retain)
        return self.published.get(timeout=DEADLINE_S)[1]

    def next(self) -> paho.MQTTMessage:
        return self.messages.get(timeout=DEADLINE_S)


@dataclass
class SseEvent:
    """One event of a stream as a browser would see it."""

    event: str = "message"
    id: str = ""
    data: str = ""

    @property
    def envelope(self) -> dict[str, object]:
        parsed = json.loads(self.data)
        assert isinstance(parsed, dict)
        return parsed


@dataclass
class SseClient:
    """A stream of events read by a thread."""

    events: queue.Queue[SseEvent | None] = field(default_factory=queue.Queue)

    def next(self) -> SseEvent:
        event = self.events.get(timeout=DEADLINE_S)
        assert event is not None, "the stream has ended"
        return event

    def until_ready(self) -> list[SseEvent]:
        """The events of the current state, up to the ready mark."""
        events: list[SseEvent] = []
        while (event := self.next()).event != "ready":
            events.append(event)
        return events

    def read(self, response: httpx.Response) -> None:
        event = SseEvent()
        try:
            for line in response.iter_lines():
                event = self._take(line, event)
        except (httpx.HTTPError, httpx.StreamError):
            self.events.put(None)
            return
        self.events.put(None)

    def _take(self, line: str, event: SseEvent) -> SseEvent:
        if not line:
            if event.data or event.event != "message":
                self.events.put(event)
            return SseEvent(id=event.id)
        name, _, value = line.partition(": ")
        match name:
            case "event":
                event.event = value
            case "id":
                event.id = value
            case "data":
                event.data = f"{event.data}\n{value}" if event.data else value
            case _:
                pass  # comments and the retry time
        return event


@contextmanager
def sse(server: ServerProcess, path: str, last_event_id: str = "") -> Iterator[SseClient]:
    """Open a stream; leaving it closes the connection."""
    headers = {"Accept": "text/event-stream", "Authorization": AUTHORIZATION}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    client = SseClient()
    with (
        httpx.Client(timeout=httpx.Timeout(DEADLINE_S, read=60)) as http,
        http.stream("GET", server.http + path, headers=headers) as response,
    ):
        assert response.status_code == 200, response.read()
        reader = threading.Thread(target=client.read, args=(response,), daemon=True)
        reader.start()
        try:
            yield client
        finally:
            connection = response.extensions["network_stream"].get_extra_info("socket")
            with suppress(OSError):  # the server may have ended it already
                connection.shutdown(socket.SHUT_RDWR)
            reader.join(DEADLINE_S)


def rest(server: ServerProcess) -> httpx.Client:
    """An HTTP client that is logged in."""
    return httpx.Client(base_url=server.http, auth=(USER, PASSWORD), timeout=DEADLINE_S)


def websocket(server: ServerProcess, path: str, **headers: str) -> ClientConnection:
    """A WebSocket on a resource's path."""
    return connect(
        server.http.replace("http://", "ws://") + path,
        additional_headers={"Authorization": AUTHORIZATION} | headers,
        open_timeout=DEADLINE_S,
        compression=None,
    )


def receive(connection: ClientConnection) -> dict[str, object]:
    """The next event of a WebSocket in JSON."""
    event = json.loads(connection.recv(timeout=DEADLINE_S))
    assert isinstance(event, dict)
    return event
