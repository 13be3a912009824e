"""SUBSCRIBE and UNSUBSCRIBE: the subscriptions of one connection.

The SUBACK leaves before anything that the subscription brings: each is prepared
first, then the SUBACK is written, then each is started.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from lyredb.errors import LyreError, Overloaded
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Subscriber
from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.encoding import MqttEncoding
from lyredb.protocols.mqtt.errors import answer_for, sentence_of
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.messages import check_topic
from lyredb.protocols.mqtt.packets import V5, Request, Subscribe, Unsubscribe
from lyredb.protocols.mqtt.properties import Property
from lyredb.protocols.mqtt.reasons import SUBSCRIBE_FAILURE, Reason, Violation
from lyredb.resources.database import Database
from lyredb.resources.registry import shorten
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import Subscription

MAX_GRANTED_QOS = 1
_MAX_PROBLEM_LENGTH = 400
"""Of the reason string of a SUBACK, in characters; `encode` cuts longer ones."""
_SEND_IF_NEW = 1
_NEVER_SEND = 2


class Owner(Subscriber, Protocol):
    """The connection, as its subscriptions need it."""

    def answer(self, frame: bytes) -> None:
        """Send a packet of our own."""

    def sentence(self, text: str) -> str:
        """The text, or ``""`` when this client must not get reason strings."""


class Subscriptions:
    """All subscriptions of one connection, by topic filter.

    Args:
        owner: The connection, which is one subscriber for all of them.
        database: Where they are made.
        context: Whose rights decide.
        encoding: How messages look to this client.
        limits: How many, and how deep.
    """

    __slots__ = ("_by_filter", "_context", "_database", "_encoding", "_limits", "_owner")

    def __init__(
        self,
        owner: Owner,
        database: Database,
        context: Context,
        encoding: MqttEncoding,
        limits: Limits,
    ) -> None:
        self._owner = owner
        self._database = database
        self._context = context
        self._encoding = encoding
        self._limits = limits
        self._by_filter: dict[str, Subscription] = {}

    def __len__(self) -> int:
        return len(self._by_filter)

    def handle_subscribe(self, packet: Subscribe) -> None:
        """Prepare each filter, send the SUBACK, start what is new.

        Raises:
            Violation: 0xA1 for a Subscription Identifier, which the CONNACK excluded.
        """
        if packet.properties.has(Property.SUBSCRIPTION_IDENTIFIER):
            raise Violation(
                Reason.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
                "Subscription Identifiers are not available yet",
            )
        codes: list[int] = []
        prepared: dict[str, Subscription] = {}
        problems: list[str] = []
        for request in packet.requests:
            try:
                started = self._prepare(request)
                codes.append(min(request.qos, MAX_GRANTED_QOS))
                if started is not None:
                    prepared[request.filter] = started
            except Refusal as refusal:
                codes.append(self._code(refusal.reason))
                problems.append(_problem(request, refusal, alone=len(packet.requests) == 1))
        version = self._encoding.version
        sentence = self._owner.sentence(_joined(problems))
        self._owner.answer(encode.suback(packet.packet_id, codes, version, sentence))
        for subscription in prepared.values():
            subscription.start()

    def _code(self, reason: Reason) -> int:
        return reason if self._encoding.version == V5 else SUBSCRIBE_FAILURE

    def _prepare(self, request: Request) -> Subscription | None:
        """Make or change one subscription; returns it when it is still to be started.

        Raises:
            Refusal: With the reason for the SUBACK.
        """
        if request.filter == "$share" or request.filter.startswith("$share/"):
            raise Refusal(
                Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
                "Shared subscriptions are not available yet",
            )
        try:
            return self._replace(request)
        except LyreError as error:
            raise Refusal(answer_for(error).subscribe, sentence_of(error)) from error

    def _replace(self, request: Request) -> Subscription | None:
        existing = self._by_filter.get(request.filter)
        handling = request.retain_handling
        omit = handling == _NEVER_SEND or (handling == _SEND_IF_NEW and existing is not None)
        options = SubscribeOptions(
            encoding=self._encoding,
            qos=min(request.qos, MAX_GRANTED_QOS),
            retain_as_published=request.retain_as_published,
            no_local=request.no_local,
            omit_current=omit,
            on_error=self._owner.close,
        )
        if existing is not None and omit:
            # In place: nothing between the old and the new may be lost [MQTT-3.8.4-3].
            existing.update(options)
            return None
        self._check_limits(request.filter, is_new=existing is None)
        subscription = self._database.subscribe(request.filter, self._owner, self._context, options)
        if existing is not None:
            # Both in one step: the new one begins with the current state, so whatever
            # the old one had not delivered yet is in it.
            existing.close()
        self._by_filter[request.filter] = subscription
        return subscription

    def _check_limits(self, topic_filter: str, *, is_new: bool) -> None:
        check_topic(topic_filter.encode(), self._limits, "topic filter")
        most = self._limits.max_subscriptions
        if is_new and len(self._by_filter) >= most:
            raise Overloaded(f"a client may have {most} subscriptions")

    def handle_unsubscribe(self, packet: Unsubscribe) -> None:
        """End subscriptions and say which there were [MQTT-3.11.3-2]."""
        codes: list[int] = []
        for topic_filter in packet.filters:
            subscription = self._by_filter.pop(topic_filter, None)
            if subscription is None:
                codes.append(Reason.NO_SUBSCRIPTION_EXISTED)
            else:
                subscription.close()
                codes.append(Reason.SUCCESS)
        self._owner.answer(encode.unsuback(packet.packet_id, codes, self._encoding.version))

    def resume(self) -> None:
        """Go on with current states that waited for the client to read."""
        self._each(lambda subscription: subscription.resume())

    def close(self) -> None:
        """End them all."""
        self._each(lambda subscription: subscription.close())
        self._by_filter.clear()

    def _each(self, act: Callable[[Subscription], None]) -> None:
        for subscription in list(self._by_filter.values()):
            act(subscription)


def _problem(request: Request, refusal: Refusal, *, alone: bool) -> str:
    """What a SUBACK says of one refused filter: which it is, unless there is no other."""
    return str(refusal) if alone else f"{shorten(request.filter, 40)}: {refusal}"


def _joined(problems: Sequence[str]) -> str:
    """As many of the sentences as fit; the codes say of each filter whether it stands."""
    text = ""
    for told, problem in enumerate(problems):
        if text and len(text) + len(problem) > _MAX_PROBLEM_LENGTH:
            return f"{text}; and {len(problems) - told} more"
        text = f"{text}; {problem}" if text else problem
    return text


class Refusal(Exception):
    """One filter of a SUBSCRIBE is refused; the others are not touched."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
