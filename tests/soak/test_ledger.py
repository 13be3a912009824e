"""The ledger that a soak is judged by tells loss, doubles and disorder apart."""

from __future__ import annotations

import pytest

from tests.soak.ledger import MOST_TOLD, Flow, Hearing, Problems, Sharing


def flow_of(count: int, qos: int) -> Flow:
    """So many numbers, all acknowledged."""
    flow = Flow("Soak/a", qos)
    for _ in range(count):
        flow.settle(flow.send())
    return flow


def hearing_of(flow: Flow, *numbers: int, is_whole: bool = True) -> tuple[Hearing, list[str]]:
    problems = Problems()
    hearing = Hearing("reader", flow, problems, is_whole=is_whole)
    for number in numbers:
        hearing.hear(number)
    return hearing, problems.lines()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_all_in_order_is_no_problem(qos: int) -> None:
    hearing, lines = hearing_of(flow_of(3, qos), 1, 2, 3)
    assert (hearing.lost(), lines) == ([], [])


def test_what_was_acknowledged_and_not_heard_is_lost() -> None:
    """In the middle and at the end; not what was refused or is still open."""
    flow = flow_of(6, qos=2)
    flow.unsure.add(3)
    flow.send()
    hearing, lines = hearing_of(flow, 1, 4)
    assert hearing.lost() == [2, 5, 6]
    assert not lines


def test_nothing_is_promised_at_qos_0_and_before_the_first() -> None:
    assert hearing_of(flow_of(6, qos=0), 1, 4)[0].lost() == []
    assert hearing_of(flow_of(6, qos=1), 4, 5, is_whole=False)[0].lost() == [6]
    assert hearing_of(flow_of(6, qos=1), is_whole=False)[0].lost() == []


@pytest.mark.parametrize(("qos", "is_told"), [(0, True), (1, False), (2, True)])
def test_only_qos_1_may_come_twice(qos: int, is_told: bool) -> None:
    hearing, lines = hearing_of(flow_of(3, qos), 1, 2, 1, 2, 3)
    assert hearing.again == 2
    assert bool(lines) == is_told


def test_what_comes_late_is_out_of_order_and_not_lost() -> None:
    hearing, lines = hearing_of(flow_of(3, qos=1), 1, 3, 2)
    assert hearing.lost() == []
    assert lines[0] == "out of order: 1"


def test_a_group_loses_what_no_member_has_heard() -> None:
    sharing = Sharing(flow_of(5, qos=1))
    for number in (2, 1, 5, 2):
        sharing.hear(number)
    assert sharing.lost() == [3, 4]
    assert (sharing.heard, sharing.again) == (4, 1)


def test_problems_are_counted_and_some_are_told() -> None:
    problems = Problems()
    for number in range(100):
        problems.add("lost", f"number {number}")
    assert problems.count == 100
    assert problems.lines()[0] == "lost: 100"
    assert len(problems.lines()) == 1 + MOST_TOLD
