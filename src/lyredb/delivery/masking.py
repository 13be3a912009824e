"""Messages for those who may see some attributes only.

A reader with a mask gets a record without the others, and so a message that is an object:
JSON, CBOR or MessagePack. What has no attributes to tell apart (a number, a text, bytes, an
opaque record) is withheld whole. Deletes are told: they carry a key and nothing else.
"""

from __future__ import annotations

from lyredb.delivery.message import Message
from lyredb.plugins.delivery import Format


class Mask:
    """The view of somebody who may see some attributes; implements ``delivery.View``.

    Equal masks are one view: groups that have it share their frames.

    Args:
        names: The attributes that may be seen, the key among them.
    """

    __slots__ = ("names",)

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def apply(self, message: Message) -> Message | None:
        """Return the message with these attributes only, ``None`` when it has none at all."""
        if message.kind == "delete":
            return message
        if message.kind == "put":
            return None if message.is_opaque else Excerpt(message, self.names)
        attributes = message.attributes()
        return None if attributes is None else Excerpt(message, self.names, attributes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"Mask({', '.join(sorted(self.names))})"


class Excerpt(Message):
    """A message of which some attributes are left out.

    It has neither the bytes that came nor what the publisher said about them (content type,
    properties): they could hold what is left out.

    Args:
        whole: The message.
        names: The attributes that are left in it.
        attributes: All that it has; ``None``: they are looked up when somebody asks.
    """

    __slots__ = ("_names", "_whole")

    def __init__(
        self, whole: Message, names: frozenset[str], attributes: dict[str, object] | None = None
    ) -> None:
        super().__init__(
            whole.topic,
            whole.kind,
            whole.table,
            whole.id,
            b"",
            record_table=None,
            is_opaque=False,
            version=whole.version,
            local_ms=whole.local_ms,
            seq=whole.seq,
            qos=whole.qos,
            retain=whole.retain,
            current=whole.current,
            position=whole.position,
            content_type="",
            properties=b"",
            expires_ms=whole.expires_ms,
            session=whole.session,
            reason=whole.reason,
        )
        self._whole = whole
        self._names = names
        if attributes is not None:
            self._value = self._left_of(attributes)

    @property
    def size_bytes(self) -> int:
        """What it keeps in memory: all of the message that it was made from."""
        return self._whole.size_bytes

    def attributes(self) -> dict[str, object]:
        """Return those that are left."""
        left = self.value()
        assert isinstance(left, dict), "excerpts are made of objects"
        return left

    def _decode(self) -> object:
        return self._left_of(self._whole.attributes() or {})

    def _left_of(self, attributes: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in attributes.items() if name in self._names}

    def _encode(self, wanted: Format) -> bytes:
        return wanted.encode(self.value())
