"""Every error of LyreDB as an HTTP status: one total table, and the body that says it.

A test walks all subclasses of `LyreError` and fails on one without a row. The body is a
JSON string ``"RecordNotFound: …"``, for a wrong login ``{"error": "Login failed"}``, plain text
where no format is acceptable, and RFC 9457 problem details for clients that ask for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lyredb import errors
from lyredb.formats import JSON
from lyredb.protocols.http.accept import quality_of
from lyredb.protocols.http.decompression import TAKEN

STATUSES: Final[Mapping[type[errors.LyreError], int]] = MappingProxyType(
    {
        errors.LyreError: 500,
        errors.InvalidInput: 400,
        errors.InvalidBody: 400,
        errors.NestingTooDeep: 400,
        errors.InvalidRecord: 400,
        errors.InvalidKey: 400,
        errors.InvalidTopic: 400,
        errors.InvalidQuery: 400,
        errors.QueryTooCostly: 400,
        errors.InvalidHeader: 400,
        errors.RangeNotSatisfiable: 416,
        errors.SchemaError: 400,
        errors.SettingError: 400,
        errors.UnsupportedContentType: 415,
        errors.UnsupportedCoding: 415,
        errors.NotFound: 404,
        errors.RecordNotFound: 404,
        errors.UnknownTopic: 404,
        errors.UnknownAttribute: 404,
        errors.AuthenticationError: 401,
        errors.LoginFailed: 401,
        errors.LoginRequired: 401,
        errors.NotAuthorised: 403,
        errors.UnsupportedOperation: 405,
        errors.NotAcceptable: 406,
        errors.Conflict: 409,
        errors.RecordExists: 409,
        errors.PreconditionFailed: 412,
        errors.RecordMissing: 412,
        errors.WriteConflict: 409,
        errors.RoleInUse: 409,
        errors.LastSuperUser: 409,
        errors.TooLarge: 413,
        errors.BodyTooLarge: 413,
        errors.RecordTooLarge: 413,
        errors.TransactionTooLarge: 413,
        errors.Timeout: 408,
        errors.Overloaded: 503,
        errors.IndexRebuilding: 503,
        errors.SlowSubscriber: 503,
        errors.TooManyAttempts: 429,
        errors.SessionTakenOver: 409,
        errors.ServerStopping: 503,
        errors.PositionLost: 410,
        errors.StorageError: 500,
        errors.DiskFull: 503,
        errors.StorageFailed: 500,
        errors.EngineClosed: 503,
        errors.FormatMismatch: 500,
        errors.DataDirectoryInUse: 503,
    }
)

PROBLEM: Final = "application/problem+json"

CHALLENGE: Final = b'www-authenticate: Basic realm="LyreDB", charset="UTF-8"\r\n'
"""RFC 7617 §2.1: user names and passwords are UTF-8."""


def status_of(error: Exception) -> int:
    """The status of an error; of its nearest base for classes of applications."""
    for base in type(error).__mro__:
        found = STATUSES.get(base)
        if found is not None:
            return found
    return 500


def sentence_of(error: Exception) -> str:
    """What a client may read of an error; nothing of those that are not ours."""
    return str(error) if isinstance(error, errors.LyreError) else "Internal error"


def name_of(error: Exception) -> str:
    """The error's name, which programs may look at."""
    return type(error).__name__ if isinstance(error, errors.LyreError) else "InternalError"


def code_of(error: Exception | type[Exception]) -> str:
    """The code of an error in problem details: its name in capitals, ``RECORD_NOT_FOUND``.

    Classes of applications have codes of their own.
    """
    kind = error if isinstance(error, type) else type(error)
    name = kind.__name__ if issubclass(kind, errors.LyreError) else "InternalError"
    return _WORD.sub("_", name).upper()


_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def is_retryable(error: Exception) -> bool:
    """Tell whether the same request may succeed later, without any change to it."""
    return isinstance(error, errors.WriteConflict) or status_of(error) in (408, 429, 503)


def wants_problem(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a request accepts problem details by their name."""
    accept = headers.get(b"accept")
    if accept is None or b"problem" not in accept.lower():
        return False
    return quality_of(accept.decode("latin-1"), PROBLEM) > 0


def headers_of(error: Exception) -> bytes:
    """The header lines that a status demands (RFC 9110 §11.6.1, §15.5.6, §15.5.17, §10.2.3)."""
    if isinstance(error, errors.AuthenticationError):
        return CHALLENGE
    if isinstance(error, errors.UnsupportedOperation):
        return b"allow: " + ", ".join(error.allowed).encode("ascii", "replace") + b"\r\n"
    if isinstance(error, errors.RangeNotSatisfiable):
        return b"content-range: bytes */%d\r\n" % error.size
    if isinstance(error, errors.UnsupportedCoding):
        return b"accept-encoding: " + TAKEN.encode() + b"\r\n"
    if isinstance(error, errors.RecordNotFound) and error.deleted_ms:
        moment = formatdate(error.deleted_ms // 1000, usegmt=True)
        return f"last-modified: {moment}\r\n".encode()
    if isinstance(error, errors.Overloaded):
        return b"retry-after: %d\r\n" % max(1, error.retry_after_s)
    if status_of(error) == 503:
        return b"retry-after: 1\r\n"
    return b""


def body_of(error: Exception, *, problem: bool, status: int = 0) -> tuple[bytes, bytes]:
    """Return the body and its media type.

    Args:
        error: What happened.
        problem: Answer with RFC 9457 problem details.
        status: Where the table's is not precise enough.
    """
    if problem:
        return JSON.encode(problem_of(error, status)), PROBLEM.encode()
    if isinstance(error, errors.NotAcceptable):
        return str(error).encode(), b"text/plain; charset=utf-8"
    if isinstance(error, errors.LoginFailed):
        return JSON.encode({"error": str(error)}), b"application/json"
    return JSON.encode(f"{name_of(error)}: {sentence_of(error)}"), b"application/json"


def plain_response(
    error: Exception, head: bytes, status: int = 0, *, problem: bool = False
) -> bytes:
    """Return a whole response that ends the connection, for what never reaches a handler.

    Args:
        error: What was wrong.
        head: Header lines to begin with.
        status: Where the table's is not precise enough.
        problem: Answer with RFC 9457 problem details.
    """
    body, media_type = body_of(error, problem=problem, status=status)
    return b"%b%b%bcontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
        STATUS_LINE[status or status_of(error)],
        head,
        headers_of(error),
        media_type,
        len(body),
        body,
    )


def problem_of(error: Exception, status: int = 0) -> dict[str, object]:
    """The problem details of an error; ``code`` is what programs look at."""
    status = status or status_of(error)
    details: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code_of(error),
        "detail": sentence_of(error),
    }
    if is_retryable(error):
        details["retryable"] = True
    return details
