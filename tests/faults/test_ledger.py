"""The ledger that the kills are judged by tells each kind of untruth apart."""

from __future__ import annotations

import pytest

from tests.faults.ledger import GONE, Ask, Change, Fate, Log, first_problem, problems_of
from tests.faults.ledger import read_problems as read

DONE, OPEN, REFUSED = Fate.DONE, Fate.OPEN, Fate.REFUSED


def asks(*told: tuple[int | None, Fate]) -> list[Ask]:
    return [Ask("Sensor", "a", value, fate) for value, fate in told]


def changes(*values: int | None) -> list[Change]:
    return [Change(seq, "Sensor", "a", value) for seq, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("told", "values", "is_there"),
    [
        ([(1, DONE), (2, DONE)], [1, 2], False),
        ([(1, OPEN), (2, DONE)], [2], False),
        ([(1, OPEN), (2, DONE)], [1, 2], False),
        ([(1, REFUSED), (2, DONE)], [2], False),
        ([(1, DONE), (2, OPEN)], [1], False),
        ([(GONE, DONE), (1, DONE)], [1], False),
        ([(GONE, DONE), (1, DONE)], [GONE, 1], True),
        ([(GONE, DONE), (GONE, DONE)], [GONE], True),
        ([(1, OPEN), (GONE, OPEN), (2, OPEN)], [GONE], True),
    ],
)
def test_a_true_story_is_no_problem(
    told: list[tuple[int | None, Fate]], values: list[int | None], is_there: bool
) -> None:
    assert first_problem(asks(*told), values, is_there=is_there) == ""


@pytest.mark.parametrize(
    ("told", "values", "is_there"),
    [
        ([(1, DONE), (2, DONE)], [2], False),
        ([(1, DONE)], [], False),
        ([(1, DONE), (2, DONE)], [2, 1], False),
        ([(1, REFUSED)], [1], False),
        ([(1, DONE)], [1, 1], False),
        ([(1, OPEN)], [1, 1], False),
        ([(GONE, DONE)], [], True),
        ([(1, DONE), (GONE, DONE)], [1], False),
        ([(GONE, REFUSED)], [GONE], True),
        ([], [1], False),
    ],
)
def test_an_untrue_story_is_a_problem(
    told: list[tuple[int | None, Fate]], values: list[int | None], is_there: bool
) -> None:
    """Lost, out of order, refused and there, doubled, not deleted, never asked for."""
    assert first_problem(asks(*told), values, is_there=is_there)


@pytest.mark.parametrize(
    ("key", "fate", "there", "is_true"),
    [
        ("7", DONE, ["7"], True),
        ("8", DONE, ["7"], False),
        ("7", DONE, ["7", "8"], False),
        ("7", DONE, [], False),
        ("", OPEN, [], True),
        ("", OPEN, ["7"], True),
        ("", REFUSED, [], True),
        ("", REFUSED, ["7"], False),
    ],
)
def test_a_record_that_got_its_key_from_the_server_is_there_once_under_it(
    key: str, fate: Fate, there: list[str], is_true: bool
) -> None:
    new = [Change(seq, "Counter", name, 5) for seq, name in enumerate(there)]
    problems = problems_of([Ask("Counter", key, 5, fate)], new, {})
    assert (problems == []) is is_true


def test_a_reader_who_finds_other_records_than_the_log_has_is_told_of_each() -> None:
    log = Log()
    for change in (*changes(1, 2), Change(3, "Sensor", "b", 3), Change(4, "Sensor", "b", GONE)):
        log.by_place[change.table, change.key].append(change)
    assert read(log, lambda table: {"a": 2} if table == "Sensor" else {}) == []
    assert len(read(log, lambda table: {"a": 1, "b": 3} if table == "Sensor" else {})) == 2
    assert len(read(log, lambda table: {"b": 3} if table == "Sensor" else {"1": 1})) == 3
