"""Filter nodes: what a filter with one member costs, and that nothing of a member stays."""

from __future__ import annotations

import gc
import weakref

import pytest

from lyredb.delivery.filters import has_wildcard, parse_exact, parse_filter
from lyredb.delivery.group import Reader as Member
from lyredb.delivery.nodes import Node
from lyredb.errors import InvalidTopic
from tests.delivery.world import Reader, World, terms

TERMS = terms()
BETTER = terms(qos=1)


def test_a_filter_of_one_member_is_a_few_objects() -> None:
    """A million subscriptions are looked at by the garbage collector, each as one object."""
    world, count = World(), 500
    subscriber = Reader()
    world.hub.join("first", subscriber, TERMS)
    gc.collect()
    before = len(gc.get_objects())
    for number in range(count):
        world.hub.join(f"site/{number}/state", subscriber, TERMS)
    assert len(gc.get_objects()) - before < 1.1 * count


def test_the_group_of_a_filter_is_made_once_and_for_its_terms() -> None:
    """Loads wait in groups: a second route must find the one that the first has found."""
    node = Node(1, Member(Reader(), TERMS), TERMS)
    (group,) = node.groups
    assert tuple(node.groups) == (group,)
    second = Member(Reader(), TERMS)
    assert not node.add(second, TERMS)
    assert tuple(node.groups) == (group,)
    assert list(group.readers) == list(node.members)


def test_a_node_serves_by_new_terms() -> None:
    """The only member is served on the terms that it has by now, and so is one of several."""
    reader, other = Member(Reader(), TERMS), Member(Reader(), TERMS)
    node = Node(1, reader, TERMS)
    assert [group.qos for group in node.groups] == [0]
    assert node.replace(reader, reader, BETTER)
    assert [group.qos for group in node.groups] == [1]
    assert node.add(other, TERMS)
    assert node.replace(reader, reader, TERMS)
    assert [(group.qos, len(group.readers)) for group in node.groups] == [(0, 2)]
    assert node.terms_of(reader) is TERMS


def test_nothing_holds_the_first_member_when_it_has_left() -> None:
    """Who came first and left early is no different from who came later."""
    world = World()
    first, second = Reader(), Reader()
    world.hub.join("a", first, TERMS)
    world.hub.join("a", second, TERMS)
    world.hub.leave("a", first)
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    world.hub.leave("a", second)
    assert world.hub.statistics().filters == 0


@pytest.mark.parametrize("filter", ["a", "+/a", "a/#"])
def test_the_last_member_takes_the_filter_with_it(filter: str) -> None:
    """Whether it was the only one ever, or one of several."""
    world = World()
    members = [Reader(), Reader()]
    for joined in (members[:1], members):
        for one in joined:
            world.hub.join(filter, one, TERMS)
        assert world.hub.statistics().filters == 1
        for one in joined:
            world.hub.leave(filter, one)
        assert (world.hub.statistics().filters, world.hub.statistics().subscribers) == (0, 0)


@pytest.mark.parametrize("filter", ["", "a\0", "a#", "a+/b", "\ud800", "/".join("a" * 129)])
def test_what_is_no_filter_is_refused_and_cannot_be_left(filter: str) -> None:
    """Leaving what nobody is joined to does nothing, whatever it is called."""
    world, subscriber = World(), Reader()
    with pytest.raises(InvalidTopic):
        world.hub.join(filter, subscriber, TERMS)
    world.hub.leave(filter, subscriber)
    with pytest.raises(KeyError):
        world.hub.rejoin(filter, subscriber, TERMS)
    assert world.hub.statistics().subscribers == 0


@pytest.mark.parametrize("text", ["a", "a/b", "/", "a//b", "ä/ö", "/".join("a" * 128)])
def test_a_filter_without_wildcards_is_its_topic(text: str) -> None:
    """The short way and the long one say the same."""
    assert not has_wildcard(text)
    assert tuple(parse_exact(text).split(b"/")) == parse_filter(text)
