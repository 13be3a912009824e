"""WebSocket frames without I/O (RFC 6455 §5): what a server reads, what it writes.

For protocols inside of a WebSocket, which are a stream of bytes: each data frame is
given out as soon as it is whole, fragments of one message one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build without its C extension
    from websockets.utils import apply_mask

_MAX_CONTROL: Final = 125


class Opcode(IntEnum):
    """RFC 6455 §5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class FrameError(Exception):
    """The peer breaks the protocol or a limit.

    Attributes:
        code: The close code (RFC 6455 §7.4.1).
    """

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class FrameReader:
    """Takes a client's frames apart.

    Args:
        max_bytes: Largest data frame.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = b""
        self._chunks: list[bytes] = []
        self._wanted = 2
        self._have = 0
        self._in_message = False

    def feed(self, data: bytes) -> Iterator[tuple[Opcode, bytes]]:
        """Yield the frames that are whole now; a continuation counts as binary.

        Raises:
            FrameError: After what came before it was yielded.
        """
        self._chunks.append(data)
        self._have += len(data)
        if self._have < self._wanted:
            return
        buffer = b"".join(self._chunks)
        at, self._wanted = 0, 2
        while (header := _header(buffer, at)) is not None:
            first, start, length = header
            opcode = self._check(first, length)
            end = start + length
            if end > len(buffer):
                self._wanted = end - at
                break
            if opcode < Opcode.CLOSE:
                self._in_message = not first & 0x80
                opcode = Opcode.BINARY if opcode is Opcode.CONTINUATION else opcode
            payload = apply_mask(buffer[start:end], buffer[start - 4 : start]) if length else b""
            at = end
            yield opcode, payload
        rest = buffer[at:]
        self._chunks = [rest] if rest else []
        self._have = len(rest)

    def _check(self, first: int, length: int) -> Opcode:
        if first & 0x70:
            raise FrameError(1002, "reserved bits are set")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise FrameError(1002, "unknown opcode") from None
        if opcode >= Opcode.CLOSE:
            if not first & 0x80 or length > _MAX_CONTROL:
                raise FrameError(1002, "a control frame is whole and short")
        elif length > self._max_bytes:
            raise FrameError(1009, f"a message has at most {self._max_bytes} bytes")
        elif (opcode is Opcode.CONTINUATION) is not self._in_message:
            raise FrameError(1002, "a continuation belongs to a message that has begun")
        return opcode


def _header(buffer: bytes, at: int) -> tuple[int, int, int] | None:
    """First byte, start and length of the payload; ``None`` when the header is not whole."""
    have = len(buffer) - at
    if have < 2:
        return None
    length = buffer[at + 1] & 0x7F
    if not buffer[at + 1] & 0x80:
        raise FrameError(1002, "frames of clients are masked")
    size = 2 if length < 126 else 4 if length == 126 else 10
    if have < size + 4:
        return None
    if size > 2:
        length = int.from_bytes(buffer[at + 2 : at + size], "big")
    return buffer[at], at + size + 4, length


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """Return a server's frame: final, not masked."""
    length = len(payload)
    first = 0x80 | opcode
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame; the reason is cut to what a control frame holds."""
    text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
    return frame(Opcode.CLOSE, code.to_bytes(2, "big") + text)
