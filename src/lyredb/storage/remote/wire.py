"""What a worker and the writer tell each other: frames, each a length and MessagePack.

A frame is ``>I`` length, then an array whose first element says which of the classes here it
is. Both ends are of one release, so there are no versions. No I/O.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

import msgspec

from lyredb.errors import LyreError
from lyredb.storage.failure import Failure, failure_of
from lyredb.storage.mutation import Mutation
from lyredb.storage.request_row import Replied, RequestRow
from lyredb.storage.sequencer import Answer

MAX_FRAME_BYTES: Final = 512 * 1024 * 1024
"""What can come: one transaction is at most 64 MB, and a tick's frame ends at 1 MB beyond it."""
LENGTH: Final = struct.Struct(">I")


class Wanted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One transaction of a worker; see `sequencer.Sequencer.submit`."""

    number: int
    transaction: tuple[Mutation, ...]
    session_rows: tuple[tuple[bytes, bytes | None], ...]
    bulk: bool


class Ask(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One call of a worker, or a notice with the number 0; see `sequencer.Calls`."""

    number: int
    kind: str
    body: bytes


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """The first frame of a worker: which of its lives this is."""

    life: int


class Work(msgspec.Struct, frozen=True, array_like=True, tag="work"):
    """What a worker wants, requests before calls."""

    requests: list[Wanted]
    asks: list[Ask]


class Answered(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The answer to a call: either of the two."""

    number: int
    body: bytes | None
    failure: Failure | None = None


def answered(number: int, answer: Answer) -> Answered:
    """Return an answer as what a worker is told."""
    if isinstance(answer, LyreError):
        return Answered(number, None, failure_of(answer))
    return Answered(number, answer)


class Notice(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What nobody has asked for."""

    kind: str
    body: bytes


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """The answer to `Hello`: what was done of the requests of this life."""

    row: RequestRow


class Told(msgspec.Struct, frozen=True, array_like=True, tag="told"):
    """What came of requests and calls, and how far the log is: the poke.

    Attributes:
        position: The last one that is committed.
        failure: Why the writer's engine is read-only, or empty.
        replies: In the order of the commits.
        answers: To calls.
        notices: In the order in which they were made.
    """

    position: int
    failure: str
    replies: list[Replied]
    answers: list[Answered]
    notices: list[Notice]


Upward: TypeAlias = Hello | Work
Downward: TypeAlias = Welcome | Told

_encoder: Final = msgspec.msgpack.Encoder()
_upward: Final = msgspec.msgpack.Decoder(Hello | Work)
_downward: Final = msgspec.msgpack.Decoder(Welcome | Told)


def encode(frame: Upward | Downward) -> bytes:
    """Return a frame with its length."""
    body = _encoder.encode(frame)
    return LENGTH.pack(len(body)) + body


def decode_upward(body: bytes | memoryview) -> Upward:
    """Return what a worker says; the length was taken off."""
    frame: Upward = _upward.decode(body)
    return frame


def decode_downward(body: bytes | memoryview) -> Downward:
    """Return what the writer says; the length was taken off."""
    frame: Downward = _downward.decode(body)
    return frame
