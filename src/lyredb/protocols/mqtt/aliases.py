"""Topic aliases of a client: a number that it sends in the place of a topic (MQTT 5 §3.3.2.3.4).

They last as long as the connection.
"""

from __future__ import annotations

from lyredb.protocols.mqtt.packets import Publish
from lyredb.protocols.mqtt.properties import Property
from lyredb.protocols.mqtt.reasons import Reason, Violation, protocol_error


class Aliases:
    """The topics of one client by their numbers.

    Args:
        most: The largest number; what the CONNACK said, 0 for no aliases.
    """

    __slots__ = ("_most", "_topics")

    def __init__(self, most: int) -> None:
        self._most = most
        self._topics: dict[int, bytes] | None = None

    def topic_of(self, packet: Publish) -> bytes:
        """Return the topic of a message, and remember it if it comes with an alias.

        Raises:
            Violation: 0x94 for a number beyond the maximum [MQTT-3.3.2-9], 0x82 for one
                that has no topic yet (§3.3.2.3.4).
        """
        number = packet.properties.number(Property.TOPIC_ALIAS)
        if not number:
            return packet.topic
        if number > self._most:
            raise Violation(
                Reason.TOPIC_ALIAS_INVALID,
                f"A Topic Alias may be 1 to {self._most}, got {number}"
                if self._most
                else "This server takes no topic aliases",
            )
        if self._topics is None:
            self._topics = {}
        if packet.topic:
            self._topics[number] = packet.topic
            return packet.topic
        topic = self._topics.get(number)
        if topic is None:
            raise protocol_error(f"The Topic Alias {number} has no topic yet")
        return topic
