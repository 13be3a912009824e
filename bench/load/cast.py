"""Who takes part in a load: publishers, subscribers, and clients that are away meanwhile."""

from __future__ import annotations

import random
import select

from bench.load.check import AckCheck, Check, DeliveryCheck, StoredCheck, StreamCheck
from bench.load.client import Connection, Login, MqttLogin, login_of, open_stream
from bench.load.exactly import ExactlyOnceCheck, ReleaseCheck
from bench.load.flow import Flow
from bench.load.shared import MemberCheck, Share
from bench.load.spec import Shape, Target

SEED = 7
AWAY = "bench-away-{}"


class Cast:
    """The connections of one run, each with what it expects.

    Attributes:
        poll: Tells which of ``readers``, by descriptor, have something.
        checks: All of them; they find what went wrong.
    """

    def __init__(self, target: Target, shape: Shape, flow: Flow) -> None:
        self._target, self._shape, self._flow = target, shape, flow
        self._login: Login = login_of(target, shape.level)
        self._lasting = MqttLogin(shape.level, durable=True)
        if shape.durable:
            self._login = self._lasting
        self._opened: list[Connection] = []
        self._subscribers: list[Connection] = []
        self.poll = select.epoll()
        self.readers: dict[int, Connection] = {}
        self.checks: list[Check] = []

    @property
    def reads(self) -> int:
        """Calls of ``recv`` by subscribers."""
        return sum(subscriber.reads for subscriber in self._subscribers)

    def connect(self) -> list[Connection]:
        """Connect everybody and return the publishers in the order of their messages.

        Raises:
            LoadFailed: Somebody was refused.
        """
        self._leave()
        share = Share(self._flow, self._shape.subscriber_qos) if self._shape.is_shared else None
        if share is not None:
            self.checks.append(share)
        for number in range(self._shape.subscribers):
            self._add_subscriber(number, share)
        for number in range(self._shape.topics if self._shape.own_subscribers else 0):
            places = self._flow.places_of(number)
            check = DeliveryCheck(self._flow, self._shape.subscriber_qos, places)
            self._subscribe(f"own-{number}", self._flow.topic(number), check)
        return self._publishers()

    def wake(self) -> None:
        """Have those who were away come back."""
        for number in range(self._shape.away):
            client = self._lasting.resume(self._target, AWAY.format(number))
            self._opened.append(client)
            self._watch(client, DeliveryCheck(self._flow, 1))

    def close(self) -> None:
        """Close all connections."""
        for connection in self._opened:
            connection.close(b"" if connection in self._subscribers else self._login.goodbye)
        self.poll.close()

    def _leave(self) -> None:
        """Subscribe for those who are away, and let them go."""
        for number in range(self._shape.away):
            client = self._lasting.open(self._target, AWAY.format(number))
            self._lasting.subscribe(client, self._shape.topic_filter, 1)
            client.close(self._lasting.goodbye)

    def _add_subscriber(self, number: int, share: Share | None) -> None:
        shape = self._shape
        if shape.stream:
            stream = open_stream(self._target, shape.topic_filter, shape.stream)
            self._opened.append(stream)
            self._join(stream, StreamCheck(self._flow))
        else:
            self._subscribe(f"all-{number}", shape.topic_filter, self._check(share))

    def _check(self, share: Share | None) -> Check:
        if share is not None:
            return MemberCheck(share)
        if min(self._shape.qos, self._shape.subscriber_qos) == 2:
            return ExactlyOnceCheck(self._flow)
        return DeliveryCheck(self._flow, self._shape.subscriber_qos)

    def _publishers(self) -> list[Connection]:
        # In another order than they send, or one's neighbour in memory would come next.
        numbers = list(range(self._shape.publishers))
        random.Random(SEED).shuffle(numbers)
        opened = {number: self._open(f"pub-{number}") for number in numbers}
        for publisher in opened.values():
            publisher.socket.setblocking(False)
            if self._shape.qos:
                self._login.expect_stored(publisher)
                self._watch(publisher, self._answers())
        return [opened[number] for number in sorted(numbers)]

    def _answers(self) -> Check:
        if self._target.protocol == "nats":
            return StoredCheck(self._flow)
        return ReleaseCheck(self._flow) if self._shape.qos == 2 else AckCheck(self._flow)

    def _subscribe(self, name: str, topic_filter: str, check: Check) -> None:
        subscriber = self._open(name)
        self._login.subscribe(subscriber, topic_filter, self._shape.subscriber_qos)
        self._join(subscriber, check)

    def _open(self, name: str) -> Connection:
        self._opened.append(self._login.open(self._target, f"bench-{name}"))
        return self._opened[-1]

    def _join(self, subscriber: Connection, check: Check) -> None:
        self._watch(subscriber, check)
        self._subscribers.append(subscriber)

    def _watch(self, connection: Connection, check: Check) -> None:
        connection.begin(check)
        self.checks.append(check)
        self.readers[connection.socket.fileno()] = connection
        self.poll.register(connection.socket.fileno(), select.EPOLLIN)
