"""What a broker owes its clients: a model of sessions, messages and retained state.

Written from the standards' words alone, by no code of the product. It says what has to come, what
may, and with which quality, flags and identifiers; where two outcomes are right it allows both.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from tests.protocols.mqtt.client_frames import Received

NOBODY = b""
"""The payload that removes what is retained."""


def covers(topic_filter: str, topic: str) -> bool:
    """Whether a filter matches a topic (MQTT 5 §4.7)."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at == len(levels) or level not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)


@dataclass(frozen=True)
class Filter:
    """A subscription, as its client asked for it."""

    name: str
    qos: int
    identifier: int = 0
    no_local: bool = False
    retain_as_published: bool = False

    @property
    def options(self) -> int:
        return self.qos | self.no_local << 2 | self.retain_as_published << 3


@dataclass(eq=False)
class Session:
    """What the broker has of a client.

    Attributes:
        lasts: It outlives its connection.
        filters: By name.
        gone: Filters that were taken away, and how many messages there were by then.
        edits: How often the filters have changed.
        current: Filters that have asked for current state.
        reading: Filters that may not be told all of it yet.
    """

    lasts: bool
    filters: dict[str, Filter] = field(default_factory=dict)
    gone: list[tuple[str, int]] = field(default_factory=list)
    edits: int = 0
    current: set[str] = field(default_factory=set)
    reading: set[str] = field(default_factory=set)

    def matching(self, topic: str) -> list[Filter]:
        return [one for one in self.filters.values() if covers(one.name, topic)]


