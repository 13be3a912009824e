"""The MQTT listener with clients that other people wrote."""

from __future__ import annotations

import json
import socket
import subprocess

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.e2e.clients import DEADLINE_S, MqttClient, rest
from tests.e2e.server_process import PASSWORD, USER, ServerProcess

V3 = MQTTProtocolVersion.MQTTv311
V5 = MQTTProtocolVersion.MQTTv5


@pytest.mark.parametrize(
    ("version", "user", "password", "code"),
    [
        (V3, USER, "wrong", 134),  # paho maps the return code 4 to 134
        (V3, "", "", 135),  # and 5 to 135
        (V5, USER, "wrong", 0x86),
        (V5, "", "", 0x87),
    ],
)
def test_bad_credentials_are_refused_with_the_protocols_code(
    server: ServerProcess, version: MQTTProtocolVersion, user: str, password: str, code: int
) -> None:
    client = MqttClient(server, version=version, user=user, password=password)
    if not user:
        client.paho.username_pw_set(None)
    assert client.connect() == code
    client.paho.loop_stop()


def test_wildcards_match_inside_a_table_and_across_tables(server: ServerProcess) -> None:
    with MqttClient(server) as narrow, MqttClient(server) as wide, MqttClient(server) as writer:
        narrow.subscribe("Sensor/hall/+")
        wide.subscribe("#", qos=0)
        writer.publish("Sensor/hall/a", b"1")
        writer.publish("Sensor/hall/a/b", b"2")
        writer.publish("Counter/7", b"3")
        assert narrow.next().payload == b"1"
        seen: list[tuple[str, bytes]] = []
        while len(seen) < 3:
            message = wide.next()
            if not message.retain:
                seen.append((message.topic, bytes(message.payload)))
        assert seen == [("Sensor/hall/a", b"1"), ("Sensor/hall/a/b", b"2"), ("Counter/7", b"3")]
        writer.publish("Sensor/hall/z", b"end")
        assert narrow.next().payload == b"end"


def test_current_records_come_after_suback_with_the_retain_flag(server: ServerProcess) -> None:
    with rest(server) as client:
        client.put("/Sensor/state/a", json={"value": 1})
        client.put("/Sensor/state/b", json={"value": 2})
    with MqttClient(server) as reader:
        reader.subscribe("Sensor/state/#")
        messages = [reader.next(), reader.next()]
    assert [message.topic for message in messages] == ["Sensor/state/a", "Sensor/state/b"]
    assert all(message.retain for message in messages)


def test_record_that_breaks_the_schema_is_refused_with_a_sentence(server: ServerProcess) -> None:
    with MqttClient(server, version=V5) as client:
        assert client.publish("Sealed/x", b'{"other": 1}', retain=True) == 0x99
        assert client.publish("Nowhere/x", b"{}", retain=True) == 0x90
        assert client.publish("Sealed/x", b'{"name": "n"}', retain=True) == 0
    with rest(server) as http:
        assert http.get("/Sealed/x").json() == {"id": "x", "name": "n"}


def test_order_of_one_publisher_holds_between_direct_and_logged_messages(
    server: ServerProcess,
) -> None:
    """A retained publish waits for the disk; what was sent after it must not pass it."""
    with MqttClient(server) as reader, MqttClient(server) as writer:
        reader.subscribe("Sensor/order")
        for number in range(0, 200, 2):
            writer.paho.publish("Sensor/order", json.dumps({"value": number}), qos=1, retain=True)
            writer.paho.publish("Sensor/order", json.dumps({"value": number + 1}), qos=1)
        values = [json.loads(reader.next().payload)["value"] for _ in range(200)]
    assert values == list(range(200))


