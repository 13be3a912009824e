"""The key ranges of a filter hold every record that the filter matches."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.delivery.filters import matches, parse_filter
from lyredb.errors import InvalidTopic, NotAuthorised, UnknownTopic
from lyredb.plugins.context import Context
from lyredb.resources.access import Access
from lyredb.resources.coverage import coverage, ranges_of
from lyredb.resources.registry import Registry
from lyredb.security.principals import ANONYMOUS, SUPER_USER
from lyredb.storage.frontier import KeyRange
from tests.resources.fixed_roles import NO_ROLES
from tests.resources.test_registry import registry_of

REGISTRY = registry_of(open_topics=True)
CLOSED = registry_of()
ADMIN = Context(SUPER_USER, "mqtt")

levels = st.sampled_from(["a", "b", "7", "Sensor", "Counter", "Loose"])
topics = st.lists(levels, min_size=1, max_size=4).map("/".join)
filters = st.builds(
    lambda parts, rest: "/".join([*parts, *rest]),
    st.lists(st.sampled_from(["a", "b", "7", "+", "Sensor", "Counter", "Loose"]), max_size=4),
    st.sampled_from([["#"], ["+"], ["a"]]),
)


def _ranges(topic_filter: str, registry: Registry) -> Sequence[KeyRange]:
    covered = coverage(topic_filter, registry, Access(registry, NO_ROLES), ADMIN)
    return ranges_of(topic_filter, registry, ADMIN.protocol, covered.tables)


@given(filters, topics)
def test_every_matching_record_lies_in_a_range(topic_filter: str, topic: str) -> None:
    """A range that is too narrow would lose current state, whatever else is right."""
    try:
        target = REGISTRY.topic(topic, "mqtt")
    except ValueError:
        return  # no record can have this topic
    if not target.key or not matches(parse_filter(topic_filter), topic.encode()):
        return
    ranges = _ranges(topic_filter, REGISTRY)
    assert sum(found.contains(target.table.slot, target.key) for found in ranges) == 1


@given(filters)
def test_ranges_do_not_overlap(topic_filter: str) -> None:
    """A scan over overlapping ranges would tell a record twice."""
    try:
        ranges = _ranges(topic_filter, REGISTRY)
    except InvalidTopic:
        return  # one topic, which no record can have
    for one, other in itertools.pairwise(ranges):
        assert one.slot < other.slot or (one.stop is not None and one.stop <= other.start)


def test_prefix_is_read_by_range_and_not_by_the_whole_table() -> None:
    ranges = _ranges("Sensor/hall/#", CLOSED)
    assert ranges
    assert all(found.start and found.stop for found in ranges)


def test_unknown_root_is_an_unknown_topic() -> None:
    with pytest.raises(UnknownTopic):
        coverage("Nowhere/#", CLOSED, Access(CLOSED, NO_ROLES), ADMIN)


@pytest.mark.parametrize("topic_filter", ["Sensor/", "Sensor//a", "Sensor/a/", "Counter/abc"])
def test_one_topic_that_no_record_can_have_is_refused(topic_filter: str) -> None:
    """Granted, it would be silent for ever, and the client would not know why."""
    for registry in (CLOSED, REGISTRY):
        with pytest.raises(InvalidTopic):
            coverage(topic_filter, registry, Access(registry, NO_ROLES), ADMIN)


@pytest.mark.parametrize(
    "topic_filter", ["health", "health/#", "metrics/x", "metrics/+", "openapi", "$SYS/x"]
)
def test_the_servers_own_roots_are_no_open_topics(topic_filter: str) -> None:
    with pytest.raises(UnknownTopic):
        coverage(topic_filter, REGISTRY, Access(REGISTRY, NO_ROLES), ADMIN)


@pytest.mark.parametrize("topic_filter", ["a//b", "/a", "a/", "Healthy", "Sensor", "Counter/7"])
def test_every_topic_that_can_be_is_granted(topic_filter: str) -> None:
    """Open topics may have empty levels; a table's own topic takes messages."""
    coverage(topic_filter, REGISTRY, Access(REGISTRY, NO_ROLES), ADMIN)


@pytest.mark.parametrize("topic_filter", ["#", "Sensor/1", "+/1"])
def test_who_may_read_nothing_is_told_so(topic_filter: str) -> None:
    told = re.escape(f"anonymous may not subscribe to {topic_filter!r}")
    with pytest.raises(NotAuthorised, match=f"^{told}$"):
        coverage(topic_filter, CLOSED, Access(CLOSED, NO_ROLES), Context(ANONYMOUS, "mqtt"))
