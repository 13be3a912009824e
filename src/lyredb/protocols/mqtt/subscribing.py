"""SUBSCRIBE and UNSUBSCRIBE: the subscriptions of one connection.

The SUBACK leaves before anything that the subscription brings: each is prepared first,
then every worker is told what to forward, then the SUBACK is written, then each is started.
While the workers are told, the client is not read: what it sends later takes effect later.
Who makes a subscription is looked up by its filter (`lyredb.protocols.mqtt.openers`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from lyredb.errors import LyreError, NotAuthorised, Overloaded
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Encoding, Publisher, Subscriber
from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.errors import answer_for, sentence_of
from lyredb.protocols.mqtt.keeping import Keeper, request_of, stored_of
from lyredb.protocols.mqtt.messages import check_topic
from lyredb.protocols.mqtt.openers import Lasting, Opened, Outgoing, Refusal, Slow, Wish, opener_of
from lyredb.protocols.mqtt.packets import V5, V31, Request, Subscribe, Unsubscribe
from lyredb.protocols.mqtt.properties import NONE, Properties, Property
from lyredb.protocols.mqtt.reasons import SUBSCRIBE_FAILURE, Reason
from lyredb.protocols.mqtt.replay import QUERY, with_beginning
from lyredb.protocols.mqtt.restating import Restating
from lyredb.protocols.mqtt.service import Service
from lyredb.resources.registry import shorten
from lyredb.resources.replay import is_replay
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import State
from lyredb.sessions.terms import StoredSubscription

logger = logging.getLogger("lyredb.mqtt")

_MAX_PROBLEM_LENGTH = 400
"""Of the reason string of a SUBACK, in characters; `encode` cuts longer ones."""
_SEND_IF_NEW = 1
_NEVER_SEND = 2


class Owner(Subscriber, Publisher, Protocol):
    """The connection, as its subscriptions need it."""

    def answer(self, frame: bytes) -> None:
        """Send a packet of our own."""

    def fail(self, error: Exception) -> None:
        """End the connection now, with the protocol's word for ``error``."""

    def sentence(self, text: str, beside: int = 0) -> str:
        """The text, or ``""`` when the client must not get it beside so many bytes."""


@dataclass(slots=True)
class _Preparing:
    """A SUBSCRIBE that is not answered yet.

    Attributes:
        packet_id: Of the SUBSCRIBE.
        properties: Of the SUBSCRIBE.
        codes: One per topic filter, in their order.
        sentence: What the SUBACK says of those that were refused.
        new: What is to be started, by topic filter.
        changed: What is served otherwise from then on.
        kept: What a session that outlives the connection keeps of them.
        waits: For how many answers; those of the workers, and of the disk.
        error: Why nothing of it stands.
        replaced: What the new ones stand for; it goes on until then.
        restating: Current state that is told beside what goes on.
    """

    packet_id: int
    properties: Properties
    codes: list[int] = field(default_factory=list)
    sentence: str = ""
    new: dict[str, Opened] = field(default_factory=dict)
    changed: list[tuple[Opened, SubscribeOptions]] = field(default_factory=list)
    replaced: list[Opened] = field(default_factory=list)
    restating: list[Restating] = field(default_factory=list)
    kept: dict[str, StoredSubscription | None] = field(default_factory=dict)
    waits: int = 1
    error: LyreError | None = None


