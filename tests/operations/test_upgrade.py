"""Formats of the data directory: known ones are brought on, unknown ones are left alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from lyredb.errors import DataDirectoryInUse, FormatMismatch, StorageFailed
from lyredb.operations.upgrade import CURRENT, STEPS, Step, plan_upgrade, upgrade
from lyredb.storage.engine import Engine
from lyredb.storage.environment import Handles, Transaction
from lyredb.storage.format import change_format, read_format
from tests.storage.store import ROOMY, Store

LATER = (CURRENT[0], CURRENT[1] + 2)
BETWEEN = (CURRENT[0], CURRENT[1] + 1)


def nothing(transaction: Transaction, handles: Handles) -> None:
    """Change nothing."""


def mark(name: bytes) -> Step:
    before, after = (CURRENT, BETWEEN) if name == b"one" else (BETWEEN, LATER)

    def change(transaction: Transaction, handles: Handles) -> None:
        transaction.put(b"schema/" + name, b"done", db=handles.meta)

    return Step(before, after, f"mark {name.decode()}", change)


TWO_STEPS = (mark(b"one"), mark(b"two"))


def made(path: Path, number: tuple[int, int] = CURRENT) -> Path:
    Store(path).close()
    change_format(path, nothing, major=number[0], minor=number[1], map_size=ROOMY.map_size)
    return path


def format_of(path: Path) -> tuple[int, int]:
    form = read_format(path, map_size=ROOMY.map_size)
    return form.major, form.minor


def marks(path: Path) -> set[str]:
    engine = Engine.open(path, settings=ROOMY, readonly=True)
    try:
        return set(engine.list_meta())
    finally:
        engine.close()


def test_the_steps_lead_to_the_present_format_without_a_gap() -> None:
    """Whoever adds a format adds its step; each takes what the one before it made."""
    assert all(one.after == other.before for one, other in pairwise(STEPS))
    assert all(step.after <= CURRENT and step.before < step.after for step in STEPS)


def test_nothing_is_done_to_a_current_directory_even_while_it_is_open(tmp_path: Path) -> None:
    path = made(tmp_path / "data")
    assert upgrade(path).steps == ()
    assert format_of(path) == CURRENT


def test_an_earlier_format_goes_through_every_step(tmp_path: Path) -> None:
    path = made(tmp_path / "data")
    told: list[str] = []
    plan = upgrade(
        path, steps=TWO_STEPS, current=LATER, on_step=lambda step: told.append(step.sentence)
    )
    assert (plan.found, told) == (CURRENT, ["mark one", "mark two"])
    assert format_of(path) == LATER
    assert marks(path) == {"one", "two"}


def test_an_interrupted_upgrade_goes_on_where_it_was(tmp_path: Path) -> None:
    path = made(tmp_path / "data", BETWEEN)
    upgrade(path, steps=TWO_STEPS, current=LATER)
    assert marks(path) == {"two"}


def test_a_step_that_fails_leaves_number_and_data(tmp_path: Path) -> None:
    path = made(tmp_path / "data")

    def fail(transaction: Transaction, handles: Handles) -> None:
        transaction.put(b"schema/half", b"done", db=handles.meta)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        upgrade(path, steps=(Step(CURRENT, BETWEEN, "fail", fail),), current=BETWEEN)
    assert (format_of(path), marks(path)) == (CURRENT, set())


@pytest.mark.parametrize("number", [(CURRENT[0], CURRENT[1] + 1), (CURRENT[0] + 1, 0)])
def test_a_later_format_is_refused_and_left_alone(tmp_path: Path, number: tuple[int, int]) -> None:
    path = made(tmp_path / "data", number)
    with pytest.raises(FormatMismatch, match="a later version"):
        upgrade(path)
    assert format_of(path) == number


def test_a_format_without_a_way_is_named(tmp_path: Path) -> None:
    path = made(tmp_path / "data", (0, 9))
    with pytest.raises(FormatMismatch, match=r"format 0\.9, and this version knows no way"):
        plan_upgrade(path)


def test_a_directory_in_use_is_not_upgraded(tmp_path: Path) -> None:
    path = made(tmp_path / "data")
    store = Store(path)
    try:
        with pytest.raises(DataDirectoryInUse):
            change_format(path, nothing, major=1, minor=9, map_size=ROOMY.map_size)
    finally:
        store.close()


def test_an_empty_directory_is_no_data_directory(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="no database"):
        plan_upgrade(tmp_path)
