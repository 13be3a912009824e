"""A bridge to another broker: two MQTT clients that hand each other what they receive.

One is connected to this server by a pair of sockets, the other to the broker. Both have
sessions that last, so each broker keeps for the bridge what it cannot take at the moment.
What one receives is published by the other, and acknowledged when that was acknowledged:
nothing of QoS 1 and 2 is lost, whoever is killed when. It may come twice then. QoS 2 is
taken with QoS 1 for that reason: acknowledged in two steps, a message would be in this
process's memory only between them.

Nothing goes round in circles: neither broker sends its bridge what came by it (no-local).

The clients have threads of their own; a bridge is no hot path.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers
from paho.mqtt.subscribeoptions import SubscribeOptions

from lyredb.protocols.mqtt.bridge_file import Bridge, Way, password_of, tls_of
from lyredb.protocols.mqtt.packets import V5
from lyredb.protocols.mqtt.properties import MAX_USER_PROPERTIES

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

WINDOW: Final = 100
"""Messages that are on their way between the brokers, in each direction."""
LONGEST_PAUSE_S: Final = 60
"""Between attempts to connect, which begin with a second and double."""
_EXPIRY_S: Final = 0xFFFF_FFFE
"""Of the bridge's sessions; a server has its own limit, and takes that."""
_FORWARDED: Final = (
    "PayloadFormatIndicator",
    "MessageExpiryInterval",
    "ContentType",
    "ResponseTopic",
    "CorrelationData",
    "UserProperty",
)

logger: Final = logging.getLogger("lyredb.mqtt")


