"""Bodies of requests that come compressed: gzip, deflate, Brotli, Zstandard (RFC 9110 §8.4.1).

They are taken apart as they arrive, before anything is parsed, and refused as soon as they are
too large or grow too much: a few bytes may stand for gigabytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final

import brotli
import zstandard

from lyredb.errors import BodyTooLarge, InvalidBody, UnsupportedCoding

TAKEN: Final = "br, gzip, zstd, deflate"
"""As it stands in ``Accept-Encoding`` of a 415 (RFC 9110 §15.5.16)."""

_STEP_BYTES: Final = 65_536
"""Made before the bounds are looked at again."""
_ZSTD_STEP_BYTES: Final = 128
"""Taken at a time of Zstandard, whose library cannot be told to stop: 4 bytes stand for a block
of 128 kB at most, so that a step makes 4 MB."""
_ZSTD_WINDOW: Final = 8 << 20
"""What a reader has to have for this coding (RFC 9659 §3); the sender chooses it."""
_MAX_MEMBERS: Final = 16
"""Of one gzip or Zstandard body (RFC 1952 §2.2): each costs as much as many bytes."""
_RATIO_FROM_BYTES: Final = 262_144
"""Smaller results may grow as they like: few equal records grow very much."""

_GZIP, _ZLIB, _RAW = 31, 15, -15  # what zlib calls them


def coding_of(content_encoding: bytes) -> str:
    """Return the coding of a body, ``""`` for none.

    Raises:
        UnsupportedCoding: It is none of ours, or there are several.
    """
    names = [name.strip().lower() for name in content_encoding.decode("latin-1").split(",")]
    names = [name.removeprefix("x-") for name in names if name not in ("", "identity")]
    if not names:
        return ""
    if len(names) > 1:
        raise UnsupportedCoding(f"a body has one content coding at most, of {TAKEN}")
    if names[0] not in _STEPS:
        raise UnsupportedCoding(f"the content coding {names[0][:20]} is not taken; {TAKEN} are")
    return names[0]


class Decompressor:
    """One body on its way in.

    Args:
        coding: As `coding_of` returned it, not ``""``.
        max_bytes: How large the body may be when it is decompressed.
        max_ratio: How many times larger it may become.
    """

    def __init__(self, coding: str, *, max_bytes: int, max_ratio: int) -> None:
        self._coding = coding
        self._max_bytes = max_bytes
        self._max_ratio = max_ratio
        self._taken = 0
        self._made = 0
        self._steps = _STEPS[coding]()

    def feed(self, data: bytes) -> bytes:
        """Return what a further part of the body makes, maybe nothing yet.

        Raises:
            BodyTooLarge: It is too large, or grows too much.
            InvalidBody: It is not in its coding.
        """
        self._taken += len(data)
        parts: list[bytes] = []
        try:
            for part in self._steps.take(data):
                self._made += len(part)
                self._check()
                parts.append(part)
        except (zlib.error, brotli.error, zstandard.ZstdError):
            raise InvalidBody(f"the body is not valid {self._coding}") from None
        return b"".join(parts)

    def _check(self) -> None:
        if self._made > self._max_bytes:
            raise BodyTooLarge(f"decompressed, the body has more than {self._max_bytes} bytes")
        if self._made > max(_RATIO_FROM_BYTES, self._taken * self._max_ratio):
            raise BodyTooLarge(f"the body grows to more than {self._max_ratio} times its size")

    def finish(self) -> None:
        """Tell that nothing more comes.

        Raises:
            InvalidBody: The body is not whole.
        """
        if not self._steps.is_whole:
            raise InvalidBody(f"the body ends in the middle of its {self._coding}")


class _Inflating:
    """gzip, of several members maybe."""

    def __init__(self, window: int = _GZIP) -> None:
        self._window = window
        self._inner = zlib.decompressobj(window)
        self._members = 1

    @property
    def is_whole(self) -> bool:
        return self._inner.eof

    def take(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inner.eof:
                self._next_member()
            yield self._inner.decompress(data, _STEP_BYTES)
            data = self._inner.unconsumed_tail or self._inner.unused_data

    def _next_member(self) -> None:
        self._members += 1
        if self._window != _GZIP or self._members > _MAX_MEMBERS:
            raise InvalidBody("the body goes on behind its end")
        self._inner = zlib.decompressobj(_GZIP)


class _Deflating(_Inflating):
    """deflate: with zlib's header, and as some send it without (RFC 9110 §8.4.1.2, note)."""

    def __init__(self) -> None:
        super().__init__(_ZLIB)
        self._is_new = True

    def take(self, data: bytes) -> Iterator[bytes]:
        if self._is_new and data:
            self._is_new = False
            # The low half of the first byte is 8 in zlib's; as deflate it would be a block
            # of a type that is not written first (RFC 1950 §2.2, RFC 1951 §3.2.3).
            if data[0] & 0x0F != 8:
                self._inner = zlib.decompressobj(_RAW)
        return super().take(data)


class _Unbrotling:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    @property
    def is_whole(self) -> bool:
        return bool(self._inner.is_finished())

    def take(self, data: bytes) -> Iterator[bytes]:
        part = self._inner.process(data, output_buffer_limit=_STEP_BYTES)
        # It has more to give when it gave something, even if it has taken all of the input.
        while part or not self._inner.can_accept_more_data():
            yield part
            if self._inner.is_finished():
                return
            part = self._inner.process(b"", output_buffer_limit=_STEP_BYTES)


class _Unzstding:
    def __init__(self) -> None:
        self._frames = 0
        self._begin()

    def _begin(self) -> None:
        self._frames += 1
        if self._frames > _MAX_MEMBERS:
            raise InvalidBody(f"a body has at most {_MAX_MEMBERS} frames of zstd")
        reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._inner = reader.decompressobj(write_size=_STEP_BYTES)

    @property
    def is_whole(self) -> bool:
        return self._inner.eof

    def take(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _ZSTD_STEP_BYTES):
            rest = data[at : at + _ZSTD_STEP_BYTES]
            while rest:
                if self._inner.eof:
                    self._begin()
                yield self._inner.decompress(rest)
                rest = self._inner.unused_data if self._inner.eof else b""


_Steps = _Inflating | _Unbrotling | _Unzstding
_STEPS: Final[dict[str, Callable[[], _Steps]]] = {
    "gzip": _Inflating,
    "deflate": _Deflating,
    "br": _Unbrotling,
    "zstd": _Unzstding,
}
