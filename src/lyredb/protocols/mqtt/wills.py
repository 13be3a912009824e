"""The will of one connection (MQTT 5 §3.1.2.5): decided, kept elsewhere, published once.

It is decided when the client connects, so that a client with a will that it may not
publish learns of it, and again when it is published. The worker of the connection
publishes it; a copy that is ready for the writer is registered with the claim of the
client's identifier. That copy is what is published when the worker or the whole server is
lost, and when there is a Will Delay Interval, since the client may come back to another
worker meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from lyredb.errors import LyreError, TooLarge
from lyredb.plugins.context import Context
from lyredb.protocols.mqtt import packets
from lyredb.protocols.mqtt.messages import check_topic, expires_ms, retained_write
from lyredb.protocols.mqtt.properties import Property
from lyredb.protocols.mqtt.service import Service
from lyredb.resources.requests import Write, Written
from lyredb.sessions.claims_client import MAX_WILL_BYTES
from lyredb.sessions.wills import Will, row_name
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Mutation

logger = logging.getLogger("lyredb.mqtt")


class LastWill:
    """The will of a connection, or none.

    Attributes:
        epoch: Of the claim with which it is kept, 0 before that is granted.
        expiry_s: How long the session outlives the connection, which bounds the delay.

    Args:
        will: As in the CONNECT; None for none.
        service: What all connections share.
        context: Whose rights decide.
        content_type: Of payloads that say none themselves, ``""`` for nothing known.
        expiry_s: See above.
        role: Of a user that is not stored here, ``""`` for one that is.
    """

    __slots__ = (
        "_content_type",
        "_context",
        "_is_kept",
        "_on_settled",
        "_role",
        "_service",
        "_will",
        "epoch",
        "expiry_s",
    )

    def __init__(
        self,
        will: packets.Will | None,
        service: Service,
        context: Context,
        content_type: str,
        *,
        expiry_s: int = 0,
        role: str = "",
    ) -> None:
        self.epoch = 0
        self.expiry_s = expiry_s
        self._will = will
        self._service = service
        self._context = context
        self._content_type = content_type
        self._role = role
        self._is_kept = False
        self._on_settled: list[Callable[[], None]] | None = None
        """Who waits for the write of a retained one, while it is under way."""

    @property
    def is_left(self) -> bool:
        """True while there is something to publish."""
        return self._will is not None

    @property
    def delay_ms(self) -> int:
        """From the end of the connection to the publication; 0 for at once.

        The Will Delay Interval, or until the session ends when that is earlier (§3.1.3.2.2).
        """
        if self._will is None or not self._is_kept:
            return 0
        delay_s = self._will.properties.number(Property.WILL_DELAY)
        return 1000 * min(delay_s, self.expiry_s)

    def discard(self) -> None:
        """Publish nothing: the client said goodbye [MQTT-3.14.4-3]."""
        self._will = None

    def decide_for(self, context: Context) -> None:
        """Let somebody else's rights decide: those of the user as it is now."""
        self._context = context

    def prepare(self) -> Will | None:
        """Decide the will, and make the copy for the writer.

        None when there is none, or when it goes to the root topic of a table, which has no
        record that the log could name: such a will is lost with the worker, and has no delay.

        Raises:
            NotAuthorised: This user may not publish it.
            LyreError: Nobody could: its topic or payload cannot be.
        """
        will = self._will
        if will is None:
            return None
        limits = self._service.limits
        check_topic(will.topic, limits)
        _check_size(len(will.payload) + len(will.properties.forward), limits.max_will_bytes)
        mutation = self._written(will) if will.retain else self._told(will)
        _check_size(mutation.size_bytes, MAX_WILL_BYTES)
        self._is_kept = bool(mutation.key)
        if not self._is_kept:
            return None
        has_expiry = will.properties.has(Property.MESSAGE_EXPIRY)
        lifetime_s = will.properties.number(Property.MESSAGE_EXPIRY) if has_expiry else 0
        told = msgspec.structs.replace(mutation, expires_ms=0)
        return Will(told, 1000 * lifetime_s, self.delay_ms, self._role)

    def _written(self, will: packets.Will) -> Mutation:
        return self._service.database.prepare(self._write_of(will), self._context)

    def _told(self, will: packets.Will) -> Mutation:
        return self._service.database.prepare_message(
            will.topic,
            will.payload,
            self._context,
            qos=will.qos,
            content_type=will.properties.text(Property.CONTENT_TYPE) or self._content_type,
            properties=will.properties.forward,
        )

    def part(self, release: Callable[[int], None]) -> None:
        """The connection has ended: publish the will, or leave it to the directory.

        Args:
            release: Called once, as `Service.release`, with what is left of the delay.
        """
        delay_ms = self.delay_ms
        if delay_ms:
            self.discard()
            release(delay_ms)
        else:
            self.publish(lambda: release(0))

    def publish(self, on_settled: Callable[[], None]) -> None:
        """Publish the will now, and never again.

        Args:
            on_settled: Called once there is nothing to wait for: at once, or when a
                retained one is on disk.
        """
        will, self._will = self._will, None
        if will is not None:
            try:
                check_topic(will.topic, self._service.limits)
                if will.retain:
                    self._write(will)
                else:
                    self._deliver(will)
            except LyreError as error:
                self._refuse(error)
        if self._on_settled is None:
            on_settled()
        else:
            self._on_settled.append(on_settled)

    def _write(self, will: packets.Will) -> None:
        def done(result: Written | LyreError) -> None:
            self._service.end_write()
            if isinstance(result, LyreError):
                self._refuse(result)
            waiting, self._on_settled = self._on_settled or [], None
            for settled in waiting:
                settled()

        write = self._write_of(will)
        self._service.begin_write()
        self._on_settled = []
        try:
            self._service.database.submit(write, self._context, done, self._removal())
        except LyreError as error:
            done(error)

    def _removal(self) -> Rows:
        """What goes away with the publication, so that no crash leaves both or neither."""
        return ((row_name(self.epoch), None),) if self.epoch and self._is_kept else ()

    def _deliver(self, will: packets.Will) -> None:
        self._service.database.publish(
            will.topic.decode(),
            will.payload,
            self._context,
            qos=will.qos,
            content_type=will.properties.text(Property.CONTENT_TYPE) or self._content_type,
            properties=will.properties.forward,
            expires_ms=expires_ms(will.properties, self._service.now_ms()),
        )

    def _write_of(self, will: packets.Will) -> Write:
        return retained_write(
            self._service,
            self._context,
            will.topic,
            will.payload,
            will.qos,
            will.properties,
            self._content_type,
        )

    def _refuse(self, error: LyreError) -> None:
        self._service.counters.refused += 1
        logger.info(
            "mqtt session %d: will refused: %s: %s",
            self._context.session,
            type(error).__name__,
            error,
        )


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise TooLarge(f"a will may have {most} bytes, this one has {size}")
