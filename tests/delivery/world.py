"""A small world around a hub: tables, access, encodings and subscribers of the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from lyredb.delivery.admission import ALL, Destination, View
from lyredb.delivery.hub import Hub, Terms
from lyredb.delivery.message import Message
from lyredb.delivery.peers import DEFAULT_LIMITS, PeerLimits
from lyredb.errors import LyreError, NotAuthorised
from lyredb.plugins.context import Principal
from lyredb.plugins.delivery import Batch
from lyredb.plugins.delivery import Message as AnyMessage
from lyredb.storage.entry import Entry
from lyredb.storage.keys import KeyValue, decode_key, encode_key
from lyredb.storage.mutation import DeleteReason, Kind
from lyredb.storage.record import decode_header, encode_record

SENSOR_SLOT = 16
LOG_ID = "0badcafe"


@dataclass(frozen=True)
class Someone:
    """A principal."""

    name: str

    @property
    def key(self) -> str:
        return self.name


ROOT = Someone("root")


@dataclass(frozen=True)
class LineEncoding:
    """Frames as lines of text: ``<wire> <topic> <payload> q<qos> r<retain> <ids>``.

    A frame of QoS 1 ends with a place of two bytes for its packet identifier.
    """

    wire: str = "line"
    raw: str = ""
    takes_messages: bool = False

    def frame(
        self, message: AnyMessage, *, qos: int, retain: bool, ids: tuple[int, ...]
    ) -> tuple[bytes, int]:
        payload = message.payload(Plain())
        fields = [self.wire.encode(), message.topic, payload, b"q%d" % qos, b"r%d" % retain]
        fields += [b"%d" % number for number in ids]
        text = b" ".join(fields)
        return (text + b" ..\n", len(text) + 1) if qos else (text + b"\n", 0)


class Plain:
    """A format that is only good for bytes."""

    name = "plain"
    media_type = "text/plain"

    def encode(self, value: object) -> bytes:
        return repr(value).encode()

    def decode(self, data: bytes) -> object:
        return data


@dataclass(eq=False)
class Reader:
    """A subscriber that keeps what it gets, as lines or messages."""

    lines: list[bytes] = field(default_factory=list)
    messages: list[AnyMessage] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    closed: list[Exception] = field(default_factory=list)
    congested: bool = False
    on_write: Callable[[], None] | None = None

    def write(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.lines += batch.data.splitlines()
        if self.on_write is not None:
            self.on_write()

    def write_messages(self, messages: Sequence[AnyMessage]) -> None:
        self.messages += messages

    @property
    def is_congested(self) -> bool:
        return self.congested

    def close(self, reason: Exception) -> None:
        self.closed.append(reason)


@dataclass(eq=False)
class Publisher:
    """A publisher that notes why it waits."""

    reasons: list[object] = field(default_factory=list)

    def pause_reading(self, why: object) -> None:
        self.reasons.append(why)

    def resume_reading(self, why: object) -> None:
        self.reasons.remove(why)


class SensorTable:
    """The table ``data.Sensor`` with the topics ``Sensor`` and ``Sensor/<id>``."""

    name = "data.Sensor"
    slot = SENSOR_SLOT

    def decode(self, key: KeyValue, stored: bytes) -> dict[str, object]:
        header = decode_header(stored)
        body: dict[str, object] = msgspec.msgpack.decode(stored[header.body_offset :])
        return {"id": key, **body}


class World:
    """A hub with access, topics, a clock and ticks that tests turn by hand."""

    def __init__(
        self,
        peer_limits: PeerLimits = DEFAULT_LIMITS,
        schedule: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.ticks: list[Callable[[], None]] = []
        self.timers: list[FakeTimer] = []
        self.now = 100.0
        self.denied: set[tuple[str, bytes]] = set()
        self.views: dict[tuple[str, bytes], View] = {}
        self.kinds: dict[bytes, str] = {}
        self.topics_asked = 0
        self.hub = Hub(
            self,
            self,
            {SENSOR_SLOT: SensorTable()},
            schedule_flush=schedule or self.ticks.append,
            now=lambda: self.now,
            call_later=self.call_later,
            peer_limits=peer_limits,
        )
        self.hub.log_id = LOG_ID

    def tick(self) -> None:
        ticks, self.ticks[:] = self.ticks[:], []
        for callback in ticks:
            callback()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self.now + delay_s, callback)
        self.timers.append(timer)
        return timer

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for timer in self.timers[:]:
            if timer.due <= self.now:
                self.timers.remove(timer)
                timer.fire()

    # Admission and Topics

    def publish(self, principal: Principal, protocol: str, topic: bytes) -> Destination:
        if (principal.name, topic) in self.denied:
            raise NotAuthorised(f"{principal.name} may not publish there")
        record_id = topic.removeprefix(b"Sensor/").decode()
        kind = "logged" if self.kinds.get(topic) == "logged" else "direct"
        return Destination(
            SENSOR_SLOT,
            encode_key(record_id),
            record_id,
            "data.Sensor",
            kind,  # type: ignore[arg-type]  # mypy widens the literal
        )

    def read(self, principal: Principal, protocol: str, topic: bytes) -> View | None:
        if (principal.name, topic) in self.denied:
            return None
        return self.views.get((principal.name, topic), ALL)

    def of(self, slot: int, key: bytes) -> tuple[bytes, ...]:
        self.topics_asked += 1
        if slot != SENSOR_SLOT:
            return ()
        return (f"Sensor/{decode_key(key)}".encode(),) if key else (b"Sensor",)

    # Shorthands

    def join(self, filter: str, reader: Reader, **options: object) -> None:
        self.hub.join(filter, reader, terms(**options))

    def send(
        self,
        topic: str,
        payload: str,
        *,
        publisher: Publisher | None = None,
        qos: int = 0,
        session: int = 0,
        raw_kind: str = "",
        raw: bytes = b"",
        raw_id: int = 0,
        principal: Principal = ROOT,
    ) -> None:
        ingress = self.hub.ingress(principal, "mqtt", raw_kind)
        path = ingress.path(topic.encode())
        message = Message.direct(
            topic.encode(),
            payload.encode(),
            path.destination,
            qos=qos,
            session=session,
            local_ms=1,
        )
        ingress.push(path, message, publisher, raw, raw_id)


@dataclass(eq=False)
class FakeTimer:
    due: float
    callback: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def fire(self) -> None:
        if not self.is_cancelled:
            self.callback()


def terms(**options: object) -> Terms:
    values: dict[str, object] = {
        "encoding": LineEncoding(),
        "qos": 0,
        "principal": ROOT,
        "protocol": "mqtt",
        **options,
    }
    return Terms(**values)  # type: ignore[arg-type]  # checked by the tests that use it


def put(seq: int, record_id: KeyValue, value: dict[str, object], *, session: int = 0) -> Entry:
    image = encode_record(msgspec.msgpack.encode(value), version=seq << 12, last_seq=seq)
    return entry(seq, Kind.PUT, record_id, image=image, session=session)


def entry(
    seq: int,
    kind: Kind,
    record_id: KeyValue,
    *,
    slot: int = SENSOR_SLOT,
    image: bytes = b"",
    payload: bytes = b"",
    metadata: bytes = b"",
    session: int = 0,
    flags: int = 0,
) -> Entry:
    return Entry(
        seq=seq,
        kind=kind,
        flags=flags,
        delete_reason=DeleteReason.NONE,
        slot=slot,
        node=0,
        local_ms=1_700_000_000_000 + seq,
        version=seq << 12,
        prev_seq=0,
        index=0,
        key=encode_key(record_id),
        image=image,
        payload=payload,
        metadata=metadata,
        session=session,
    )


def error_of(call: Callable[[], object]) -> LyreError | None:
    """What a call raises, for properties over valid and invalid input."""
    try:
        call()
    except LyreError as error:
        return error
    return None
