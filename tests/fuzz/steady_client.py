"""A good client with a session that lasts, which is served at QoS 2 whatever others do.

It publishes numbers to itself: each comes back once and in order, though its connection breaks
now and then at any point.
"""

from __future__ import annotations

import random
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.client_frames import Received

HOUR = b"\x11\x00\x00\x0e\x10"
DEADLINE_S = 20
BREAKS = 0.02


class SteadyClient:
    """See the module.

    Attributes:
        rounds: Numbers that went out and came back.
    """

    def __init__(self, server: ServerProcess, version: int) -> None:
        self.rounds = 0
        self._server = server
        self._version = version
        self._topic = f"Sensor/steady/{version}"
        self._rng = random.Random(version)
        self._connection = self._connected(is_new=True)
        self._connection.send(frames.subscribe((self._topic, 2), version=version))
        self._connection.until(9)
        self._released = False  # PUBREC of the number on its way has come
        self._open: dict[int, bytes] = {}
        self._got = 0
        self._stopping = threading.Event()
        self._round = threading.Event()
        self._problem = ""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _connected(self, *, is_new: bool) -> RawMqtt:
        connection = RawMqtt(self._server, self._version, deadline_s=DEADLINE_S)
        connection.send(
            frames.connect(
                self._version,
                f"steady-{self._version}",
                clean=False,
                username=USER,
                password=PASSWORD.encode(),
                props=HOUR,
            )
        )
        accepted = connection.next()
        assert (accepted.kind, accepted.reason) == (2, 0), accepted
        assert accepted.body[0] == (not is_new), "session present"
        return connection

    # --- its own thread

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                self._send_number(is_again=False)
                while not self._is_round():
                    self._step()
                self.rounds += 1
                self._round.set()
        except BaseException:
            self._problem = traceback.format_exc()
        while not self._stopping.wait(0.01):
            self._round.set()  # so that whoever waits for a round hears of the problem

    @property
    def _number(self) -> int:
        return self.rounds + 1

    @property
    def _packet_id(self) -> int:
        return self._number % 7 + 1

    def _send_number(self, *, is_again: bool) -> None:
        self._is_out = False
        if is_again and self._released:
            self._connection.send(frames.pubrel(self._packet_id))
            return
        self._released = False
        self._connection.send(
            frames.publish(
                self._topic,
                str(self._number).encode(),
                version=self._version,
                qos=2,
                packet_id=self._packet_id,
                dup=is_again,
            )
        )

    def _is_round(self) -> bool:
        return self._is_out and self._got == self._number and not self._open

    def _step(self) -> None:
        """One packet; or the connection breaks before it."""
        if self._rng.random() < BREAKS:
            self._connection.close()
            self._connection = self._connected(is_new=False)
            if not self._is_out:
                self._send_number(is_again=True)
            return
        self._act(self._connection.next())

    def _act(self, packet: Received) -> None:
        packet_id = packet.packet_id
        match packet.kind:
            case 3:
                self._take(packet)
                self._connection.send(frames.pubrec(packet_id))
            case 5:
                assert (packet_id, packet.reason) == (self._packet_id, 0), packet
                self._released = True
                self._connection.send(frames.pubrel(packet_id))
            case 6:
                self._open.pop(packet_id, None)
                self._connection.send(frames.pubcomp(packet_id))
            case _:
                assert (packet.kind, packet_id) == (7, self._packet_id), packet
                self._is_out = True

    def _take(self, packet: Received) -> None:
        assert (packet.topic, packet.qos) == (self._topic, 2), packet
        if packet.packet_id in self._open:
            assert packet.payload == self._open[packet.packet_id], packet
            assert packet.flags & 8, packet
            return
        assert packet.payload == str(self._got + 1).encode(), (packet, self._got)
        self._got += 1
        self._open[packet.packet_id] = packet.payload

    # --- whoever watches it

    def check(self) -> None:
        """Nothing went wrong so far, and the server found no fault of its own."""
        assert not self._problem, self._problem
        assert self._server.process.poll() is None, self._server.errors()
        assert "Traceback" not in self._server.errors(), self._server.errors()

    def stop(self) -> None:
        """Wait for a round that began after now, then end; all must have gone well."""
        for _ in range(2):
            self._round.clear()
            assert self._round.wait(DEADLINE_S), "the good client waits too long"
        self._stopping.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the good client hangs"
        self._connection.close()
        self.check()


@contextmanager
def steady(server: ServerProcess, version: int) -> Iterator[SteadyClient]:
    """Fail unless a good client is served all the while."""
    client = SteadyClient(server, version)
    try:
        yield client
    finally:
        client.stop()
