"""Query objects: every spelling, and that everything else is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import InvalidQuery
from lyredb.tables.query.bounds import QueryBounds
from lyredb.tables.query.comparators import NAMES
from lyredb.tables.query.parse_object import read_query, read_select, read_sort, read_where
from lyredb.tables.query.terms import Condition, Group, Query, Select, Selected, SortKey

A, B = Condition(("a",), "equals", 1), Condition(("b",), "greater_than", 2)


def _object(comparator: object = "equals", value: object = 1) -> dict[str, object]:
    return {"attribute": "a", "comparator": comparator, "value": value}


@pytest.mark.parametrize(
    "given_form",
    [
        A,
        {"attribute": "a", "value": 1},
        {"attribute": ["a"], "comparator": None, "value": 1},
        {"search_attribute": "a", "search_type": "equals", "search_value": 1},
        ("a", 1),
        ("a", "===", 1),
        [("a", 1)],
        [[A]],
        {"operator": "OR", "conditions": [A]},
    ],
)
def test_one_condition_has_several_forms(given_form: object) -> None:
    """Objects with new and old keys, tuples, typed conditions."""
    assert read_where(given_form) == A


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_of_a_comparator_is_known(name: str) -> None:
    """Snake case, camel case, the letters and the symbols of URLs."""
    canonical = NAMES[name]
    value = [1, 2] if canonical in ("between", "in", "prefix") else 1
    found = read_where(_object(name, value))
    assert isinstance(found, Condition)
    assert found.comparator == canonical
    assert found.value == (tuple(value) if isinstance(value, list) else 1)


def test_comparators_of_the_conventions_are_all_there() -> None:
    """As they are listed there, camel case included."""
    listed = (
        "equals not_equal greater_than greater_than_equal less_than less_than_equal between "
        "starts_with ends_with contains prefix in eq ne gt ge lt le sw ew ct > >= < <= gte lte "
        "notEqual greaterThan greaterThanEqual lessThan lessThanEqual startsWith endsWith"
    )
    for name in listed.split():
        assert name in NAMES


@pytest.mark.parametrize(
    ("attribute", "path"),
    [
        ("a", ("a",)),
        ("rel.a", ("rel", "a")),
        (["rel", "a"], ("rel", "a")),
        (["rel.a"], ("rel.a",)),
    ],
)
def test_a_path_is_a_list_or_has_dots(attribute: object, path: tuple[str, ...]) -> None:
    """A name that has a dot itself is a list of one."""
    assert read_where({"attribute": attribute, "value": 1}) == Condition(path, "equals", 1)
    assert read_sort({"attribute": attribute}) == (SortKey(path),)


def test_groups_nest() -> None:
    """A list is all of it; a group of one is its member; of none nothing."""
    nested = {"operator": "or", "conditions": [A, {"operator": "not", "conditions": [A, B]}]}
    negated = Group("not", (Group("and", (A, B)),))
    assert read_where([nested, B]) == Group("and", (Group("or", (A, negated)), B))
    assert read_where(A & (B | A)) == A & (B | A)
    assert read_where([]) is None
    assert read_where([[], A]) == A


def test_a_query_object_in_both_spellings() -> None:
    """All keys, in snake case and in camel case."""
    query = Query(
        Group("or", (A, B)),
        (SortKey(("x",), descending=True), SortKey(("rel", "y"))),
        10,
        5,
        Select((Selected("a"), Selected("rel", Select((Selected("x"),))))),
        explain=True,
        enforce_order=True,
        allow_full_scan=False,
    )
    given_object = {
        "operator": "or",
        "conditions": [_object(), {"attribute": "b", "comparator": "greaterThan", "value": 2}],
        "sort": {"attribute": "x", "descending": True, "next": {"attribute": ["rel", "y"]}},
        "limit": 10,
        "offset": 5,
        "select": ["a", {"name": "rel", "select": ["x"]}],
        "explain": True,
    }
    snake = {"enforce_execution_order": True, "allow_full_scan": False}
    camel = {"enforceExecutionOrder": True, "allowFullScan": False}
    assert read_query(given_object | snake) == query
    assert read_query(json.loads(json.dumps(given_object | camel))) == query
    assert read_query([_object()]) == Query(A)
    empty = dict.fromkeys(("conditions", "operator", "select", "sort", "limit", "offset"))
    assert read_query({}) == read_query(empty) == read_query({"conditions": []}) == Query()


@pytest.mark.parametrize(
    ("given_form", "select"),
    [
        ("a", Select((Selected("a"),), "values")),
        (["a"], Select((Selected("a"),))),
        ([["a", "b"]], Select((Selected("a"), Selected("b")), "arrays")),
        ([{"name": "a.b"}], Select((Selected("a.b"),))),
        ("*", Select((Selected("*"),))),
        (
            [{"name": "r", "select": "x"}],
            Select((Selected("r", Select((Selected("x"),), "values")),)),
        ),
    ],
)
def test_selects_have_several_forms(given_form: object, select: Select) -> None:
    """A string is bare values, a list objects, a list in a list arrays."""
    assert read_select(given_form) == select
    assert read_select(select) == select


def test_sorts_have_several_forms() -> None:
    """A chain by ``next``, a list, a name."""
    both = (SortKey(("a",)), SortKey(("b",), descending=True))
    assert read_sort({"attribute": "a", "next": {"attribute": "b", "descending": True}}) == both
    assert read_sort(["a", {"attribute": "b", "descending": True}]) == both
    assert read_sort(both) == both
    assert read_sort(None) == ()


@pytest.mark.parametrize(
    ("given_form", "message"),
    [
        ("a=1", "a query is an object"),
        (3, "a query is an object"),
        ({"conditions": "a=1"}, "conditions is a list"),
        ({"conditions": {"attribute": "a", "value": 1}}, "conditions is a list"),
        ({"conditions": ["a"]}, "a condition is an object"),
        ({"conditions": [3]}, "a condition is an object"),
        ({"conditions": [None]}, "a condition is an object"),
        ({"condition": []}, "did you mean conditions?"),
        ({3: 1}, "unknown key 3 in a query"),
        ({10**5000: 1}, "unknown key"),
        ({"conditions": [{"attribute": "a"}]}, "the condition on a needs a value"),
        ({"conditions": [{"attributex": "a", "value": 1}]}, "did you mean attribute?"),
        ({"conditions": [{"value": 1}]}, "needs the name"),
        ({"conditions": [{"attribute": "", "value": 1}]}, "needs the name"),
        ({"conditions": [{"attribute": ["a", 3], "value": 1}]}, "needs the name"),
        ({"conditions": [{"attribute": "a", "search_attribute": "b", "value": 1}]}, "twice"),
        ({"conditions": [_object("greater_then")]}, "did you mean greater_than?"),
        ({"conditions": [_object(3)]}, "a comparator is a name"),
        ({"conditions": [_object("between", [1])]}, "two values"),
        ({"conditions": [_object("in", "abc")]}, "takes a list of values, not 'abc'"),
        ({"operator": "xor", "conditions": []}, "operator is and, or or not"),
        ({"operator": 3, "conditions": []}, "operator is and, or or not"),
        ({"operator": "not", "conditions": []}, "needs a condition"),
        ({"limit": -1}, "integer from 0 up"),
        ({"limit": True}, "integer from 0 up"),
        ({"limit": "5"}, "integer from 0 up, got '5'"),
        ({"offset": 1.5}, "integer from 0 up"),
        ({"explain": 1}, "explain is true or false"),
        ({"sort": 3}, "sort is"),
        ({"sort": {"attribute": "a", "next": 3}}, "sort is"),
        ({"sort": {"descending": True}}, "needs the name"),
        ({"sort": {"attribute": "a", "descend": True}}, "did you mean descending?"),
        ({"select": 3}, "select is"),
        ({"select": []}, "needs names"),
        ({"select": [3]}, "select takes names"),
        ({"select": ["rel.x"]}, '{"name": "rel", "select": ["x"]}'),
        ({"select": [{"select": ["x"]}]}, "needs the name"),
        ({"select": [{"name": "a", "as": "b"}]}, "unknown key 'as'"),
        ({"select": [{"name": "r", "select": ["x"]}, "r"]}, "twice"),
        ([("a", 1, 2, 3)], "a condition is"),
        ([("a",)], "a condition is"),
    ],
)
def test_other_forms_are_refused(given_form: object, message: str) -> None:
    """With what is wrong, and what would be right."""
    with pytest.raises(InvalidQuery) as caught:
        read_query(given_form)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given_form", "message"),
    [
        ({"conditions": [A] * 4}, "at most 3 conditions"),
        ([[[[A]]]], "at most 2 levels deep"),
        ({"conditions": [("a", "in", [1, 2, 3])]}, "at most 2 values"),
        ({"select": ["a", "b", "c", "d"]}, "at most 3 names"),
        ({"sort": ["a", "b"]}, "at most 1 keys"),
        ({"sort": {"attribute": "a", "next": {"attribute": "b"}}}, "at most 1 keys"),
    ],
)
def test_larger_queries_than_the_bounds_are_refused(given_form: object, message: str) -> None:
    """The same bounds as for texts."""
    bounds = QueryBounds(100, conditions=3, depth=2, values=2, selected=3, sort_keys=1)
    with pytest.raises(InvalidQuery) as caught:
        read_query(given_form, bounds)
    assert message in str(caught.value)


def test_an_object_that_holds_itself_is_refused() -> None:
    """By the bounds, before the interpreter's own limit."""
    group: dict[str, Any] = {"operator": "and"}
    group["conditions"] = [group]
    select: list[Any] = []
    select.append({"name": "r", "select": select})
    sort: dict[str, Any] = {"attribute": "a"}
    sort["next"] = sort
    for one in (group, {"select": select}, {"sort": sort}):
        with pytest.raises(InvalidQuery, match="at most"):
            read_query(one)


_keys = st.sampled_from(
    ("conditions", "operator", "select", "sort", "limit", "offset", "explain", "attribute", "name",
     "comparator", "value", "descending", "next", "allowFullScan", "x")
)  # fmt: skip
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(("a", "and", "in", "r.x")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_keys, _values, max_size=4) | _values)
@settings(max_examples=400)
def test_any_value_is_a_query_or_invalid(value: object) -> None:
    """Nothing else than `InvalidQuery` leaves the reader."""
    with suppress(InvalidQuery):
        read_query(value)
