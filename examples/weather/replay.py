"""Publish the observations over MQTT, as weather stations would.

Each observation is two retained messages: one to the place's own topic, such as
`Weather/seattle`, where it replaces the last one, and one to a topic of its time, such
as `Weather/seattle/2012-01-31`, where it stays. A retained message is a record, so
after this the database has the latest observation and the history of each place.

The client is paho-mqtt; nothing here knows LyreDB. A replay that is started again goes
on where the records say that the last one ended.
"""

from __future__ import annotations

import argparse
import heapq
import json
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

import paho.mqtt.client as paho
from observations import DataMissing, Observation, data_folder, san_francisco, seattle, series
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

SOURCE_TOPIC: Final = "Source/replay"
MAX_UNACKNOWLEDGED: Final = 200
"""Publishes in flight; the rest waits here, so that a stopped replay ends soon."""
CONNECT_DEADLINE_S: Final = 15
CLOSE_DEADLINE_S: Final = 2
STATE_WAIT_S: Final = 1.0
"""How long to wait for the latest observations of an earlier replay: when there was
none, nothing comes."""
PROGRESS_EVERY_S: Final = {True: 0.5, False: 10.0}
"""Seconds between two progress lines, by whether somebody looks at a terminal."""


class Refused(Exception):
    """The server does not take what this program sends."""


class Publisher:
    """An MQTT connection that publishes records and knows which are acknowledged.

    paho's thread reconnects by itself and sends again what was not acknowledged.

    Args:
        host: Of the MQTT server.
        port: Of the MQTT server.
        about: What the source's record says besides its state.
        stopped: Set when nothing may wait any longer.
    """

    def __init__(
        self, host: str, port: int, *, about: dict[str, object], stopped: threading.Event
    ) -> None:
        self._about = about
        self.acknowledged = 0
        self.received: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._address = (host, port)
        self._sent = 0
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._connected = threading.Event()
        self._refusal = ""
        self._stopped = stopped
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id="weather-replay",
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        self._client.max_inflight_messages_set(MAX_UNACKNOWLEDGED)
        self._client.reconnect_delay_set(min_delay=1, max_delay=10)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = lambda client, data, message: self.received.put(message)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._client.is_connected()

    def connect(self) -> None:
        """Connect; the source's record says so, and says `stopped` if this program dies.

        Raises:
            OSError: Nobody listens there.
            Refused: The server refuses the connection.
        """
        will = json.dumps({"state": "stopped", **self._about})
        self._client.will_set(SOURCE_TOPIC, will, qos=1, retain=True)
        self._client.connect(*self._address, keepalive=20)
        self._client.loop_start()
        if not self._connected.wait(CONNECT_DEADLINE_S):
            raise Refused("the server did not answer the MQTT connection")
        self._raise_refusal()

    def latest(self, places: list[str]) -> dict[str, dict[str, object]]:
        """Return the records that the places have already, by place."""
        options = SubscribeOptions(qos=1)
        self._client.subscribe([(f"Weather/{place}", options) for place in places])
        self._subscribed.wait(CONNECT_DEADLINE_S)
        found: dict[str, dict[str, object]] = {}
        deadline = time.monotonic() + STATE_WAIT_S
        while len(found) < len(places) and (left := deadline - time.monotonic()) > 0:
            try:
                message = self.received.get(timeout=left)
            except queue.Empty:
                break
            found[message.topic.removeprefix("Weather/")] = json.loads(message.payload)
        self._client.unsubscribe([f"Weather/{place}" for place in places])
        return found

    def put(self, topic: str, record: dict[str, object]) -> None:
        """Publish a record; waits while too many are not acknowledged.

        Raises:
            Refused: The server refused an earlier one.
        """
        with self._changed:
            while not self._has_room(MAX_UNACKNOWLEDGED) and not self._stopped.is_set():
                self._changed.wait(0.5)
            self._raise_refusal()
        self._send(topic, record)

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything is acknowledged; says whether it is."""
        with self._changed:
            done = self._changed.wait_for(lambda: self._has_room(1), timeout_s)
            self._raise_refusal()
            return done

    def close(self) -> None:
        """Say that the source has stopped, and disconnect."""
        if self.is_connected:
            self._send(SOURCE_TOPIC, {"state": "stopped", **self._about})
            with self._changed:
                self._changed.wait_for(lambda: self._has_room(1), CLOSE_DEADLINE_S)
        self._client.disconnect()
        self._client.loop_stop()

    def _send(self, topic: str, record: dict[str, object]) -> None:
        with self._changed:
            self._sent += 1
        self._client.publish(topic, json.dumps(record), qos=1, retain=True)

    def _has_room(self, limit: int) -> bool:
        return bool(self._refusal) or self._sent - self.acknowledged < limit

    def _raise_refusal(self) -> None:
        if self._refusal:
            raise Refused(self._refusal)

    def _on_connect(
        self,
        client: paho.Client,
        data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refuse(f"the server refused the MQTT connection: {reason}")
        else:  # again after each lost connection, whose end the will has announced
            self._send(SOURCE_TOPIC, {"state": "running", **self._about})
        self._connected.set()

    def _on_publish(
        self,
        client: paho.Client,
        data: object,
        packet: int,
        reason: ReasonCode,
        properties: Properties,
    ) -> None:
        if reason.is_failure:
            self._refuse(f"the server refused an observation: {reason} {properties}".rstrip())
        with self._changed:
            self.acknowledged += 1
            self._changed.notify_all()

    def _on_subscribe(
        self,
        client: paho.Client,
        data: object,
        packet: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        self._subscribed.set()

    def _refuse(self, sentence: str) -> None:
        with self._changed:
            self._refusal = sentence
            self._changed.notify_all()


class Progress:
    """One line that says how far the replay is."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._times: dict[str, str] = {}
        self._next = 0.0
        self._width = 0
        self._is_terminal = sys.stdout.isatty()

    def note(self, observation: Observation) -> None:
        """Remember the observation, and say so when it is time to."""
        self._times[str(observation.record["name"])] = str(observation.record["time"])
        self.say()

    def say(self, *, now: bool = False) -> None:
        """Write the line if the last one is old enough, or `now`."""
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PROGRESS_EVERY_S[self._is_terminal]
        places = " · ".join(f"{place} {when}" for place, when in self._times.items())
        line = f"{places} · acknowledged: {self._publisher.acknowledged:,}"
        if not self._publisher.is_connected:
            line += " · reconnecting"
        ending = "\r" if self._is_terminal else "\n"
        print(line.ljust(self._width), end=ending, flush=True)
        self._width = len(line) if self._is_terminal else 0

    def end(self) -> None:
        """Write the last line and leave it there."""
        self.say(now=True)
        if self._is_terminal:
            print()


