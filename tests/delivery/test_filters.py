"""Topic filters: what is legal (MQTT 5 §4.7), and what matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.delivery.filters import FilterIndex, is_wildcard, literal_prefix, matches, parse_filter
from lyredb.errors import InvalidTopic

LEVEL = st.sampled_from(["a", "b", "", "$x", "é"])
FILTERS = st.builds(
    lambda levels, rest: "/".join([*levels, "#"] if rest else levels) or "#",
    st.lists(LEVEL | st.just("+"), min_size=1, max_size=4),
    st.booleans(),
)
TOPICS = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)


def reference_match(topic_filter: str, topic: str) -> bool:
    """The rules of §4.7 as a regular expression, independent of the product."""
    if topic[:1] in "$\0" and topic_filter[:1] in "+#":
        return False
    pattern = re.escape(topic_filter).replace(r"\+", "[^/]*")
    if pattern in (r"\#", "#"):
        return True
    pattern = re.sub(r"/(\\)?#$", "(/.*)?", pattern)
    return re.fullmatch(pattern, topic, re.DOTALL) is not None


@given(FILTERS, TOPICS)
def test_matching_agrees_with_the_rules_written_as_a_pattern(f: str, topic: str) -> None:
    assert matches(parse_filter(f), topic.encode()) == reference_match(f, topic)


@given(st.lists(FILTERS, unique=True, max_size=12), st.data())
def test_the_index_finds_exactly_the_filters_that_match(
    filters: list[str], data: st.DataObject
) -> None:
    """Also after some of them were removed again."""
    index: FilterIndex[str] = FilterIndex()
    for one in filters:
        index.add(parse_filter(one), one)
    gone = data.draw(st.sets(st.sampled_from(filters)) if filters else st.just(set()))
    for one in gone:
        index.remove(parse_filter(one))
    left = [one for one in filters if one not in gone]
    for topic in data.draw(st.lists(TOPICS, min_size=1, max_size=6)):
        found = index.match(topic.encode())
        assert sorted(found) == sorted(one for one in left if reference_match(one, topic))
        if found:
            assert index.may_match_below(topic.encode().split(b"/")[0])
    assert len(index) == len(left)


def test_an_emptied_index_keeps_nothing() -> None:
    index: FilterIndex[int] = FilterIndex()
    for number, one in enumerate(["a/+/c", "a/#", "+", "a/b"]):
        index.add(parse_filter(one), number)
    for one in ["a/+/c", "a/#", "+", "a/b"]:
        index.remove(parse_filter(one))
    assert index._root.is_empty
    assert not index.may_match_below(b"a")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("\0" + "16/#", "NUL"),
        ("a/#/b", "'#'"),
        ("a#", "'#'"),
        ("a+", "'\\+'"),
        ("+a/b", "'\\+'"),
        ("\ud800", "Unicode"),
        ("x" * 65_536, "65535"),
        ("/" * 128, "128 levels"),
    ],
    ids=[
        "empty",
        "nul",
        "internal",
        "inner",
        "glued",
        "plus",
        "plus first",
        "surrogate",
        "long",
        "deep",
    ],
)
def test_illegal_filters_are_refused_with_the_reason(text: str, word: str) -> None:
    """[MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1] to [MQTT-4.7.3-3]."""
    with pytest.raises(InvalidTopic, match=word):
        parse_filter(text)


@pytest.mark.parametrize(
    "text", ["#", "+", "/", "+/+", "a//b", "+/#", "$SYS/#", " ", "a/ +b".replace("+", "x")]
)
def test_legal_filters_are_taken(text: str) -> None:
    assert b"/".join(parse_filter(text)) == text.encode()


def test_internal_filters_are_taken_from_code_only() -> None:
    assert parse_filter("\0" + "16/#", allow_internal=True) == (b"\x0016", b"#")
    with pytest.raises(InvalidTopic):
        parse_filter("\0" + "16/\0", allow_internal=True)


def test_dollar_topics_are_matched_by_their_own_filters_only() -> None:
    """[MQTT-4.7.2-1]"""
    assert not matches(parse_filter("#"), b"$SYS/a")
    assert not matches(parse_filter("+/a"), b"$SYS/a")
    assert matches(parse_filter("$SYS/#"), b"$SYS/a")
    assert matches(parse_filter("$SYS/+"), b"$SYS/a")


def test_the_literal_prefix_ends_before_the_first_wildcard() -> None:
    assert literal_prefix(parse_filter("a/b/+/c")) == b"a/b"
    assert literal_prefix(parse_filter("#")) == b""
    assert literal_prefix(parse_filter("a/b")) == b"a/b"
    assert not is_wildcard(parse_filter("a/b"))
