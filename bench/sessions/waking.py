"""Clients that come back: many at once, each gets what waited for it, and goes again."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from typing import Final

from bench.load import packets
from bench.load.client import Connection, LoadFailed, connect
from bench.load.frames import Frame, FrameReader, read_publish
from bench.load.spec import Target
from bench.peers.cpu import cpu_s, tree
from bench.sessions.night import Case

AT_ONCE: Final = 100
"""Clients that come back together, as after a loss of the network."""
QUIET_S: Final = 0.1
"""With at most `QUIET_CPU_S` of CPU in it, all that a wake takes has been done."""
QUIET_CPU_S: Final = 0.01
"""One tick of the system's clock of CPU."""
STALL_S: Final = 20.0
LEVEL: Final = 5
_READ_BYTES: Final = 1 << 16


@dataclass(slots=True)
class Woken:
    """What waking the sessions of a case showed.

    Attributes:
        sessions: That came back; each of them got what waited.
        server_cpu_s: From the first CONNECT until nothing was left to be done, with the closes.
    """

    sessions: int = 0
    server_cpu_s: float = 0.0
    wall_s: float = 0.0
    trouble: str = ""

    @property
    def cpu_ms(self) -> float:
        """Of one wake."""
        return self.server_cpu_s / self.sessions * 1_000 if self.sessions else 0.0


def wake(target: Target, case: Case, most_s: float) -> Woken:
    """Have the clients of a case come back, in groups, as many as the time allows for."""
    woken = Woken()
    pids = tree(target.pid)
    _quiet(pids, STALL_S)
    cpu, began = cpu_s(pids), time.monotonic()
    try:
        while woken.sessions < case.sessions and time.monotonic() - began < most_s:
            last = min(woken.sessions + AT_ONCE, case.sessions)
            ids = [case.client_id(number) for number in range(woken.sessions, last)]
            _Group(target, ids, case.waiting).run(pids)
            woken.sessions = last
    except (LoadFailed, OSError) as error:
        woken.trouble = str(error) or type(error).__name__
    woken.server_cpu_s = cpu_s(pids) - cpu
    woken.wall_s = time.monotonic() - began
    return woken


def _quiet(pids: list[int], most_s: float) -> None:
    """Wait until the server has nothing more to do."""
    deadline = time.monotonic() + most_s
    before = cpu_s(pids)
    while time.monotonic() < deadline:
        time.sleep(QUIET_S)
        now = cpu_s(pids)
        if now - before <= QUIET_CPU_S:
            return
        before = now
    raise LoadFailed("the server does not come to rest")


class _Group:
    """Clients that come back together."""

    def __init__(self, target: Target, client_ids: list[str], waiting: int) -> None:
        self._target = target
        self._ids = client_ids
        self._waiting = waiting
        self._awake: dict[int, _Awake] = {}

    def run(self, pids: list[int]) -> None:
        """Connect, get everything, wait whether more comes, and go."""
        try:
            for client_id in self._ids:
                awake = _Awake(connect(self._target), client_id, self._waiting)
                self._awake[awake.connection.socket.fileno()] = awake
                awake.say_hello(self._target)
            self._read(until_whole=True)
            _quiet(pids, STALL_S)
            self._read(until_whole=False)
            for awake in self._awake.values():
                awake.connection.socket.setblocking(True)
                awake.connection.socket.sendall(packets.DISCONNECT_PACKET)
            _quiet(pids, STALL_S)
        finally:
            for awake in self._awake.values():
                awake.connection.close()

    def _read(self, *, until_whole: bool) -> None:
        """Read until all have everything, or what there is now."""
        poll = select.epoll()
        for descriptor in self._awake:
            poll.register(descriptor, select.EPOLLIN)
        deadline = time.monotonic() + STALL_S
        left = {one for one in self._awake.values() if not one.is_whole}
        while left or not until_whole:
            ready = poll.poll(1.0 if until_whole else 0)
            if not ready and not until_whole:
                break
            for descriptor, _ in ready:
                awake = self._awake[descriptor]
                awake.read()
                if awake.is_whole:
                    left.discard(awake)
            if time.monotonic() > deadline:
                raise LoadFailed(f"{len(left)} clients do not get what waits for them")
        poll.close()


class _Awake:
    """One client that is back."""

    def __init__(self, connection: Connection, client_id: str, waiting: int) -> None:
        self.connection = connection
        self._client_id = client_id
        self._waiting = waiting
        self._reader = FrameReader()
        self._is_in = False
        self._got = 0

    @property
    def is_whole(self) -> bool:
        """It was let in and has everything."""
        return self._is_in and self._got == self._waiting

    def say_hello(self, target: Target) -> None:
        """Send CONNECT."""
        packet = packets.connect(
            self._client_id,
            level=LEVEL,
            username=target.username,
            password=target.password,
            durable=True,
        )
        self.connection.socket.sendall(packet)
        self.connection.socket.setblocking(False)

    def read(self) -> None:
        """Take what has come, and acknowledge it."""
        data = self.connection.socket.recv(_READ_BYTES)
        if not data:
            raise LoadFailed("the server closed the connection")
        answers = b"".join(map(self._take, self._reader.feed(data)))
        if answers and self.connection.socket.send(answers) != len(answers):
            raise LoadFailed("the server does not read acknowledgements")

    def _take(self, frame: Frame) -> bytes:
        if frame.type == packets.CONNACK:
            if frame.body[:2] != b"\x01\x00":
                raise LoadFailed(f"the session is not there: CONNACK {frame.body.hex()}")
            self._is_in = True
            return b""
        if frame.type != packets.PUBLISH or frame.qos != 1:
            raise LoadFailed(f"a packet that nobody has asked for: {frame.first:02x}")
        self._got += 1
        if self._got > self._waiting:
            raise LoadFailed("more messages than waited")
        return packets.puback(read_publish(frame, LEVEL).packet_id)