def timeline(
    publisher: Publisher, *, history_days: float, once: bool
) -> Iterator[tuple[float, Observation]]:
    """Yield all places' observations in order, each with the day at which it is due.

    A place without a record gets its first `history_days` at once (due at day 0 or
    before); one with a record goes on behind it.
    """
    folder = data_folder()
    places = {"seattle": seattle(folder), "san-francisco": san_francisco(folder)}
    latest = publisher.latest(list(places))
    streams = [
        series(
            observations,
            after=str(latest.get(place, {}).get("time", "")),
            start=0 if place in latest else -history_days,
            once=once,
        )
        for place, observations in places.items()
    ]
    for observation in heapq.merge(*streams, key=lambda observation: observation.day):
        yield observation.day, observation


def replay(publisher: Publisher, options: argparse.Namespace, stopped: threading.Event) -> None:
    """Publish observations at their time until the last one or until `stopped`."""
    progress = Progress(publisher)
    days = timeline(publisher, history_days=options.history, once=options.once)
    begin = time.monotonic()
    for due_day, observation in days:
        due = begin + due_day / options.speed
        while (wait := due - time.monotonic()) > 0 and not stopped.wait(min(wait, 0.5)):
            progress.say()
        if stopped.is_set():
            break
        publisher.put(f"Weather/{observation.key}", observation.record)
        publisher.put(f"Weather/{observation.place}", observation.latest)
        progress.note(observation)
    publisher.drain(CLOSE_DEADLINE_S if stopped.is_set() else CONNECT_DEADLINE_S)
    progress.end()


def positive(text: str) -> float:
    """Return a number above 0."""
    number = float(text)
    if not 0 < number <= 1_000_000:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1,000,000, got {text}")
    return number


def not_negative(text: str) -> float:
    """Return a number of 0 or more."""
    return 0.0 if text == "0" else positive(text)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the replay can be told, shared with `run.py`."""
    parser.add_argument(
        "--speed", type=positive, default=0.5, help="observed days per second (default 0.5)"
    )
    parser.add_argument(
        "--history",
        type=not_negative,
        default=90.0,
        help="days to publish at once before, if there are no records yet (default 90)",
    )
    parser.add_argument(
        "--once", action="store_true", help="end after the last observation, instead of again"
    )


def main() -> int:
    """Run the replay; returns the exit status."""
    parser = argparse.ArgumentParser(description="Replay weather observations over MQTT.")
    parser.add_argument("--host", default="127.0.0.1", help="of the MQTT server")
    parser.add_argument("--port", type=int, default=1883, help="of the MQTT server")
    add_options(parser)
    options = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Under nohup it is ignored, and shall stay so.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: stopped.set())
    about: dict[str, object] = {"mqttPort": options.port, "daysPerSecond": options.speed}
    publisher = Publisher(options.host, options.port, about=about, stopped=stopped)
    try:
        publisher.connect()
        replay(publisher, options, stopped)
    except (DataMissing, Refused, OSError) as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    finally:
        publisher.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
