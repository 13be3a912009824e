"""The clients of a trial: they write in every way, pass messages on, and listen with resume."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from tests.e2e.clients import SseEvent
from tests.e2e.raw_http import RawHttp, Reply, request
from tests.e2e.worker_clients import WorkerClient, client_of
from tests.faults.ledger import GONE, TABLES, Ask, Change, Fate, Log
from tests.faults.trial import ANSWER_S, ROUND_S, WORKERS, Client, Listener, Trial, Writer, http_of
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.client_frames import Received

KEYS = 12
WINDOW = 20
QUOTA_EXCEEDED = 0x97
"""What an MQTT client is told of a write that was not made and may be tried again."""


class RestWriter(Writer):
    """PUT, PATCH and DELETE of keys of its own, and POST of records that get a key."""

    def live(self) -> None:
        rng = random.Random(f"{self.name} {self.trial.number()}")
        with http_of(self.trial.server, self.worker) as client:
            while self.go_on():
                method = rng.choice(("PUT", "PUT", "PATCH", "DELETE", "POST"))
                self._write(client, method, f"{self.name}-{rng.randrange(KEYS)}")

    def _write(self, client: RawHttp, method: str, key: str) -> None:
        value = GONE if method == "DELETE" else self.trial.number()
        made = method == "POST"
        ask = self.ask("Counter", "", value) if made else self.ask("Sensor", key, value)
        body = b"" if value is GONE else json.dumps({"value": value}).encode()
        path = "/Counter/" if made else f"/Sensor/{key}"
        client.send(request(method, path, body=body))
        self._judge(ask, client.reply(method))

    def _judge(self, ask: Ask, reply: Reply) -> None:
        if reply.headers.get("x-lyredb-worker") != str(self.worker):
            self.wrong.append(f"{self.name} was answered by another worker: {reply}")
        if reply.status == 503 and "retry-after" in reply.headers:
            self.settle(ask, Fate.REFUSED)
        elif reply.status in (200, 201, 204):
            if not ask.key:
                ask.key = reply.headers["location"].rpartition("/")[2]
            self.settle(ask, Fate.DONE)
        else:
            self.wrong.append(f"{self.name}: {reply}")


class MqttWriter(Writer):
    """Retained messages with QoS 1, several on their way at a time."""

    def live(self) -> None:
        rng = random.Random(f"{self.name} {self.trial.number()}")
        with client_of(self.trial.server, self.worker, deadline_s=ANSWER_S) as client:
            while self.go_on():
                asks = [self._choose(rng) for _ in range(rng.randint(1, WINDOW))]
                client.send(b"".join(retained(ask, at) for at, ask in enumerate(asks, 1)))
                for packet_id, ask in enumerate(asks, 1):
                    self._judge(ask, packet_id, client.until(4))

    def _choose(self, rng: random.Random) -> Ask:
        value = self.trial.number() if rng.randrange(5) else GONE
        return self.ask("Sensor", f"{self.name}-{rng.randrange(KEYS)}", value)

    def _judge(self, ask: Ask, packet_id: int, answer: Received) -> None:
        if answer.packet_id != packet_id or answer.reason not in (0, QUOTA_EXCEEDED):
            self.wrong.append(f"{self.name}: {answer} to {packet_id}")
        self.settle(ask, Fate.REFUSED if answer.reason else Fate.DONE)


def retained(ask: Ask, packet_id: int) -> bytes:
    """A publish that writes what is asked."""
    payload = b"" if ask.value is GONE else b'{"value":%d,"site":"m"}' % ask.value
    return frames.publish(
        f"{ask.table}/{ask.key}", payload, version=5, qos=1, packet_id=packet_id, retain=True
    )


class SseListener(Listener):
    """A stream of one table that resumes by position; it hears every change once, in order."""

    def __init__(self, trial: Trial, worker: int, table: str) -> None:
        super().__init__(trial, worker)
        self._table = table
        self._position = ""
        self._heard: list[Change] = []

    def live(self) -> None:
        with http_of(self.trial.server, self.worker) as client:
            lines = ["Accept: text/event-stream"]
            lines += [f"Last-Event-ID: {self._position}"] if self._position else []
            client.socket.settimeout(None)  # there may be nothing to hear for long
            client.send(request("GET", f"/{self._table}/", *lines))
            status, _ = client.head()
            assert status == 200, status
            for event in events_of(client):
                self._hear(event)

    def _hear(self, event: SseEvent) -> None:
        self._position = event.id or self._position
        if event.event == "ready":
            self.is_ready.set()
            return
        envelope = event.envelope
        if event.event != "message" or "current" in envelope:
            self.wrong.append(f"{self.name}: no change, and it is no new subscriber: {event}")
            return
        record = envelope.get("value")
        value = record["value"] if isinstance(record, dict) else GONE
        seq = int(event.id.rpartition(".")[2])
        self._heard.append(Change(seq, self._table, str(envelope["id"]), value))

    def problems(self, log: Log) -> list[str]:
        heard = list(self._heard)
        wanted = [change for change in log.changes if change.table == self._table]
        if heard == wanted:
            return []
        pairs = enumerate(zip(heard, wanted, strict=False))
        at = next((at for at, (one, other) in pairs if one != other), None)
        if at is None:
            return [f"{len(heard)} were heard, the log has {len(wanted)}"]
        return [f"heard {heard[at : at + 2]} after {at}, the log has {wanted[at : at + 2]}"]


def events_of(client: RawHttp) -> Iterator[SseEvent]:
    """The events of a stream, to its end."""
    text = b""
    while size := int(client.line(), 16):
        text += client.exactly(size + 2)[:-2]
        *whole, text = text.split(b"\n\n")
        for part in whole:
            event = SseEvent()
            for line in part.decode().splitlines():
                name, _, value = line.partition(": ")
                if name in ("event", "id", "data"):
                    setattr(event, name, value)
            if event.data:
                yield event


class MqttListener(Listener):
    """Subscribes to all records; after a lost connection it begins with current state."""

    def __init__(self, trial: Trial, worker: int) -> None:
        super().__init__(trial, worker)
        self._heard: list[tuple[bool, str, str, int | None]] = []

    def live(self) -> None:
        with client_of(self.trial.server, self.worker, deadline_s=ANSWER_S) as client:
            self._heard = []
            client.socket.settimeout(None)
            client.send(frames.subscribe(("Sensor/#", 1), ("Counter/#", 1), version=5))
            while True:
                packet = client.next()
                if packet.kind == 9:
                    self.is_ready.set()
                elif packet.kind == 3:
                    self._hear(client, packet)

    def _hear(self, client: WorkerClient, packet: Received) -> None:
        table, _, key = packet.topic.partition("/")
        record = json.loads(packet.payload)
        self._heard.append((packet.retain, table, key, record["value"] if record else GONE))
        if packet.qos:
            client.send(frames.puback(packet.packet_id))

    def problems(self, log: Log) -> list[str]:
        heard = list(self._heard)
        by_place: dict[tuple[str, str], list[int]] = defaultdict(list)
        for at, (_, table, key, _) in enumerate(heard):
            by_place[table, key].append(at)
        wrong = [f"nothing of {place} was heard" for place in log.state() if place not in by_place]
        seqs = [0] * len(heard)
        for place, places in by_place.items():
            values = [heard[at][3] for at in places]
            changes = log.by_place.get(place, [])[-len(values) :]
            if values != [change.value for change in changes]:
                wrong.append(f"{place}: heard {values[-5:]}, the log ends with {changes[-5:]}")
                continue
            for at, change in zip(places, changes, strict=True):
                seqs[at] = change.seq
        for table in TABLES:
            # Each filter in the order of the log; one may still read while another is live.
            pairs = zip(seqs, heard, strict=True)
            live = [seq for seq, one in pairs if one[1] == table and not one[0]]
            if not wrong and live != sorted(live):
                at = next(at for at, two in enumerate(pairwise(live)) if two[0] > two[1])
                wrong.append(f"{table}: {live[at + 1]} came after {live[at]}")
        return wrong


class Speaker(Writer):
    """Publishes messages that nobody keeps, QoS 0 and 1 by turns, numbered per connection.

    Attributes:
        connection: Names the present one.
        sent: The last number that it has sent.
    """

    is_kept = False

    def __init__(self, trial: Trial, worker: int) -> None:
        super().__init__(trial, worker)
        self.connection = ""
        self.sent = 0

    def live(self) -> None:
        with client_of(self.trial.server, self.worker, deadline_s=ANSWER_S) as client:
            self.sent, self.connection = 0, f"{self.name}-{self.lost}"
            while self.go_on():
                client.send(b"".join(self._next() for _ in range(4)))
                for _ in range(2):
                    answer = client.until(4)
                    if answer.reason not in (0, 0x10):  # 0x10: nobody is subscribed
                        self.wrong.append(f"{self.name}: {answer}")
                self.done += 1

    def _next(self) -> bytes:
        self.sent += 1
        return frames.publish(
            f"Wire/{self.name}",
            f"{self.connection}:{self.sent}".encode(),
            version=5,
            qos=self.sent % 2,
            packet_id=self.sent % 1000 + 1,
        )


class Hearer(Listener):
    """Subscribes to what the speakers say: from its SUBACK on all, once, in order.

    Of a speaker whose worker was killed it may miss the end.
    """

    def __init__(self, trial: Trial, worker: int, speakers: list[Speaker]) -> None:
        super().__init__(trial, worker)
        self._speakers = speakers
        self._heard: dict[str, tuple[int, int]] = {}
        self._said_before: dict[str, int] = {}

    def live(self) -> None:
        with client_of(self.trial.server, self.worker, deadline_s=ANSWER_S) as client:
            self._heard = {}
            client.socket.settimeout(None)
            client.send(frames.subscribe(("Wire/#", 1), version=5))
            while True:
                packet = client.next()
                if packet.kind == 9:
                    self._said_before = {one.connection: one.sent for one in self._speakers}
                    self.is_ready.set()
                elif packet.kind == 3:
                    self._hear(packet)
                    if packet.qos:
                        client.send(frames.puback(packet.packet_id))

    def _hear(self, packet: Received) -> None:
        connection, _, text = packet.payload.decode().partition(":")
        number = int(text)
        first, last = self._heard.get(connection, (number, number - 1))
        if number != last + 1:
            self.wrong.append(f"{self.name} heard {number} after {last} of {connection}")
        self._heard[connection] = (first, number)

    def problems(self, log: Log) -> list[str]:
        wrong = []
        for speaker in self._speakers:
            before = self._said_before.get(speaker.connection, 0)
            first, last = self._heard.get(speaker.connection, (before + 1, before))
            if last != speaker.sent or first > before + 1:
                wrong.append(
                    f"of {speaker.connection} {before} were said before, {speaker.sent} in all; "
                    f"it heard {first} to {last}"
                )
        return wrong


def everybody(trial: Trial) -> list[Client]:
    """Each way of writing and of listening, on each worker."""
    speakers = [Speaker(trial, worker) for worker in (1, 2)]
    return [
        *(MqttListener(trial, worker) for worker in (1, 2)),
        *(SseListener(trial, worker, "Sensor") for worker in (1, 2)),
        SseListener(trial, 1, "Counter"),
        *(Hearer(trial, worker, speakers) for worker in (1, 2)),
        *(RestWriter(trial, worker) for worker in (1, 2)),
        *(MqttWriter(trial, worker) for worker in (1, 2)),
        *speakers,
    ]


@contextmanager
def running(
    folder: Path,
    *,
    config: str = "",
    program: Sequence[str] = ("-m", "lyredb"),
    environment: Mapping[str, str] | None = None,
    patience_s: float = ROUND_S,
    clients: Callable[[Trial], list[Client]] = everybody,
) -> Iterator[Trial]:
    """A trial with all its clients, each connected and heard of once; see `Trial`."""
    trial = Trial(
        folder,
        config=config,
        program=program,
        environment=environment,
        patience_s=patience_s,
    )
    try:
        trial.add(*clients(trial))
        trial.round(lambda: None, loses=WORKERS)
        yield trial
    finally:
        trial.close()
