"""How a message looks on a WebSocket: one envelope in one frame, as servers send it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from lyredb.delivery.envelope import encode_envelope
from lyredb.delivery.message import Message
from lyredb.formats import CBOR, JSON, MSGPACK, StructuredFormat
from lyredb.plugins.delivery import Message as MessageSeam
from lyredb.protocols.http.frames import Opcode, frame


@dataclass(frozen=True, slots=True)
class WebSocketEncoding:
    """The encoding of all connections with one format: servers do not mask, so they share.

    Attributes:
        format: Of the envelopes.
    """

    format: StructuredFormat

    @property
    def raw(self) -> str:
        """No other protocol's frames can be passed on."""
        return ""

    @property
    def takes_messages(self) -> bool:
        """Takes frames."""
        return False

    def frame(
        self, message: MessageSeam, *, qos: int, retain: bool, ids: tuple[int, ...]
    ) -> tuple[bytes, int]:
        """Return the frame."""
        return self._wrap(encode_envelope(cast(Message, message), self.format)), 0

    def mark(self, data: dict[str, object]) -> bytes:
        """Return a frame of our own, such as ``ready``."""
        return self._wrap(self.format.encode(data))

    def _wrap(self, body: bytes) -> bytes:
        return frame(Opcode.TEXT if self.format is JSON else Opcode.BINARY, body)


ENCODINGS = {one.name: WebSocketEncoding(one) for one in (JSON, CBOR, MSGPACK)}
