"""The supervisor: starts the writer and the workers, joins them, and follows their lives.

The order at a start: all processes are started together and load their code; the writer
opens the store; each worker gets its stream to the writer, opens the store for reading, and
is joined to every worker that has; then it listens. A new writer gets a new stream to each
worker, a new worker to everybody. A stop goes the other way: workers finish what is in
flight and end, then the writer does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from lyredb.applications.application import load_application
from lyredb.errors import LyreError, SettingError, StorageError
from lyredb.plugins.scope import Address, Settings
from lyredb.security.first_admin import FirstAdmin
from lyredb.server.announcement import Ports, ready_of
from lyredb.server.board import Board
from lyredb.server.core_settings import has_open_topics
from lyredb.server.launch import Launch
from lyredb.server.processes import messages
from lyredb.server.processes.child import LONGEST_PAUSE_S, Child, State
from lyredb.server.processes.messages import WRITER
from lyredb.server.processes.notify import ServiceManager
from lyredb.server.processes.order import Order
from lyredb.server.processes.tables_stream import send_tables
from lyredb.server.ready import Ready
from lyredb.server.reload import changed
from lyredb.server.settings import SettingsInForce
from lyredb.storage.data_directory import DirectoryLock
from lyredb.tables.schema import Schema

WORKERS_S: Final = 4.0
"""For the workers to end: answers in flight, goodbyes."""
WRITER_S: Final = 0.6
"""For the writer, which has nothing left to do by then."""
MARGIN_S: Final = 0.2
"""Of that, for the process to be gone."""
TICK_S: Final = 0.25
"""How often the board is looked at."""
START_S: Final = 60.0
"""For a worker to listen, once the writer writes. The writer's own start has no such bound:
it may build indexes."""
START_DEATHS: Final = 3
"""A process that ends so often before the server was ever ready will not live."""

_logger: Final = logging.getLogger(__name__)


class Supervisor:
    """One server of several processes. `start` once, then `stop` once.

    Attributes:
        lost: Done with a sentence when it cannot go on, for a fault of its own.

    Args:
        launch: What to serve.
        lock: Of the data directory, held.
        listeners: Per port setting one listening socket for each worker.
    """

    def __init__(
        self,
        launch: Launch,
        lock: DirectoryLock,
        listeners: Mapping[str, list[socket.socket]],
    ) -> None:
        self._launch = launch
        self._lock = lock
        self._listeners = listeners
        self._board = Board.create(launch.workers)
        self._writer = Child(WRITER)
        self._workers = [Child(number) for number in range(1, launch.workers + 1)]
        self._manager = ServiceManager()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._was_ready = False
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writing: messages.Writing | None = None
        self._listening: messages.Listening | None = None
        # As at the start, whatever tables there are later: clients have begun with it.
        self._open_topics = has_open_topics(launch.settings, launch.application.schema)
        self._wanted: Schema | None = None
        self._wish = 0
        self._sending: set[asyncio.Task[None]] = set()

    async def start(self) -> Ready:
        """Start all processes; on return every worker accepts connections.

        Raises:
            LyreError: One of them cannot start; says why in its words. `stop` is due.
        """
        self._tasks = [
            asyncio.create_task(self._keep(child), name=child.name) for child in self._children
        ]
        self._tasks.append(asyncio.create_task(self._watch(), name="watch"))
        for task in self._tasks:
            task.add_done_callback(self._note_end)
        await self._outcome
        assert self._writing is not None
        assert self._listening is not None
        ready = _ready(self._launch, self._writing, self._listening)
        self._manager.ready(f"{self._launch.workers} workers")
        return ready

    async def stop(self) -> None:
        """End the workers in order, then the writer; kill what is not gone in time."""
        self._stopping.set()
        self._manager.stopping()
        await self._end(self._workers, WORKERS_S)
        await self._end([self._writer], WRITER_S)
        tasks = [*self._tasks, *self._sending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for held in self._listeners.values():
            for one in held:
                one.close()
        self._board.close()
        self._lock.release()

    def kill_all(self) -> None:
        """End every process at once."""
        for child in self._children:
            child.kill()

    def reload(self) -> None:
        """Read settings and tables again, apply what can change now, name what cannot."""
        self._manager.reloading()
        self._read_tables()
        try:
            read = self._launch.sources.read(self._launch.plugins)
        except SettingError as error:
            _logger.error("nothing is reloaded: %s", error)
        else:
            self._adopt(read)
        self._manager.ready(f"{self._launch.workers} workers")

    def _read_tables(self) -> None:
        """Have the writer bring the store to the tables of the application's files."""
        try:
            schema = load_application(self._launch.application.folder).schema
        except LyreError as error:
            _logger.error("the tables stay as they were: %s", error)
            return
        present = self._launch.application.schema if self._wanted is None else self._wanted
        if schema.tables != present.tables:
            self._wanted = schema
            self._wish += 1
            self._send_tables()

    def _send_tables(self) -> None:
        """Tell the writer what tables are wanted, if there is one; else the next is told."""
        if self._wanted is None or self._writer.state is not State.READY:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        with theirs:
            self._writer.send(messages.Evolve(self._wish), theirs)
        task = asyncio.create_task(send_tables(ours, self._wanted))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _note_tables(self, evolved: messages.Evolved) -> None:
        """Take what came of it: who is started from now on is told what is in force."""
        if evolved.number != self._wish or self._wanted is None:
            return  # something newer is wanted meanwhile
        wanted, self._wanted = self._wanted, None
        if evolved.problem:
            _logger.error("the tables stay as they were: %s", evolved.problem)
            return
        application = replace(self._launch.application, schema=wanted)
        self._launch = replace(self._launch, application=application)
        _logger.info("reloaded; changed tables: %s", ", ".join(evolved.tables) or "none")

    @property
    def settings(self) -> Settings:
        """In force now."""
        return self._launch.settings

    @property
    def _children(self) -> list[Child]:
        return [self._writer, *self._workers]

    def _adopt(self, read: Settings) -> None:
        old = self._launch.settings
        now, later = changed(self._launch.rows, old, read)
        values = {**old.values(), **{name: read.values()[name] for name in now}}
        settings = SettingsInForce(values)
        self._launch = replace(self._launch, settings=settings)
        for child in self._children:
            child.send(messages.Reload(values))
        _logger.info("reloaded; changed settings: %s", ", ".join(now) or "none")
        if later:
            _logger.warning("a restart is needed for: %s", ", ".join(later))

    async def _end(self, children: list[Child], within_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        for child in children:
            child.send(messages.Stop(within_s - MARGIN_S))
        names = {child.name for child in children}
        lives = [task for task in self._tasks if task.get_name() in names]
        if not lives:
            return
        _, late = await asyncio.wait(lives, timeout=deadline - loop.time())
        if not late:
            return
        for child in children:
            if child.is_there:
                _logger.warning("stopping: %s took longer than %.1f s", child.name, within_s)
                child.kill()
        await asyncio.wait(late)

    async def _keep(self, child: Child) -> None:
        """Have a process in this place until the server stops."""
        while not self._stopping.is_set():
            try:
                await child.start(self._order(child))
            except OSError as error:
                self._fail(StorageError(f"{child.name} cannot be started: {error}"))
                _logger.error("%s cannot be started: %s", child.name, error)
                await self._rest(LONGEST_PAUSE_S)
                continue
            if self._stopping.is_set():
                child.kill()
            self._tell_stand()
            self._welcome(child)
            while (message := await child.receive()) is not None:
                self._heed(child, message)
            self._mourn(child, await child.ended())
            await self._rest(child.pause_s)
        child.state = State.ENDED

    async def _rest(self, pause_s: float) -> None:
        """Wait, unless the server stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()

    def _order(self, child: Child) -> Order:
        is_worker = child.number != WRITER
        mine = {
            name: [held[child.number - 1]] for name, held in self._listeners.items() if is_worker
        }
        return Order.of(
            self._launch,
            child.number,
            board=self._board.descriptor,
            lock=self._lock.descriptor,
            listeners=mine,
            open_topics=self._open_topics,
            is_successor=self._was_ready,
        )

    def _welcome(self, child: Child) -> None:
        """Join a worker to the writer, if that writes already."""
        if child is not self._writer and self._writer.state is State.READY:
            self._join(child, self._writer)

    def _heed(self, child: Child, message: messages.Message) -> None:
        """Act on what a child says."""
        match message:
            case messages.Writing():
                self._writing = self._writing or message
                child.become_ready()
                for worker in self._workers:
                    if worker.is_there:
                        self._join(worker, child)
                self._send_tables()
            case messages.Evolved():
                self._note_tables(message)
            case messages.Opened():
                for other in self._workers:
                    if other.state in (State.OPENED, State.READY):
                        self._join(child, other)
                child.state = State.OPENED
                child.send(messages.Begin())
            case messages.Listening():
                self._listening = self._listening or message
                child.become_ready()
            case messages.Failed():
                child.problem = message.text
                if message.expected and not self._was_ready:
                    self._fail(LyreError(message.text))
            case _:
                raise AssertionError(f"a child never says {message}")
        self._tell_stand()
        if all(one.state is State.READY for one in self._children):
            self._succeed()

    def _join(self, one: Child, other: Child) -> None:
        """Give two processes a stream to each other."""
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with first, second:
            one.send(messages.Wire(other.number), first)
            other.send(messages.Wire(one.number), second)

    def _mourn(self, child: Child, code: int) -> None:
        """Take note of an end, and tell everybody who had a stream to it."""
        self._board.mark_dead(child.number)
        if self._stopping.is_set():
            return
        how = f"signal {-code}" if code < 0 else f"code {code}"
        problem = f": {child.problem}" if child.problem else ""
        _logger.error("%s has ended (%s)%s", child.name, how, problem)
        if not self._was_ready and child.deaths >= START_DEATHS:
            self._fail(
                LyreError(child.problem)
                if child.problem
                else LyreError(f"{child.name} ended {child.deaths} times at its start ({how})")
            )
        for other in self._children:
            if other is not child and other.is_there:
                other.send(messages.Gone(child.number))
        self._tell_stand()

    def _tell_stand(self) -> None:
        stand = tuple(child.stand for child in self._children)
        if self._writer.state is State.READY:
            self._writer.send(messages.Stand(os.getpid(), stand))

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A supervisor that has lost a part of itself is none: it ends, and says so."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.critical("the supervision of %s fails", task.get_name(), exc_info=error)
            problem = f"the supervision of {task.get_name()} fails; the log says why"
            self._fail(LyreError(problem))
            if not self.lost.done():
                self.lost.set_result(problem)

    def _fail(self, error: LyreError) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(error)

    def _succeed(self) -> None:
        self._was_ready = True
        if not self._outcome.done():
            self._outcome.set_result(None)

    async def _watch(self) -> None:
        """Kill what is silent.

        Only turns of ours count: when this process itself had to wait, or the machine
        slept, nobody was silent for it.
        """
        loop = asyncio.get_running_loop()
        before = loop.time()
        while True:
            await asyncio.sleep(TICK_S)
            now = loop.time()
            passed_s, before = min(now - before, 2 * TICK_S), now
            most_s = self._launch.settings.seconds("threads.maxSilence")
            for child in self._children:
                if child.state is State.READY:
                    self._listen_to(child, passed_s, most_s)
                elif child is not self._writer and self._writer.state is State.READY:
                    self._await_start(child, passed_s)

    def _await_start(self, child: Child, passed_s: float) -> None:
        child.silent_s += passed_s
        if child.silent_s > START_S:
            _logger.error("%s did not start within %.0f s and is killed", child.name, START_S)
            child.silent_s = 0.0
            child.kill()

    def _listen_to(self, child: Child, passed_s: float, most_s: float) -> None:
        beats = self._board.beats(child.number)
        if beats != child.beats:
            child.beats, child.silent_s = beats, 0.0
            return
        child.silent_s += passed_s
        if child.silent_s > most_s:
            _logger.error("%s was silent for %.1f s and is killed", child.name, child.silent_s)
            child.silent_s = 0.0
            child.kill()


def _ready(launch: Launch, writing: messages.Writing, listening: messages.Listening) -> Ready:
    """Put together what the children have said."""
    ports = Ports(
        Address(*listening.http),
        Address(*listening.operations),
        {
            name: [Address(*parts) for parts in addresses]
            for name, addresses in listening.listeners.items()
        },
    )
    admin = None
    if writing.admin:
        file = Path(writing.password_file) if writing.password_file else None
        admin = FirstAdmin(writing.admin, file)
    return ready_of(launch, ports, admin)
