"""Whoever watches a user is told, whatever the others do with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lyredb.security.revocations import Revocations


def test_who_watches_is_told_until_it_ends_the_watch() -> None:
    revocations = Revocations()
    told: list[str] = []
    end = revocations.watch("ada", told.append)
    revocations.watch("bob", told.append)
    revocations.tell("ada", "first")
    revocations.tell("eve", "nobody")
    end()
    end()
    revocations.tell("ada", "second")
    assert told == ["first"]
    assert len(revocations) == 1


def test_one_that_fails_keeps_none_of_the_others_logged_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    revocations = Revocations()
    told: list[str] = []

    def fail(reason: str) -> None:
        raise RuntimeError("broken")

    revocations.watch("ada", fail)
    revocations.watch("ada", told.append)
    revocations.tell("ada", "deleted")
    assert told == ["deleted"]
    assert "could not be told" in caplog.text


def test_one_that_ends_itself_while_it_is_told_does_no_harm() -> None:
    revocations = Revocations()
    told: list[str] = []
    ends: list[Callable[[], None]] = []

    def end(reason: str) -> None:
        told.append(reason)
        ends[0]()
        ends[1]()

    ends.append(revocations.watch("ada", end))
    ends.append(revocations.watch("ada", told.append))
    revocations.tell("ada", "deleted")
    assert told[0] == "deleted"
    assert len(revocations) == 0
