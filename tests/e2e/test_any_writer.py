"""Whoever writes, every subscriber hears of it, in its own protocol and format."""

from __future__ import annotations

import json

import cbor2
import httpx
from paho.mqtt.enums import MQTTProtocolVersion

from tests.e2e.clients import (
    DEADLINE_S,
    MqttClient,
    receive,
    rest,
    sse,
    websocket,
)
from tests.e2e.server_process import ServerProcess


def put(server: ServerProcess, path: str, record: object) -> httpx.Response:
    with rest(server) as client:
        response = client.put(path, json=record)
    assert response.status_code == 204, response.text
    return response


def get(server: ServerProcess, path: str, accept: str = "application/json") -> httpx.Response:
    with rest(server) as client:
        return client.get(path, headers={"Accept": accept})


def test_put_reaches_mqtt_websocket_and_sse_subscribers(server: ServerProcess) -> None:
    """One PUT, four readers: MQTT 3.1.1 and 5, WebSocket, SSE."""
    with (
        MqttClient(server) as old,
        MqttClient(server, version=MQTTProtocolVersion.MQTTv5) as new,
        websocket(server, "/Sensor/everywhere") as socket,
        sse(server, "/Sensor/everywhere") as stream,
    ):
        assert old.subscribe("Sensor/everywhere") == [1]
        assert new.subscribe("Sensor/+") == [1]
        while (event := receive(socket)).get("type") != "ready":
            pass
        stream.until_ready()
        put(server, "/Sensor/everywhere", {"value": 21.5})

        wanted = {"id": "everywhere", "value": 21.5}
        assert json.loads(old.next().payload) == wanted
        while (message := new.next()).topic != "Sensor/everywhere":
            pass
        assert json.loads(message.payload) == wanted
        event = receive(socket)
        assert (event["type"], event["value"]) == ("put", wanted)
        assert stream.next().envelope["value"] == wanted


def test_retained_publish_is_the_record_that_get_returns(server: ServerProcess) -> None:
    """The acknowledgement comes after the commit, so the very next GET sees it."""
    with MqttClient(server) as client:
        client.publish("Sensor/kitchen", b'{"value": 19.25, "site": "home"}', retain=True)
    assert get(server, "/Sensor/kitchen").json() == {
        "id": "kitchen",
        "value": 19.25,
        "site": "home",
    }


def test_message_that_is_not_retained_leaves_the_record_alone(server: ServerProcess) -> None:
    put(server, "/Sensor/alone", {"value": 1})
    with MqttClient(server) as reader, MqttClient(server) as writer:
        reader.subscribe("Sensor/alone")
        first = reader.next()
        assert first.retain
        assert json.loads(first.payload)["value"] == 1
        writer.publish("Sensor/alone", b'{"value": 2}')
        second = reader.next()
        assert not second.retain
        assert second.payload == b'{"value": 2}'
    assert get(server, "/Sensor/alone").json()["value"] == 1


def test_each_reader_gets_its_own_format(server: ServerProcess) -> None:
    """Published as JSON over MQTT; read as CBOR by WebSocket and REST, as JSON by SSE."""
    with (
        MqttClient(server) as client,
        websocket(server, "/Sensor/formats", Accept="application/cbor") as socket,
        sse(server, "/Sensor/formats") as stream,
    ):
        ready = socket.recv(timeout=DEADLINE_S)
        assert isinstance(ready, bytes)
        stream.until_ready()
        client.publish("Sensor/formats", b'{"value": 3.5}', retain=True)
        frame = socket.recv(timeout=DEADLINE_S)
        assert isinstance(frame, bytes)
        assert cbor2.loads(frame)["value"] == {"id": "formats", "value": 3.5}
        assert stream.next().envelope["value"] == {"id": "formats", "value": 3.5}
    response = get(server, "/Sensor/formats", "application/cbor")
    assert cbor2.loads(response.content) == {"id": "formats", "value": 3.5}


def test_delete_reaches_everybody_by_each_way(server: ServerProcess) -> None:
    """DELETE over REST and an empty retained publish are the same thing."""
    for name, delete in (("rest", True), ("mqtt", False)):
        path = f"/Sensor/gone-{name}"
        put(server, path, {"value": 1})
        with MqttClient(server) as client, sse(server, path) as stream:
            assert len(stream.until_ready()) == 1
            client.subscribe(path[1:])
            client.next()
            if delete:
                with rest(server) as http:
                    assert http.delete(path).json() is True
            else:
                client.publish(path[1:], b"", retain=True)
            assert stream.next().envelope["type"] == "delete"
            assert client.next().payload == b"null"
        assert get(server, path).status_code == 404


def test_patch_arrives_as_the_whole_record(server: ServerProcess) -> None:
    put(server, "/Sensor/patched", {"value": 1, "site": "roof"})
    with sse(server, "/Sensor/patched") as stream:
        stream.until_ready()
        with rest(server) as client:
            assert client.patch("/Sensor/patched", json={"value": 2}).status_code == 204
        envelope = stream.next().envelope
    assert envelope["value"] == {"id": "patched", "value": 2, "site": "roof"}
    assert envelope["type"] == "put"
