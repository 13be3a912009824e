"""A write that is ready to be sent, and how its end is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lyredb.errors import LyreError
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.service import Service, head_of
from lyredb.resources.requests import Write, Written
from lyredb.resources.target import Target


def _unchanged(error: LyreError) -> LyreError | None:
    return error


class Prepared(NamedTuple):
    """A write, and how its end is told.

    Attributes:
        write: What is done.
        answer: Tells success.
        refusal: What an error of the commit means; ``None`` when it is none.
    """

    write: Write
    answer: Callable[[Written | None], None]
    refusal: Callable[[LyreError], LyreError | None] = _unchanged


class Batch(NamedTuple):
    """Writes that are one transaction, and how their success is told."""

    writes: Sequence[Write]
    answer: Callable[[Sequence[Written]], None]


Prepare = Callable[[Service, Request, Target, bytes], Prepared | Batch]


def tell_true(service: Service, request: Request) -> Callable[[object], None]:
    """Return what answers 200 ``true``, as DELETE does.

    Raises:
        NotAcceptable: The client accepts none of our formats; asked before the write.
    """
    chosen = service.format_of(request)
    return lambda done: request.respond(200, head_of(chosen), chosen.encode(True))
