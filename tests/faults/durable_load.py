"""Clients of a trial whose sessions last: they drop and come back while processes die."""

from __future__ import annotations

import itertools
import random
import time
from typing import Final

from tests.faults.durable_clients import Publisher, Reader, problems_of
from tests.faults.ledger import Log
from tests.faults.load import RestWriter
from tests.faults.trial import WORKERS, Client, Listener, Trial, Writer

WINDOW: Final = 8
DROP_ONE_IN: Final = 60
"""Windows of a publisher, and packets to a reader, until it drops its connection."""
LONGEST_SLEEP_S: Final = 0.3


class DurableSpeaker(Writer):
    """Publishes numbered messages with QoS 1 or 2, and stops in the middle now and then.

    Attributes:
        session: What it has said, and what was acknowledged.
        topic: Where.
        qos: How.
    """

    def __init__(self, trial: Trial, worker: int, qos: int) -> None:
        super().__init__(trial, worker)
        self.qos = qos
        self.topic = f"Lasting/qos-{qos}-from-{worker}"
        self.session = Publisher(f"speaker-{qos}-{worker}", self.topic, qos)
        self._numbers = itertools.count(1)

    def live(self) -> None:
        chance = random.Random(f"{self.topic} {self.trial.number()}")
        self.session.connect(self.trial.current_server, self.worker)
        try:
            self.session.finish()
            while self.go_on():
                self.session.publish(*self._window(chance))
                if not chance.randrange(DROP_ONE_IN):
                    return  # its handshakes go on over the next connection
                self.session.finish()
                self.done += 1
        finally:
            self.session.connection.close()

    def _window(self, chance: random.Random) -> list[bytes]:
        count = chance.randint(1, WINDOW)
        return [f"{self.topic}:{next(self._numbers)}".encode() for _ in range(count)]


class DurableHearer(Listener):
    """Reads all that the speakers say, from the log after it was away."""

    def __init__(self, trial: Trial, worker: int, speakers: list[DurableSpeaker]) -> None:
        super().__init__(trial, worker)
        self._speakers = speakers
        self._session = Reader(f"hearer-{worker}")
        self._is_subscribed = False

    def live(self) -> None:
        chance = random.Random(f"{self.name} {self.trial.number()}")
        self._session.connect(self.trial.current_server, self.worker)
        connection = self._session.connection
        try:
            if not self._is_subscribed:
                self._session.subscribe(("Lasting/#", 2))
                self._is_subscribed = True
            connection.socket.settimeout(None)
            self.is_ready.set()
            while chance.randrange(DROP_ONE_IN * WINDOW):
                self._session.take_next()
                if (
                    chance.randrange(3) or not connection.pending()
                ):  # several answers at once, like a busy client
                    self._session.pay()
        finally:
            connection.close()
        time.sleep(chance.uniform(0.0, LONGEST_SLEEP_S))

    def problems(self, log: Log) -> list[str]:
        got = list(self._session.got)
        return [
            f"{speaker.topic}: {problem}"
            for speaker in self._speakers
            for problem in told_wrongly(got, speaker)
        ]


def told_wrongly(got: list[tuple[bytes, int]], speaker: DurableSpeaker) -> list[str]:
    """Compare what a reader took with what a speaker was told: all, in order, at QoS 2 once."""
    start = speaker.topic.encode() + b":"
    own = [one for one in got if one[0].startswith(start)]
    session = speaker.session
    said = sorted(session.acknowledged, key=lambda payload: int(payload.rpartition(b":")[2]))
    kept = [payload for payload in said if payload not in session.refused]
    again = [payload for payload in said if payload in session.refused]
    wrong = problems_of([one for one in own if one[0] not in session.refused], kept, speaker.qos)
    told = [one for one in own if one[0] in session.refused]
    if {payload for payload, _ in told} != set(again):
        wrong.append(f"of {again} after a refusal {told} came")
    if speaker.qos == 2 and len(told) != len(again):
        wrong.append(f"twice after a refusal: {told}")
    return wrong


def lasting(trial: Trial) -> list[Client]:
    """Speakers of both qualities and a reader on each worker, and others' writes."""
    speakers = [DurableSpeaker(trial, worker, qos) for worker in WORKERS for qos in (1, 2)]
    return [
        *(DurableHearer(trial, worker, speakers) for worker in WORKERS),
        *(RestWriter(trial, worker) for worker in WORKERS),
        *speakers,
    ]
