"""Many connections that do nothing: what each costs, and whether all of them live."""

from __future__ import annotations

import resource
import select
import time

from bench.load.client import Connection, LoadFailed, connect, login_of, recv_frame
from bench.load.frames import BadFrame, FrameReader, read_publish
from bench.load.packets import CONNACK, PUBLISH, publish
from bench.load.packets import connect as connect_packet
from bench.load.spec import Hold, HoldResult, Target
from bench.peers.memory import memory_bytes

FIRST = 200
"""Opened before memory is looked at: they bring what all connections share."""
SETTLE_S = 0.5
PROOF_S = 20.0
TOPIC = "Bench/alive"
LEVEL = 4


class Holder:
    """One run against one server, which speaks MQTT 3.1.1."""

    def __init__(self, target: Target, hold: Hold) -> None:
        self._target, self._hold = target, hold
        self._login = login_of(target, LEVEL)
        self._held: list[Connection] = []

    def run(self) -> HoldResult:
        """Open, hold, prove, close; a failure is told in the result."""
        result = HoldResult()
        _allow_files(self._hold.connections + 100)
        try:
            self._open(FIRST)
            time.sleep(SETTLE_S)
            before = memory_bytes(self._target.pid)
            begin = time.monotonic()
            self._open(self._hold.connections)
            result.opening_s = time.monotonic() - begin
            time.sleep(self._hold.hold_s)
            grown = memory_bytes(self._target.pid) - before
            result.bytes_each = grown / (len(self._held) - FIRST)
            result.alive = self._prove() if self._hold.prove else self._count_open()
        except (LoadFailed, BadFrame, OSError) as error:
            result.failure = str(error) or type(error).__name__
        result.opened = len(self._held)
        for connection in self._held:
            connection.socket.close()
        return result

    def _open(self, total: int) -> None:
        while len(self._held) < total:
            connection = connect(self._target)
            self._held.append(connection)
            packet = connect_packet(
                f"idle-{len(self._held)}",
                level=LEVEL,
                username=self._target.username,
                password=self._target.password,
            )
            connection.socket.sendall(packet)
            answer = recv_frame(connection.socket)
            if answer.type != CONNACK or answer.body[1]:
                raise LoadFailed(f"connection refused: CONNACK {answer.body.hex()}")
            if self._hold.prove:
                self._login.subscribe(connection, TOPIC, 0)

    def _count_open(self) -> int:
        """Count those that nobody has closed: an idle connection has nothing to read."""
        poll = select.epoll()
        for connection in self._held:
            poll.register(connection.socket.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
        closed = sum(
            bool(events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR))
            for _, events in poll.poll(0, len(self._held))
        )
        poll.close()
        return len(self._held) - closed

    def _prove(self) -> int:
        """Send one message to all, and count those that got it."""
        payload = b"proof"
        self._held[0].socket.sendall(publish(TOPIC, payload, level=LEVEL))
        poll = select.epoll()
        waiting = {each.socket.fileno(): (each.socket, FrameReader()) for each in self._held}
        for number in waiting:
            poll.register(number, select.EPOLLIN)
        deadline, lost = time.monotonic() + PROOF_S, 0
        while waiting and time.monotonic() < deadline:
            for number, _ in poll.poll(1.0):
                opened, reader = waiting[number]
                data = opened.recv(4096)
                frames = reader.feed(data)
                got = [read_publish(each, LEVEL) for each in frames if each.type == PUBLISH]
                if not data or any(each.payload == payload for each in got):
                    poll.unregister(number)
                    del waiting[number]
                    lost += not data
        poll.close()
        return len(self._held) - len(waiting) - lost


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"only {hard} open files are allowed, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
