"""The way in for messages that do not last, for all publishers of one class.

Publishers keep `Ingress.paths` and look topics up in it themselves: it is one dict for
the life of the ingress, edited in place when subscriptions change. A path is used for
the frame at hand only; a run that a publisher is still growing has to be pushed before
it calls anything else of the hub (each publisher keeps its own order).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lyredb.delivery.group import Bundle, Group
from lyredb.delivery.message import Message
from lyredb.delivery.routes import Path
from lyredb.plugins.context import Principal
from lyredb.plugins.delivery import Publisher

if TYPE_CHECKING:
    from lyredb.delivery.hub import Hub
    from lyredb.delivery.peers.relay import Lane


class Ingress:
    """Publishers with one principal, protocol and kind of raw frame.

    Attributes:
        principal: Whose rights decide.
        protocol: As in `lyredb.plugins.context.Context`.
        raw: The kind of frame that they may hand over unparsed, ``""`` for none.
        content_type: Of payloads in raw frames that say none, ``""`` for not known.
        lane: How other workers get what they publish; ``None`` when it came from one.
        paths: The cached paths by topic, for reading only.
    """

    __slots__ = (
        "_hub",
        "_outbox",
        "content_type",
        "lane",
        "paths",
        "principal",
        "protocol",
        "raw",
    )

    def __init__(
        self,
        hub: Hub,
        principal: Principal,
        protocol: str,
        raw: str,
        content_type: str,
        lane: Lane | None,
    ) -> None:
        self._hub = hub
        self._outbox = hub.outbox
        self.principal = principal
        self.protocol = protocol
        self.raw = raw
        self.content_type = content_type
        self.lane = lane
        self.paths: dict[bytes, Path] = {}

    def path(self, topic: bytes) -> Path:
        """Return the path to a topic, made and cached when there is none.

        Raises:
            InvalidTopic: The topic cannot be one.
            UnknownTopic: No table has it.
            NotAuthorised: The principal may not publish there.
        """
        path = self.paths.get(topic)
        return path if path is not None else self._hub.make_path(self, topic)

    def push_run(
        self,
        group: Group,
        chunk: bytes,
        start: int,
        end: int,
        count: int,
        publisher: Publisher | None,
        ends: Sequence[int] = (),
        ids: Sequence[int] = (),
    ) -> None:
        """Deliver adjacent raw frames whose paths all have this same solo group. O(1).

        Args:
            group: `Path.solo0` of all of them, or `Path.solo1`, or `Path.solo2`.
            chunk: Bytes as received; ``chunk[start:end]`` are the frames.
            start: Where the first frame begins.
            end: Where the last one ends.
            count: How many frames.
            publisher: Who may be paused when a subscriber cannot keep up.
            ends: Above QoS 0: the end of each frame in ``chunk``. Belongs to the hub
                afterwards, as does ``ids``.
            ids: Above QoS 0: the offset of each frame's packet identifier in ``chunk``,
                0 for a frame without one.
        """
        # One copy out of the chunk, so that a small run does not keep 256 kB alive.
        frames = chunk[start:end]
        borders = (start, ends, ids) if ends else None
        if not group.is_bundle:
            self._outbox.add_run(group, frames, count, publisher, borders)
            return
        assert isinstance(group, Bundle), "is_bundle says so"
        for member in group.members:
            self._outbox.add_run(member, frames, count, publisher, borders)
        if group.relay is not None:
            group.relay.push_run(frames, count, publisher, acknowledged=bool(ends))

    def push_lone(self, group: Group, frame: bytes, publisher: Publisher | None) -> None:
        """As `push_run`, for one frame of QoS 0 that was all that its publisher sent.

        It is written at once where frames come one at a time, see `Outbox.write_lone`.
        """
        if not self._outbox.write_lone(group, frame, publisher):
            self.push_run(group, frame, 0, len(frame), 1, publisher)
        elif group.is_bundle:
            assert isinstance(group, Bundle), "is_bundle says so"
            if group.relay is not None:
                group.relay.push_run(frame, 1, publisher, acknowledged=False)

    def push(
        self,
        path: Path,
        message: Message,
        publisher: Publisher | None,
        raw: bytes = b"",
        raw_id: int = 0,
    ) -> None:
        """Deliver one direct message to whoever listens now.

        Args:
            path: Of this ingress. `Path.destination` must be direct.
            message: What to deliver.
            publisher: Who may be paused when a subscriber cannot keep up.
            raw: The frame as received, when it may be forwarded: not retained, not a
                duplicate, nothing in it that is between publisher and server alone.
            raw_id: The offset of its packet identifier, 0 for none.

        Raises:
            ValueError: The topic's messages do not go this way.
        """
        if path.is_slow:
            self._hub.push_slowly(path, message, publisher, raw, raw_id)
        else:
            self._hub.distribute(path.route, message, publisher, self.raw, raw, raw_id)
            if path.relay is not None:
                path.relay.push(message, publisher, raw)
