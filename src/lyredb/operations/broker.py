"""Does what operators ask about clients and retained messages.

One object, where the writer is: commands reach it by the control socket, workers by calls
(REST). Without a server a command makes one for itself, which has no workers to ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from lyredb.errors import InvalidBody, LyreError, StorageError, UnsupportedOperation
from lyredb.operations.broker_requests import (
    BrokerAnswer,
    BrokerRequest,
    ClearRetained,
    KickClient,
    ListClients,
    ListRetained,
    ReadTrace,
    StartTrace,
    StopTrace,
    TraceStarted,
)
from lyredb.operations.clients import Clients
from lyredb.operations.retained import Retained
from lyredb.operations.rollcall import RollCall
from lyredb.operations.tracing import Traces
from lyredb.storage.engine import Engine
from lyredb.storage.sequencer import Calls, CallService, Reply, Sequencer, settling

ASKED: Final = "broker/asked"
"""A call: a `BrokerRequest` as JSON → its answer as JSON."""
ANSWER_S: Final = 30.0
"""For what was asked: a list, a commit, every worker's answer."""

_requests: Final = msgspec.json.Decoder(BrokerRequest)


class Broker:
    """Clients and retained messages of one data directory.

    Args:
        engine: Where they are read.
        sequencer: Where changes go.
        service: The workers; ``None`` without a server.
        on_forgotten: Called with the identifier of each session that was deleted.
    """

    def __init__(
        self,
        engine: Engine,
        sequencer: Sequencer,
        service: CallService | None = None,
        on_forgotten: Callable[[str], None] = lambda client_id: None,
    ) -> None:
        workers = self._workers = None if service is None else RollCall(service)
        self._clients = Clients(engine, sequencer, workers, on_forgotten)
        self._retained = Retained(engine, sequencer)
        self._traces: Traces | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        if service is not None:
            loop = asyncio.get_running_loop()
            self._traces = Traces(service, clock=loop.time, call_later=loop.call_later)
            service.serve(ASKED, self._answer)

    async def perform(self, request: BrokerRequest) -> BrokerAnswer:
        """Do one thing, and return what there is to tell.

        Raises:
            LyreError: It was refused, or could not be written.
        """
        match request:
            case ListClients():
                return await self._clients.listed(request)
            case KickClient():
                return await self._clients.kick(request)
            case ListRetained():
                return await self._retained.listed(request)
            case ClearRetained():
                return await self._retained.clear(request)
            case StartTrace():
                return await self._start_trace(request)
            case ReadTrace():
                return await self._running.read(request.trace)
            case StopTrace():
                self._running.stop(request.trace)
                return None

    async def _start_trace(self, request: StartTrace) -> TraceStarted:
        started = self._running.start(request.client_id)
        assert self._workers is not None, "whoever has traces has workers"
        # What each says now is empty, and comes after it has taken note of the trace.
        await self._workers.ask("trace/noted")
        return started

    @property
    def _running(self) -> Traces:
        if self._traces is None:
            raise UnsupportedOperation("no server runs here")
        return self._traces

    async def close(self) -> None:
        """Answer no more calls."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _answer(self, _: int, body: bytes, reply: Reply) -> None:
        try:
            request: BrokerRequest = _requests.decode(body)
        except msgspec.DecodeError as error:
            raise InvalidBody(f"no request: {error}") from error
        self._spawn(self._answer_later(request, reply))

    async def _answer_later(self, request: BrokerRequest, reply: Reply) -> None:
        try:
            answer = await self.perform(request)
        except LyreError as error:
            reply(error)
        except Exception:
            reply(StorageError("the operation failed; the server's log says why"))
            raise
        else:
            reply(msgspec.json.encode(answer))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def ask_broker(calls: Calls, request: BrokerRequest, within_s: float = ANSWER_S) -> bytes:
    """Have the broker do something, from a worker; return its answer as JSON.

    Raises:
        LyreError: What it says.
        TimeoutError: It does not answer in time; it may or may not be done.
    """
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    calls.call(ASKED, msgspec.json.encode(request), settling(answer))
    async with asyncio.timeout(within_s):
        return await answer
