"""A soak: a server, everybody who uses it, kills if wanted, and what came of it."""

from __future__ import annotations

import itertools
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.mqtt_libraries import TRANSPORTS, Place
from tests.e2e.secure_server import secure_environment
from tests.e2e.server_process import ServerProcess, start_server
from tests.protocols.net.authority import authority, client_context
from tests.soak.clients import Client, Listener, Member, Restless, Speaker, all_set, until
from tests.soak.ledger import Flow, Problems, Sharing, lost_text
from tests.soak.watching import Sample, growth_problems, look, metrics_of, processes_of
from tests.soak.web import RestWriter, SseReader, base_url

SCHEMA: Final = """
type Soak @table @export { id: ID @primaryKey }
type Sensor @table @export { id: ID @primaryKey value: Int }
"""
SETTINGS: Final = {
    # The log turns over many times in ten minutes. Nobody is away for nearly that long.
    "LYREDB_STORAGE_LOG_RETENTION": "30s",
    "LYREDB_STORAGE_SEGMENT_AGE": "5s",
    "LYREDB_STORAGE_SEGMENT_SIZE": "2MB",
    # Of a clean session what does not fit is dropped; here that would be taken for a loss.
    "LYREDB_MQTT_MAX_QUEUED": "100000",
    "LYREDB_MQTT_MAX_QUEUED_SIZE": "256MiB",
}
RECORDS: Final = 8
"""Of each REST writer."""
READY_S: Final = 30.0
QUIET_S: Final = 40.0
"""A connected listener that hears nothing for so long is stuck; a process that was killed is
started anew after 5 s at most."""
SETTLE_S: Final = 60.0
"""For what is under way at the end."""
DESCRIPTORS_LEFT: Final = 8
"""Of each process beyond those that it had before the first client."""


@dataclass(frozen=True)
class Plan:
    """How much of what.

    Attributes:
        seconds: Of traffic.
        clients: Of MQTT, in all.
        rate: Messages of each speaker, and writes of each REST writer, a second.
        workers: Of the server.
        kill_every_s: Seconds between two kills, 0 for none.
        report_every_s: Seconds between two lines.
    """

    seconds: float
    clients: int
    rate: float
    workers: int
    kill_every_s: float
    report_every_s: float


