"""Whole conversations, broken in any way, beside a client that is served at QoS 2 all the while.

The server may not stumble: no traceback in its log, nothing wrong for the good client, whose
messages come once and in order, no connection that it keeps, bounded memory. A few hundred
conversations in an ordinary run, from a fixed seed; with ``FUZZ_SECONDS`` (`make fuzz`)
as many as go into that time, from the seed ``FUZZ_SEED`` or one of the moment, which is
told when it fails.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import gettempdir

import pytest

from tests.e2e.server_process import ServerProcess
from tests.e2e.strict_server import resident_bytes, strict_server
from tests.fuzz.closing import end
from tests.fuzz.conversations import CONVERSATIONS, LOGIN
from tests.fuzz.mutations import CORPUS
from tests.fuzz.packet_mutations import Packets, mutate_connect, mutate_packets, reads
from tests.fuzz.steady_client import SteadyClient, steady

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("FUZZ_SEED", time.time_ns() if SECONDS else 20_261_125))
COUNT = 250
OPEN_AT_ONCE = 20
CHECKED_EACH = 100
KEPT = 200
MOST_MEMORY = 96_000_000
CONFIG = """
mqtt: {maxPacketSize: 100kB, connectTimeout: 5s, maxQueued: 500, bufferSize: 100kB}
authentication: {maxAttempts: 0, cacheTTL: 1d}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with strict_server(CONFIG) as started:
        yield started


class Fuzzer:
    """Holds broken conversations with a server.

    Attributes:
        recent: The last streams, for whoever has to find out which one it was.
    """

    def __init__(self, server: ServerProcess) -> None:
        self.recent: deque[list[bytes]] = deque(maxlen=KEPT)
        self._port = server.mqtt_port
        self._rng = random.Random(SEED)
        self._open: list[socket.socket] = []

    def converse(self, packets: Packets) -> None:
        """Say it all, without waiting for an answer, and leave the connection open."""
        cut = reads(self._rng, packets)
        self.recent.append(cut)
        connection = socket.create_connection(("127.0.0.1", self._port), 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.append(connection)
        for one in cut:
            try:
                connection.sendall(one)
            except (BrokenPipeError, ConnectionResetError):
                break
        if len(self._open) > OPEN_AT_ONCE:
            self._end(self._open.pop(self._rng.randrange(len(self._open))))

    def broken(self) -> Packets:
        """The next conversation."""
        rng = self._rng
        packets = mutate_packets(rng, rng.choice(CONVERSATIONS), CONVERSATIONS)
        if rng.random() < 0.25:
            packets = mutate_connect(rng, packets, LOGIN)
        return packets

    def close(self) -> None:
        """End what is open."""
        while self._open:
            self._end(self._open.pop())

    def _end(self, connection: socket.socket) -> None:
        """Break it, or say that no more comes."""
        if self._rng.random() < 0.5:
            end(connection)
        else:
            connection.close()

    def kept(self) -> Path:
        """Write down what was said last; returns where."""
        path = Path(gettempdir()) / f"lyredb-fuzz-{os.getpid()}.txt"
        path.write_text("\n".join(" ".join(one.hex() for one in cut) for cut in self.recent))
        return path


@pytest.mark.timeout(SECONDS + 120)
def test_broken_conversations_disturb_nobody(server: ServerProcess) -> None:
    before = resident_bytes(server)
    fuzzer = Fuzzer(server)
    try:
        with ExitStack() as stack:
            good = [stack.enter_context(steady(server, version)) for version in (4, 5)]
            for packets in [*CONVERSATIONS, *once_broken()]:
                fuzzer.converse(packets)
            held = hold(fuzzer, good)
        for client in good:
            assert client.rounds > 1, "served all the time: it waits for each of its own"
        assert resident_bytes(server) - before < MOST_MEMORY, held
    except BaseException as error:
        error.add_note(f"seed {SEED}; what was said last is in {fuzzer.kept()}")
        raise
    finally:
        fuzzer.close()


def hold(fuzzer: Fuzzer, good: list[SteadyClient]) -> int:
    """Hold as many broken conversations as are asked for; returns how many."""
    ends = time.monotonic() + SECONDS
    held = 0
    while held < COUNT or time.monotonic() < ends:
        fuzzer.converse(fuzzer.broken())
        held += 1
        if held % CHECKED_EACH == 0:
            for client in good:
                client.check()
    return held


def once_broken() -> list[Packets]:
    """Whole streams that broke the server once."""
    return [[path.read_bytes()] for path in sorted((CORPUS / "conversations").glob("*.bin"))]
