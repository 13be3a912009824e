"""A good client beside bad ones: whatever they do, its requests all succeed."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from tests.e2e.clients import rest
from tests.e2e.raw_mqtt import raw_mqtt
from tests.e2e.server_process import ServerProcess
from tests.protocols.mqtt import client_frames as frames

DEADLINE_S = 20


class Bystander:
    """Writes over REST, hears of it over MQTT, reads it back; over and over, in a thread."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._stopping = threading.Event()
        self._round = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._problem = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Wait for a round that began after now, then end; all must have gone well."""
        for _ in range(2):
            self._round.clear()
            assert self._round.wait(DEADLINE_S), "the good client waits too long"
        self._stopping.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the good client hangs"
        self.check()

    def check(self) -> None:
        """Nothing went wrong so far, and the server found no fault of its own."""
        assert not self._problem, self._problem
        assert self._server.process.poll() is None, self._server.errors()
        assert "Traceback" not in self._server.errors(), self._server.errors()

    def _work(self) -> None:
        try:
            self._rounds()
        except BaseException:
            self._problem = traceback.format_exc()
        while not self._stopping.wait(0.01):
            self._round.set()  # so that whoever waits for a round hears of the problem

    def _rounds(self) -> None:
        with rest(self._server) as client, raw_mqtt(self._server) as listener:
            client.put("/Sensor/good", json={"value": -1})
            listener.send(frames.subscribe(("Sensor/good", 1)))
            assert listener.until(3).retain
            for number in count():
                put = client.put("/Sensor/good", json={"value": number})
                assert put.status_code == 204, put.text
                told = listener.until(3)
                listener.send(frames.puback(told.packet_id))
                assert b'"value":%d' % number in told.payload, told
                assert listener.publish("Sensor/good/direct", b"x", number % 60_000 + 1) == 0
                assert client.get("/Sensor/good").json()["value"] == number
                self._round.set()
                if self._stopping.wait(0.005):
                    return


@contextmanager
def undisturbed(server: ServerProcess) -> Iterator[Bystander]:
    """Fail unless a good client works all the while."""
    bystander = Bystander(server)
    bystander.start()
    try:
        yield bystander
    finally:
        bystander.stop()
