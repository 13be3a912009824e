"""SIGTERM: everybody is told in the words of its protocol, nothing acknowledged is lost."""

from __future__ import annotations

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from websockets.exceptions import ConnectionClosed

from tests.e2e.clients import DEADLINE_S, MqttClient, receive, rest, sse, websocket
from tests.e2e.raw_http import raw_http, request
from tests.e2e.server_process import running_server, start_server


def test_sigterm_ends_each_protocol_with_its_own_words() -> None:
    with running_server() as server:
        client = MqttClient(server, version=MQTTProtocolVersion.MQTTv5)
        client.connect()
        client.paho.reconnect_delay_set(60, 60)
        with websocket(server, "/Sensor/") as socket, sse(server, "/Sensor/") as stream:
            stream.until_ready()
            receive(socket)
            assert server.terminate() == 0
            assert client.ended.get(timeout=DEADLINE_S) == 0x8B
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=DEADLINE_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            assert stream.events.get(timeout=DEADLINE_S) is None
        client.paho.loop_stop()
        assert "Traceback" not in server.errors()


def test_clients_that_read_nothing_do_not_hold_up_the_stop() -> None:
    """They are gone, or broken; an operator who restarts need not hear of them."""
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    with (
        running_server() as server,
        raw_http(server) as stream,
        raw_http(server) as socket,
        rest(server) as client,
    ):
        stream.send(request("GET", "/Sensor/", "Accept: text/event-stream"))
        assert stream.head()[0] == 200
        socket.send(request("GET", "/Sensor/", *upgrade, key))
        assert socket.head()[0] == 101
        for number in range(20):  # more than the kernel holds for a client
            client.put(f"/Sensor/{number}", json={"site": "x" * 500_000})
        assert server.terminate() == 0
        for word in ("Cancel", "ERROR", "error", "cut off"):
            assert word not in server.errors()


def test_acknowledged_writes_are_there_after_sigterm_and_restart() -> None:
    with running_server() as server:
        with rest(server) as client, MqttClient(server) as mqtt:
            client.put("/Sensor/kept", json={"value": 1})
            mqtt.publish("Sensor/kept2", b'{"value": 2}', retain=True)
        assert server.terminate() == 0
        again = start_server(server.data.parent / "app", server.data)
        try:
            with rest(again) as client:
                assert client.get("/Sensor/kept").json()["value"] == 1
                assert client.get("/Sensor/kept2").json()["value"] == 2
        finally:
            again.kill()
            assert again.process.stdout is not None
            again.process.stdout.close()