def test_will_is_published_when_the_connection_breaks(server: ServerProcess) -> None:
    with MqttClient(server) as reader:
        reader.subscribe("Sensor/will")
        doomed = MqttClient(server, client_id="doomed")
        doomed.paho.will_set("Sensor/will", b'{"value": -1}', qos=1, retain=True)
        assert doomed.connect() == 0
        connection = doomed.paho.socket()
        assert isinstance(connection, socket.socket)
        doomed.paho.loop_stop()
        connection.shutdown(socket.SHUT_RDWR)
        assert json.loads(reader.next().payload)["value"] == -1
    with rest(server) as client:
        assert client.get("/Sensor/will").json()["value"] == -1


def test_second_connection_with_a_client_id_takes_over(server: ServerProcess) -> None:
    first = MqttClient(server, version=V5, client_id="twin")
    assert first.connect() == 0
    first.paho.reconnect_delay_set(60, 60)
    second = MqttClient(server, version=V5, client_id="twin")
    assert second.connect() == 0
    assert first.ended.get(timeout=DEADLINE_S) == 0x8E
    first.paho.loop_stop()
    second.paho.disconnect()
    second.paho.loop_stop()


@pytest.mark.parametrize("version", [V3, V5])
def test_messages_of_qos_2_come_once_and_in_order(
    server: ServerProcess, version: MQTTProtocolVersion
) -> None:
    """All four packets both ways; retained ones in between go through the disk."""
    topic = f"Sensor/twice-{version.value}"
    with MqttClient(server, version=version) as reader, MqttClient(server) as writer:
        assert reader.subscribe(topic, qos=2) == [2]
        for number in range(100):
            payload = json.dumps({"value": number})
            writer.paho.publish(topic, payload, qos=2, retain=number % 10 == 9)
        messages = [reader.next() for _ in range(100)]
        assert {writer.published.get(timeout=DEADLINE_S)[1] for _ in range(100)} == {0}
    assert [json.loads(message.payload)["value"] for message in messages] == list(range(100))
    assert {message.qos for message in messages} == {2}


def test_filters_are_granted_as_asked_and_unknown_ones_refused(server: ServerProcess) -> None:
    with MqttClient(server, version=V5) as client:
        assert client.subscribe("Sensor/q", qos=2) == [2]
        assert client.subscribe("$share/group/Sensor/q") == [1]
        assert client.subscribe("Nowhere/q") == [0x8F]


def _mosquitto(command: str, server: ServerProcess, *arguments: str) -> list[str]:
    return [
        *(command, "-h", "127.0.0.1", "-p", str(server.mqtt_port)),
        *("-u", USER, "-P", PASSWORD, *arguments),
    ]


@pytest.mark.mosquitto
@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_mosquitto_pub_and_sub_see_the_record(server: ServerProcess, version: str) -> None:
    topic = f"Sensor/mosquitto-{version}"
    publish = _mosquitto(
        "mosquitto_pub", server, "-V", version, "-t", topic, "-q", "1", "-r", "-m", '{"value": 5}'
    )
    subprocess.run(publish, check=True, timeout=DEADLINE_S)
    subscribe = _mosquitto(
        "mosquitto_sub", server, "-V", version, "-t", topic, "-q", "1", "-C", "1", "-F", "%r %t %p"
    )
    done = subprocess.run(subscribe, check=True, timeout=DEADLINE_S, capture_output=True, text=True)
    retained, name, payload = done.stdout.strip().split(" ", 2)
    assert (retained, name) == ("1", topic)
    assert json.loads(payload)["value"] == 5


@pytest.mark.parametrize(("published", "granted", "received"), [(0, 1, 0), (1, 1, 1), (1, 0, 0)])
def test_current_state_comes_with_the_lower_of_both_qualities(
    server: ServerProcess, published: int, granted: int, received: int
) -> None:
    """The publisher's QoS is kept with the record [MQTT-3.8.4-8]."""
    topic = f"Sensor/quality/{published}{granted}"
    with MqttClient(server) as writer, MqttClient(server) as reader:
        writer.publish(topic, b'{"value": 1}', qos=published, retain=True)
        writer.publish(topic, b"later")  # acknowledged behind the record's commit
        reader.subscribe(topic, granted)
        message = reader.next()
    assert (message.retain, message.qos) == (True, received)
