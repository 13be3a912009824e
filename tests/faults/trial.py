"""A server of two workers, and the clients that write and listen while processes of it die."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lyredb.errors import DataDirectoryInUse
from lyredb.storage.data_directory import DirectoryLock
from lyredb.storage.remote.client import PATIENCE_S
from tests.e2e.raw_http import RawHttp, request
from tests.e2e.server_process import ServerProcess, start_server
from tests.e2e.worker_clients import TRIES
from tests.faults.ledger import Ask, Fate, Log, Place, problems_of, read_problems
from tests.faults.shim import python_environment
from tests.server.process_tree import children_of, eventually, is_alive

SCHEMA: Final = """
type Sensor @table @export { id: ID @primaryKey value: Int site: String @indexed }
type Counter @table @export { id: Int @primaryKey value: Int @indexed }
type Wire @table @export { id: ID @primaryKey }
type Lasting @table @export { id: ID @primaryKey }
"""
WORKERS: Final = (1, 2)
ANSWER_S: Final = 40.0
"""For an answer: it may have to wait for a process that is started on a loaded machine."""
ROUND_S: Final = 90.0
"""For anything that a round waits for."""
AT_ONCE: Final = 20
"""Acknowledgements of a client that may be on their way when something happens."""
PACE_S: Final = 0.004
"""Between two requests of a client: the load shall be mixed, and the machine not be full."""


class Client(threading.Thread):
    """One client: connects to its worker, works until that is over, and comes again.

    Attributes:
        worker: Which worker it wants to be served by.
        lost: How many connections it has lost.
        wrong: What must not have come.
    """

    def __init__(self, trial: Trial, worker: int) -> None:
        super().__init__(name=f"{type(self).__name__}-{worker}", daemon=True)
        self.trial = trial
        self.worker = worker
        self.lost = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self.trial.is_over:
            self.trial.wait_for_server()
            try:
                self.live()
            except TimeoutError as error:
                # Its requests stay open: done or not, as after a lost connection.
                self.trial.unanswered.append(f"{self.name}: {error}")
            except (EOFError, OSError):
                self.note_loss()
            except Exception:
                self.wrong.append(f"{self.name} fails: {traceback.format_exc()}")
                return

    def note_loss(self) -> None:
        """Its connection is gone."""
        self.lost += 1

    def live(self) -> None:
        """Connect and work. EOFError or OSError: the connection is gone."""
        raise NotImplementedError


class Writer(Client):
    """A client that writes, and pauses when told to, with nothing outstanding.

    Attributes:
        is_kept: What it writes is committed before it is acknowledged.
        asks: Its requests since the last look.
        done: How many were acknowledged, in all.
    """

    is_kept = True

    def __init__(self, trial: Trial, worker: int) -> None:
        super().__init__(trial, worker)
        self.asks: list[Ask] = []
        self.done = 0
        self.is_idle = threading.Event()

    def go_on(self) -> bool:
        """Wait a little, and while there is a pause; false at the end of all."""
        time.sleep(PACE_S)
        if not self.trial.may_write.is_set():
            self.is_idle.set()
            self.trial.may_write.wait()
            self.is_idle.clear()
        return not self.trial.is_over

    def ask(self, table: str, key: str, value: int | None) -> Ask:
        """Take note of a request that is about to be made."""
        ask = Ask(table, key, value)
        self.asks.append(ask)
        return ask

    def settle(self, ask: Ask, fate: Fate) -> None:
        """Take note of its answer."""
        ask.fate = fate
        self.done += fate is Fate.DONE


class Listener(Client):
    """A client that listens. `problems` says what it should have heard and has not.

    Attributes:
        is_ready: It hears whatever happens from now on.
    """

    def __init__(self, trial: Trial, worker: int) -> None:
        super().__init__(trial, worker)
        self.is_ready = threading.Event()

    def note_loss(self) -> None:
        super().note_loss()
        self.is_ready.clear()

    def problems(self, log: Log) -> list[str]:
        """Compare all it has heard with the log, to its end."""
        raise NotImplementedError


class Trial:
    """The server of one data directory through its lives, and everybody who uses it.

    A round: all write; something happens; all are seen to write again; then there is a
    pause, in which everything that was told is compared with what is there.

    Args:
        folder: Where everything is.
        config: The application's ``config.yaml``.
        program: What the interpreter runs.
        environment: More variables.
        patience_s: How long one who listens may take to hear what is in the log.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: str = "",
        program: Sequence[str] = ("-m", "lyredb"),
        environment: Mapping[str, str] | None = None,
        patience_s: float = ROUND_S,
    ) -> None:
        self._patience_s = patience_s
        self.unanswered: list[str] = []
        self._application, self.data = folder / "app", folder / "data"
        self._application.mkdir()
        (self._application / "schema.graphql").write_text(SCHEMA)
        (self._application / "config.yaml").write_text(config)
        self._program = program
        self._environment = python_environment(
            LYREDB_THREADS_TELL="true",
            LYREDB_THREADS_COUNT="2",
            # In a pause a connection may be idle for long; that is no loss.
            LYREDB_HTTP_KEEP_ALIVE_TIMEOUT="10m",
            **(environment or {}),
        )
        self.may_write = threading.Event()
        self.is_over = False
        self.log = Log()
        self._numbers = itertools.count(1)
        self._is_up = threading.Event()
        self.writers: list[Writer] = []
        self.listeners: list[Listener] = []
        self.start()

    def start(self) -> None:
        """Start the server again on its directory."""
        self.server: ServerProcess = start_server(
            self._application,
            self.data,
            program=self._program,
            environment=self._environment,
        )
        self._is_up.set()

    def current_server(self) -> ServerProcess:
        """The server of this moment, for which it waits. EOFError: there will be none."""
        self.wait_for_server()
        if self.is_over:
            raise EOFError("the trial is over")
        return self.server

    def wait_for_server(self) -> None:
        """Wait until there is a server, or the end."""
        self._is_up.wait()

    def number(self) -> int:
        """A number that nobody has written."""
        return next(self._numbers)

    def add(self, *clients: Client) -> None:
        """Let clients begin, those that listen first."""
        self.writers += [one for one in clients if isinstance(one, Writer)]
        self.listeners += [one for one in clients if isinstance(one, Listener)]
        for listener in self.listeners:
            listener.start()
        for listener in self.listeners:
            assert listener.is_ready.wait(ROUND_S), listener.name
        for writer in self.writers:
            writer.start()

    def close(self) -> None:
        """End the server and all clients."""
        self.is_over = True
        if self.server.process.poll() is None:
            self.server.kill()
        self.forget_server()
        self._is_up.set()
        self.may_write.set()
        for client in self._clients:
            client.join(ROUND_S)
            assert not client.is_alive(), f"{client.name} does not end"

    @property
    def _clients(self) -> list[Client]:
        return [*self.writers, *self.listeners]

    def forget_server(self) -> None:
        """The server has ended; clients wait for the next one."""
        self._is_up.clear()
        assert self.server.process.stdout is not None
        self.server.process.stdout.close()

    def stop(self, within_s: float = ROUND_S) -> None:
        """SIGTERM, which has to end everything in order and in time."""
        self._is_up.clear()
        self.server.process.send_signal(signal.SIGTERM)
        assert self.server.process.wait(within_s) == 0, self.server.errors()
        self.forget_server()

    def restart(self) -> None:
        """End the server in order and start it anew."""
        self.stop()
        self.start()

    def pid_of(self, name: str) -> int:
        """The process in a place, such as ``worker-1``."""
        return children_of(self.server.process.pid)[name]

    def has_another(self, name: str, old: int) -> bool:
        """There is a new process in the place of an old one."""
        return children_of(self.server.process.pid).get(name, old) != old

    def kill_all(self) -> None:
        """kill -9 of all processes at once, the supervisor first."""
        self._is_up.clear()
        pids = self.server.pids
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.server.process.wait(ROUND_S)
        eventually(lambda: not any(map(is_alive, pids)), "the end of all", ROUND_S)
        self.forget_server()

    def kill_supervisor(self, within_s: float) -> None:
        """kill -9 of the supervisor alone: the others end by themselves, and leave all free."""
        self._is_up.clear()
        pids = self.server.pids
        self.server.process.kill()
        self.server.process.wait(ROUND_S)
        eventually(lambda: not any(map(is_alive, pids)), "the end of all", within_s)
        self.assert_free(within_s)
        self.forget_server()

    def assert_free(self, within_s: float) -> None:
        """The data directory is nobody's, soon."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                DirectoryLock(self.data).release()
            except DataDirectoryInUse:
                assert time.monotonic() < deadline, f"it is in use after {within_s} s"
                time.sleep(0.01)
            else:
                return

    def round(
        self,
        happening: Callable[[], None],
        *,
        loses: Collection[int] = (),
        least: int = 0,
        until: Callable[[], bool] = lambda: True,
    ) -> None:
        """Have something happen under load, and compare.

        On a machine where a process takes longer to start than requests wait for it, clients
        of processes that live may lose their connections, too.

        Args:
            happening: What happens.
            loses: The workers whose clients may lose their connections by it.
            least: How many acknowledgements come before it; each writer has one at least.
            until: What is waited for under load, before the pause.
        """
        before = {client: client.lost for client in self._clients}
        self.may_write.set()
        self.wait_for_writes(least)
        began = time.monotonic()
        happening()
        self._wait_for_commits()
        is_prompt = time.monotonic() - began < PATIENCE_S
        eventually(
            lambda: until() and all(one.is_ready.is_set() for one in self.listeners),
            "what the round waits for, and all that listen",
            ROUND_S,
        )
        self.wait_for_writes(0)
        self.pause()
        self.assert_agreement()
        left = [one.name for one in self._clients if one.lost != before[one]]
        left = [name for name in left if int(name[-1]) not in loses]
        assert not left or not is_prompt, f"{left} lost a connection to a process that lived"

    def _wait_for_commits(self) -> None:
        """Wait until requests are carried out that were made after now."""
        before = [(one, one.done) for one in self.writers if one.is_kept]

        def is_done() -> bool:
            return any(one.done > done + AT_ONCE for one, done in before)

        eventually(is_done, "commits", ROUND_S)

    def wait_for_writes(self, least: int) -> None:
        """Wait until each writer was acknowledged something, and all together so much."""
        before = {writer: writer.done for writer in self.writers}
        deadline = time.monotonic() + ROUND_S
        while True:
            self.assert_nothing_wrong()
            gains = {writer.name: writer.done - old for writer, old in before.items()}
            if min(gains.values()) > 0 and sum(gains.values()) >= least:
                return
            assert time.monotonic() < deadline, f"too little was acknowledged: {gains}"
            time.sleep(0.01)

    def pause(self) -> None:
        """Let all writers stop, with nothing outstanding."""
        self.may_write.clear()
        for writer in self.writers:
            assert writer.is_idle.wait(ROUND_S), f"{writer.name}: {writer.wrong or 'no pause'}"

    def assert_agreement(self) -> None:
        """What all were told, the log, the indexes and the records are one story."""
        before = self.log.state()
        problems = self.look(before)
        assert not problems, problems
        for worker in WORKERS:
            with http_of(self.server, worker) as client:
                problems = read_problems(self.log, reader(client))
                assert not problems, problems
        for listener in self.listeners:
            self._wait_for(listener)
        self.assert_nothing_wrong()

    def look(self, before: dict[Place, int]) -> list[str]:
        """Read the log on; what does not agree with what the writers were told."""
        new, problems = self.log.read_on(self.data)
        asks = [ask for writer in self.writers for ask in writer.asks]
        for writer in self.writers:
            writer.asks.clear()
        return problems + problems_of(asks, new, before)

    def _wait_for(self, listener: Listener) -> None:
        deadline = time.monotonic() + self._patience_s
        while problems := listener.problems(self.log) or not listener.is_ready.is_set():
            self.assert_nothing_wrong()
            assert time.monotonic() < deadline, f"{listener.name}: {problems}"
            time.sleep(0.1)  # they need this process to hear the rest

    def assert_nothing_wrong(self) -> None:
        """No client has seen what must not be."""
        wrong = [problem for client in self._clients for problem in client.wrong]
        assert not wrong, wrong
        assert not self.unanswered, self.unanswered


@contextmanager
def http_of(server: ServerProcess, worker: int) -> Iterator[RawHttp]:
    """A connection that a certain worker serves."""
    for _ in range(TRIES):
        connection = RawHttp(server, ANSWER_S)
        try:
            connection.send(request("GET", "/health", login=False))
            if connection.reply().headers["x-lyredb-worker"] == str(worker):
                yield connection
                return
        finally:
            connection.close()
    raise AssertionError(f"worker {worker} was not reached in {TRIES} tries")


def reader(client: RawHttp) -> Callable[[str], dict[str, int]]:
    """Reads all records of a table over REST."""

    def find(table: str) -> dict[str, int]:
        client.send(request("GET", f"/{table}/"))
        reply = client.reply()
        assert reply.status == 200, reply
        return {str(record["id"]): record["value"] for record in json.loads(reply.body)}

    return find
