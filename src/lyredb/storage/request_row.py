"""What came of another process's requests, on disk in the commit that did them.

A worker hears of its requests over a stream. When the writer dies between the commit and
the reply, the row ``request/<worker>`` of ``meta`` has the answers that may not have come.
It belongs to one life of the worker, and each row replaces the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from lyredb.errors import FormatMismatch, LyreError
from lyredb.storage.failure import Failure, error_of, failure_of
from lyredb.storage.mutation import Applied
from lyredb.storage.sequencer import Result


class Replied(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What came of one request: either of the two.

    Attributes:
        number: Of the request, in the worker's life.
        applied: It was done.
        failure: It was rejected.
    """

    number: int
    applied: Applied | None
    failure: Failure | None = None

    @property
    def result(self) -> Result:
        """What the one who waits for it gets."""
        if self.applied is not None:
            return self.applied
        assert self.failure is not None, "one of the two"
        return error_of(self.failure)


class RequestRow(msgspec.Struct, frozen=True, array_like=True):
    """The row of a worker.

    Attributes:
        life: The worker's random number for this life; another has other requests.
        replies: Of the requests that may not have been told, in the order of the commits.
    """

    life: int
    replies: tuple[Replied, ...] = ()


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(RequestRow)


def replied(number: int, result: Result) -> Replied:
    """Return a result as what a worker is told."""
    if isinstance(result, LyreError):
        return Replied(number, None, failure_of(result))
    return Replied(number, result)


def encode_request_row(life: int, replies: Sequence[Replied]) -> bytes:
    """Return the row."""
    return _encoder.encode((life, replies))


def decode_request_row(row: bytes) -> RequestRow:
    """Return what a row says.

    Raises:
        FormatMismatch: It is damaged, or of a later version.
    """
    try:
        return _decoder.decode(row)
    except msgspec.DecodeError as error:
        raise FormatMismatch("a request row cannot be read by this version") from error
