"""The table of errors is total, and each body says what its client can read."""

from __future__ import annotations

import json

import pytest

from lyredb import errors
from lyredb.errors import LyreError
from lyredb.protocols.http.errors import STATUSES, body_of, code_of, headers_of, status_of


def every_error(base: type[LyreError]) -> list[type[LyreError]]:
    return [base, *(found for one in base.__subclasses__() for found in every_error(one))]


def _one(kind: type[LyreError]) -> LyreError:
    if kind is errors.TooManyAttempts:
        return errors.TooManyAttempts(7)
    if kind is errors.SettingError:
        return errors.SettingError("a.b", "got x")
    return kind("x")


def test_every_error_of_the_package_has_a_row() -> None:
    ours = [one for one in every_error(LyreError) if one.__module__ == "lyredb.errors"]
    assert set(ours) == set(STATUSES)


def test_errors_of_applications_count_as_their_nearest_base() -> None:
    class MyConflict(errors.RecordExists):
        pass

    assert status_of(MyConflict("x")) == 409


def test_what_is_not_ours_tells_nothing() -> None:
    """A traceback or message of a library may hold paths and data of others."""
    body, _ = body_of(KeyError("/secret/path"), problem=False)
    assert json.loads(body) == "InternalError: Internal error"
    problem, _ = body_of(KeyError("/secret/path"), problem=True)
    assert b"secret" not in problem


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (errors.UnsupportedOperation("x", allowed=("GET", "PUT")), b"allow: GET, PUT\r\n"),
        (errors.Overloaded("x", retry_after_s=7), b"retry-after: 7\r\n"),
        (errors.DiskFull("x"), b"retry-after: 1\r\n"),
        (errors.RecordNotFound("x"), b""),
        (errors.RangeNotSatisfiable("x", size=7), b"content-range: bytes */7\r\n"),
        (errors.UnsupportedCoding("x"), b"accept-encoding: br, gzip, zstd, deflate\r\n"),
        (errors.IndexRebuilding("x"), b"retry-after: 1\r\n"),
    ],
)
def test_headers_that_a_status_demands(error: LyreError, line: bytes) -> None:
    assert headers_of(error) == line


def test_every_401_has_a_challenge() -> None:
    """RFC 9110 §15.5.2."""
    for kind in (errors.LoginFailed, errors.LoginRequired, errors.AuthenticationError):
        assert headers_of(kind("x")).startswith(b"www-authenticate: Basic ")


def test_every_error_has_a_code_of_its_own() -> None:
    """Programs look at it, so it is in capitals and never changes with the sentence."""
    codes = {one: code_of(one) for one in STATUSES}
    assert len(set(codes.values())) == len(codes)
    assert all(code.replace("_", "").isalpha() and code.isupper() for code in codes.values())
    assert codes[errors.IndexRebuilding] == "INDEX_REBUILDING"
    assert code_of(KeyError("x")) == "INTERNAL_ERROR"


@pytest.mark.parametrize("kind", STATUSES)
def test_every_error_is_a_problem_with_all_its_members(kind: type[LyreError]) -> None:
    """RFC 9457 §3.1, and whether it makes sense to try again."""
    body, media_type = body_of(_one(kind), problem=True)
    problem = json.loads(body)
    assert media_type == b"application/problem+json"
    assert problem["status"] == STATUSES[kind]
    assert {"type", "title", "status", "code", "detail"} <= problem.keys()
    assert ("retryable" in problem) == (
        STATUSES[kind] in (408, 429, 503) or kind is errors.WriteConflict
    )


def test_what_is_not_acceptable_is_said_as_text() -> None:
    """Whoever sent it accepts no JSON, presumably."""
    assert body_of(errors.NotAcceptable("supported: x"), problem=False) == (
        b"supported: x",
        b"text/plain; charset=utf-8",
    )
