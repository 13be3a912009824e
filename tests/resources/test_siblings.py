"""Siblings: what is asked of all others is answered as if each were asked, without asking each."""

from __future__ import annotations

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from lyredb.delivery.filters import Levels, matches, parse_filter
from lyredb.plugins.delivery import Message
from lyredb.resources.siblings import UP_TO_DATE, Siblings
from lyredb.resources.subscription_parts import State


class Topic:
    """What is looked at of a message."""

    def __init__(self, topic: str) -> None:
        self.topic = topic.encode()


class One:
    """A subscription of which a test says where it is; it counts what it is asked."""

    def __init__(self, topic_filter: str, place: int = UP_TO_DATE) -> None:
        self.filter = topic_filter
        self.qos = 1
        self.state = State.READING
        self.where = place
        self.asked = self.woken = 0

    @property
    def levels(self) -> Levels:
        return parse_filter(self.filter)

    @property
    def place(self) -> int:
        self.asked += 1
        return self.where

    def matches(self, message: Message) -> bool:
        self.asked += 1
        return matches(self.levels, message.topic)

    def brings(self, change: Message, qos: int) -> bool:
        self.asked += 1
        return self.qos > qos

    def may_inherit(self, message: Message) -> bool:
        return self.matches(message)

    def inherit(self, message: Message) -> None:
        """Nothing is kept here."""

    def resume(self) -> None:
        self.woken += 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 9), st.integers(0, 9)),
        st.tuples(st.just("remove"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("go on"), st.integers(0, 9), st.integers(1, 5)),
        st.tuples(st.just("be live"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("fall behind"), st.integers(0, 9), st.integers(0, 9)),
        st.tuples(st.just("ask"), st.integers(0, 9), st.integers(-1, 12)),
    ),
    max_size=40,
)


@given(STEPS)
def test_somebody_is_before_if_any_other_is(steps: list[tuple[str, int, int]]) -> None:
    """Whoever comes, goes, reads on, is live and falls behind meanwhile."""
    siblings: Siblings[One] = Siblings()
    ones: list[One] = []
    for what, which, number in steps:
        own = ones[which % len(ones)] if ones else None
        if what == "add":
            own = One(f"t/{len(ones)}", number if which % 3 else UP_TO_DATE)
            ones.append(own)
            siblings.add(own)
            siblings.note_place(own)
        elif own is None:
            continue
        elif what == "remove":
            ones.remove(own)
            siblings.remove(own)
        elif what == "go on":
            own.where = min(UP_TO_DATE, own.where + number)
        elif what == "be live":
            own.where = UP_TO_DATE
        elif what == "fall behind":
            if own.where == UP_TO_DATE:
                own.where = number
                siblings.note_place(own)
        else:
            expected = any(one is not own and one.where < number for one in ones)
            assert siblings.are_before(own, number) is expected


@given(
    st.lists(st.sampled_from(["a/b", "a/+", "a/#", "#", "b", "a/b/c"]), min_size=1, max_size=40),
    st.lists(st.integers(0, 39), max_size=10),
    st.sampled_from(["a/b", "a/b/c", "b", "c"]),
)
def test_a_change_finds_those_whose_filters_match(
    filters: list[str], gone: list[int], topic: str
) -> None:
    """The first in the order of their making, few or many, and equal filters too."""
    siblings: Siblings[One] = Siblings()
    ones = [One(each) for each in filters]
    for one in ones:
        siblings.add(one)
    message = cast("Message", Topic(topic))
    siblings.must_bring(ones[0], message)  # an index is made, where there are many
    for number in gone:
        if len(ones) > 1 and number < len(ones):
            siblings.remove(ones.pop(number))
    matching = [one for one in ones if matches(one.levels, message.topic)]
    for one in ones:
        one.qos = 0
        assert siblings.bring(one, message) is any(other is not one for other in matching)
        one.qos = 1
        if matching:
            assert siblings.must_bring(one, message) is (one is matching[0])


def test_a_thousand_that_begin_together_are_not_asked_a_million_times() -> None:
    """A client that wakes, or subscribes to a thousand filters, costs a thousand steps."""
    siblings: Siblings[One] = Siblings()
    ones = [One(f"t/{number}", 7) for number in range(1_000)]
    for one in ones:
        siblings.add(one)
        siblings.note_place(one)
    newcomer = One("late")
    siblings.add(newcomer)
    for one in ones:
        assert not siblings.are_before(one, 7)
        assert siblings.are_before(newcomer, 9)
        assert not siblings.bring(one, cast("Message", Topic(one.filter)))
        siblings.wake()
    assert sum(one.asked for one in ones) < 20_000


def test_those_who_wait_are_woken_and_nobody_else() -> None:
    """Once for each time that they wait."""
    siblings: Siblings[One] = Siblings()
    waiting, other = One("a"), One("b")
    for one in (waiting, other):
        siblings.add(one)
    siblings.wait(waiting)
    siblings.wake()
    siblings.wake()
    assert (waiting.woken, other.woken) == (1, 0)
    siblings.wait(waiting)
    siblings.remove(waiting)
    siblings.wake()
    assert waiting.woken == 1