class End:
    """One of a bridge's two clients.

    Args:
        name: For logs.
        client: Not connected yet.
        version: Of the protocol that it speaks.
        way: What it subscribes to, and where that goes.
        largest: Bytes of the largest packet that its broker takes, 0 for any; one of version
            5 says it at each connect.
    """

    def __init__(
        self, name: str, client: paho.Client, version: int, way: Way, largest: int = 0
    ) -> None:
        self.name = name
        self.client = client
        self.version = version
        self._way = way
        self._other: End | None = None
        self._lock = threading.Lock()
        # By the other end's packet identifier: our connection, identifier and QoS.
        self._waiting: dict[int, tuple[int, int, int]] = {}
        # Acknowledged before `publish` has said the number; None while nothing is published.
        self._early: set[int] | None = None
        self._connection = 0
        self._largest = largest
        # What the other end has received before this one was ever connected: until then it
        # is not known what its broker takes. None from then on.
        self._held: list[Callable[[], None]] | None = []
        client.manual_ack_set(True)
        client.max_inflight_messages_set(WINDOW)
        client.reconnect_delay_set(1, LONGEST_PAUSE_S)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish

    def join(self, other: End) -> None:
        """Have messages handed to the other end."""
        self._other = other

    # Callbacks of paho, in its thread. It holds locks of its own meanwhile, so ours is
    # never held while the other client is called.

    def _on_connect(
        self,
        client: paho.Client,
        _: object,
        __: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            logger.warning("bridge %s: the connection is refused: %s", self.name, reason)
            return
        logger.info("bridge %s: connected", self.name)
        with self._lock:
            self._connection += 1
        self._largest = getattr(properties, "MaximumPacketSize", self._largest)
        for filter, qos in self._way.filters:
            self._subscribe(client, filter, min(qos, 1))
        self._release()

    def _subscribe(self, client: paho.Client, filter: str, qos: int) -> None:
        if self.version != V5:
            client.subscribe(filter, qos)
            return
        options = SubscribeOptions(
            qos,
            noLocal=True,
            retainAsPublished=True,
            retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB,
        )
        client.subscribe(filter, options=options)

    def _on_subscribe(
        self,
        _: paho.Client,
        __: object,
        ___: int,
        reasons: list[ReasonCode],
        ____: Properties | None,
    ) -> None:
        for reason in reasons:
            if reason.is_failure:
                logger.warning("bridge %s: a subscription is refused: %s", self.name, reason)

    def _on_disconnect(
        self,
        _: paho.Client,
        __: object,
        ___: paho.DisconnectFlags,
        reason: ReasonCode,
        ____: Properties | None,
    ) -> None:
        if reason.is_failure:
            logger.warning("bridge %s: disconnected: %s", self.name, reason)

    def _on_message(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        found, other = self._way.map(message.topic), self._other
        if found is None or other is None:
            client.ack(message.mid, message.qos)
        elif not other.hold(lambda: self._pass(message, *found, other)):
            self._pass(message, *found, other)

    def hold(self, passing: Callable[[], None]) -> bool:
        """Have something done when this end is connected for the first time; False after it."""
        with self._lock:
            if self._held is None:
                return False
            self._held.append(passing)
            return True

    def _release(self) -> None:
        """Do what was held, in order: what comes meanwhile is held too."""
        while True:
            with self._lock:
                held = self._held
                self._held = [] if held else None
            if not held:
                return
            for passing in held:
                passing()

    def _pass(self, message: paho.MQTTMessage, topic: str, most: int, other: End) -> None:
        qos = most if most == 2 and message.qos else min(message.qos, most)
        with self._lock:
            self._early = set()
        number = other.publish(topic, message, qos)
        self._wait(number if qos else None, message)

    def _wait(self, number: int | None, message: paho.MQTTMessage) -> None:
        """Acknowledge a message once the other end's is; at once where there is none."""
        with self._lock:
            is_done = number is None or number in (self._early or ())
            self._early = None
            if number is not None and not is_done:
                self._waiting[number] = self._connection, message.mid, message.qos
        if is_done:
            self.client.ack(message.mid, message.qos)

    def publish(self, topic: str, message: paho.MQTTMessage, qos: int) -> int | None:
        """Publish what the other end received; None when it can never be published.

        What a broker would end the connection for has to be found here: it would be sent
        again after each connect, and nothing behind it would ever arrive.
        """
        properties = self._properties(message)
        try:
            self._check(topic, message.payload, properties)
            told = self.client.publish(topic, message.payload, qos, message.retain, properties)
        except ValueError as error:  # too long by a prefix, or too large
            logger.warning("bridge %s: a message for %r is left out: %s", self.name, topic, error)
            return None
        return told.mid

    def _check(self, topic: str, payload: bytes | bytearray, properties: Properties | None) -> None:
        size = 2 + len(topic.encode()) + 2 + len(payload)
        if properties is not None:
            size += len(properties.pack())  # type: ignore[no-untyped-call]  # of paho
            if len(getattr(properties, "UserProperty", ())) > MAX_USER_PROPERTIES:
                raise ValueError(f"it has more than {MAX_USER_PROPERTIES} user properties")
        size += 1 + len(VariableByteIntegers.encode(size))  # type: ignore[no-untyped-call]
        if 0 < self._largest < size:
            raise ValueError(f"the broker takes packets of {self._largest} bytes")

    def _properties(self, message: paho.MQTTMessage) -> Properties | None:
        given: Any = message.properties
        if self.version != V5 or given is None:
            return None
        found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # of paho
        for name in _FORWARDED:
            if not hasattr(given, name):
                continue
            if name == "PayloadFormatIndicator" and not _is_text(message.payload):
                continue  # one broker lets it pass, the other ends the connection for it
            setattr(found, name, getattr(given, name))
        return found

    def _on_publish(
        self, _: paho.Client, __: object, mid: int, reason: ReasonCode, ___: Properties | None
    ) -> None:
        if reason.is_failure:
            logger.warning("bridge %s: a message is refused: %s", self.name, reason)
        if self._other is not None:
            self._other.acknowledge(mid)

    def acknowledge(self, number: int) -> None:
        """The other end's message of this number has arrived."""
        with self._lock:
            waiting = self._waiting.pop(number, None)
            if waiting is None:
                if self._early is not None:
                    self._early.add(number)
                return  # else of QoS 0, for which nobody waits
            connection, mid, qos = waiting
            if connection != self._connection:
                return  # of an earlier connection: it comes again, with another number
        self.client.ack(mid, qos)


class RunningBridge:
    """A bridge at work. `start` once, then `stop` once; both may block.

    Args:
        name: Of the bridge.
        bridge: What it does.
        local: Makes the client that is connected to this server.
    """

    def __init__(self, name: str, bridge: Bridge, local: Callable[[str], paho.Client]) -> None:
        self._bridge = bridge
        self._here = End(
            f"{name} (here)", local(f"bridge-{name}"), V5, Way(bridge.topics, outwards=True)
        )
        self._there = End(
            f"{name} (there)",
            remote_client(name, bridge),
            bridge.version,
            Way(bridge.topics, outwards=False),
            bridge.max_packet_size,
        )
        self._here.join(self._there)
        self._there.join(self._here)

    def start(self) -> None:
        """Connect both ends, again and again where that fails."""
        host, port = self._bridge.place
        # The side that publishes first: what comes at once is not kept waiting.
        for end, place in ((self._there, (host, port)), (self._here, ("this-server", 1))):
            extra: dict[str, Any] = {}
            if end.version == V5:
                extra = {"clean_start": False, "properties": _lasting()}
            end.client.connect_async(*place, self._bridge.keep_alive_s, **extra)
            end.client.loop_start()

    def stop(self) -> None:
        """Say goodbye on both sides. What is on its way comes again at the next start."""
        for end in (self._here, self._there):
            end.client.disconnect()
        for end in (self._here, self._there):
            end.client.loop_stop()


def remote_client(name: str, bridge: Bridge) -> paho.Client:
    """Return the client for the other broker, not connected yet."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        bridge.client_id or f"lyredb-{name}",
        clean_session=None if bridge.version == V5 else False,
        protocol=MQTTProtocolVersion(bridge.version),
    )
    if bridge.username:
        client.username_pw_set(bridge.username, password_of(bridge))
    context = tls_of(bridge)
    if context is not None:
        client.tls_set_context(context)
    if bridge.version != V5:
        # What mosquitto and others take as no-local and retain-as-published in 3.1.1.
        client.enable_bridge_mode()
    return client


def _is_text(payload: bytes | bytearray) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lasting() -> Properties:
    found = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # of paho
    found.SessionExpiryInterval = _EXPIRY_S
    found.ReceiveMaximum = WINDOW
    return found
