"""Writers over REST and readers over SSE, over HTTP and HTTPS."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import httpx

from tests.e2e.clients import SseEvent
from tests.e2e.secure_server import port_of
from tests.e2e.server_process import PASSWORD, USER, ServerProcess
from tests.soak.ledger import Flow, Hearing, Problems

ANSWER_S: Final = 20.0
AGAIN_S: Final = 0.2
"""Pause before another try."""


def base_url(server: ServerProcess, *, is_secure: bool) -> str:
    return f"https://localhost:{port_of(server, 'https')}" if is_secure else server.http


class RestWriter(threading.Thread):
    """Counts some records up. What is not answered is written again, as PUT allows.

    Attributes:
        acknowledged: Writes that were.
    """

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext,
        flows: Sequence[Flow],
        problems: Problems,
        pause_s: float,
    ) -> None:
        super().__init__(daemon=True)
        self.acknowledged = 0
        self._url = url
        self._context = context
        self._flows = flows
        self._problems = problems
        self._pause_s = pause_s
        self._is_over = threading.Event()

    def run(self) -> None:
        with httpx.Client(
            base_url=self._url, verify=self._context, auth=(USER, PASSWORD), timeout=ANSWER_S
        ) as http:
            while not self._is_over.is_set():
                for flow in self._flows:
                    self._write(http, flow)
                    if self._is_over.wait(self._pause_s):
                        return

    def _write(self, http: httpx.Client, flow: Flow) -> None:
        number = flow.send()
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            try:
                answer = http.put(f"/{flow.place}", json={"value": number})
            except httpx.TransportError:
                time.sleep(AGAIN_S)
                continue
            if answer.status_code == 204:
                flow.settle(number)
                self.acknowledged += 1
                return
            if answer.status_code != 503:
                self._problems.add("a write was refused", f"{flow.place}: {answer.status_code}")
            time.sleep(AGAIN_S)
        self._problems.add("not acknowledged", f"PUT {flow.place} {number}")

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    def check(self, context: ssl.SSLContext) -> None:
        """What is read now is what was written last."""
        with httpx.Client(
            base_url=self._url, verify=context, auth=(USER, PASSWORD), timeout=ANSWER_S
        ) as http:
            for flow in self._flows:
                if not flow.sent:
                    continue
                value = http.get(f"/{flow.place}").json()["value"]
                if value != flow.sent:
                    self._problems.add(
                        "a record is wrong", f"{flow.place} is {value}, not {flow.sent}"
                    )


class SseReader(threading.Thread):
    """Reads all records' changes, and goes on by position after a lost connection.

    Attributes:
        hearings: By path of the record.
        connects: How many streams there were.
    """

    def __init__(
        self,
        name: str,
        url: str,
        context: ssl.SSLContext,
        flows: Mapping[str, Flow],
        problems: Problems,
    ) -> None:
        super().__init__(daemon=True)
        self.connects = 0
        self.is_ready = threading.Event()
        self.hearings = {
            place: Hearing(name, flow, problems, is_whole=True) for place, flow in flows.items()
        }
        self._url = url
        self._context = context
        self._problems = problems
        self._position = ""
        self._reader = name
        self._is_over = False
        self._response: httpx.Response | None = None

    def run(self) -> None:
        timeout = httpx.Timeout(ANSWER_S, read=90.0)  # beyond the pause between comments
        while not self._is_over:
            headers = {"Accept": "text/event-stream"}
            headers |= {"Last-Event-ID": self._position} if self._position else {}
            with (
                suppress(httpx.TransportError, httpx.StreamError),
                httpx.Client(verify=self._context, auth=(USER, PASSWORD), timeout=timeout) as http,
                http.stream("GET", f"{self._url}/Sensor/", headers=headers) as response,
            ):
                if response.status_code == 200:
                    self.connects += 1
                    self._response = response
                    for event in events_in(response.iter_lines()):
                        self._take(event)
            time.sleep(AGAIN_S)

    def drop(self) -> None:
        """Lose the connection; it comes back by itself."""
        response = self._response
        if response is not None:
            stream = response.extensions["network_stream"]
            with suppress(OSError):
                stream.get_extra_info("socket").shutdown(2)

    def stop(self) -> None:
        self._is_over = True
        self.drop()
        self.join(ANSWER_S)

    def _take(self, event: SseEvent) -> None:
        self._position = event.id or self._position
        if event.event == "ready":
            self.is_ready.set()
            return
        envelope = event.envelope
        record = envelope.get("value")
        if event.event != "message" or "current" in envelope or not isinstance(record, dict):
            self._problems.add("a stream began anew", f"{self._reader}: {event}")
            return
        self.hearings[f"Sensor/{envelope['id']}"].hear(record["value"])

    def lost(self) -> list[tuple[str, list[int]]]:
        """What it should have heard by now, by record."""
        found = [(place, hearing.lost()) for place, hearing in self.hearings.items()]
        return [(place, numbers) for place, numbers in found if numbers]


def events_in(lines: Iterator[str]) -> Iterator[SseEvent]:
    """The events of a stream."""
    event = SseEvent()
    for line in lines:
        name, _, value = line.partition(": ")
        if line and name in ("event", "id", "data"):
            setattr(event, name, value)
        elif not line:
            if event.data or event.event != "message":
                yield event
            event = SseEvent(id=event.id)
