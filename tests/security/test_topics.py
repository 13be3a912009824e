"""Topic patterns: what they give, what they take away, and that no name widens one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.delivery.filters import matches, parse_filter
from lyredb.errors import InvalidRecord
from lyredb.security.principals import Role
from lyredb.security.rights import RoleDefinition, TableRights, read_role
from lyredb.security.topics import TopicRights, TopicRules, Word, literal


def of(words: dict[str, Word], user: str = "eve", client: str = "c1") -> TopicRights:
    return TopicRules(words).bound(user, client)


@pytest.mark.parametrize(
    ("pattern", "topic", "may"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("u/%u/#", "u/eve/x", True),
        ("u/%u/#", "u/bob/x", False),
        ("u/dev-%c/x", "u/dev-c1/x", True),
        ("u/%u:%c", "u/eve:c1", True),
        ("u/%%u", "u/%u", True),
        ("u/%%u", "u/eve", False),
        ("100%", "100%", True),
    ],
)
def test_a_pattern_is_a_topic_filter_with_names(pattern: str, topic: str, may: bool) -> None:
    assert of({pattern: "read"}).may_all("read", topic) is may
    assert of({pattern: "read"}).may_some("read", topic) is may
    assert not of({pattern: "read"}).may_all("write", topic)


def test_patterns_add_up_and_none_wins() -> None:
    mine = of({"a/#": "read", "a/+/x": "write", "a/secret/#": "none", "b": "both"})
    assert mine.may_all("read", "a/1/x")
    assert mine.may_all("write", "a/1/x")
    assert mine.may_all("write", "b")
    assert mine.may_all("read", "b")
    assert not mine.may_all("write", "a/1")
    assert not mine.may_all("read", "a/secret/x")
    assert not mine.may_all("write", "a/secret/x")


NAMES = ["+", "#", "a/b", "/", "", "x/#", "bob/+", "bob/../eve", "a\0b", "++"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "pattern", ["%c", "%c/#", "in/%c", "in/%c/+", "in/dev%c", "+/%c/#", "%u%c"]
)
@pytest.mark.parametrize("topic", ["x", "in/bob", "in/bob/y", "in/a/b", "in/devx", "a/b", "+", "#"])
def test_a_name_with_letters_of_filters_reaches_nothing(
    name: str, pattern: str, topic: str
) -> None:
    """Neither another's place, nor one below it: the client chooses its identifier."""
    mine = of({pattern: "both"}, client=name)
    assert not mine.may_all("read", topic)
    assert not mine.may_all("write", topic)
    assert not mine.may_some("read", "#")


@pytest.mark.parametrize("name", NAMES)
def test_such_a_name_does_not_get_around_what_is_taken_away(name: str) -> None:
    mine = of({"in/#": "both", "in/%c/secret": "none"}, client=name)
    assert not mine.may_all("read", "in/anybody/secret")
    assert mine.may_all("read", "in/anybody")


def test_a_name_does_not_open_the_topics_of_the_server() -> None:
    """``%c/#`` is no pattern for ``$SYS/#``, whoever calls itself ``$SYS``."""
    assert not of({"%c/#": "read"}, client="$SYS").may_all("read", "$SYS/broker/uptime")
    assert of({"in/%c": "read"}, client="$SYS").may_all("read", "in/$SYS")


def test_who_has_no_name_reaches_nothing_by_it() -> None:
    assert not of({"u/%u": "read", "u/%u/#": "read"}, user="").may_some("read", "#")


LEVELS = st.sampled_from(["a", "b", "", "+"])


@st.composite
def filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(LEVELS, min_size=1, max_size=3))
    text = "/".join(levels + (["#"] if draw(st.booleans()) else []))
    return text or "#"


TOPICS = st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=4).map("/".join)


@given(filters(), filters(), TOPICS.filter(bool))
def test_covering_and_meeting_agree_with_matching(pattern: str, wanted: str, topic: str) -> None:
    """What is covered matches wherever the filter does; what does not meet shares nothing."""
    mine = of({pattern: "read"})
    here = matches(parse_filter(pattern), topic.encode())
    there = matches(parse_filter(wanted), topic.encode())
    assert mine.may_all("read", topic) is here
    if mine.may_all("read", wanted) and there:
        assert here
    if here and there:
        assert mine.may_some("read", wanted)


def test_all_of_a_filter_needs_one_pattern_and_nothing_taken_away() -> None:
    mine = of({"a/#": "read", "a/x/#": "none"})
    assert mine.may_all("read", "a/b/#")
    assert not mine.may_all("read", "a/#")
    assert mine.may_some("read", "a/#")
    assert not mine.may_some("read", "a/x/+")
    assert not mine.may_some("read", "b/#")


def test_the_class_is_as_coarse_as_the_patterns_let_it_be() -> None:
    plain = TopicRules({"a/#": "read", "b/%%u": "read"})
    assert not plain.by_user
    assert not plain.by_client
    assert TopicRules({"a/%u": "none"}).by_user
    assert TopicRules({"a/x%c": "read"}).by_client


def test_a_literal_filter_stands_for_no_name() -> None:
    for text in ("a/%u/%c", "%%", "%%u", "a%", "%%%c"):
        assert of({literal(text): "read"}).may_all("read", text)


def test_the_keys_of_principals_are_equal_where_they_are() -> None:
    """What is shared by the key is shared by nobody else, whatever a client calls itself."""
    told_apart = [
        Role("r"),
        Role("r", user="a"),
        Role("r", client="a"),
        Role("r", user="", client="a"),
        Role("r", user="a", client=""),
        Role("r", user="a", client="\1cb"),
        Role("r", user="a", client="b"),
        Role("ra"),
    ]
    assert len({one.key for one in told_apart}) == len(told_apart)
    assert Role("r", user="a").key == Role("r", user="a").key


# In a role


def test_patterns_decide_on_open_topics_alone() -> None:
    role = read_role("r", {"topics": {"a/#": "read"}, "*": {"*": {"delete": True}}})
    rules = TopicRules({"a/#": "read"})
    assert role.rights("data", "Topic") == TableRights(read=True, topics=rules)
    assert role.rights("data", "Other") == TableRights(delete=True)
    assert read_role("r", role.as_mapping()) == role


def test_a_database_may_be_called_topics() -> None:
    role = read_role("r", {"topics": {"T": {"read": True}}})
    assert role.topics is None
    assert role.rights("topics", "T") == TableRights(read=True)


def test_a_role_has_a_database_topics_or_patterns() -> None:
    with pytest.raises(ValueError, match="topics"):
        RoleDefinition("r", databases={"topics": {}}, topics=TopicRules({}))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"topics": {"a/#/b": "read"}}, "last level"),
        ({"topics": {"a+": "read"}}, "whole level"),
        ({"topics": {"": "read"}}, "a letter"),
        ({"topics": {"a\0": "read"}}, "NUL"),
        ({"topics": {"a": "readwrite"}}, "read, write, both, none"),
        ({"topics": {"a": True}}, "read, write, both, none"),
        ({"topics": ["read a"]}, "mapping"),
        ({"topics": {"a": "read"}, "data": {"Topic": {"read": True}}}, "one of both"),
        ({"topics": {"a": "read"}, "super_user": True}, "list nothing else"),
        ({"topics": {f"a/{n}": "read" for n in range(1001)}}, "at most 1000"),
        ({"topics": {"ü" * 2049: "read"}}, "4096 bytes"),
    ],
)
def test_a_pattern_that_cannot_be_is_named(value: object, problem: str) -> None:
    with pytest.raises(InvalidRecord, match=problem):
        read_role("r", value)