class Subscriptions:
    """All subscriptions of one connection, by topic filter.

    Args:
        owner: The connection, which is one subscriber for all of them.
        service: Knows who makes them, and how many there may be.
        context: Whose rights decide.
        version: Of the protocol.
        encoding: How messages look to this client.
        outgoing: Its outbox.
        keeper: Of a session that outlives the connection, else None.
    """

    __slots__ = (
        "_by_filter",
        "_context",
        "_encoding",
        "_keeper",
        "_outgoing",
        "_owner",
        "_preparing",
        "_restating",
        "_service",
        "_version",
    )

    def __init__(
        self,
        owner: Owner,
        service: Service,
        context: Context,
        version: int,
        encoding: Encoding,
        outgoing: Outgoing,
        keeper: Keeper | None = None,
    ) -> None:
        self._keeper = keeper
        self._owner = owner
        self._service = service
        self._context = context
        self._version = version
        self._encoding = encoding
        self._outgoing = outgoing
        self._by_filter: dict[str, Opened] = {}
        self._restating: dict[Restating, None] | None = None
        self._preparing: _Preparing | None = None

    def __len__(self) -> int:
        return len(self._by_filter)

    def filters(self) -> list[str]:
        """The topic filters, in the order in which they were subscribed to."""
        return list(self._by_filter)

    def handle_subscribe(self, packet: Subscribe) -> None:
        """Prepare each filter, tell the workers, send the SUBACK, start what is new."""
        preparing = self._preparing = _Preparing(packet.packet_id, packet.properties)
        problems: list[str] = []
        for request in packet.requests:
            try:
                self._prepare(request, preparing)
                preparing.codes.append(request.qos)
            except Refusal as refusal:
                preparing.codes.append(self._code(request, refusal.reason))
                problems.append(_problem(request, refusal, alone=len(packet.requests) == 1))
        preparing.sentence = self._owner.sentence(_joined(problems), len(preparing.codes))
        self._settle(preparing)

    def _settle(self, preparing: _Preparing) -> None:
        """Have it on disk, where it is kept, and known to all workers; then start it."""
        if self._keeper is not None and preparing.kept:
            preparing.waits += 1
            self._keeper.commit(preparing.kept, partial(self._note_settled, preparing))
        for opened in preparing.new.values():
            if isinstance(opened, Slow):
                preparing.waits += 1
                opened.when_ready(partial(self._note_settled, preparing, None))
        self._service.database.when_known(lambda: self._note_settled(preparing, None))
        if self._preparing is preparing:
            self._owner.pause_reading(self)

    def _note_settled(self, preparing: _Preparing, error: LyreError | None) -> None:
        preparing.waits -= 1
        preparing.error = preparing.error or error
        if not preparing.waits:
            self._start(preparing)

    def _start(self, preparing: _Preparing) -> None:
        """Answer, and start what is new; all workers forward what it brings."""
        if self._preparing is not preparing:
            return  # the connection ended meanwhile
        if preparing.error is not None:
            self._owner.fail(preparing.error)
            return
        self._preparing = None
        if self._keeper is not None:
            self._keeper.apply(preparing.kept)
        self._owner.answer(
            encode.suback(preparing.packet_id, preparing.codes, self._version, preparing.sentence)
        )
        for subscription, options in preparing.changed:
            subscription.update(options)
        for subscription in preparing.replaced:
            # In the same step as the new one starts, which begins with the current state,
            # so whatever the old one had not delivered yet is in it.
            subscription.close()
        for subscription in preparing.new.values():
            subscription.start()
        for restating in preparing.restating:
            restating.start()
        self._owner.resume_reading(self)

    def _code(self, request: Request, reason: Reason) -> int:
        """What a SUBACK says of a filter that is refused: 3.1 has no word for it (3.1 §3.9)."""
        if self._version == V5:
            return reason
        return request.qos if self._version == V31 else SUBSCRIBE_FAILURE

    def _prepare(self, request: Request, preparing: _Preparing) -> None:
        """Make or change one subscription.

        Raises:
            Refusal: With the reason for the SUBACK.
        """
        try:
            self._replace(request, preparing)
        except LyreError as error:
            raise Refusal(answer_for(error).subscribe, sentence_of(error)) from error

    def _replace(self, request: Request, preparing: _Preparing) -> None:
        existing = self._by_filter.get(request.filter)
        handling = request.retain_handling
        omit = handling == _NEVER_SEND or (handling == _SEND_IF_NEW and existing is not None)
        options = self._options(request, preparing.properties, omit=omit)
        options = with_beginning(request.filter, options, preparing.properties)
        is_current = not (options.omit_current or is_replay(options))
        if existing is not None and options.omit_current and not is_replay(options):
            # In place: nothing between the old and the new may be lost [MQTT-3.8.4-3].
            preparing.changed.append((existing, options))
            self._keep(request, options, preparing)
            return
        if existing is not None and is_current and self._is_kept(request.filter):
            restating = self._restate(request, options)
            preparing.restating.append(restating)
            preparing.changed.append((existing, options))
            self._keep(request, options, preparing)
            return
        self._check_limits(request.filter, is_new=existing is None)
        subscription = self._open(request, options, preparing.properties)
        twice = preparing.new.get(request.filter)
        if twice is not None:
            twice.close()  # the same SUBSCRIBE has the filter again: the later one counts
        elif existing is not None:
            preparing.replaced.append(existing)
        preparing.new[request.filter] = self._by_filter[request.filter] = subscription
        self._keep(request, options, preparing)
        if self._keeper is not None:
            self._keeper.begin(
                request.filter,
                subscription,
                is_current=is_current,
                is_replay=is_replay(options),
            )

    def _is_kept(self, topic_filter: str) -> bool:
        """Whether it is of a session that lasts, and reads the log for it."""
        if self._keeper is None or topic_filter[:1] == "$":
            return False
        existing = self._by_filter.get(topic_filter)
        return existing is not None and existing.state is not State.CLOSED

    def _restate(self, request: Request, options: SubscribeOptions) -> Restating:
        keeper = self._keeper
        assert keeper is not None, "only what is kept goes on"
        if self._restating is None:
            self._restating = {}
        restating = Restating(self._owner, keeper.take_read(request.filter), self._forget)
        restating.read(
            self._service.database.subscribe(
                request.filter, restating, self._context, restating.options(options)
            )
        )
        self._restating[restating] = None
        return restating

    def _forget(self, restating: Restating) -> None:
        if self._restating is not None:
            self._restating.pop(restating, None)

    def _keep(self, request: Request, options: SubscribeOptions, preparing: _Preparing) -> None:
        if self._keeper is not None and not request.filter.startswith(f"{QUERY}/"):
            # A replay ends with the connection: it would begin anew with the next one.
            identifier = options.ids[0] if options.ids else 0
            preparing.kept[request.filter] = stored_of(request, identifier)

    def _options(self, request: Request, properties: Properties, *, omit: bool) -> SubscribeOptions:
        if request.qos == 2:
            self._outgoing.may_be_exact = True
        identifier = properties.number(Property.SUBSCRIPTION_IDENTIFIER)
        return self._options_of(request, identifier, omit=omit)

    def _options_of(self, request: Request, identifier: int, *, omit: bool) -> SubscribeOptions:
        options = SubscribeOptions(
            encoding=self._encoding,
            qos=request.qos,
            ids=(identifier,) if identifier else (),
            retain_as_published=request.retain_as_published,
            no_local=request.no_local,
            omit_current=omit,
            on_error=partial(self._end, request.filter),
        )
        return options if self._keeper is None else self._keeper.options(request.filter, options)

    def _open(
        self,
        request: Request,
        options: SubscribeOptions,
        properties: Properties,
        after: str = "",
    ) -> Opened:
        wish = Wish(
            request,
            self._owner,
            self._outgoing,
            self._context,
            options,
            properties,
            after,
            is_durable=self._keeper is not None,
        )
        return opener_of(self._service.openers, request.filter)(wish)

    def go_on(self) -> None:
        """Go on with what the session has kept; the CONNACK was written.

        A filter that nobody may read any more, or that reaches nothing, is kept and brings
        nothing: the rights to it may come back, and then the client does.
        """
        keeper = self._keeper
        if keeper is None or not keeper.stored:
            return
        for stored in list(keeper.stored.values()):
            after, omit = keeper.place_of(stored.filter)
            request = request_of(stored)
            options = self._options_of(request, stored.identifier, omit=omit)
            try:
                subscription = self._open(request, options, NONE, after)
            except (LyreError, Refusal) as error:
                logger.info(
                    "mqtt session %d: %r brings nothing: %s",
                    self._context.session,
                    stored.filter,
                    error,
                )
                keeper.detach(stored.filter)
                continue
            self._by_filter[stored.filter] = subscription
            keeper.go_on(stored.filter, subscription)
        for subscription in list(self._by_filter.values()):
            subscription.start()

    def fall_behind(self) -> None:
        """Bring no more until `resume`: too much waits for the client."""
        self._each(lambda subscription: subscription.fall_behind())

    def _end(self, topic_filter: str, reason: Exception) -> None:
        """A subscription has ended by itself.

        Where its user may not read the topics any more it just brings nothing: MQTT has no
        packet that tells a client so, and its other subscriptions and messages go on.
        """
        if not isinstance(reason, NotAuthorised):
            self._owner.close(reason)
            return
        logger.info("mqtt session %d: %r ended: %s", self._context.session, topic_filter, reason)
        found = self._by_filter.get(topic_filter)
        if found is not None and found.state is State.CLOSED:
            del self._by_filter[topic_filter]
            if self._keeper is not None:
                self._keeper.detach(topic_filter)

    def _check_limits(self, topic_filter: str, *, is_new: bool) -> None:
        limits = self._service.limits
        check_topic(topic_filter.encode(), limits, "topic filter")
        most = limits.max_subscriptions
        if is_new and len(self._by_filter) >= most:
            raise Overloaded(f"a client may have {most} subscriptions")

    def handle_unsubscribe(self, packet: Unsubscribe) -> None:
        """End subscriptions and say which there were [MQTT-3.11.3-2]."""
        codes: list[int] = []
        gone: dict[str, StoredSubscription | None] = {}
        for topic_filter in packet.filters:
            subscription = self._by_filter.pop(topic_filter, None)
            is_kept = self._keeper is not None and topic_filter in self._keeper.stored
            if is_kept:
                gone[topic_filter] = None
            if isinstance(subscription, Lasting):
                subscription.unsubscribe()
            if subscription is not None:
                subscription.close()
            there_was = subscription is not None or is_kept
            codes.append(Reason.SUCCESS if there_was else Reason.NO_SUBSCRIPTION_EXISTED)
        unsuback = encode.unsuback(packet.packet_id, codes, self._version)
        if self._keeper is None or not gone:
            self._owner.answer(unsuback)
            return
        self._owner.pause_reading(self)
        self._keeper.apply(gone)
        self._keeper.commit(gone, partial(self._end_unsubscribe, unsuback))

    def _end_unsubscribe(self, unsuback: bytes, error: LyreError | None) -> None:
        """Answer, now that it is on disk: it does not come back with the session."""
        if error is not None:
            self._owner.fail(error)
            return
        self._owner.answer(unsuback)
        self._owner.resume_reading(self)

    def resume(self) -> None:
        """Go on with current states that waited for the client to read."""
        self._each(lambda subscription: subscription.resume())
        for restating in list(self._restating or ()):
            restating.resume()

    def close(self) -> None:
        """End them all."""
        preparing, self._preparing = self._preparing, None
        if preparing is not None:
            for subscription in preparing.replaced:
                subscription.close()
        for restating in list(self._restating or ()):
            restating.end()
        self._each(lambda subscription: subscription.close())
        self._by_filter.clear()

    def _each(self, act: Callable[[Opened], None]) -> None:
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
