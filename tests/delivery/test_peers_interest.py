"""What a worker announces: everything that is wanted is covered, and never too much of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.delivery.peers.interest import Interest
from tests.delivery.workers import Node, told
from tests.delivery.world import Reader

ABOVE, BELOW = 5, 3
LEVEL = st.sampled_from(["a", "b", "c", "d", "e", "f", "+"])
FILTER = st.one_of(
    st.tuples(st.sampled_from(["a", "a", "a/b", "+"]), st.sampled_from("abcdefgh#")).map("/".join),
    st.lists(LEVEL, min_size=1, max_size=3).map("/".join),
    st.lists(LEVEL, max_size=2).map(lambda levels: "/".join([*levels, "#"])),
    st.sampled_from(["$x", "$x/a", "\0x/a", "/a", "/"]),
)


def interest() -> Interest:
    return Interest(lambda: None, coarse_above=ABOVE, fine_below=BELOW)


def covers(announced: str, wanted: str) -> bool:
    if announced == wanted:
        return True
    if announced == "+":
        return "/" not in wanted and wanted[0] not in "#$\0"
    return announced.endswith("/#") and wanted.startswith(announced[:-1])


class Mirror:
    """What another worker knows from the changes."""

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.known: set[str] = set()

    def update(self) -> tuple[list[str], list[str]]:
        wanted, unwanted = self.interest.changes()
        assert self.known.isdisjoint(wanted)
        assert self.known.issuperset(unwanted)
        self.known = (self.known | set(wanted)) - set(unwanted)
        assert self.known == set(self.interest.announced)
        return wanted, unwanted


def assert_bounded(known: set[str], wanted: set[str]) -> None:
    """All wanted is covered; nothing else is announced than that; no parent has too many."""
    for filter in wanted:
        assert any(covers(one, filter) for one in known), f"{filter} is not covered"
    for filter in known - wanted:
        below = [one for one in wanted if covers(filter, one)]
        assert len(below) >= BELOW, f"{filter} stands for {below}"
    for parent in {one.rpartition("/")[0] for one in known if "/" in one}:
        below = [one for one in known if one.startswith(parent + "/")]
        assert len(below) <= ABOVE + 1
        assert parent + "/#" not in known - wanted or len(below) == 1


@settings(max_examples=300)
@given(st.lists(st.tuples(st.booleans(), FILTER), max_size=80), st.integers(0, 80))
def test_announced_covers_wanted_and_no_more(changes: list[tuple[bool, str]], began: int) -> None:
    """Filters come and go, below and above coarse parents; in the end nothing is left."""
    one = interest()
    mirror = Mirror(one)
    counts: dict[str, int] = {}
    for number, (comes, filter) in enumerate(changes):
        if number == began:
            one.begin()
        if comes:
            one.add(filter)
            counts[filter] = counts.get(filter, 0) + 1
        elif counts.get(filter):
            one.remove(filter)
            counts[filter] -= 1
        if number >= began:
            mirror.update()
            assert_bounded(mirror.known, {name for name, count in counts.items() if count})
    one.begin()
    for filter, count in counts.items():
        for _ in range(count):
            one.remove(filter)
    mirror.update()
    assert mirror.known == set()
    assert one.coarse == 0


def test_between_the_two_bounds_nothing_moves() -> None:
    """A client that comes and goes at the limit must not move all the filters."""
    one = interest()
    one.begin()
    mirror = Mirror(one)
    for number in range(ABOVE):
        one.add(f"a/{number}")
    assert len(mirror.update()[0]) == ABOVE
    one.add("a/more")
    assert mirror.update()[0] == ["a/#"]
    for _ in range(5):
        one.remove("a/more")
        one.add("a/more")
        assert mirror.update() == ([], [])
    for number in range(ABOVE):
        one.remove(f"a/{number}")
    assert mirror.update() == (["a/more"], ["a/#"])


def test_devices_with_a_topic_each_are_taken_together_at_their_common_parent() -> None:
    """None of ``d/<n>`` has many filters; ``d`` has."""
    one = interest()
    one.begin()
    for number in range(10 * ABOVE):
        one.add(f"d/{number}/state")
    assert list(one.announced) == ["d/#"]
    for number in range(10 * ABOVE - 1):
        one.remove(f"d/{number}/state")
    assert list(one.announced) == [f"d/{10 * ABOVE - 1}/state"]


def test_what_is_coarse_counts_as_one_for_the_parent_above() -> None:
    """And as all of its filters again, once it is fine."""
    one = interest()
    one.begin()
    for number in range(ABOVE + 1):
        one.add(f"a/b/{number}")
    for number in range(ABOVE - 1):
        one.add(f"a/{number}")
    assert set(one.announced) == {"a/b/#", *(f"a/{number}" for number in range(ABOVE - 1))}
    for number in range(ABOVE - 1):
        one.remove(f"a/b/{number}")
    assert set(one.announced) == {"a/#"}


def test_who_asked_for_all_below_may_leave_while_the_parent_stands_for_others() -> None:
    """The filter that stands for many is one that somebody may have, too."""
    one = interest()
    one.begin()
    for number in range(ABOVE + 1):
        one.add(f"a/{number}")
    one.add("a/#")
    one.remove("a/#")
    assert list(one.announced) == ["a/#"]


def test_many_parents_are_never_taken_together_as_everything() -> None:
    one = interest()
    one.begin()
    for number in range(10 * ABOVE):
        one.add(f"{number}/state")
    assert len(one.announced) == 10 * ABOVE
    assert "#" not in one.announced


def test_readers_of_a_coarse_parent_get_their_own_messages_only() -> None:
    """The others send more; nobody here gets what he did not ask for, and nothing twice."""
    node = Node(2, coarse_above=ABOVE, fine_below=BELOW).attach_all()
    readers = [Reader() for _ in range(2 * ABOVE)]
    for number, reader in enumerate(readers):
        node.workers[1].join(f"a/{number}", reader)
    node.settle()
    assert node.workers[0].peers.statistics().wishes == 1
    for number in range(2 * ABOVE):
        node.workers[0].send(f"a/{number}", str(number))
    node.workers[0].send("a/nobody", "x")
    node.settle()
    assert [told(reader) for reader in readers] == [
        [f"a/{number} {number}"] for number in range(2 * ABOVE)
    ]
    assert node.workers[0].peers.statistics().forwarded == 2 * ABOVE + 1
