"""A durable group at QoS 2 through kills of its owner's worker, and of a member's."""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from tests.e2e.raw_mqtt import DEADLINE_S, RawMqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess
from tests.e2e.worker_clients import TRIES, client_of, kill, two_workers, worker_in
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.client_frames import Received

PUBLISH, PUBREC, PUBREL, PUBCOMP = 3, 5, 6, 7
SESSION = b"\x11" + (600).to_bytes(4, "big")
MESSAGES = 20


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with two_workers() as process:
        yield process


class Member:
    """A client whose session lasts, with what it knows of QoS 2 (MQTT 5 §4.3.3).

    Attributes:
        told: What was delivered to it: the first PUBLISH with an identifier until its PUBREL.
        answers: The kinds of packets that it answers; the others are on the way.
    """

    def __init__(self, server: ServerProcess, client_id: str) -> None:
        self.server = server
        self.client_id = client_id
        self.told: Counter[bytes] = Counter()
        self.answers = {PUBLISH, PUBREL}
        self._received: set[int] = set()
        self.connect()

    def connect(self) -> None:
        """Log in; again when that reached a worker on its way out."""
        packet: Received | None = None
        while packet is None:
            self.link = RawMqtt(self.server, 5)
            self.link.send(
                frames.connect(
                    5,
                    self.client_id,
                    clean=False,
                    username=USER,
                    password=PASSWORD.encode(),
                    props=SESSION,
                )
            )
            try:
                packet = self.link.next()
            except EOFError:
                self.link.close()
        self.worker = worker_in(packet)

    def subscribe(self, topic_filter: str) -> None:
        self.link.send(frames.subscribe((topic_filter, 2), version=5))
        assert self.link.until(9).codes == [2]

    def take(self, packet: Received) -> None:
        number = packet.packet_id
        if packet.kind == PUBLISH:
            assert packet.qos == 2
            if number not in self._received:
                self._received.add(number)
                self.told[packet.payload] += 1
            if PUBLISH in self.answers:
                self.link.send(frames.pubrec(number))
        elif packet.kind == PUBREL and PUBREL in self.answers:
            self._received.discard(number)
            self.link.send(frames.pubcomp(number))


def member_of(server: ServerProcess, worker: int, name: str) -> Member:
    """One on a certain worker."""
    for number in range(TRIES):
        member = Member(server, f"{name}-{number}")
        if member.worker == worker:
            return member
        member.link.close()
    raise AssertionError(f"worker {worker} was not reached")


def collect(members: Sequence[Member], wanted: set[bytes]) -> None:
    """Have members take what comes until all that is wanted has come to one of them."""
    deadline = time.monotonic() + DEADLINE_S
    while wanted - set().union(*(one.told for one in members)):
        links = [one.link.socket for one in members]
        found, _, _ = select.select(links, [], [], deadline - time.monotonic())
        assert found, "nobody was told anything in time"
        for member in members:
            if member.link.socket in found:
                member.take(member.link.next())
                while member.link.pending():
                    member.take(member.link.next())


def publish(publisher: RawMqtt, topic: str, first: int, last: int) -> set[bytes]:
    """Publish numbers with QoS 2, each to its end."""
    for number in range(first, last):
        publisher.send(
            frames.publish(topic, b"%d" % number, version=5, qos=2, packet_id=1 + number)
        )
        assert publisher.until(PUBREC).packet_id == 1 + number
        publisher.send(frames.pubrel(1 + number))
        assert publisher.until(PUBCOMP).packet_id == 1 + number
    return {b"%d" % number for number in range(first, last)}


def drain(member: Member) -> None:
    """Have it take whatever was sent before the answer to a PINGREQ."""
    member.link.send(frames.PINGREQ)
    while (packet := member.link.next()).kind != 13:
        member.take(packet)


@pytest.mark.parametrize("killed", [1, 2])
@pytest.mark.parametrize("point", ["PUBLISH", "PUBREC", "PUBREL"])
def test_each_message_is_told_once_whichever_worker_is_killed(
    server: ServerProcess, point: str, killed: int
) -> None:
    """Worker 1 owns the group, as its member came first. The packet named is the last one that
    members have answered when the kill comes, which is long before the group's session is
    written by itself. Its client comes back at once; nothing is lost, and nothing doubled."""
    name = f"{point}{killed}".lower()
    one, two = (member_of(server, worker, f"{name}-of-{worker}") for worker in (1, 2))
    for member in (one, two):
        member.subscribe(f"$share/{name}/{name}/#")
    members = (one, two)
    answers = {"PUBLISH": set[int](), "PUBREC": {PUBLISH}, "PUBREL": {PUBLISH, PUBREL}}[point]
    for member in members:
        member.answers = answers
    with client_of(server, 3 - killed) as publisher:
        wanted = publish(publisher, f"{name}/a", 0, MESSAGES)
        collect(members, wanted)
        kill(server, f"worker-{killed}")
        for member in members:
            member.answers = {PUBLISH, PUBREL}
        members[killed - 1].link.close()
        members[killed - 1].connect()
        wanted |= publish(publisher, f"{name}/a", MESSAGES, 2 * MESSAGES)
        collect(members, wanted)
        for member in members:
            drain(member)
    told = one.told + two.told
    assert set(told) == wanted
    assert {number: times for number, times in told.items() if times > 1} == {}
    for member in members:
        member.link.close()
