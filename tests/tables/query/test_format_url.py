"""A query as the text of a URL: what is written means what it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import InvalidQuery
from lyredb.tables.query.format_url import format_url
from lyredb.tables.query.parse_object import read_query, read_where
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.query.terms import Condition, Query, UrlValue, conditions_in
from tests.tables.query.queries import CORPUS, queries


@given(queries)
@settings(max_examples=400)
def test_a_query_is_read_from_its_own_text(query: Query) -> None:
    """The inverse, for every query that a URL can hold."""
    text = format_url(query)
    assert parse_query(text) == query
    assert text.isascii()
    assert " " not in text


@given(queries)
@settings(max_examples=100)
def test_reading_a_query_again_changes_nothing(query: Query) -> None:
    """Objects are checked by the same rules as texts."""
    assert read_where(query.where) == query.where


@pytest.mark.parametrize("text", CORPUS)
def test_writing_settles_after_one_round(text: str) -> None:
    """What people write in several ways has one text."""
    query = parse_query(text)
    assert parse_query(format_url(query)) == query


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (12, "12"),
        (-(10**30), "-1" + "0" * 30),
        (1.5, "1.5"),
        (1e22, "1e%2B22"),
        ("abc", "abc"),
        ("12", "string:12"),
        ("null", "string:null"),
        ("true", "string:true"),
        ("", "string:"),
        ("x:y", "x%3Ay"),
        ("x*", "x%2A"),
        (datetime(2024, 1, 5, 20, 7, tzinfo=UTC), "date:2024-01-05T20%3A07%3A00%2B00%3A00"),
    ],
)  # fmt: skip
def test_plain_values_keep_their_type(value: object, text: str) -> None:
    """A string that looks like a number is marked; else undeclared attributes take it for one."""
    assert format_url(Query(Condition(("a",), "equals", value))) == f"a=={text}"


def test_an_attribute_that_is_called_like_a_bound_stays_one() -> None:
    """``lt=5`` behind a bound would be the other end of its range."""
    where = Condition(("a",), "greater_than", UrlValue("1", typed=True)) & Condition(
        ("lt",), "equals", UrlValue("5", typed=False)
    )
    assert format_url(Query(where)) == "a=gt=1&lt===5"
    assert parse_query("a=gt=1&lt===5").where == where


@pytest.mark.parametrize(
    "value", [b"x", [1], {"a": 1}, float("inf"), float("nan"), 10**301, object(), "\ud800"]
)
def test_what_a_url_cannot_say_is_refused(value: object) -> None:
    """Rather than written as something else."""
    with pytest.raises(InvalidQuery):
        format_url(Query(Condition(("a",), "equals", value)))
    with pytest.raises(InvalidQuery):
        format_url(Query(Condition(("a",), "greater_than", UrlValue("1", typed=False))))


_plain = (
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.datetimes(timezones=st.just(timezone(timedelta(hours=2))))
)  # fmt: skip


@given(st.lists(_plain, max_size=4))
def test_objects_can_be_written_as_urls(values: list[object]) -> None:
    """Plain values become text with a type, one for one."""
    query = read_query([{"attribute": "a", "comparator": "in", "value": values}])
    (condition,) = conditions_in(parse_query(format_url(query)).where)
    assert isinstance(condition.value, tuple)
    assert len(condition.value) == len(values)
    assert all(isinstance(one, UrlValue) and one.typed for one in condition.value)
