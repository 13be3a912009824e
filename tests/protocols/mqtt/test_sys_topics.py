"""``$SYS``: mosquitto's names, totals over all processes, and who may read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from lyredb.plugins.context import Principal
from lyredb.plugins.scope import ProcessNumbers
from lyredb.protocols.mqtt.sys_topics import SYS, DatabaseSource, SysTopics
from lyredb.protocols.mqtt.sys_values import Held, Rates, SysValues, totals_of
from lyredb.resources.requests import Write
from lyredb.security.principals import ANONYMOUS, SUPER_USER
from lyredb.server.metrics.snapshot import Snapshot
from lyredb.server.node import Node
from lyredb.tables.schema import Schema
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run
from tests.resources.node_under_test import CONTEXT, data_directory

NOTHING = Held(0, 0)
NEVER = 0x20


def worker(number: int, started_s: float = 1000.0, **mqtt: float) -> Snapshot:
    process = {"started_s": started_s, "resident_bytes": 1000.0}
    return Snapshot("worker", number, 0.0, {"mqtt": mqtt, "process": process})


class FakeServer:
    """All processes of a server; also what a worker has (`sys_topics.Source`)."""

    def __init__(self, *processes: Snapshot, held: Held = NOTHING) -> None:
        self.processes: list[Snapshot] = list(processes)
        self.state = held
        self.denied: set[str] = set()

    async def collected(self) -> Sequence[ProcessNumbers]:
        return self.processes

    def held(self) -> Held:
        return self.state

    def may_read(self, principal: Principal, topic_filter: str) -> bool:
        return topic_filter not in self.denied


def topics_of(server: FakeServer, harness: Harness) -> SysTopics:
    topics = SysTopics(
        server, server.collected, interval_s=10.0, version="1.2.3", now_s=lambda: 1075.0
    )
    harness.service.openers[SYS] = topics.open
    return topics


def values(peer: Peer) -> dict[str, tuple[bytes, bool]]:
    return {one.topic: (one.payload, one.retain) for one in peer.take() if one.kind == 3}


def test_totals_are_those_of_all_processes_under_the_names_of_mosquitto() -> None:
    server = (
        worker(1, clients=3, durable=1, received=10, sent=20, dropped=1, subscriptions=4),
        worker(2, 990.0, clients=4, received=5, received_bytes=70, sent_bytes=9, published_bytes=8),
        Snapshot("writer", 0, 0.0, {"process": {"started_s": 995.0, "resident_bytes": 500.0}}),
    )
    made = SysValues("1.2.3").take(totals_of(server, Held(7, 6)), 1000.0, 10.0)
    expected = {
        "version": "lyredb 1.2.3",
        "uptime": "10 seconds",
        "clients/total": "12",
        "clients/connected": "7",
        "clients/active": "7",
        "clients/disconnected": "5",
        "clients/inactive": "5",
        "clients/maximum": "7",
        "messages/received": "15",
        "messages/sent": "20",
        "publish/messages/received": "15",
        "publish/messages/sent": "20",
        "publish/messages/dropped": "1",
        "publish/bytes/sent": "8",
        "bytes/received": "70",
        "bytes/sent": "9",
        "subscriptions/count": "4",
        "retained messages/count": "7",
        "heap/current": "2500",
    }
    told = {name.removeprefix("$SYS/broker/"): value for name, value in made.items()}
    assert {name: value for name, value in told.items() if "load/" not in name} == expected
    for name in ("messages/received", "publish/sent", "bytes/sent", "connections"):
        for span in ("1min", "5min", "15min"):
            assert told[f"load/{name}/{span}"] == "0.00"


def test_rates_per_minute_fade_as_those_of_mosquitto() -> None:
    """Each sample counts by the share of its span; a lost worker is no rate below nothing."""
    rates = Rates()
    rates.take({"x": 100}, 10.0)
    rates.take({"x": 160}, 10.0)
    fading = math.exp(-10 / 60)
    assert dict(rates)["x/1min"] == pytest.approx(360 * (1 - fading))
    rates.take({"x": 0}, 10.0)
    assert dict(rates)["x/1min"] == pytest.approx(360 * (1 - fading) * fading)
    rates.take({"x": 1}, 10.0)
    assert dict(rates)["x/1min"] > 0


@pytest.mark.parametrize("version", [4, 5])
def test_a_subscriber_gets_the_last_values_then_what_changes(version: int) -> None:
    async def body() -> None:
        harness = Harness()
        server = FakeServer(worker(1, clients=1))
        topics = topics_of(server, harness)
        await topics.sample()
        peer = harness.connected(version)
        peer.send(client.subscribe(("$SYS/broker/clients/+", 0), version=version))
        await harness.tick()
        suback, *told = peer.take()
        assert (suback.kind, suback.codes) == (9, [0])
        assert len(told) == 6
        assert all(one.retain for one in told)
        await topics.sample()
        assert peer.take() == []
        server.processes = [worker(1, clients=2), worker(2, clients=1)]
        await topics.sample()
        assert values(peer)["$SYS/broker/clients/connected"] == (b"3", False)
        peer.send(client.unsubscribe("$SYS/broker/clients/+", version=version))
        server.processes = []
        await topics.sample()
        server.processes = [worker(1, clients=9)]
        await topics.sample()
        assert [one.kind for one in peer.take()] == [11]

    run(body)


def test_retain_handling_and_qos_are_the_subscriptions() -> None:
    async def body() -> None:
        harness = Harness()
        server = FakeServer(worker(1, clients=1))
        topics = topics_of(server, harness)
        await topics.sample()
        peer = harness.connected(5)
        peer.send(client.subscribe(("$SYS/broker/clients/connected", NEVER | 1), version=5))
        assert [one.kind for one in peer.take()] == [9]
        server.processes = [worker(1, clients=2)]
        await topics.sample()
        (told,) = peer.take()
        assert (told.payload, told.qos) == (b"2", 1)

    run(body)


def test_wildcards_of_the_first_level_do_not_reach_it() -> None:
    """[MQTT-4.7.2-1]"""

    async def body() -> None:
        harness = Harness()
        server = FakeServer(worker(1, clients=1))
        topics = topics_of(server, harness)
        peer = harness.connected()
        peer.send(client.subscribe("#", "+/broker/version"))
        await topics.sample()
        assert [one.kind for one in peer.take()] == [9]

    run(body)


def test_who_has_no_right_is_refused_and_who_loses_it_hears_nothing_more() -> None:
    async def body() -> None:
        harness = Harness()
        server = FakeServer(worker(1, clients=1))
        topics = topics_of(server, harness)
        server.denied = {"$SYS/#"}
        peer = harness.connected(5)
        peer.send(client.subscribe("$SYS/#", "$SYS/broker/uptime", version=5))
        (answer,) = peer.take()
        assert answer.codes == [0x87, 0]
        server.denied = {"$SYS/broker/uptime"}
        assert harness.authenticator.local is not None
        topics.access_changed(harness.authenticator.local.principal)
        await topics.sample()
        assert peer.take() == []
        assert not peer.is_closed

    run(body)


@pytest.mark.parametrize("topic_filter", ["$SYS/#/x", "$SYS/a+", "$SYS/a#"])
def test_what_is_no_filter_is_refused(topic_filter: str) -> None:
    async def body() -> None:
        harness = Harness()
        topics_of(FakeServer(), harness)
        peer = harness.connected(5)
        peer.send(client.subscribe(topic_filter, version=5))
        assert peer.take()[0].codes == [0x8F]

    run(body)


def test_nobody_can_publish_there() -> None:
    async def body() -> None:
        harness = Harness()
        server = FakeServer(worker(1, clients=1))
        topics = topics_of(server, harness)
        reader, writer = harness.connected(5, "r"), harness.connected(5, "w")
        reader.send(client.subscribe("$SYS/broker/version", version=5))
        writer.send(client.publish("$SYS/broker/version", b"fake", qos=1, packet_id=7, version=5))
        await harness.tick()
        assert writer.take()[0].reason >= 0x80
        assert [one.kind for one in reader.take()] == [9]
        await topics.sample()
        assert values(reader) == {"$SYS/broker/version": (b"lyredb 1.2.3", False)}

    run(body)


def test_connections_count_what_they_send_while_they_are_open() -> None:
    async def body() -> None:
        harness = Harness()
        reader, writer = harness.connected(4, "r"), harness.connected(4, "w")
        reader.send(client.subscribe("open/a"))
        writer.send(client.publish("open/a", b"12345"))
        await harness.tick()
        frame = len(client.publish("open/a", b"12345"))
        now = harness.service.statistics()
        assert (now.sent, now.subscriptions, now.published_bytes) == (1, 1, frame)
        assert now.sent_bytes > now.published_bytes
        assert now.received_bytes > frame
        reader.lose()
        then = harness.service.statistics()
        assert (then.sent, then.subscriptions, then.published_bytes) == (1, 0, frame)

    run(body)


def test_what_the_database_holds_is_counted_and_read_by_right() -> None:
    """Retained messages are those of open topics; sessions are not asked one by one."""

    async def body() -> None:
        with data_directory() as path:
            node = Node.open(path, Schema(), open_topics=True)
            for topic in ("a", "b/c"):
                target = node.database.resolve(topic, CONTEXT)
                await node.database.write(Write(target, "put", payload=b"x"), CONTEXT)
            source = DatabaseSource(node.database, is_open=False)
            assert source.held() == Held(retained=2, sessions=0)
            assert source.may_read(SUPER_USER, "$SYS/#")
            assert not source.may_read(ANONYMOUS, "$SYS/#")
            assert DatabaseSource(node.database, is_open=True).may_read(ANONYMOUS, "$SYS/#")
            await node.close()

    run(body)
