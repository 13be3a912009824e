"""Questions to tables: both sides have the same data and are held to the same answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from bench.result import Comparison, Figure, Round, Side
from bench.scenarios.tables import TableScenario, _different, growth
from bench.tables import data
from bench.tables.contenders import ask, embedded, filled, served
from bench.tables.questions import KINDS, Asked, Kind
from bench.tables.sqlite import Sqlite, sqlite

RECORDS = 2_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def home(folder: Path) -> Path:
    return filled(folder, RECORDS)


@pytest.fixture
def yardstick(folder: Path) -> Iterator[Sqlite]:
    with sqlite(folder, RECORDS) as opened:
        yield opened


def questions(kind: Kind) -> list[Asked]:
    random = Random(5)
    return [kind.ask(random, RECORDS) for _ in range(5)]


def test_every_sensor_has_twenty_readings_and_every_site_exists() -> None:
    """Else a question would find nothing, or more where there are more records."""
    readings = list(data.readings(RECORDS))
    assert set(Counter(each["sensor"] for each in readings).values()) == {data.ROWS_A_SENSOR}
    assert {each["siteId"] for each in readings} <= {each["id"] for each in data.sites()}
    assert len({each["value"] for each in readings}) == RECORDS


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_both_sides_give_the_same_answers_and_some(
    kind: Kind, home: Path, yardstick: Sqlite
) -> None:
    """What is measured is the same work; no question of a kind may be an empty one for all."""
    with embedded(home) as answer:
        assert not _different(
            kind, questions(kind), lambda asked: answer(kind, asked), yardstick.answer
        )


def test_a_served_answer_is_the_same(home: Path, yardstick: Sqlite) -> None:
    """Over HTTP, too: a path of the load is a path of the question."""
    with served(home) as target:
        for kind in KINDS:
            asked = questions(kind)
            assert not _different(
                kind, asked, lambda one: ask(target, one.path), yardstick.answer
            ), kind.name


def test_another_answer_is_trouble() -> None:
    """A quick wrong answer must not win, and neither must an empty one."""
    kind, asked = KINDS[1], questions(KINDS[1])

    def wrong(one: Asked) -> bytes:
        return b'[{"id":"x"}]'

    def right(kind: Kind, one: Asked) -> bytes:
        return b'[{"id":"y"}]'

    def nothing(one: Asked) -> bytes:
        return b"[]"

    assert "another answer" in _different(kind, asked, wrong, right)
    assert _different(kind, asked, nothing, lambda kind, one: b"[]") == (
        "no question has an answer"
    )
    in_another_order = [[{"id": 1}, {"id": 2}], [{"id": 2}, {"id": 1}]]
    mine, other = (json.dumps(rows).encode() for rows in in_another_order)
    assert not _different(kind, asked, lambda one: mine, lambda kind, one: other)


def test_growth_is_the_cost_at_many_records_by_that_at_few() -> None:
    """Per answer: a third of the answers a CPU second is three times the cost."""

    def found(records: int, answers: int) -> Comparison:
        rounds = [Round(work=answers, wall_s=1, server_cpu_s=1)]
        name = f"{KINDS[1].name} of {records:,}, in process"
        return Comparison(name, "answers", "", Side("LyreDB", rounds), Side("other", rounds))

    (figure,) = growth([found(100, 3000), found(1000, 1000)], 100, 1000)
    assert isinstance(figure, Figure)
    assert figure.subject == pytest.approx(3)
    assert not figure.is_met


def test_a_scenario_that_cannot_be_filled_is_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported, and the rest of the run goes on."""
    from bench.peers.process import StartFailed
    from bench.scenarios import tables
    from bench.scenarios.plan import Plan

    def fail(folder: Path, records: int) -> Path:
        raise StartFailed("no room")

    monkeypatch.setattr(tables, "filled", fail)
    (one,) = TableScenario().run(Plan(tmp_path, 0.1, "AB", level=4, payload_bytes=64))
    assert one.trouble == "no room"
