"""Stretches of frames that are alike: what one device sends over and over.

Telemetry is the same topic again and again, with payloads of one size or of a few sizes
near each other. Such a stretch needs no look at each frame by Python: a compiled pattern
compares the head of every frame (first byte, length, topic) with that of the first one,
which the caller has decoded, and steps over what may be anything. 10 ns a frame of one
size and 70 of several, where the loop over all frames takes 250.

Patterns know lengths and no topics, so that a fleet with equally long topics shares them.
Compiling one takes 0.2 to 0.4 ms: it is done for a shape that has come often enough to
have cost about a tenth of that already, and never for a peer that changes it all the time.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

ENOUGH: Final = 4
"""Frames that have to follow alike, or looking for them did not pay."""
BLOCK: Final = 16
"""Frames of several sizes are taken by so many: a match tells no count."""
SPAN: Final = 16
"""A frame of `Stretches.of_several_sizes` is longer than the one before by less than this."""
_STEP: Final = 8
_UNROLLED: Final = 8
"""Frames a turn of a pattern's loop: the loop itself takes 20 ns."""
USES_BEFORE: Final = 32
"""Requests for a shape before its pattern is compiled."""
MAX_SHAPES: Final = 512
"""Shapes that are remembered, 2 kB each; beyond it all are forgotten."""

Shape: TypeAlias = tuple[int, int, int]
"""Of one size: bytes of the head, bytes of the rest, form. Of several: bytes of the topic
with its length, the window of sizes, `_SEVERAL` or one less."""

_QOS1: Final = 1
_QOS1_V5: Final = 2
_SEVERAL: Final = 3
_PROPERTIES: Final = 16


def qos1_form(size: int) -> int:
    """The form of frames of QoS 1, by the bytes of their properties with the length before them.

    0 in 3.1.1. All have the same properties; those of QoS 0 are in the head.
    """
    return _QOS1 + size if size < 2 else _PROPERTIES + size


class Stretches:
    """The patterns of a worker, by shape.

    Args:
        uses_before: How often a shape comes before its pattern is compiled.
        max_shapes: How many are remembered.
    """

    def __init__(self, uses_before: int = USES_BEFORE, max_shapes: int = MAX_SHAPES) -> None:
        self._uses_before = uses_before
        self._max_shapes = max_shapes
        self._patterns: dict[Shape, re.Pattern[bytes]] = {}
        self._uses: dict[Shape, int] = {}

    def of_one_size(
        self, data: bytes, start: int, head: int, end: int, limit: int, form: int
    ) -> int:
        """Count the frames behind ``data[start:end]`` that have its size and its head.

        Args:
            data: Any bytes.
            start: Where a valid PUBLISH begins.
            head: Where all ends that frames must have in common.
            end: Where the PUBLISH ends.
            limit: Of the last frame's end; within ``data``.
            form: 0 where payloads follow ``head``; for QoS 1, whose packet identifiers
                follow there and may not be 0, what `qos1_form` says.
        """
        shape = (head - start, end - head, form)
        pattern = self._patterns.get(shape) or self._learn(shape)
        found = None if pattern is None else pattern.match(data, start, limit)
        return 0 if found is None else (found.end() - end) // (end - start)

    def of_several_sizes(
        self, data: bytes, position: int, length: int, topic: bytes
    ) -> tuple[int, int]:
        """Count frames of QoS 0 from ``position`` on with this topic and a length near this.

        Args:
            data: Any bytes.
            position: Where the first frame may begin.
            length: What a frame before had as its Remaining Length; at most 16,383.
            topic: What follows the length in all of them, up to their payloads.

        Returns:
            How many there are, by `BLOCK`, and where the last one ends.
        """
        shape = (len(topic), length // _STEP, _SEVERAL + (length > 127))
        pattern = self._patterns.get(shape) or self._learn(shape)
        count = 0
        if pattern is not None:
            while (found := pattern.match(data, position)) and found[1] == topic:
                count += BLOCK
                position = found.end()
        return count, position

    def _learn(self, shape: Shape) -> re.Pattern[bytes] | None:
        uses = self._uses.get(shape, 0) + 1
        if uses == 1 and len(self._uses) >= self._max_shapes:
            self._uses.clear()
            self._patterns.clear()
        self._uses[shape] = uses
        if uses < self._uses_before:
            return None
        several = shape[2] in (_SEVERAL, _SEVERAL + 1)
        pattern = _several_sizes(*shape) if several else _one_size(*shape)
        self._patterns[shape] = pattern
        return pattern


def _one_size(head: int, rest: int, form: int) -> re.Pattern[bytes]:
    """The first frame as it is, then any number with its first bytes and its properties."""
    first, taken, frame = b"", 0, b""
    if form:
        first, taken, frame = rb"..", 2, rb"(?!\x00\x00).."
    if form == _QOS1_V5:
        first, taken, frame = first + b".", 3, frame + rb"\x00"  # no properties
    elif form > _PROPERTIES:
        size = form - _PROPERTIES
        first, taken, frame = first + rb"(.{%d})" % size, 2 + size, frame + rb"\2"
    frame = rb"\1" + frame + rb".{%d}+" % (rest - taken)
    first = rb"(.{%d})" % head + first + rb".{%d}+" % (rest - taken)
    return re.compile(first + rb"(?:%s)*+(?:%s)*+" % (frame * _UNROLLED, frame), re.DOTALL)


def _several_sizes(topic: int, window: int, form: int) -> re.Pattern[bytes]:
    """A block of frames, each of which has one of the lengths around a window."""
    digits = 1 + form - _SEVERAL
    least, most = (topic, 127) if digits == 1 else (max(topic, 128), 16_383)
    lengths = range(max(least, (window - 1) * _STEP), min(most, (window + 2) * _STEP - 1) + 1)
    bodies = b"|".join(
        re.escape(_length(length)) + rb"\1.{%d}+" % (length - topic) for length in lengths
    )
    return re.compile(
        rb"(?=.{%d}(.{%d}))(?:0(?:%s)){%d}" % (1 + digits, topic, bodies, BLOCK), re.DOTALL
    )


def _length(length: int) -> bytes:
    """A Remaining Length of at most two digits."""
    return bytes((length,)) if length < 128 else bytes((length & 127 | 128, length >> 7))
