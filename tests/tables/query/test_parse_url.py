"""The query language of URLs: what every form means, and that everything else is refused."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import InvalidQuery
from lyredb.tables.query.bounds import QueryBounds
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.query.terms import (
    Condition,
    Group,
    Query,
    Select,
    Selected,
    SortKey,
    UrlValue,
)
from tests.tables.query.queries import CORPUS, PIECES

MUTATIONS: Final = 4000


def _typed(text: str, prefix: str = "") -> UrlValue:
    return UrlValue(text, typed=True, prefix=prefix)


def _strict(text: str) -> UrlValue:
    return UrlValue(text, typed=False)


def _is(comparator: Any, value: object, *path: str) -> Condition:
    return Condition(path or ("a",), comparator, value)


def _all(*members: Any) -> Group:
    return Group("and", members)


def _any(*members: Any) -> Group:
    return Group("or", members)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("a=1", _is("equals", _strict("1"))),
        ("a===1", _is("equals", _strict("1"))),
        ("a!==1", _is("not_equal", _strict("1"))),
        ("a==1", _is("equals", _typed("1"))),
        ("a!=1", _is("not_equal", _typed("1"))),
        ("a=eq=1", _is("equals", _typed("1"))),
        ("a=ne=1", _is("not_equal", _typed("1"))),
        ("a=lt=1", _is("less_than", _typed("1"))),
        ("a=le=1", _is("less_than_equal", _typed("1"))),
        ("a=gt=1", _is("greater_than", _typed("1"))),
        ("a=ge=1", _is("greater_than_equal", _typed("1"))),
        ("a<1", _is("less_than", _typed("1"))),
        ("a<=1", _is("less_than_equal", _typed("1"))),
        ("a>1", _is("greater_than", _typed("1"))),
        ("a>=1", _is("greater_than_equal", _typed("1"))),
        ("a==x*", _is("starts_with", _typed("x"))),
        ("a==*", _is("starts_with", _typed(""))),
        ("a==string:x*", _is("starts_with", _typed("x", "string"))),
        ("a==x%2A", _is("equals", _typed("x*"))),
        ("a=x*", _is("equals", _strict("x*"))),
        ("a!=x*", _is("not_equal", _typed("x*"))),
        ("a=sw=x", _is("starts_with", _typed("x"))),
        ("a=ew=x", _is("ends_with", _typed("x"))),
        ("a=ct=*x*", _is("contains", _typed("*x*"))),
        ("a=in=1,2", _is("in", (_typed("1"), _typed("2")))),
        ("a=in=(1,number:2)", _is("in", (_typed("1"), _typed("2", "number")))),
        ("a=in=[1]", _is("in", (_typed("1"),))),
        ("a=in=", _is("in", (_typed(""),))),
        ("a=in=()", _is("in", ())),
        ("a=in=1%2C2", _is("in", (_typed("1,2"),))),
        ("a=bt=1,5", _is("between", (_typed("1"), _typed("5")))),
        ("a=pf=(x,y)", _is("prefix", (_typed("x"), _typed("y")))),
        ("a.b=1", _is("equals", _strict("1"), "a", "b")),
        ("a.b.c=gt=1", _is("greater_than", _typed("1"), "a", "b", "c")),
        ("a%2Eb=1", _is("equals", _strict("1"), "a.b")),
        ("a[]=1", _is("equals", _strict("1"))),
        ("a%5b%5D=1", _is("equals", _strict("1"))),
        ("a[]=gt=1", _is("greater_than", _typed("1"))),
        ("a==null", _is("equals", _typed("null"))),
        ("a==number:1", _is("equals", _typed("1", "number"))),
        ("a==date:2024-01-05T20%3A07", _is("equals", _typed("2024-01-05T20:07", "date"))),
        ("a==x%3Ay", _is("equals", _typed("x:y"))),
        ("a==:x", _is("equals", _typed(":x"))),
        ("a=x:y", _is("equals", _strict("x:y"))),
        ("a=", _is("equals", _strict(""))),
        ("a==", _is("equals", _typed(""))),
        ("a=f(x)[y]", _is("equals", _strict("f(x)[y]"))),
        ("a=hello!", _is("equals", _strict("hello!"))),
        ("%C3%A9=%26%3D", _is("equals", _strict("&="), "é")),
        ("lt=5", _is("equals", _strict("5"), "lt")),
        ("not=5", _is("equals", _strict("5"), "not")),
        ("limit=5", _is("equals", _strict("5"), "limit")),
    ],
)
def test_a_condition_means(text: str, condition: Condition) -> None:
    """Comparators, typed and strict values, prefixes, lists, wildcards, paths (3.7)."""
    assert parse_query(text) == Query(condition)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1+1", _strict("1 1")),
        ("a[]=1+1", _strict("1 1")),
        ("a=1%2B1", _strict("1+1")),
        ("a==1+1", _typed("1+1")),
        ("a=eq=1+1", _typed("1+1")),
        ("(a=1+1)", _strict("1+1")),
        ("a=1+1!", _strict("1+1!")),
    ],
)
def test_a_plus_is_a_space_where_a_form_is_sent(text: str, value: UrlValue) -> None:
    """Without operator characters only; else a timestamp's plus would get lost."""
    assert parse_query(text) == Query(_is("equals", value))