class Soak:
    """Everybody in one run.

    Args:
        plan: How much.
        server: Runs, with all its ports.
        trusted: File of the authority of its certificate.
        say: Takes each line of the progress.
    """

    def __init__(
        self, plan: Plan, server: ServerProcess, trusted: Path, say: Callable[[str], None]
    ) -> None:
        self.problems = Problems()
        self.samples: list[Sample] = []
        self.kills = 0
        self._plan = plan
        self._server = server
        self._trusted = trusted
        self._say = say
        self._context: ssl.SSLContext = client_context()
        self._numbers = itertools.count()
        self._begun = time.monotonic()
        self._people(plan.clients)

    def _place(self) -> Place:
        """Every transport and version in turns."""
        number = next(self._numbers)
        transport = TRANSPORTS[number % len(TRANSPORTS)]
        return Place(self._server, transport, 4 + (number // 4 + number) % 2, self._trusted)

    def _people(self, clients: int) -> None:
        count = {
            "speakers": max(3, clients // 2),
            "awake": max(2, clients // 6),
            "sleepers": max(2, clients // 5),
            "members": max(2, clients // 8),
        }
        pause_s = 1 / self._plan.rate
        said = [Flow(f"Soak/flow-{at}", at % 3) for at in range(count["speakers"])]
        groups = [[Flow(f"Sensor/{a}-{b}", 1) for b in range(RECORDS)] for a in range(2)]
        records = {flow.place: flow for group in groups for flow in group}
        flows = {flow.place: flow for flow in said} | records
        self.sharings = {flow.place: Sharing(flow) for flow in said}
        self.speakers = [
            Speaker(self._place(), f"speaker-{at}", self.problems, flow, pause_s)
            for at, flow in enumerate(said)
        ]
        self.awake = [
            Listener(self._place(), f"awake-{at}", self.problems, flows, is_durable=False)
            for at in range(count["awake"])
        ]
        self.sleepers = [
            Listener(self._place(), f"sleeper-{at}", self.problems, flows, is_durable=True)
            for at in range(count["sleepers"])
        ]
        self.members = [
            Member(self._place(), f"member-{at}", self.problems, self.sharings)
            for at in range(count["members"])
        ]
        self.restless = [
            Restless(client, seed) for seed, client in enumerate((*self.sleepers, *self.members))
        ]
        urls = [base_url(self._server, is_secure=secure) for secure in (False, True)]
        self.writers = [
            RestWriter(url, self._context, group, self.problems, pause_s)
            for url, group in zip(urls, groups, strict=True)
        ]
        self.streams = [
            SseReader(f"stream-{at}", url, self._context, records, self.problems)
            for at, url in enumerate(urls)
        ]

    @property
    def _mqtt(self) -> list[Client]:
        return [*self.speakers, *self.awake, *self.sleepers, *self.members]

    def go(self) -> None:
        """Bring everybody in, let them work, and take stock."""
        before = look(self._server, 0.0, None)
        if self._arrive():
            self._begun = time.monotonic()
            for speaker in self.speakers:
                speaker.start()
            for thread in (*self.writers, *self.restless):
                thread.start()
            self._work()
            self._stop()
            self._take_stock()
        self._leave()
        self._compare(before)

    def _arrive(self) -> bool:
        for client in self._mqtt:
            client.connect()
        for stream in self.streams:
            stream.start()
        ready = [one.is_subscribed for one in (*self.awake, *self.sleepers)]
        ready += [one.is_subscribed for one in self.members]
        ready += [one.is_ready for one in self.streams]
        is_in = all_set([*ready, *(one.is_connected for one in self.speakers)], READY_S)
        if not is_in:
            outside = [one.name for one in self._mqtt if not one.is_connected.is_set()]
            self.problems.add("not let in", f"within {READY_S:.0f} s: {outside}")
        return is_in

    def _work(self) -> None:
        ends = self._begun + self._plan.seconds
        next_kill = self._begun + (self._plan.kill_every_s or self._plan.seconds + 1)
        while (now := time.monotonic()) < ends:
            time.sleep(min(self._plan.report_every_s, ends - now))
            self._look()
            if time.monotonic() > next_kill and time.monotonic() < ends:
                self._kill()
                next_kill += self._plan.kill_every_s

    def _kill(self) -> None:
        """The writer and each worker in turns; the supervisor starts it anew."""
        names = ["writer", *(f"worker-{number + 1}" for number in range(self._plan.workers))]
        name = names[self.kills % len(names)]
        pid = processes_of(self._server).get(name)
        if pid is None:
            self._say(f"{name} is not there to be killed: it is being started")
            return
        self.kills += 1
        os.kill(pid, signal.SIGKILL)
        for stream in self.streams:
            stream.drop()
        self._say(f"killed {name}")

    def _look(self) -> None:
        at_s = time.monotonic() - self._begun
        sample = look(self._server, at_s, self.samples[-1] if self.samples else None)
        self.samples.append(sample)
        for one in self.awake:
            silent_s = time.monotonic() - one.heard_at
            if silent_s > QUIET_S and one.is_connected.is_set():
                self.problems.add("nothing is heard", f"{one.name} for {silent_s:.0f} s")
        self._say(
            f"{at_s:6.0f} s  {self._figures()}  "
            f"memory {sum(sample.memory.values()) / 1e6:.0f} MB  "
            f"descriptors {sum(sample.descriptors.values())}  "
            f"log {sample.log_bytes / 1e6:.1f} MB from {sample.log_floor}  "
            f"data {sample.data_bytes / 1e6:.0f} MB  problems {self.problems.count}"
        )

    def _figures(self) -> str:
        told = sum(one.acknowledged for one in self.speakers)
        told += sum(one.acknowledged for one in self.writers)
        listeners = [*self.awake, *self.sleepers]
        heard = sum(one.heard for one in listeners)
        heard += sum(one.heard for one in self.sharings.values())
        heard += sum(h.heard for stream in self.streams for h in stream.hearings.values())
        again = sum(one.again for one in listeners)
        again += sum(one.again for one in self.sharings.values())
        naps = sum(one.naps for one in self.restless)
        return f"acknowledged {told}  heard {heard}  again {again}  naps {naps}"

    def _stop(self) -> None:
        for writer in self.writers:
            writer.stop()
        for speaker in self.speakers:
            speaker.stop(SETTLE_S)
        for one in self.restless:
            one.stop()

    def _lost(self) -> Iterator[tuple[str, str, list[int]]]:
        for listener in (*self.awake, *self.sleepers):
            for place, numbers in listener.lost():
                yield listener.name, place, numbers
        for at, stream in enumerate(self.streams):
            for place, numbers in stream.lost():
                yield f"stream-{at}", place, numbers
        for place, sharing in self.sharings.items():
            if sharing.flow.qos and (numbers := sharing.lost()):
                yield "the group", place, numbers

    def _take_stock(self) -> None:
        until(lambda: not any(self._lost()), SETTLE_S)
        for who, place, numbers in self._lost():
            self.problems.add("lost", lost_text(who, place, numbers))
        for writer in self.writers:
            writer.check(self._context)
        self._say(f"at the end: {self._figures()}")

    def _leave(self) -> None:
        for client in self._mqtt:
            client.leave()
        for stream in self.streams:
            if stream.is_alive():
                stream.stop()

    def _compare(self, before: Sample) -> None:
        """With what the server had before the first client, and with half-time."""
        for problem in growth_problems(self.samples):
            self.problems.add("grows", problem)

        def left() -> list[str]:
            now = look(self._server, 0.0, None).descriptors
            return [
                f"{name}: {before.descriptors.get(name, 0)} before, {count} after"
                for name, count in now.items()
                if count > before.descriptors.get(name, 0) + DESCRIPTORS_LEFT
            ]

        if not until(lambda: not left(), READY_S):
            for one in left():
                self.problems.add("descriptors stay open", one)

        def connections() -> float:
            return metrics_of(self._server).get("mqtt_connections", 0.0)

        if not until(lambda: not connections(), READY_S):
            self.problems.add("connections stay open", f"{connections():.0f}")
        if "Traceback" in self._server.errors():
            self.problems.add("a traceback in the server's log", str(self._server.log))

    def report(self) -> str:
        """What came of it, for people."""
        numbers = metrics_of(self._server)
        first, last = self.samples[0], self.samples[-1]
        lines = [
            f"{last.at_s:.0f} s, {len(self._mqtt)} clients of MQTT, {len(self.writers)} writers "
            f"over REST, {len(self.streams)} streams, {self.kills} kills",
            self._figures(),
            f"dropped by the server: {numbers.get('mqtt_messages_dropped_total', 0):.0f}",
            f"the log from position {first.log_floor} to {last.log_floor}, at most "
            f"{max(one.log_bytes for one in self.samples) / 1e6:.1f} MB",
        ]
        lines += [
            f"{name}: memory {first.memory.get(name, 0) / 1e6:.1f} MB, then "
            f"{last.memory[name] / 1e6:.1f} MB; descriptors {first.descriptors.get(name, 0)}, "
            f"then {last.descriptors[name]}"
            for name in last.memory
        ]
        lines += self.problems.lines() or ["every promise was kept"]
        return "\n".join(lines)


@contextmanager
def soaked_server(folder: Path, workers: int) -> Iterator[tuple[ServerProcess, Path]]:
    """A server on new data in a folder, and the file of its authority."""
    application, certificates = folder / "app", folder / "certificates"
    for one in (application, certificates):
        one.mkdir()
    (application / "schema.graphql").write_text(SCHEMA)
    environment = secure_environment(certificates) | SETTINGS
    trusted = certificates / "trusted.pem"
    authority().cert_pem.write_to_path(trusted)
    server = start_server(
        application,
        folder / "data",
        *("--workers", str(workers)),
        environment=environment,
    )
    try:
        yield server, trusted
    finally:
        if server.process.poll() is None:
            server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


def soak(plan: Plan, folder: Path) -> int:
    """Run it; return 0 when every promise was kept, else 1."""

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with soaked_server(folder, plan.workers) as (server, trusted):
        one = Soak(plan, server, trusted, say)
        try:
            one.go()
        except KeyboardInterrupt:
            say("interrupted")
        print(one.report() if one.samples else "\n".join(one.problems.lines()), flush=True)
        if one.problems.count:
            tail = server.errors().splitlines()[-20:]
            say("\n".join(["the end of the server's log:", *tail]))
        return 1 if one.problems.count else 0
