"""Shared subscriptions on a server of two workers: members on both, one of them per message."""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from lyredb.sessions.group import AHEAD
from tests.e2e.raw_mqtt import DEADLINE_S, RawMqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess
from tests.e2e.worker_clients import TRIES, client_of, kill, two_workers, worker_in
from tests.protocols.mqtt import client_frames as frames

MESSAGES = 300


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with two_workers() as process:
        yield process


def readable(members: Sequence[RawMqtt], deadline: float) -> list[RawMqtt]:
    """Those with something to take; some have it read already."""
    ready = [member for member in members if member.pending()]
    if ready:
        return ready
    found, _, _ = select.select(
        [one.socket for one in members], [], [], deadline - time.monotonic()
    )
    assert found, "nobody was told anything in time"
    return [member for member in members if member.socket in found]


def collect(members: Sequence[RawMqtt], wanted: set[bytes]) -> list[Counter[bytes]]:
    """What each member is told, with acknowledgements, until all that is wanted has come."""
    told: list[Counter[bytes]] = [Counter() for _ in members]
    missing = set(wanted)
    deadline = time.monotonic() + DEADLINE_S
    while missing:
        for member in readable(members, deadline):
            packet = member.next()
            if packet.kind == 3:
                if packet.qos:
                    member.send(frames.puback(packet.packet_id))
                told[members.index(member)][packet.payload] += 1
                missing.discard(packet.payload)
    return told


def numbers(first: int, last: int) -> set[bytes]:
    return {b"%d" % number for number in range(first, last)}


@pytest.mark.parametrize("qos", [0, 1])
def test_members_on_both_workers_share_what_any_worker_publishes(
    server: ServerProcess, qos: int
) -> None:
    """Each message once, and to each member its share (MQTT 5 §4.8.2).

    The shares are equal until somebody has as many as a member may have; further ones go to
    whoever acknowledges first.
    """
    topic = f"jobs/{qos}"
    with ExitStack() as stack:
        members = [stack.enter_context(client_of(server, worker)) for worker in (1, 2, 2)]
        publishers = [stack.enter_context(client_of(server, worker)) for worker in (1, 2)]
        for member in members:
            member.subscribe((f"$share/all/jobs/{qos}", qos))
        for number in range(MESSAGES):
            publishers[number % 2].send(
                frames.publish(topic, b"%d" % number, version=5, qos=qos, packet_id=1 + number)
            )
        told = collect(members, numbers(0, MESSAGES))
        assert max((told[0] + told[1] + told[2]).values()) == 1
        assert min(one.total() for one in told) >= AHEAD


def test_a_member_that_goes_gives_back_what_it_has_not_acknowledged(
    server: ServerProcess,
) -> None:
    with client_of(server, 1) as one, client_of(server, 1) as publisher:
        with client_of(server, 2) as two:
            for member in (one, two):
                member.subscribe(("$share/back/work/#", 1))
            for number in range(20):
                publisher.publish("work/a", b"%d" % number, 1)
            two.until(3)
        told = collect([one], numbers(0, 20))
        assert told[0].total() == 20


def test_the_group_goes_on_when_the_worker_that_owns_it_is_killed(server: ServerProcess) -> None:
    """The first member's worker owns it. What the killed one's members had is published to
    nobody else here, as that worker has had it alone; what comes later is."""
    with client_of(server, 2) as two, client_of(server, 2) as publisher:
        with client_of(server, 1) as one:
            one.subscribe(("$share/on/task/#", 1))
            two.subscribe(("$share/on/task/#", 1))
            kill(server, "worker-1")
            with pytest.raises(EOFError):
                one.until(3)
        deadline = time.monotonic() + DEADLINE_S
        told: Counter[bytes] = Counter()
        while not told:
            assert time.monotonic() < deadline
            publisher.publish("task/a", b"x", 1)
            two.send(frames.PINGREQ)
            while (packet := two.next()).kind != 13:
                if packet.kind == 3:
                    two.send(frames.puback(packet.packet_id))
                    told[packet.payload] += 1


SESSION = b"\x11" + (600).to_bytes(4, "big")


class Sleeper(RawMqtt):
    """A v5 client whose session outlives its connection; ``worker`` serves it."""

    def __init__(self, server: ServerProcess, client_id: str) -> None:
        super().__init__(server, 5)
        self.send(
            frames.connect(
                5, client_id, clean=False, username=USER, password=PASSWORD.encode(), props=SESSION
            )
        )
        accepted = self.next()
        self.worker = worker_in(accepted)

    def subscribe(self, topic_filter: str, qos: int) -> None:
        self.send(frames.subscribe((topic_filter, qos), version=5))
        assert self.until(9).codes == [qos]

    def sleep(self) -> None:
        self.send(frames.disconnect(0))
        self.close()


def test_a_durable_group_has_what_came_while_all_its_members_slept(server: ServerProcess) -> None:
    """One session with one cursor: whoever wakes first gets what nobody has acknowledged."""
    sleepers = [Sleeper(server, f"durable-{number}") for number in range(3)]
    for sleeper in sleepers:
        sleeper.subscribe("$share/night/shift/#", 1)
    with client_of(server, 1) as publisher:
        for number in range(30):
            assert publisher.publish("shift/a", b"%d" % number, 1 + number) == 0
        early = sum(collect(sleepers, numbers(0, 30)), Counter())
        for sleeper in sleepers:
            sleeper.ping()
            sleeper.sleep()
        for number in range(30, 80):
            assert publisher.publish("shift/a", b"%d" % number, 1 + number) == 0
        with Sleeper(server, "durable-1") as woken:
            late = sum(collect([woken], numbers(30, 80)), Counter())
            woken.send(frames.unsubscribe("$share/night/shift/#", version=5))
            assert woken.until(11).kind == 11
        assert max(early.values()) == 1
        assert max(late.values()) == 1
        assert set(late) == numbers(30, 80), "what was acknowledged does not come again"


def sleeper_of(server: ServerProcess, worker: int, name: str) -> Sleeper:
    """One on a certain worker; those of others end."""
    for number in range(TRIES):
        sleeper = Sleeper(server, f"{name}-{number}")
        if sleeper.worker == worker:
            return sleeper
        sleeper.sleep()
    raise AssertionError(f"worker {worker} was not reached")


def test_a_durable_group_loses_nothing_when_its_owner_is_killed(server: ServerProcess) -> None:
    """What the killed worker's member had not acknowledged goes to the other one as well."""
    with (
        sleeper_of(server, 1, "killed") as one,
        sleeper_of(server, 2, "stays") as two,
        client_of(server, 2) as publisher,
    ):
        for member in (one, two):
            member.subscribe("$share/sure/care/#", 1)
        for number in range(20):
            assert publisher.publish("care/a", b"%d" % number, 1 + number) == 0
        one.until(3)
        kill(server, "worker-1")
        for number in range(20, 40):
            assert publisher.publish("care/a", b"%d" % number, 1 + number) == 0
        collect([two], numbers(0, 40))