A, B, C, D = (Condition((name,), "equals", _strict("1")) for name in "abcd")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a=1&b=1&c=1", _all(A, B, C)),
        ("a=1|b=1|c=1", _any(A, B, C)),
        ("&a=1&&b=1&", _all(A, B)),
        ("(a=1)", A),
        ("[(a=1)]", A),
        ("a=1&[b=1|c=1]", _all(A, _any(B, C))),
        ("(a=1&b=1)|(c=1&d=1)", _any(_all(A, B), _all(C, D))),
        ("(a=1&b=1)&c=1", _all(_all(A, B), C)),
        ("[a=1|(b=1&[c=1|d=1])]", _any(A, _all(B, _any(C, D)))),
        ("not(a=1)", Group("not", (A,))),
        ("not[a=1|b=1]&c=1", _all(Group("not", (_any(A, B),)), C)),
        ("not(not(a=1))", Group("not", (Group("not", (A,)),))),
        ("limit(3)&a=1|b=1&explain()", _any(A, B)),
    ],
)
def test_groups_mean(text: str, where: object) -> None:
    """Brackets of both kinds, nested; a function between conditions joins nothing."""
    assert parse_query(text).where == where


GT, GE = _is("greater_than", _typed("10")), _is("greater_than_equal", _typed("10"))
LT, LE = _is("less_than", _typed("50")), _is("less_than_equal", _typed("50"))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a=gt=10&lt=50", _all(GT, LT)),
        ("a=ge=10&le=50", _all(GE, LE)),
        ("a=gt=10&=lt=50", _all(GT, LT)),
        ("a=lt=50&gt=10", _all(LT, GT)),
        ("a>10&<50", _all(GT, LT)),
        ("a>=10&=<=50", _all(GE, LE)),
        ("a>10&lt=50", _all(GT, LT)),
        ("b=1&a=gt=10&=le=50&c=1", _all(B, GT, LE, C)),
        ("[a=gt=10&lt=50]|b=1", _any(_all(GT, LT), B)),
        ("a=gt=10&lt==50", _all(GT, _is("equals", _typed("50"), "lt"))),
        ("a=gt=10&lt=gt=50", _all(GT, _is("greater_than", _typed("50"), "lt"))),
        ("a=gt=10&(b=1)&lt=50", _all(GT, B, _is("equals", _strict("50"), "lt"))),
        ("a=1&lt=50", _all(A, _is("equals", _strict("50"), "lt"))),
    ],
)
def test_a_chained_range_is_two_bounds_of_one_attribute(text: str, where: object) -> None:
    """Written as documented and as the first release took it."""
    assert parse_query(text).where == where


