"""Workers and the writer's process in one: calls wait in a queue until a test runs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from lyredb.errors import LyreError, Overloaded
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Applied, Mutation, Outcome
from lyredb.storage.sequencer import Answer, Reply, Result

Handler = Callable[[int, bytes, Reply], None]


class Streams:
    """The service's end (a `CallService`) of every worker's stream.

    Attributes:
        is_up: False while the writer's process is away.
    """

    def __init__(self) -> None:
        self.is_up = True
        self.ends: dict[int, End] = {}
        self._queue: deque[Callable[[], None]] = deque()
        self._handlers: dict[str, Handler] = {}
        self._detached: list[Callable[[int], None]] = []
        self._asked: list[tuple[int, Reply]] = []

    # the service's end

    def serve(self, kind: str, handler: Handler) -> None:
        self._handlers[kind] = handler

    def notify(self, worker: int, kind: str, body: bytes) -> None:
        end = self.ends.get(worker)
        if end is not None:
            self._queue.append(lambda: end.handlers[kind](body))

    def on_detach(self, callback: Callable[[int], None]) -> None:
        self._detached.append(callback)

    @property
    def workers(self) -> tuple[int, ...]:
        return tuple(self.ends)

    # what tests do

    def worker(self, number: int) -> End:
        """A worker's end; it is attached."""
        end = self.ends[number] = End(self, number)
        return end

    def run(self) -> None:
        """Let everything arrive that is under way."""
        while self._queue:
            self._queue.popleft()()

    def lose(self, worker: int) -> None:
        """The worker's process is gone; what it has sent was read before."""
        self.run()
        del self.ends[worker]
        for callback in self._detached:
            callback(worker)

    def go_away(self) -> None:
        """The writer's process is gone, with whatever was under way."""
        self.is_up = False
        self._queue.clear()
        self._handlers.clear()
        self._detached.clear()
        asked, self._asked = self._asked, []
        for _, reply in asked:
            reply(Overloaded("the writer went away; try again"))

    def come_back(self) -> None:
        """A new process of the writer is there, whose handlers have been given."""
        self.is_up = True
        for end in self.ends.values():
            for callback in end.attached:
                callback()

    # between the ends

    def send(self, worker: int, kind: str, body: bytes, reply: Reply | None) -> None:
        if not self.is_up:
            if reply is not None:
                self._queue.append(lambda: reply(Overloaded("the writer is away")))
            return
        if reply is None:
            self._queue.append(lambda: self._handlers[kind](worker, body, lambda _: None))
            return
        asked = worker, reply
        self._asked.append(asked)

        def answer(result: Answer) -> None:
            if asked in self._asked:
                self._asked.remove(asked)
                self._queue.append(lambda: reply(result))

        self._queue.append(lambda: self._handlers[kind](worker, body, answer))


class End:
    """A worker's end (a `Calls`)."""

    def __init__(self, streams: Streams, number: int) -> None:
        self.handlers: dict[str, Callable[[bytes], None]] = {}
        self.attached: list[Callable[[], None]] = []
        self._streams = streams
        self._number = number

    def call(self, kind: str, body: bytes, on_reply: Reply) -> None:
        self._streams.send(self._number, kind, body, on_reply)

    def notify(self, kind: str, body: bytes) -> None:
        self._streams.send(self._number, kind, body, None)

    def on_notice(self, kind: str, handler: Callable[[bytes], None]) -> None:
        self.handlers[kind] = handler

    def on_attach(self, callback: Callable[[], None]) -> None:
        self.attached.append(callback)


class FakeWriter:
    """The part of a `Sequencer` that wills need.

    Attributes:
        error: Raised by the next calls of `submit`.
        waiting: What was taken and not answered.
        written: What was committed.
        rows: The rows of ``sess``. Those that come alone are there at once, unless
            ``row_error`` refuses them.
    """

    def __init__(self) -> None:
        self.error: LyreError | None = None
        self.waiting: list[tuple[Mutation, Rows, Callable[[Result], None]]] = []
        self.written: list[Mutation] = []
        self.rows: dict[bytes, bytes] = {}
        self.row_error: LyreError | None = None

    def submit(
        self,
        transaction: Sequence[Mutation],
        on_reply: Callable[[Result], None],
        *,
        session_rows: Rows = (),
    ) -> None:
        if self.error is not None:
            raise self.error
        if not transaction:
            if self.row_error is None:
                self._put(session_rows)
            on_reply(self.row_error or Applied(len(self.written), ()))
            return
        (mutation,) = transaction
        self.waiting.append((mutation, session_rows, on_reply))

    def answer(self, error: LyreError | None = None) -> None:
        """Commit, or refuse, what waits."""
        waiting, self.waiting = self.waiting, []
        for mutation, rows, on_reply in waiting:
            if error is None:
                self._put(rows)
                self.written.append(mutation)
                on_reply(Applied(len(self.written), (Outcome(len(self.written), 1, False),)))
            else:
                on_reply(error)

    def _put(self, rows: Rows) -> None:
        for name, row in rows:
            if row is None:
                self.rows.pop(name, None)
            else:
                self.rows[name] = row


class HandTimers:
    """Timers of a loop that a test lets pass."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.set.append((delay_s, callback))

    def pass_all(self) -> None:
        """Time passes until every timer that was set has run."""
        now, self.set = self.set, []
        for _, callback in now:
            callback()