@dataclass(eq=False)
class Message:
    """One that was published.

    Attributes:
        number: In the order of publication, over all publishers.
        session: Of its publisher; None: it has none.
        is_taken: Its publisher was told that the broker has it.
        owed: Filters above QoS 0 which have matched it since it was sent, by client.
        seen_by: The sessions that matched when it was sent, and how often they had changed.
    """

    number: int
    publisher: str
    session: Session | None
    topic: str
    qos: int
    retain: bool
    payload: bytes
    is_taken: bool = False
    owed: dict[str, set[str]] = field(default_factory=dict)
    seen_by: dict[str, tuple[Session, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Delivery:
    """One message that has come to a client, the first time with its packet identifier."""

    message: Message
    qos: int
    retain: bool
    session: Session


@dataclass(eq=False)
class Current:
    """Retained state that a client has to get.

    Attributes:
        since: How many deliveries the client had when it asked.
    """

    client: str
    session: Session
    filter: str
    topic: str
    payload: bytes
    since: int


class Model:
    """All clients, and what they have been told.

    Attributes:
        sessions: By client; None: the broker has nothing of it.
        records: What may be retained, by topic; one value where it is certain.
        deliveries: In the order of their coming, by client.
    """

    def __init__(self, clients: list[str]) -> None:
        self.sessions: dict[str, Session | None] = dict.fromkeys(clients)
        self.records: dict[str, set[bytes]] = {}
        self.deliveries: dict[str, list[Delivery]] = {name: [] for name in clients}
        self._messages: dict[bytes, Message] = {}
        self._currents: list[Current] = []

    # --- sessions

    def connected(self, client: str, *, clean: bool, lasts: bool) -> bool:
        """Begin or take up a session; returns whether it was present."""
        if clean:
            self.end(client)
        session = self.sessions[client]
        if session is None:
            self.sessions[client] = Session(lasts)
            return False
        session.lasts = lasts
        return True

    def disconnected(self, client: str) -> None:
        """Its connection is over, however it ended."""
        session = self.sessions[client]
        if session is not None and not session.lasts:
            self.end(client)

    def end(self, client: str) -> None:
        """Nothing is owed to a session that is over."""
        self.sessions[client] = None
        for message in self._messages.values():
            message.owed.pop(client, None)
            message.seen_by.pop(client, None)

    def subscribed(self, client: str, wanted: Filter, *, handling: int) -> None:
        """A SUBACK has come."""
        session = self.session_of(client)
        before = session.filters.get(wanted.name)
        session.filters[wanted.name] = wanted
        session.edits += 1
        session.reading.add(wanted.name)
        if before is not None and (not wanted.qos or wanted.no_local):
            self._owe_no_more(client, wanted.name)
        if handling == 0 or (handling == 1 and before is None):
            session.current.add(wanted.name)
            self._owe_current(client, session, wanted)

    def _owe_current(self, client: str, session: Session, wanted: Filter) -> None:
        """Above QoS 0; what it has published itself may be left out where it says No Local."""
        if not wanted.qos or wanted.no_local:
            return
        since = len(self.deliveries[client])
        for topic, values in self.records.items():
            message = self._messages.get(next(iter(values)))
            if covers(wanted.name, topic) and len(values) == 1 and message and message.qos:
                current = Current(client, session, wanted.name, topic, message.payload, since)
                self._currents.append(current)

    def unsubscribed(self, client: str, name: str) -> None:
        """An UNSUBACK has come."""
        session = self.session_of(client)
        session.edits += 1
        if session.filters.pop(name, None) is not None:
            session.gone.append((name, len(self._messages)))
            session.current.discard(name)
            self._owe_no_more(client, name)

    def _owe_no_more(self, client: str, name: str) -> None:
        for message in self._messages.values():
            message.owed.get(client, set()).discard(name)

    def session_of(self, client: str) -> Session:
        session = self.sessions[client]
        assert session is not None, "the client is connected"
        return session

    # --- messages

    def publish(self, publisher: str, topic: str, qos: int, *, retain: bool) -> Message:
        """A new message, with a payload of its own; it leaves now."""
        number = len(self._messages) + 1
        payload = f"{publisher}{number}".encode()
        session = self.sessions.get(publisher)
        message = Message(number, publisher, session, topic, qos, retain, payload)
        self._messages[payload] = message
        for client, reader in self.sessions.items():
            if reader is not None:
                message.seen_by[client] = reader, reader.edits
                wanting = self._wanting(message, client, reader)
                if qos:
                    message.owed[client] = {one.name for one in wanting if one.qos}
        return message

    def _wanting(self, message: Message, client: str, reader: Session) -> list[Filter]:
        is_own = message.publisher == client and message.session is reader
        return [one for one in reader.matching(message.topic) if not (is_own and one.no_local)]

    def retained(self, topic: str, payload: bytes, *, is_certain: bool) -> None:
        """A retained message was sent; certain once it must have been written."""
        before = self.records.get(topic, {NOBODY})
        self.records[topic] = {payload} if is_certain else {*before, payload}
        self._currents = [one for one in self._currents if payload or one.topic != topic]

    # --- what comes

    def arrived(self, client: str, packet: Received) -> None:
        """A PUBLISH that is new to its client."""
        session = self.session_of(client)
        if not packet.payload:
            return
        message = self._messages.get(packet.payload)
        assert message is not None, f"invented: {packet}"
        assert message.topic == packet.topic, packet
        assert self._may_come(session, message), f"{client} has not asked for {packet}"
        self._check_terms(client, session, message, packet)
        self.deliveries[client].append(Delivery(message, packet.qos, packet.retain, session))

    def _may_come(self, session: Session, message: Message) -> bool:
        return bool(session.matching(message.topic)) or any(
            covers(name, message.topic) and message.number <= count for name, count in session.gone
        )

    def _check_terms(
        self, client: str, session: Session, message: Message, packet: Received
    ) -> None:
        """Against the filters of its publication, where they are still the same."""
        matching = session.matching(message.topic)
        if packet.retain and not (message.retain and any(o.retain_as_published for o in matching)):
            assert message.retain, f"never retained: {packet}"
            assert session.current & {o.name for o in matching} or session.gone, (
                f"{client} did not ask for current state: {packet}"
            )
            return
        if message.seen_by.get(client) != (session, session.edits) or packet.flags & 8:
            return
        wanting = self._wanting(message, client, session)
        assert wanting, f"{client} wants nothing of its own: {packet}"
        if packet.retain:
            return  # it may be current state too, which has the terms of one filter
        if not session.lasts and session.reading & {one.name for one in wanting}:
            # One that is read to its end brings it by its own terms, the other may, too.
            assert packet.qos in {min(message.qos, one.qos) for one in wanting}, packet
            return
        assert packet.qos == min(message.qos, max(one.qos for one in wanting)), packet
        assert not (message.retain and any(one.retain_as_published for one in wanting)), packet
        if packet.version == 5:
            expected = sorted({one.identifier for one in wanting if one.identifier})
            assert identifiers(packet.properties) == expected, packet

    # --- what must hold once all is quiet

    def check(self, client: str) -> None:
        """Nothing is lost, comes twice at QoS 2, or out of order; for one that is connected."""
        self.session_of(client).reading.clear()
        got = {one.message for one in self.deliveries[client]}
        lost = [
            one
            for one in self._messages.values()
            if one.is_taken
            and one.owed.get(client)
            and one not in got
            and not self._is_outdated(client, one)
        ]
        assert not lost, f"{client} has lost {[(o.payload, o.topic, o.qos) for o in lost]}"
        self._check_doubles(client)
        self._check_order(client)
        self._check_current(client)

    def _is_outdated(self, client: str, message: Message) -> bool:
        """What was written over while current state was under way is told as that."""
        return message.retain and any(
            one.retain
            and one.message.retain
            and one.message.topic == message.topic
            and one.message.number > message.number
            for one in self.deliveries[client]
        )

    def _check_doubles(self, client: str) -> None:
        counts: dict[Message, int] = defaultdict(int)
        for one in self.deliveries[client]:
            if one.qos == 2 and not one.retain:
                counts[one.message] += 1
        doubles = [message.payload for message, count in counts.items() if count > 1]
        assert not doubles, f"{client} has twice at QoS 2: {doubles}"

    def _check_order(self, client: str) -> None:
        """First copies of one publisher, topic and QoS [MQTT-4.6.0-6]."""
        last: dict[tuple[str, str, int], int] = {}
        seen: set[Message] = set()
        for one in self.deliveries[client]:
            message = one.message
            if one.retain or message in seen:
                continue
            seen.add(message)
            key = message.publisher, message.topic, message.qos
            assert last.get(key, 0) < message.number, f"{client}: {message.payload!r} is late"
            last[key] = message.number

    def _check_current(self, client: str) -> None:
        for one in self._currents:
            session = self.sessions[client]
            if one.client != client or one.session is not session:
                continue
            if one.filter not in session.current:
                continue
            came = self.deliveries[client][one.since :]
            assert any(d.message.retain and d.message.topic == one.topic for d in came), (
                f"{client} has not got what {one.topic} has: {one.payload!r}"
            )

    def forget_owed(self, client: str) -> None:
        """Its queue was full: a session that ends with its connection may lose then."""
        for message in self._messages.values():
            message.owed.pop(client, None)
        self._currents = [one for one in self._currents if one.client != client]


def identifiers(properties: bytes) -> list[int]:
    """The subscription identifiers of a PUBLISH that has no other properties."""
    found = []
    position = 0
    while position < len(properties):
        assert properties[position] == 0x0B, properties
        position += 1
        number = shift = 0
        while True:
            digit = properties[position]
            position += 1
            number |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                break
        found.append(number)
    return sorted(found)