def _names(*names: str, form: Any = "objects") -> Select:
    return Select(tuple(map(Selected, names)), form)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", Query()),
        ("limit(5)", Query(limit=5)),
        ("limit(5,8)", Query(limit=3, offset=5)),
        ("limit(5,)", Query(offset=5)),
        ("limit(0)", Query(limit=0)),
        ("sort(a)", Query(sort=(SortKey(("a",)),))),
        ("sort(+a,-b)", Query(sort=(SortKey(("a",)), SortKey(("b",), descending=True)))),
        ("sort(%2Ba)", Query(sort=(SortKey(("a",)),))),
        ("sort(-rel.a)", Query(sort=(SortKey(("rel", "a"), descending=True),))),
        ("select(a)", Query(select=_names("a", form="values"))),
        ("select(a,)", Query(select=_names("a"))),
        ("select(a,%62)", Query(select=_names("a", "b"))),
        ("select(a,a)", Query(select=_names("a"))),
        ("select([a,b])", Query(select=_names("a", "b", form="arrays"))),
        ("select([a])", Query(select=_names("a", form="arrays"))),
        ("select(*)", Query(select=_names("*"))),
        ("select(*,$id)", Query(select=_names("*", "$id"))),
        ("select(r{x})", Query(select=Select((Selected("r", _names("x")),), "values"))),
        (
            "select(a,r{x,y{z}})",
            Query(
                select=Select(
                    (
                        Selected("a"),
                        Selected("r", Select((Selected("x"), Selected("y", _names("z"))))),
                    )
                )
            ),
        ),
        (
            "select([r(x),s[y,z]])",
            Query(
                select=Select(
                    (
                        Selected("r", _names("x", form="values")),
                        Selected("s", _names("y", "z", form="arrays")),
                    ),
                    "arrays",
                )
            ),
        ),
        ("explain()", Query(explain=True)),
        ("enforceExecutionOrder()", Query(enforce_order=True)),
        ("allowFullScan(false)", Query(allow_full_scan=False)),
    ],
)
def test_functions_mean(text: str, query: Query) -> None:
    """limit, sort, select in all its forms, and the switches of query objects."""
    assert parse_query(text) == query


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "'a' is no condition"),
        ("=1", "is no condition"),
        ("a!1", "is no condition"),
        ("a..b=1", "empty name"),
        ("a=xx=1", "unknown comparator 'xx'"),
        ("a=greater_than=1", "did you mean gt?"),
        ("a=gte=1", "did you mean ge?"),
        ("a=foo=1", "a = in a value is written %3D"),
        ("a=b64==", "must be written %3D"),
        ("a=1<2", "must be written %3C"),
        ("a==*x", "at the end only"),
        ("a==x*y", "as %2A"),
        ("a==x**", "at the end only"),
        ("a=1&b=2|c=3", "mixed without a group"),
        ("a=1|b=2&limit(1)&c=3", "mixed without a group"),
        ("a=gt=1&lt=2|b=1", "mixed without a group"),
        ("a=1|", "missing beside |"),
        ("|a=1", "missing beside |"),
        ("a=1||b=1", "missing beside |"),
        ("a=1|&b=1", "missing beside |"),
        ("(a=1", "a group in the query is not closed"),
        ("(a=1]", "unbalanced ']'"),
        ("a=1)", "unbalanced ')' in the query; in a name or value it is written %29"),
        ("a=x}", "unbalanced '}'"),
        ("a=(x", "the bracket '(' is not closed"),
        ("a=(x]", "unbalanced ']'"),
        ("()", "between its brackets"),
        ("not()", "between its brackets"),
        ("(a=1)b=2", "must be joined"),
        ("(a=1)(b=2)", "must be joined"),
        ("a=gt=1&gt=2", "one lower and one upper bound"),
        ("a=gt=1&lt=2&lt=3", "one lower and one upper bound"),
        ("a=1&=lt=3", "one lower and one upper bound"),
        ("=lt=3", "one lower and one upper bound"),
        ("<3", "one lower and one upper bound"),
        ("a=gt=1|lt=2", "one lower and one upper bound"),
        ("[a=gt=1]&=lt=2", "one lower and one upper bound"),
        ("a=bt=1", "bt takes two values"),
        ("limitt(1)", "did you mean limit?"),
        ("sum(a)", "unknown function sum()"),
        ("group-by(a)", "reserved"),
        ("limit(1)&limit(2)", "twice"),
        ("(limit(1))", "outside of groups"),
        ("a=1|limit(1)", "joined by &"),
        ("limit(1)|a=1", "joined by &"),
        ("limit(-1)", "numbers from 0 up"),
        ("limit(5,1)", "before it starts"),
        ("limit(1,2,3)", "limit is"),
        ("limit()", "limit is"),
        ("limit(1", "not closed"),
        ("sort()", "sort is"),
        ("sort(a,)", "sort is"),
        ("sort(-)", "sort is"),
        ("sort(a..b)", "empty name"),
        ("select()", "needs names"),
        ("select(a,,b)", "needs names"),
        ("select(r{})", "needs names"),
        ("select(r{x}y)", "behind its bracket"),
        ("select(r.x)", "select r{x}"),
        ("select([a,a])", "twice"),
        ("select(r{x},r{y})", "twice"),
        ("select(r(x,y))", "bare values are of one"),
        ("select([*])", "no fixed places"),
        ("select($id{x})", "nothing can be selected of $id"),
        ("explain(1)", "explain(true)"),
        ("a=%FF", "not UTF-8"),
        ("a=\ud800", "not UTF-8"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, message: str) -> None:
    """With what is wrong and what would be right; never taken for something different."""
    with pytest.raises(InvalidQuery) as caught:
        parse_query(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=" + "x" * 99, "at most 100 characters"),
        ("a=1&b=2&c=3&d=4", "at most 3 conditions"),
        ("(((a=1)))", "at most 2 levels deep"),
        ("select(a{b{c}})", "at most 2 levels deep"),
        ("a=in=1,2,3", "at most 2 values, got 3"),
        ("select(a,b{c,d})", "at most 3 names"),
        ("sort(a,b)", "at most 1 keys"),
    ],
)
def test_larger_queries_than_the_bounds_are_refused(text: str, message: str) -> None:
    """Before anything is planned, by the bound's own name."""
    bounds = QueryBounds(100, conditions=3, depth=2, values=2, selected=3, sort_keys=1)
    with pytest.raises(InvalidQuery) as caught:
        parse_query(text, bounds)
    assert message in str(caught.value)


def test_the_deepest_query_of_a_url_is_refused_by_depth() -> None:
    """Not by the interpreter's own limit."""
    for opening in ("(", "[", "not(", "select(", "select(a{", "a=("):
        with pytest.raises(InvalidQuery):
            parse_query(opening * (16_000 // len(opening)))


@given(st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@settings(max_examples=400)
def test_any_text_is_a_query_or_invalid(text: str) -> None:
    """Nothing else than `InvalidQuery` leaves the parser."""
    with suppress(InvalidQuery):
        parse_query(text)


def test_damaged_queries_are_queries_or_invalid() -> None:
    """Pieces put into, cut from and doubled in what people write; a fixed seed."""
    rng = random.Random(7)
    understood = 0
    for _ in range(MUTATIONS):
        text = rng.choice(CORPUS)
        for _ in range(rng.randint(1, 3)):
            at, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
            piece = rng.choice((rng.choice(PIECES), "", text[at:end]))
            text = text[:at] + piece + text[rng.choice((at, end)) :]
        try:
            parse_query(text)
            understood += 1
        except InvalidQuery:
            pass
    assert MUTATIONS / 20 < understood < MUTATIONS * 19 / 20
