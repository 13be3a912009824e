"""MQTT over WebSocket: the same connection class on any path, for clients that ask for it."""

from __future__ import annotations

import json
import queue

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.e2e.clients import AUTHORIZATION, DEADLINE_S, MqttClient, rest
from tests.e2e.server_process import PASSWORD, USER, ServerProcess


class WebSocketMqtt:
    """paho-mqtt over a WebSocket."""

    def __init__(self, server: ServerProcess, path: str, version: MQTTProtocolVersion) -> None:
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.subscribed: queue.Queue[int] = queue.Queue()
        self.connected: queue.Queue[int] = queue.Queue()
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2, transport="websockets", protocol=version
        )
        self.paho.ws_set_options(path=path)
        self.paho.username_pw_set(USER, PASSWORD)
        self.paho.on_connect = lambda c, d, f, reason, p: self.connected.put(reason.value)
        self.paho.on_message = lambda c, d, message: self.messages.put(message)
        self.paho.on_subscribe = lambda c, d, mid, reasons, p: self.subscribed.put(mid)
        self.paho.connect("127.0.0.1", server.http_port)
        self.paho.loop_start()
        assert self.connected.get(timeout=DEADLINE_S) == 0

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


@pytest.mark.parametrize("path", ["/mqtt", "/any/other"])
@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_paho_over_websocket_and_over_tcp_meet(
    server: ServerProcess, path: str, version: MQTTProtocolVersion
) -> None:
    topic = f"Sensor/ws{path}/{version}"
    over_websocket = WebSocketMqtt(server, path, version)
    try:
        over_websocket.paho.subscribe(topic, 1)
        over_websocket.subscribed.get(timeout=DEADLINE_S)
        with MqttClient(server) as over_tcp:
            over_tcp.publish(topic, b'{"value": 1}')
            assert over_websocket.messages.get(timeout=DEADLINE_S).payload == b'{"value": 1}'
            over_tcp.subscribe(topic)
            over_websocket.paho.publish(topic, b'{"value": 2}', qos=1, retain=True)
            record = json.loads(over_tcp.next().payload)
        assert record["value"] == 2
        with rest(server) as client:
            assert client.get(f"/{topic}").json()["value"] == 2
    finally:
        over_websocket.close()


def test_protocol_mqtt_is_selected_only_when_it_is_offered(server: ServerProcess) -> None:
    address = server.http.replace("http://", "ws://")
    headers = {"Authorization": AUTHORIZATION}
    offered = [Subprotocol("mqtt")]
    with connect(f"{address}/mqtt", subprotocols=offered, additional_headers=headers) as socket:
        assert socket.subprotocol == "mqtt"
    with connect(f"{address}/Sensor/", additional_headers=headers) as socket:
        assert socket.subprotocol is None
