"""Random queries, and a corpus of texts that fuzzers begin with."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from lyredb.tables.query.terms import (
    Condition,
    Form,
    Group,
    Query,
    Select,
    Selected,
    SortKey,
    UrlValue,
    Where,
)

CORPUS: Final = (
    "",
    "a=1",
    "a===1&b!==2&c==3&d!=4",
    "a=gt=10&lt=50",
    "a=ge=10&=le=50&b=1",
    "a>1&b<=5&>2",
    "a=sw=x&b=ew=y&c=ct=z&d==w*",
    "a=in=(1,2,number:3)&b=bt=1,5&c=pf=[a,b]",
    "a==null&b!=null&c==number:$z&d==date:2024-01-05T20%3A07%3A27Z",
    "a=1&[b=2|b=3]&(c=4|(d=5&e=6))",
    "not(a=1|b=2)&not[c=3]",
    "rel.brand.name=x&a%2Eb=1&a[]=2&a%5B%5D=3",
    "select(a,b)&sort(+a,-rel.b)&limit(5,10)",
    "select(a)&limit(5,)&explain()",
    "select([a,b])&allowFullScan(false)",
    "select(a,rel{x,y{z},w(v),u[s,t]},*)&enforceExecutionOrder()",
    "q=a+b&c=%C3%A9",
    "select(a,)",
)
PIECES: Final = (
    *"abz.=<>!&|()[]{},*:+-%$ é\x00\ud800",
    *("%2", "%41", "%FF", "==", "===", "!==", "=gt=", "=in=", "=bt=", "&=lt=", "lt=", "not("),
    *("limit(", "sort(", "select(", "explain()", "group-by(", "number:", "null", "[]", "9" * 400),
)  # fmt: skip
"""What is put into texts to break them."""

_names = st.sampled_from(
    ("a", "b", "lt", "gt", "not", "a.b", "é", "x[]", "[]", "-m", "+p", "%41", "a b", "limit", "$id")
) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
_paths = st.lists(_names, min_size=1, max_size=3).map(tuple)
_texts = st.sampled_from(
    ("", "1", "-1.5", "null", "true", "a*", "*", "x:y", ":x", "(1)", "a,b", "string:1", "=", "+ &")
) | st.text(st.characters(codec="utf-8"), max_size=6)
_strict = _texts.map(lambda text: UrlValue(text, typed=False))
_typed = st.builds(
    UrlValue, _texts, st.just(True), st.sampled_from(("", "number", "string", "date", "boolean"))
)
_typed_lists = st.lists(_typed, max_size=3).map(tuple)
conditions = st.one_of(
    st.builds(Condition, _paths, st.sampled_from(("equals", "not_equal")), _strict),
    st.builds(
        Condition,
        _paths,
        st.sampled_from(
            (
                "equals", "not_equal", "greater_than", "greater_than_equal", "less_than",
                "less_than_equal", "starts_with", "ends_with", "contains",
            )
        ),
        _typed,
    ),
    st.builds(Condition, _paths, st.sampled_from(("in", "prefix")), _typed_lists),
    st.builds(Condition, _paths, st.just("between"), st.tuples(_typed, _typed)),
)  # fmt: skip


def _groups(inner: st.SearchStrategy[Where]) -> st.SearchStrategy[Where]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    joined: st.SearchStrategy[Where] = st.builds(Group, st.sampled_from(("and", "or")), several)
    negated: st.SearchStrategy[Where] = st.builds(
        Group, st.just("not"), inner.map(lambda one: (one,))
    )
    return joined | negated


wheres: st.SearchStrategy[Where] = st.recursive(conditions, _groups, max_leaves=8)


def _select(inner: st.SearchStrategy[Select | None]) -> st.SearchStrategy[Select]:
    items = st.lists(
        st.builds(Selected, _names.filter(lambda name: name[0] != "$" and name != "*"), inner),
        min_size=1,
        max_size=3,
        unique_by=lambda item: item.name,
    ).map(tuple)

    def with_form(some: tuple[Selected, ...]) -> st.SearchStrategy[Select]:
        forms: list[Form] = ["objects", "arrays"]
        if len(some) == 1:
            forms.append("values")
        return st.sampled_from(forms).map(lambda form: Select(some, form))

    return items.flatmap(with_form)


selects = _select(_select(st.none()) | st.none())
queries = st.builds(
    Query,
    where=st.none() | wheres,
    sort=st.lists(st.builds(SortKey, _paths, st.booleans()), max_size=3).map(tuple),
    limit=st.none() | st.integers(0, 1000),
    offset=st.integers(0, 1000),
    select=st.none() | selects | st.just(Select((Selected("*"), Selected("$id")))),
    explain=st.booleans(),
    enforce_order=st.booleans(),
    allow_full_scan=st.booleans(),
)
