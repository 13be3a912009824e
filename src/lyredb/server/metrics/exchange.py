"""How the numbers of all processes come together.

Each worker has a `Reporter`: once a second, or less often when counting takes long (a look at
10,000 connections), it tells its numbers where the writer is, where
a `Keeper` keeps the last of each. Whoever asks a reporter gets all of them, its own taken
in that moment. In a server of one process there is nobody to tell, and it is asked the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from lyredb.errors import LyreError
from lyredb.server.metrics.snapshot import Snapshot, Subject, decode_snapshot
from lyredb.storage.sequencer import Answer, Calls, CallService, Reply

REPORT_S: Final = 1.0
AT_MOST: Final = 1 / 500
"""Of a worker's time: to count over very many connections takes long, and nobody is served."""
SELDOM_S: Final = 10.0
"""The age at which numbers are of no more use; also what one slow look may cause."""
ANSWER_S: Final = 2.0
"""The writer commits for at most 20 ms at a time; one that is silent for so long is away."""
TOLD: Final = "statistics"
ASKED: Final = "statistics.collected"

_logger: Final = logging.getLogger(__name__)


class Keeper:
    """Keeps the last numbers of each worker, where the writer is.

    Args:
        service: Through which workers tell and ask.
        subjects: What is here itself: the writer process, and the supervisor above it.
    """

    def __init__(self, service: CallService, subjects: Sequence[Subject] = ()) -> None:
        self._subjects = tuple(subjects)
        self._last: dict[int, Snapshot] = {}
        service.serve(TOLD, self._hear)
        service.serve(ASKED, self._answer)
        service.on_detach(self._forget)

    def collected(self) -> list[Snapshot]:
        """Return the numbers of all processes: these in this moment, the workers' last."""
        here = [subject.take() for subject in self._subjects]
        return here + [self._last[worker] for worker in sorted(self._last)]

    def _hear(self, worker: int, body: bytes, _: Reply) -> None:
        try:
            self._last[worker] = decode_snapshot(body)
        except msgspec.DecodeError:
            _logger.warning("worker %d told numbers that cannot be read", worker)

    def _answer(self, _worker: int, _body: bytes, reply: Reply) -> None:
        reply(msgspec.msgpack.encode(self.collected()))

    def _forget(self, worker: int) -> None:
        self._last.pop(worker, None)


def pause_after(took_s: float) -> float:
    """Return the time until a worker counts again, after it has taken so long."""
    return min(SELDOM_S, max(REPORT_S, took_s / AT_MOST))


class Reporter:
    """Tells the numbers of a worker, and asks for those of all.

    Args:
        calls: To the keeper; ``None`` when this process is all there is.
        subject: This worker.
    """

    def __init__(self, calls: Calls | None, subject: Subject) -> None:
        self._calls = calls
        self._subject = subject
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Tell the numbers now and again and again, until `stop`; in the running loop."""
        if self._calls is None:
            return
        begin = time.perf_counter()
        self._calls.notify(TOLD, self._subject.take().encode())
        pause_s = pause_after(time.perf_counter() - begin)
        self._timer = asyncio.get_running_loop().call_later(pause_s, self.start)

    def stop(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def collected(self, within_s: float = ANSWER_S) -> list[Snapshot]:
        """Return the numbers of all processes; without a writer only of this one."""
        here = self._subject.take()
        if self._calls is None:
            return [here]
        try:
            others = await self._ask(self._calls, within_s)
        except (LyreError, TimeoutError) as error:
            _logger.warning("only this process tells its numbers: %s", str(error) or "no answer")
            return [here]
        return [each for each in others if not self._is_here(each)] + [here]

    def _is_here(self, snapshot: Snapshot) -> bool:
        return (snapshot.process, snapshot.worker) == (self._subject.process, self._subject.worker)

    async def _ask(self, calls: Calls, within_s: float) -> list[Snapshot]:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def on_reply(result: Answer) -> None:
            if answer.done():  # nobody waits any more
                return
            if isinstance(result, LyreError):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        calls.call(ASKED, b"", on_reply)
        async with asyncio.timeout(within_s):
            return msgspec.msgpack.decode(await answer, type=list[Snapshot])
