"""A client's message as others take it: its bounds, its deadline, what a retained one writes."""

from __future__ import annotations

from lyredb.errors import InvalidTopic
from lyredb.plugins.context import Context
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.properties import NONE, Properties, Property
from lyredb.protocols.mqtt.service import Service
from lyredb.resources.requests import Write, WriteOperation


def check_topic(topic: bytes, limits: Limits, what: str = "topic") -> None:
    """Refuse a topic, or a topic filter, beyond the limits.

    Raises:
        InvalidTopic: It is too long or has too many levels.
    """
    if len(topic) > limits.max_topic_bytes:
        raise InvalidTopic(f"a {what} may have {limits.max_topic_bytes} bytes, got {len(topic)}")
    if topic.count(b"/") >= limits.max_topic_levels:
        raise InvalidTopic(f"a {what} may have {limits.max_topic_levels} levels")


def expires_ms(properties: Properties, now_ms: int) -> int:
    """The deadline of a message that is published now, 0 for none."""
    if not properties.has(Property.MESSAGE_EXPIRY):
        return 0
    return now_ms + 1000 * properties.number(Property.MESSAGE_EXPIRY)


def retained_write(
    service: Service,
    context: Context,
    topic: bytes,
    payload: bytes,
    qos: int,
    properties: Properties,
    content_type: str,
) -> Write:
    """A retained message as the write of a record; an empty one deletes [MQTT-3.3.1-6].

    Args:
        service: Its database knows the topics, its clock the time.
        context: Who publishes.
        topic: UTF-8.
        payload: As received.
        qos: 0 or 1.
        properties: As received.
        content_type: Of payloads that say none themselves.

    Raises:
        UnknownTopic, InvalidTopic: There is no such record.
    """
    target = service.database.registry.topic(topic.decode(), context.protocol)
    operation: WriteOperation = "put" if payload else "delete"
    if properties is NONE:
        return Write(
            target, operation, payload=payload, content_type=content_type, retain=True, qos=qos
        )
    return Write(
        target,
        operation,
        payload=payload,
        content_type=properties.text(Property.CONTENT_TYPE) or content_type,
        properties=properties.forward,
        retain=True,
        qos=qos,
        expires_ms=expires_ms(properties, service.now_ms()),
    )
