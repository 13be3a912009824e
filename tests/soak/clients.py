"""Clients of paho that speak, listen, sleep and share, over every transport and version."""

from __future__ import annotations

import json
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MessageState, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.e2e.mqtt_libraries import Place
from tests.e2e.server_process import PASSWORD, USER
from tests.soak.ledger import Flow, Hearing, Problems, Sharing

WINDOW: Final = 20
"""Messages of a speaker that are not acknowledged yet."""
FOREVER_S: Final = 86_400
LOST: Final = "lyredb-session-lost"
FAILED: Final = 0x80
"""Reason codes from here on are errors."""


class Client:
    """A client of paho that connects again by itself.

    Attributes:
        connects: How often it was let in.
        is_connected: Set while it is.
    """

    def __init__(self, place: Place, name: str, problems: Problems, *, is_durable: bool) -> None:
        self.name = f"{name} ({place.transport}, {place.version})"
        self.connects = 0
        self.is_connected = threading.Event()
        self.problems = problems
        self.is_durable = is_durable
        self._place = place
        self._started = False
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            name,
            clean_session=None if place.version == 5 else not is_durable,
            protocol=MQTTProtocolVersion(place.version),
            transport="websockets" if place.transport in ("ws", "wss") else "tcp",
        )
        self.paho.username_pw_set(USER, PASSWORD)
        self.paho.reconnect_delay_set(1, 2)
        if place.is_secure:
            self.paho.tls_set(ca_certs=str(place.authority))
        self.paho.on_connect = self._on_connect
        self.paho.on_disconnect = self._on_disconnect
        self.paho.on_connect_fail = lambda client, data: self._keep_released()
        self.paho.on_message = self._on_message

    def connect(self) -> None:
        """Begin to connect."""
        options: dict[str, object] = {}
        if self._place.version == 5:
            kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
            kept.SessionExpiryInterval = FOREVER_S if self.is_durable else 0
            options = {"clean_start": not self.is_durable, "properties": kept}
        self.paho.connect_async("localhost", self._place.port, keepalive=20, **options)  # type: ignore[arg-type]  # by version
        self.paho.loop_start()

    def leave(self) -> None:
        """Disconnect in order."""
        self.paho.disconnect()
        self.paho.loop_stop()
        self.is_connected.clear()

    def drop(self) -> None:
        """Lose the connection; it comes back by itself."""
        sock = self.paho.socket()
        inner = getattr(sock, "_socket", sock)  # below paho's WebSocket
        try:
            if isinstance(inner, socket.socket):
                inner.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was lost already

    def on_in(self) -> None:
        """It is connected."""

    def on_heard(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        """A message came."""

    def _on_connect(
        self,
        client: paho.Client,
        data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._keep_released()
            return  # while a process is being started; paho tries again
        self.connects += 1
        if self.is_durable and self.connects > 1 and not flags.session_present:
            self.problems.add("a session was gone", self.name)
        pairs = getattr(properties, "UserProperty", [])
        if any(key == LOST for key, _ in pairs):
            self.problems.add("the position of a session was trimmed", self.name)
        self.is_connected.set()
        self.on_in()

    def _on_disconnect(
        self,
        client: paho.Client,
        data: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self.is_connected.clear()
        self._keep_released()

    def _keep_released(self) -> None:
        """Mend what paho does at the second of two attempts to connect in a row that fail.

        It forgets that a message of QoS 2 has had its PUBREC, and publishes it again.
        """
        for message in self.paho._out_messages.values():
            if message.state == MessageState.MQTT_MS_RESEND_PUBREL:
                message.state = MessageState.MQTT_MS_WAIT_FOR_PUBCOMP

    def _on_message(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        self.on_heard(message.topic, bytes(message.payload), is_retained=message.retain)


class Speaker(Client):
    """Says the numbers of a flow, in a thread of its own, and never more than it may."""

    def __init__(
        self, place: Place, name: str, problems: Problems, flow: Flow, pause_s: float
    ) -> None:
        super().__init__(place, name, problems, is_durable=True)
        self.flow = flow
        self.acknowledged = 0
        self._pause_s = pause_s
        self._numbers: dict[int, int] = {}
        self._answers: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
        self._must_settle = False
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._speak, daemon=True)
        self.paho.on_publish = self._on_publish

    def start(self) -> None:
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Say no more, and wait for what is not acknowledged."""
        self._is_over.set()
        self._thread.join()
        deadline = time.monotonic() + within_s
        while self.flow.open and time.monotonic() < deadline:
            self._take_answers()
            time.sleep(0.02)
        if self.flow.open:
            some = sorted(self.flow.open)[:8]
            self.problems.add("not acknowledged", f"{self.name}: {self.flow.place} {some}")

    def _speak(self) -> None:
        while not self._is_over.wait(self._pause_s):
            self._take_answers()
            if self._may_speak():
                number = self.flow.send()
                said = self.paho.publish(self.flow.place, b"%d" % number, self.flow.qos)
                if self.flow.qos:
                    self._numbers[said.mid] = number
                else:
                    self.flow.settle(number, is_sure=said.rc == paho.MQTT_ERR_SUCCESS)

    def _may_speak(self) -> bool:
        """After a lost connection paho repeats what is open, and a new message could pass it."""
        if not self.is_connected.is_set():
            self._must_settle = True
        elif not self.flow.open:
            self._must_settle = False
        return not self._must_settle and len(self.flow.open) < WINDOW

    def _on_publish(
        self, client: paho.Client, data: object, mid: int, reason: ReasonCode, told: Properties
    ) -> None:
        # paho holds its lock, for which a thread that publishes may wait: only take note.
        self._answers.put((mid, reason.value < FAILED))

    def _take_answers(self) -> None:
        while not self._answers.empty():
            mid, is_sure = self._answers.get()
            number = self._numbers.pop(mid, None)
            if number is not None:
                # paho takes no heed of a refusal in a PUBREC, and goes on to a PUBCOMP with 0x92.
                self.flow.settle(number, is_sure=is_sure)
                self.acknowledged += is_sure


def number_in(topic: str, payload: bytes) -> int:
    """The number of a message, or the value of a record."""
    return int(json.loads(payload)["value"]) if topic.startswith("Sensor/") else int(payload)


class Listener(Client):
    """Hears everything, and judges each message by its flow.

    Attributes:
        hearings: By topic.
        heard_at: When something came last, by the monotonic clock.
    """

    def __init__(
        self,
        place: Place,
        name: str,
        problems: Problems,
        flows: Mapping[str, Flow],
        *,
        is_durable: bool,
    ) -> None:
        super().__init__(place, name, problems, is_durable=is_durable)
        self.hearings: dict[str, Hearing] = {}
        self.heard_at = time.monotonic()
        self.is_subscribed = threading.Event()
        self._flows = flows
        self._past_heard = 0
        self._past_again = 0
        self.paho.on_subscribe = self._on_subscribe
        if is_durable:
            self._begin()

    def _begin(self) -> None:
        """Judge anew: of a clean session, what comes after a lost connection is not promised."""
        self._past_heard, self._past_again = self.heard, self.again
        self.hearings = {
            topic: Hearing(self.name, flow, self.problems, is_whole=self.is_durable)
            for topic, flow in self._flows.items()
        }

    @property
    def heard(self) -> int:
        return self._past_heard + sum(one.heard for one in self.hearings.values())

    @property
    def again(self) -> int:
        return self._past_again + sum(one.again for one in self.hearings.values())

    def on_in(self) -> None:
        if not self.is_durable:
            self._begin()
        if not self.is_durable or not self.is_subscribed.is_set():
            self.paho.subscribe([("Soak/#", 2), ("Sensor/#", 1)])

    def _on_subscribe(
        self,
        client: paho.Client,
        data: object,
        mid: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self.problems.add("a subscription was refused", f"{self.name}: {reasons}")
        self.is_subscribed.set()

    def on_heard(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        self.heard_at = time.monotonic()
        if not is_retained:  # else current state
            self.hearings[topic].hear(number_in(topic, payload))

    def lost(self) -> list[tuple[str, list[int]]]:
        """What it should have heard by now, by topic."""
        found = [(topic, hearing.lost()) for topic, hearing in self.hearings.items()]
        return [(topic, numbers) for topic, numbers in found if numbers]


class Member(Client):
    """One of a durable group: hears some of everything."""

    def __init__(
        self,
        place: Place,
        name: str,
        problems: Problems,
        sharings: Mapping[str, Sharing],
    ) -> None:
        super().__init__(place, name, problems, is_durable=True)
        self.is_subscribed = threading.Event()
        self._sharings = sharings
        self.paho.on_subscribe = lambda *_: self.is_subscribed.set()

    def on_in(self) -> None:
        if not self.is_subscribed.is_set():
            self.paho.subscribe("$share/soak/Soak/#", 1)

    def on_heard(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        self._sharings[topic].hear(number_in(topic, payload))


class Restless(threading.Thread):
    """Makes a client with a session come and go, now in order and now not."""

    AWAKE_S = 1.0, 4.0
    ASLEEP_S = 0.3, 2.5
    DROPS: Final = 0.4

    def __init__(self, client: Client, seed: int) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.naps = 0
        self._chance = random.Random(seed)
        self._is_over = threading.Event()

    def run(self) -> None:
        wait = self._is_over.wait
        while not wait(self._chance.uniform(*self.AWAKE_S)):
            self.naps += 1
            if self._chance.random() < self.DROPS:
                self.client.drop()
                continue
            self.client.leave()
            wait(self._chance.uniform(*self.ASLEEP_S))
            self.client.connect()

    def stop(self) -> None:
        """Leave it awake."""
        self._is_over.set()
        self.join()


def all_set(events: list[threading.Event], within_s: float) -> bool:
    """Wait for all of them."""
    deadline = time.monotonic() + within_s
    return all(one.wait(max(0.0, deadline - time.monotonic())) for one in events)


def until(holds: Callable[[], bool], within_s: float) -> bool:
    """Look again and again until something holds; tell whether it does."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
