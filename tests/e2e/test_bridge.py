"""Bridges to mosquitto and to another LyreDB: both ways, through restarts, without circles."""

from __future__ import annotations

import json
import queue
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.e2e.clients import DEADLINE_S, MqttClient
from tests.e2e.server_process import PASSWORD, USER, ServerProcess, running_server, start_server
from tests.e2e.worker_clients import kill
from tests.server.process_tree import eventually

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="mosquitto is not installed"
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def mosquitto(folder: Path, port: int, more: str = "") -> Iterator[None]:
    """A broker that keeps what it has to on disk."""
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
        f"persistence_location {folder}/\nuser root\n{more}"
    )
    with subprocess.Popen(
        ["mosquitto", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            eventually(lambda: answers(port), "a mosquitto that answers")
            yield
        finally:
            process.terminate()


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def bridged_to(folder: Path, port: int, topics: str, more: str = "") -> tuple[str, ...]:
    """The option that has a server bridge to a broker."""
    bridges = folder / "bridges.yaml"
    bridges.write_text(f"far: {{url: 'mqtt://127.0.0.1:{port}', topics: {topics}{more}}}\n")
    config = folder / "bridged.yaml"
    config.write_text(json.dumps({"mqtt": {"bridges": str(bridges)}}))
    return ("--config", str(config))


BOTH = (
    "[{filter: 'out/#', direction: out, qos: 1, remotePrefix: 'site/'},"
    " {filter: 'in/#', direction: in, qos: 1, remotePrefix: 'site/'},"
    " {filter: 'shared/#', direction: both, qos: 2}]"
)


def broker_at(port: int) -> ServerProcess:
    """What a client needs to know of a broker that is not ours."""
    return cast(ServerProcess, SimpleNamespace(mqtt_port=port))


@needs_mosquitto
@pytest.mark.parametrize("version", [4, 5])
def test_messages_go_both_ways_and_not_in_circles(tmp_path: Path, version: int) -> None:
    """To mosquitto, in both versions of the protocol."""
    port = free_port()
    options = bridged_to(tmp_path, port, BOTH, f", version: {version}")
    with (
        mosquitto(tmp_path, port),
        running_server("", *options) as server,
        MqttClient(broker_at(port)) as far,
        MqttClient(server) as near,
    ):
        far.subscribe("#")
        near.subscribe("#")
        wait_until_over(near, "out/probe", far, "site/out/probe")
        wait_until_over(far, "site/in/probe", near, "in/probe")
        near.publish("out/a", b"1")
        far.publish("site/in/b", b"2")
        near.publish("shared/n", b"3")
        far.publish("shared/f", b"4")
        # Whatever would go round has done so when these have come.
        near.publish("out/last", b"")
        far.publish("site/in/last", b"")
        seen_far = topics_to(far, "site/out/last", "site/in/last")
        seen_near = topics_to(near, "in/last", "out/last")
    assert seen_far == ["shared/f", "shared/n", "site/in/b", "site/out/a"]
    assert seen_near == ["in/b", "out/a", "shared/f", "shared/n"]


def wait_until_over(source: MqttClient, topic: str, target: MqttClient, arrived: str) -> None:
    """Publish until it has come over: connecting and subscribing take their time."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        source.publish(topic, b"")
        try:
            while target.messages.get(timeout=0.2).topic != arrived:
                pass
        except queue.Empty:
            assert time.monotonic() < deadline, "no bridge"
        else:
            return


def topics_to(client: MqttClient, *last: str) -> list[str]:
    """The topics of the messages up to the last ones, in order; without the probes."""
    found: list[str] = []
    waiting = set(last)
    while waiting:
        topic = client.next().topic
        waiting.discard(topic)
        if topic not in last and not topic.endswith("probe"):
            found.append(topic)
    return sorted(found)


@contextmanager
def started(folder: Path, name: str, *options: str) -> Iterator[ServerProcess]:
    """A server whose data stays when it is started again."""
    application = folder / name
    application.mkdir(exist_ok=True)
    server = start_server(application, folder / f"{name}-data", *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


def has_session(server: ServerProcess, client: str) -> bool:
    told = httpx.get(f"{server.http}/$clients/{client}", auth=(USER, PASSWORD))
    return told.status_code == 200 and told.json()["subscriptions"] > 0


def retained_at(server: ServerProcess, where: str = "out") -> int:
    told = httpx.get(f"{server.http}/$retained?filter={where}/%23", auth=(USER, PASSWORD))
    return len(told.json()["messages"])


def test_nothing_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    """To another LyreDB. The session of the bridge keeps its place in the log here."""
    port = free_port()
    far_options = ("--mqtt-port", str(port))
    login = f", username: {USER}, password: '{PASSWORD}'"
    options = bridged_to(tmp_path, port, "[{filter: 'out/#', qos: 1}]", login)
    with ExitStack() as stack:

        def start(name: str, *arguments: str) -> ServerProcess:
            return stack.enter_context(started(tmp_path, name, *arguments))

        far, near = start("far", *far_options), start("near", *options)
        with MqttClient(far) as reader, MqttClient(near) as writer:
            reader.subscribe("out/probe")
            wait_until_over(writer, "out/probe", reader, "out/probe")
            publish(writer, 0, 50)
            far.kill()
            publish(writer, 50, 100)
        near.kill()
        far = start("far", *far_options)
        start("near", *options)
        eventually(lambda: retained_at(far) == 100, "all messages at the other broker")


def publish(writer: MqttClient, first: int, end: int, where: str = "out") -> None:
    for number in range(first, end):
        writer.publish(f"{where}/{number}", b"x", retain=True)


def test_a_bridge_goes_on_when_its_worker_is_killed(tmp_path: Path) -> None:
    """One worker has the bridges; its successor takes up their sessions, in both directions."""
    port = free_port()
    login = f", username: {USER}, password: '{PASSWORD}'"
    topics = "[{filter: 'out/#', qos: 1}, {filter: 'in/#', direction: in, qos: 1}]"
    with (
        started(tmp_path, "far", "--mqtt-port", str(port)) as far,
        started(
            tmp_path, "near", *bridged_to(tmp_path, port, topics, login), "--workers", "2"
        ) as near,
        MqttClient(far) as there,
    ):
        with MqttClient(near) as here:
            there.subscribe("out/probe")
            here.subscribe("in/probe")
            wait_until_over(here, "out/probe", there, "out/probe")
            wait_until_over(there, "in/probe", here, "in/probe")
            publish(here, 0, 20)
            publish(there, 0, 20, "in")
        kill(near, "worker-1")
        publish(there, 20, 40, "in")
        with MqttClient(near) as here:
            publish(here, 20, 40)
        eventually(lambda: retained_at(far) == 40, "all messages at the other broker")
        eventually(lambda: retained_at(near, "in") == 40, "all messages of the other broker")


@needs_mosquitto
@pytest.mark.parametrize("is_away", [False, True])
def test_what_no_broker_takes_does_not_end_the_bridge(tmp_path: Path, is_away: bool) -> None:
    """It would be sent again after each connect: nothing behind it would ever arrive."""
    port = free_port()
    topics = "[{filter: '#', qos: 1, localPrefix: 'site/', remotePrefix: ''}]"
    with ExitStack() as stack:
        far_broker = mosquitto(tmp_path, port, "max_packet_size 2000\n")
        if not is_away:
            stack.enter_context(far_broker)
        server = stack.enter_context(running_server("", *bridged_to(tmp_path, port, topics)))
        near = stack.enter_context(MqttClient(server))
        if is_away:
            eventually(lambda: has_session(server, "bridge-far"), "a session of the bridge")
        else:
            far = stack.enter_context(MqttClient(broker_at(port)))
            far.subscribe("#")
            wait_until_over(near, "site/probe", far, "probe")
        near.publish("site", b"matches site/#, and is no topic without the prefix")
        near.publish("site/large", b"x" * 2_000)
        near.publish("site/last", b"1", retain=True)
        if is_away:
            stack.enter_context(far_broker)
            far = stack.enter_context(MqttClient(broker_at(port)))
            far.subscribe("#")
        assert topics_to(far, "last") == []


@needs_mosquitto
def test_a_payload_that_is_no_text_comes_in_without_that_claim(tmp_path: Path) -> None:
    """Mosquitto lets it pass; here it ends a connection, and would end each."""
    port = free_port()
    with (
        mosquitto(tmp_path, port),
        running_server("", *bridged_to(tmp_path, port, BOTH)) as server,
        MqttClient(broker_at(port), version=MQTTProtocolVersion.MQTTv5) as far,
        MqttClient(server) as near,
    ):
        near.subscribe("#")
        wait_until_over(far, "site/in/probe", near, "in/probe")
        claim = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        claim.PayloadFormatIndicator = 1
        far.paho.publish("site/in/claim", b"\xff", 1, properties=claim)
        crowd = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        crowd.UserProperty = [("a", "b")] * 1_001
        far.paho.publish("site/in/crowd", b"", 1, properties=crowd)
        far.publish("site/in/last", b"")
        assert topics_to(near, "in/last") == ["in/claim"]
