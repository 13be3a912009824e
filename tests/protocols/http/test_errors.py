"""The table of errors is total, and each body says what its client can read."""

from __future__ import annotations

import json

import pytest

from lyredb import errors
from lyredb.errors import LyreError
from lyredb.protocols.http.errors import STATUSES, body_of, headers_of, status_of


def every_error(base: type[LyreError]) -> list[type[LyreError]]:
    return [base, *(found for one in base.__subclasses__() for found in every_error(one))]


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
    ],
)
def test_headers_that_a_status_demands(error: LyreError, line: bytes) -> None:
    assert headers_of(error) == line


def test_every_401_has_a_challenge() -> None:
    """RFC 9110 §15.5.2."""
    for kind in (errors.LoginFailed, errors.LoginRequired, errors.AuthenticationError):
        assert headers_of(kind("x")).startswith(b"www-authenticate: Basic ")
