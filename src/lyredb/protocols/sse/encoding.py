"""How a message looks as a server-sent event (WHATWG HTML §9.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from lyredb.delivery.envelope import encode_envelope
from lyredb.delivery.message import Message
from lyredb.formats import JSON
from lyredb.plugins.delivery import Message as MessageSeam


@dataclass(frozen=True, slots=True)
class SseEncoding:
    """The encoding of all streams of one HTTP version.

    Attributes:
        chunked: Each event is a chunk of HTTP/1.1, so that the bytes made for one reader
            are good for all of them.
    """

    chunked: bool

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
        """Return the event; its id is the position, which direct messages do not have."""
        body = encode_envelope(cast(Message, message), JSON)  # has no line ends
        position = message.position
        lines = b"id: %b\n" % position.encode() if position else b""
        return self.wrap(b"%bdata: %b\n\n" % (lines, body)), 0

    def mark(self, event: str, data: dict[str, object], position: str = "") -> bytes:
        """Return an event of our own, such as ``ready``."""
        lines = b"id: %b\n" % position.encode() if position else b""
        return self.wrap(b"event: %b\n%bdata: %b\n\n" % (event.encode(), lines, JSON.encode(data)))

    def wrap(self, text: bytes) -> bytes:
        """Return text as it stands on the wire."""
        return b"%x\r\n%b\r\n" % (len(text), text) if self.chunked else text


CHUNKED = SseEncoding(chunked=True)
PLAIN = SseEncoding(chunked=False)
"""For HTTP/1.0, whose streams end with the connection."""
