"""Groups of shared subscribers over several workers: each message to one member, none lost."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lyredb.delivery.message import Message as Made
from lyredb.errors import NotAuthorised
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Message, Subscriber
from lyredb.resources.reached import Reached
from lyredb.resources.requests import SubscribeOptions
from lyredb.security.principals import Role
from lyredb.sessions.group import AHEAD, MAX_WAITING
from lyredb.sessions.group_messages import packed, unpacked
from lyredb.sessions.group_parts import GroupName
from lyredb.sessions.group_session import GroupSessions
from lyredb.sessions.groups import Groups
from lyredb.sessions.groups_service import GroupsService
from lyredb.sessions.terms import group_client_id
from tests.sessions.streams import HandTimers, Streams

NAME = GroupName("g", "open/#", "r")


class NoSessions:
    """No group has a session."""

    def is_kept(self, name: str) -> bool:
        return False


NO_SESSIONS = cast(GroupSessions, NoSessions())
CONTEXT = Context(Role("r"), "mqtt", "u", 1, "")


def message(number: int, qos: int = 1) -> Message:
    return Made(
        b"open/t",
        "message",
        "data.Topic",
        "t",
        b"%d" % number,
        record_table=None,
        is_opaque=True,
        version=0.0,
        local_ms=0,
        seq=0,
        qos=qos,
        retain=False,
        current=False,
        position="",
        content_type="",
        properties=b"",
        expires_ms=0,
        session=0,
    )


def number_of(one: Message) -> int:
    return int(cast(Made, one).data)


class Nodes:
    """Workers whose notes wait in a queue until a test runs it."""

    def __init__(self, *workers: int) -> None:
        self.streams = Streams()
        self.timers = HandTimers()
        self.service = GroupsService(self.streams, call_later=self.timers.call_later)
        self.workers: dict[int, Worker] = {}
        self.queue: deque[Callable[[], None]] = deque()
        self.is_forbidden = False
        for number in workers:
            self.attach(number)

    def attach(self, number: int) -> Worker:
        worker = Worker(self, number)
        for other in list(self.workers.values()):
            other.attached(number)
            worker.attached(other.number)
        self.workers[number] = worker
        return worker

    def lose(self, number: int) -> None:
        self.run()
        del self.workers[number]
        for other in list(self.workers.values()):
            other.detached(number)
        self.streams.lose(number)
        self.run()

    def run(self) -> None:
        for _ in range(50):
            self.streams.run()
            while self.queue:
                self.queue.popleft()()

    def publish(self, number: int, qos: int = 1) -> None:
        """Every worker with a subscription hears of it."""
        told = [one for worker in self.workers.values() for one in worker.subscribed]
        assert len(told) <= 1, "one worker subscribes for the group"
        for one in told:
            one.write_messages([message(number, qos)])
        self.run()


class Feedback:
    """A subscription of a group, as the feed made it."""

    def __init__(self, worker: Worker, subscriber: Subscriber, options: SubscribeOptions) -> None:
        self.worker = worker
        self.subscriber = subscriber
        self.options = options

    def start(self) -> None:
        self.worker.subscribed.append(self.subscriber)

    def resume(self) -> None:
        self.worker.resumed += 1

    def fall_behind(self) -> None:
        raise AssertionError("only a group with a session falls behind")

    def reached(self) -> Reached:
        raise AssertionError("only a session asks")

    def close(self) -> None:
        if self.subscriber in self.worker.subscribed:
            self.worker.subscribed.remove(self.subscriber)


class Worker:
    """One worker's groups, its feed and its end of the peers' streams."""

    def __init__(self, nodes: Nodes, number: int) -> None:
        self.nodes = nodes
        self.number = number
        self.subscribed: list[Subscriber] = []
        self.opened: list[Feedback] = []
        self.resumed = 0
        self.handlers: dict[str, Callable[[int, bytes], None]] = {}
        self.attached: Callable[[int], None] = lambda _: None
        self.detached: Callable[[int], None] = lambda _: None
        self.notes = self
        calls = nodes.streams.worker(number)
        self.groups = Groups(number, self, self, calls, nodes.queue.append, NO_SESSIONS)

    # the feed
    def subscribe(
        self,
        filter: str,
        subscriber: Subscriber,
        context: Context,
        options: SubscribeOptions,
        after: str = "",
    ) -> Feedback:
        assert filter == NAME.filter
        if self.nodes.is_forbidden:
            raise NotAuthorised("no")
        self.opened.append(Feedback(self, subscriber, options))
        return self.opened[-1]

    def when_known(self, callback: Callable[[], None]) -> None:
        self.nodes.queue.append(callback)

    def drained(self, subscriber: Subscriber) -> None:
        self.resumed += 1

    # the peers
    def on_note(self, kind: str, handler: Callable[[int, bytes], None]) -> None:
        self.handlers[kind] = handler

    def watch(self, attached: Callable[[int], None], detached: Callable[[int], None]) -> None:
        self.attached, self.detached = attached, detached

    def note(self, number: int, kind: str, body: bytes) -> None:
        def arrive() -> None:
            worker = self.nodes.workers.get(number)
            if worker is not None and self.nodes.workers.get(self.number) is self:
                worker.handlers[kind](self.number, body)

        self.nodes.queue.append(arrive)


class Client:
    """A member, which acknowledges when it is told to."""

    def __init__(self, nodes: Nodes, worker: int) -> None:
        self.nodes = nodes
        self.groups = nodes.workers[worker].groups
        self.worker = worker
        self.is_congested = False
        self.is_ready = False
        self.is_gone = False
        self.ended: Exception | None = None
        self.had: list[tuple[int, Callable[[bool], None]]] = []
        self.got: list[int] = []
        self.groups.reserve(NAME, CONTEXT, is_durable=False, is_new=True)
        self.groups.when_ready(NAME, self.ready)
        nodes.run()
        assert self.is_ready
        assert self.groups.join(NAME, self)
        nodes.run()

    def ready(self) -> None:
        self.is_ready = True

    def tell(
        self,
        message: Message,
        settled: Callable[[bool], None],
        taken: Callable[[], None],
        receipt: object = None,
    ) -> None:
        assert not self.is_gone
        self.had.append((number_of(message), settled))
        self.take = taken

    def end(self, reason: Exception) -> None:
        self.ended = reason

    def acknowledge(self) -> list[int]:
        """Acknowledge what it has; it may get more by that."""
        had, self.had = self.had, []
        for number, settled in had:
            self.got.append(number)
            settled(True)
        self.nodes.run()
        return [number for number, _ in had]

    def leave(self) -> None:
        """Its connection breaks: what it has is not acknowledged any more."""
        self.is_gone = True
        self.groups.leave(NAME, self)
        had, self.had = self.had, []
        for _, settled in had:
            settled(False)
        self.nodes.run()


def test_each_message_goes_to_one_member_in_turns() -> None:
    nodes = Nodes(0)
    clients = [Client(nodes, 0) for _ in range(3)]
    for number in range(9):
        nodes.publish(number)
    assert [len(client.acknowledge()) for client in clients] == [3, 3, 3]


def test_members_of_two_workers_share_by_their_numbers() -> None:
    """Two members here and one there: a third each, not half for the worker."""
    nodes = Nodes(1, 2)
    clients = [Client(nodes, 1), Client(nodes, 1), Client(nodes, 2)]
    for number in range(30):
        nodes.publish(number)
    assert [len(client.acknowledge()) for client in clients] == [10, 10, 10]
    assert sum(len(worker.subscribed) for worker in nodes.workers.values()) == 1


def test_what_a_member_did_not_acknowledge_goes_to_another_worker() -> None:
    nodes = Nodes(1, 2)
    one, two = Client(nodes, 1), Client(nodes, 2)
    for number in range(10):
        nodes.publish(number)
    one.leave()
    two.acknowledge()
    two.acknowledge()
    assert sorted(two.got) == list(range(10))


def test_what_members_of_a_lost_worker_had_goes_to_others() -> None:
    nodes = Nodes(1, 2)
    one, _ = Client(nodes, 1), Client(nodes, 2)
    for number in range(10):
        nodes.publish(number)
    nodes.lose(2)
    one.acknowledge()
    one.acknowledge()
    assert sorted(one.got) == list(range(10))


def test_another_worker_takes_over_when_the_owner_is_lost() -> None:
    nodes = Nodes(1, 2, 3)
    Client(nodes, 1)
    two, three = Client(nodes, 2), Client(nodes, 3)
    nodes.lose(1)
    for number in range(10):
        nodes.publish(number)
    assert len(two.acknowledge()) == len(three.acknowledge()) == 5


def test_an_owner_without_members_goes_on_for_those_of_others() -> None:
    nodes = Nodes(1, 2)
    one, two = Client(nodes, 1), Client(nodes, 2)
    one.leave()
    nodes.publish(1)
    assert two.acknowledge() == [1]
    assert nodes.workers[1].subscribed
    two.leave()
    assert not len(nodes.workers[1].groups) + len(nodes.workers[2].groups) + len(nodes.service)


def test_a_member_has_a_bounded_number_of_messages_and_others_go_on() -> None:
    nodes = Nodes(1, 2)
    slow, quick = Client(nodes, 1), Client(nodes, 2)
    for number in range(10 * AHEAD):
        nodes.publish(number)
        quick.acknowledge()
    assert len(slow.had) == AHEAD
    assert len(quick.got) == 9 * AHEAD


def test_what_finds_no_room_waits_within_bounds_and_slows_the_source_down() -> None:
    nodes = Nodes(0)
    client = Client(nodes, 0)
    (source,) = nodes.workers[0].subscribed
    source.write_messages([message(number) for number in range(AHEAD + MAX_WAITING + 5)])
    assert source.is_congested
    seen = []
    while had := client.acknowledge():
        seen += had
    assert seen == list(range(AHEAD + MAX_WAITING))
    assert nodes.workers[0].resumed


def test_a_congested_member_gets_nothing_until_it_has_room() -> None:
    nodes = Nodes(0)
    client = Client(nodes, 0)
    client.is_congested = True
    nodes.publish(1)
    assert not client.had
    client.is_congested = False
    client.groups.note_room(NAME, client)
    assert client.acknowledge() == [1]


def test_what_a_member_has_taken_is_given_to_nobody_else_though_it_goes() -> None:
    """[MQTT-4.8.2-4]: its session has it; it fills its place until its end all the same."""
    nodes = Nodes(1, 2)
    owner, member = Client(nodes, 1), Client(nodes, 2)
    for number in range(4 * AHEAD):
        nodes.publish(number)
        owner.acknowledge()
        if member.had and member.had[-1][0] == number:
            member.take()
            nodes.run()
    assert len(member.had) == AHEAD
    nodes.lose(2)
    owner.acknowledge()
    owner.acknowledge()
    taken = {number for number, _ in member.had}
    assert taken.isdisjoint(owner.got)
    assert len(owner.got) == 3 * AHEAD


@pytest.mark.timeout(20)
def test_a_group_ends_with_its_last_member_though_messages_wait_for_it() -> None:
    """They come back from a worker that has nobody left to give them to, and stay there."""
    nodes = Nodes(1, 2)
    client = Client(nodes, 1)
    client.is_congested = True
    nodes.publish(1)
    client.leave()
    assert len(nodes.service) == 0
    again = Client(nodes, 2)
    nodes.publish(2)
    assert again.acknowledge() == [2]


@pytest.mark.timeout(20)
def test_what_waits_for_the_last_member_of_a_worker_goes_to_another_worker() -> None:
    nodes = Nodes(1, 2)
    one, two = Client(nodes, 1), Client(nodes, 2)
    one.is_congested = True
    for number in range(10):
        nodes.publish(number)
    one.leave()
    two.acknowledge()
    two.acknowledge()
    assert sorted(two.got) == list(range(10))


@pytest.mark.parametrize("is_congested", [False, True])
def test_what_a_member_leaves_waits_for_no_full_one_while_another_worker_has_room(
    is_congested: bool,
) -> None:
    """Whether the one that left had it, or it waited for any member of that worker."""
    nodes = Nodes(1, 2)
    one, two = Client(nodes, 1), Client(nodes, 1)
    two.is_congested = is_congested
    for number in range(2 * AHEAD):
        nodes.publish(number)
    elsewhere = Client(nodes, 2)
    two.leave()
    assert len(elsewhere.had) == AHEAD
    assert {number for number, _ in one.had + elsewhere.had} == set(range(2 * AHEAD))


@pytest.mark.timeout(20)
def test_what_waits_when_the_rights_are_gone_is_given_to_nobody() -> None:
    nodes = Nodes(1, 2)
    one, two = Client(nodes, 1), Client(nodes, 2)
    one.is_congested = two.is_congested = True
    for number in range(10):
        nodes.publish(number)
    on_error = nodes.workers[1].opened[0].options.on_error
    assert on_error is not None
    nodes.is_forbidden = True
    on_error(NotAuthorised("no"))
    nodes.run()
    assert isinstance(one.ended, NotAuthorised)
    assert isinstance(two.ended, NotAuthorised)
    assert not one.had + two.had


def test_a_group_whose_rights_are_gone_ends_for_all_members() -> None:
    nodes = Nodes(1, 2)
    one, two = Client(nodes, 1), Client(nodes, 2)
    on_error = nodes.workers[1].opened[0].options.on_error
    assert on_error is not None
    nodes.is_forbidden = True
    on_error(NotAuthorised("no"))
    nodes.run()
    assert isinstance(one.ended, NotAuthorised)
    assert isinstance(two.ended, NotAuthorised)
    assert len(nodes.service) == 0


def test_what_comes_back_after_its_group_has_ended_goes_nowhere() -> None:
    """Its owner gave it to somebody else, or to nobody: then the connection broke in its end."""
    nodes = Nodes(1, 2)
    one, two = Client(nodes, 1), Client(nodes, 2)
    for number in range(4):
        nodes.publish(number)
    assert one.had
    assert two.had
    on_error = nodes.workers[1].opened[0].options.on_error
    assert on_error is not None
    on_error(NotAuthorised("no"))
    nodes.run()
    one.leave()
    two.leave()
    assert (one.had, two.had) == ([], [])


def test_the_session_of_a_group_is_claimed_as_long_as_somebody_owns_it() -> None:
    """Else it would be taken for one whose connection was lost, and given a deadline."""
    nodes = Nodes(1, 2)
    name = group_client_id(str(NAME))
    assert not nodes.service.is_claimed(name)
    one, two = Client(nodes, 1), Client(nodes, 2)
    assert nodes.service.is_claimed(name)
    nodes.lose(1)
    assert nodes.service.is_claimed(name)
    two.leave()
    assert not nodes.service.is_claimed(name)
    assert not one.ended


def test_groups_go_on_when_the_writer_is_started_anew() -> None:
    nodes = Nodes(1, 2)
    one, two = Client(nodes, 1), Client(nodes, 2)
    nodes.streams.go_away()
    nodes.service = GroupsService(nodes.streams, call_later=nodes.timers.call_later)
    nodes.streams.come_back()
    nodes.timers.pass_all()
    nodes.run()
    for number in range(4):
        nodes.publish(number)
    assert len(one.acknowledge()) == len(two.acknowledge()) == 2


def test_an_owner_that_is_lost_with_the_writer_is_replaced() -> None:
    nodes = Nodes(1, 2)
    Client(nodes, 1)
    two = Client(nodes, 2)
    nodes.streams.go_away()
    del nodes.workers[1], nodes.streams.ends[1]
    nodes.workers[2].detached(1)
    nodes.service = GroupsService(nodes.streams, call_later=nodes.timers.call_later)
    nodes.streams.come_back()
    nodes.run()
    nodes.timers.pass_all()
    nodes.run()
    nodes.publish(1)
    assert two.acknowledge() == [1]


def test_a_record_travels_as_its_value_and_a_payload_as_its_bytes() -> None:
    sent = message(7, qos=2)
    assert cast(Made, unpacked(packed(sent, 1))).data == b"7"
    assert unpacked(packed(sent, 1)).qos == 2


class World(RuleBasedStateMachine):
    """Members on two workers come, go and acknowledge; workers are lost; messages flow."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = Nodes(1, 2)
        self.clients: list[Client] = [Client(self.nodes, 1)]
        self.past: list[Client] = []
        self.number = 0
        self.published: set[int] = set()

    @rule(worker=st.sampled_from([1, 2]))
    def somebody_joins(self, worker: int) -> None:
        if len(self.clients) < 5:
            self.clients.append(Client(self.nodes, worker))

    @rule(count=st.integers(1, 5))
    def messages_come(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            self.published.add(self.number)
            self.nodes.publish(self.number)

    @rule(data=st.data())
    def somebody_acknowledges(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.clients)).acknowledge()

    @rule(data=st.data())
    def somebody_leaves(self, data: st.DataObject) -> None:
        if len(self.clients) > 1:
            client = data.draw(st.sampled_from(self.clients))
            self.clients.remove(client)
            self.past.append(client)
            client.leave()

    @rule()
    def a_worker_that_does_not_own_the_group_is_lost(self) -> None:
        for number, worker in list(self.nodes.workers.items()):
            if not worker.subscribed:
                gone = [client for client in self.clients if client.worker == number]
                if len(gone) < len(self.clients):
                    self.clients = [one for one in self.clients if one not in gone]
                    self.past += gone
                    self.nodes.lose(number)
                    self.nodes.attach(number)
                    self.nodes.run()

    @invariant()
    def each_message_is_somewhere_and_acknowledged_once(self) -> None:
        got = Counter(number for client in self.clients + self.past for number in client.got)
        assert not [number for number, count in got.items() if count > 1]
        held = Counter(number for client in self.clients for number, _ in client.had)
        if self.published - set(got) - set(held):
            assert all(len(client.had) == AHEAD for client in self.clients), "else one has room"
        assert not got.keys() & held.keys()
        assert not [number for number, count in held.items() if count > 1]


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=30, stateful_step_count=30)
