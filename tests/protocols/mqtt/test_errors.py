"""The table from errors to reason codes is total, and says only what packets can say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lyredb import errors
from lyredb.protocols.mqtt.errors import ANSWERS, answer_for, sentence_of
from lyredb.protocols.mqtt.reasons import (
    CONNACK_REASONS,
    DISCONNECT_REASONS,
    PUBACK_REASONS,
    SUBACK_REASONS,
    Reason,
)


def all_errors(base: type[errors.LyreError] = errors.LyreError) -> Iterator[type[errors.LyreError]]:
    if base.__module__ == errors.__name__:
        yield base
    for kind in base.__subclasses__():
        yield from all_errors(kind)


def test_every_error_has_a_row() -> None:
    """A new error without an answer for MQTT clients fails here."""
    assert set(all_errors()) == set(ANSWERS)


@pytest.mark.parametrize("kind", list(ANSWERS), ids=lambda kind: kind.__name__)
def test_each_code_may_stand_in_its_packet(kind: type[errors.LyreError]) -> None:
    """MQTT 5 §3.4.2.1, §3.9.3, §3.14.2.1."""
    answer = ANSWERS[kind]
    assert answer.publish in PUBACK_REASONS
    assert answer.subscribe in SUBACK_REASONS
    assert answer.end in DISCONNECT_REASONS | CONNACK_REASONS
    assert answer.end >= 0x80


@pytest.mark.parametrize(
    ("kind", "publish", "lasting"),
    [
        (errors.NotAuthorised, 0x87, True),
        (errors.UnknownTopic, 0x90, True),
        (errors.InvalidTopic, 0x90, True),
        (errors.InvalidRecord, 0x99, True),
        (errors.InvalidBody, 0x99, True),
        (errors.DiskFull, 0x97, False),
        (errors.Overloaded, 0x97, False),
        (errors.StorageFailed, 0x80, False),
    ],
)
def test_refusals_of_a_publish_have_the_codes_that_are_promised(
    kind: type[errors.LyreError], publish: int, lasting: bool
) -> None:
    """Those that last are acknowledged to 3.1.1 clients, the others close the connection."""
    assert (ANSWERS[kind].publish, ANSWERS[kind].lasting) == (publish, lasting)


def test_an_error_of_an_application_is_answered_as_its_base() -> None:
    class TooHot(errors.InvalidRecord):
        pass

    assert answer_for(TooHot("no")) == ANSWERS[errors.InvalidRecord]


def test_a_foreign_exception_tells_the_client_nothing() -> None:
    error = RuntimeError("/etc/secret")
    assert answer_for(error).end == Reason.UNSPECIFIED_ERROR
    assert sentence_of(error) == "Internal error"
