"""Two lanes: who is awaited does not stand behind an import, and the import comes through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lyredb.storage.commit import Request
from lyredb.storage.lanes import Lanes
from lyredb.storage.sequencer import Result
from tests.storage.store import put

sizes = st.lists(st.integers(1, 40), max_size=60)


def ignore(_: Result) -> None:
    """No test here waits for a reply."""


def request(mutations: int, *, bulk: bool) -> Request:
    return Request([put("k")] * mutations, ignore, (), mutations, 10, bulk)


def lanes_of(interactive: list[int], bulk: list[int]) -> Lanes:
    lanes = Lanes()
    for count in bulk:
        lanes.add(request(count, bulk=True))
    for count in interactive:
        lanes.add(request(count, bulk=False))
    return lanes


def taken(lanes: Lanes, limit: int) -> tuple[int, int]:
    """Mutations of the next group: interactive, bulk."""
    group = lanes.next_group(limit)
    lanes.remove(group)
    counts = [(len(each.transaction), each.bulk) for each in group]
    return (
        sum(count for count, bulk in counts if not bulk),
        sum(count for count, bulk in counts if bulk),
    )


def test_bulk_gets_a_fifth_while_others_wait() -> None:
    """A group of 100 has 80 and 20, however long either lane is."""
    lanes = lanes_of([1] * 400, [1] * 400)
    assert [taken(lanes, 100) for _ in range(3)] == [(80, 20)] * 3


def test_bulk_gets_everything_when_nobody_else_waits() -> None:
    """An import alone is not slowed down."""
    assert taken(lanes_of([], [1] * 400), 100) == (0, 100)


def test_a_bulk_transaction_larger_than_a_group_is_taken_in_the_end() -> None:
    """It waits until four times as many others have gone before it."""
    lanes = lanes_of([1] * 1000, [150])
    groups = [taken(lanes, 100) for _ in range(8)]
    assert groups[:6] == [(100, 0)] * 6
    assert (0, 150) in groups


@given(sizes, sizes, st.integers(1, 60))
def test_each_lane_keeps_its_order_and_the_share_holds(
    interactive: list[int], bulk: list[int], limit: int
) -> None:
    """All of it comes out, each lane in order; while both wait, at most a fifth is bulk."""
    lanes = lanes_of(interactive, bulk)
    came: dict[bool, list[int]] = {False: [], True: []}
    while lanes:
        group = lanes.next_group(limit)
        lanes.remove(group)
        for each in group:
            came[each.bulk].append(len(each.transaction))
            if len(came[False]) < len(interactive):
                assert sum(came[True]) * 4 <= sum(came[False])
    assert came == {False: interactive, True: bulk}
    assert (lanes.mutations, lanes.size_bytes) == (0, 0)


@given(sizes, sizes, st.integers(1, 30))
def test_a_group_that_is_cut_short_goes_on_where_it_was_cut(
    interactive: list[int], bulk: list[int], cut: int
) -> None:
    """The time of a group may end before all of it is staged."""
    lanes, whole = lanes_of(interactive, bulk), lanes_of(interactive, bulk)
    pieces: list[Request] = []
    while lanes:
        group = lanes.next_group(10_000)[:cut]
        lanes.remove(group)
        pieces += group
    at_once = whole.next_group(10_000)
    assert [(len(each.transaction), each.bulk) for each in pieces] == [
        (len(each.transaction), each.bulk) for each in at_once
    ]
