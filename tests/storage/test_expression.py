"""Expressions: Python's meaning on what both know, and no way to raise or to take long."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import InvalidInput
from lyredb.storage.body import pack_body
from lyredb.storage.expression import MAX_NODES, ExpressionError, parse
from lyredb.storage.keys import index_entries
from lyredb.storage.operations import MAX_SIZE

NAMES = ("a", "b", "c", "words", "place")
_small = st.integers(-50, 50) | st.floats(-1e6, 1e6) | st.booleans()
_scalars = st.none() | _small | st.text("abc ,1", max_size=6)
VALUES = st.dictionaries(
    st.sampled_from(NAMES),
    _scalars | st.lists(_scalars, max_size=3) | st.dictionaries(st.just("x"), _scalars),
)
_literals = st.sampled_from(
    ("(1)", "(2.5)", "(-3)", "'ab'", "','", "None", "True", "(0)", "[1, 'a']")
)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    operators = ("+", "-", "*", "/", "//", "%", "<", "<=", "==", "!=", ">", "in", "and", "or")
    methods = ("lower()", "strip()", "split(',')", "title()", "isdigit()", "zfill(4)")
    functions = ("len", "abs", "str", "int", "float", "bool", "round", "min", "max", "sum")
    return st.one_of(
        st.tuples(inner, st.sampled_from(operators), inner).map(lambda t: f"({' '.join(t)})"),
        st.tuples(inner, st.sampled_from(methods)).map(lambda t: f"{t[0]}.{t[1]}"),
        st.tuples(st.sampled_from(functions), inner).map(lambda t: f"{t[0]}({t[1]})"),
        two.map(lambda t: f"[{t[0]}, {t[1]}]"),
        two.map(lambda t: f"{t[0]}[{t[1]}]"),
        two.map(lambda t: f"max({t[0]}, {t[1]})"),
        two.map(lambda t: f"{t[0]}.replace({t[1]}, 'x')"),
        two.map(lambda t: f"{t[0]}.startswith({t[1]})"),
        two.map(lambda t: f"','.join([{t[0]}, {t[1]}])"),
        two.map(lambda t: f"f'{{{t[0]}}} {{{t[1]}}}'" if "'" not in "".join(t) else t[0]),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} < {t[1]} < {t[2]})"),
        inner.map(lambda one: f"({one} is None)"),
        inner.map(lambda one: f"(not {one})"),
        inner.map(lambda one: f"{one}[1:]"),
        inner.map(lambda one: f"(-{one})"),
    )


TEXTS = st.recursive(st.sampled_from(NAMES) | _literals, _compound, max_leaves=6)


def _by_python(text: str, values: dict[str, object]) -> object:
    """What Python makes of it; ``None`` where it raises."""
    given = {name: values.get(name) for name in NAMES}
    try:
        return eval(text, {}, given)  # the yardstick, on our own text
    except Exception:
        return None


def _has(value: object, kind: type) -> bool:
    """A value of this kind is somewhere in it."""
    if isinstance(value, (list, tuple)):
        return any(_has(item, kind) for item in value)
    return isinstance(value, kind)


def _same(left: object, right: object) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return type(left) is type(right) and left == right


@given(text=TEXTS, values=VALUES)
@settings(max_examples=600)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # of ``1[2]``, which Python warns of
def test_an_expression_means_what_it_means_in_python(text: str, values: dict[str, object]) -> None:
    """Where ours computes something it is Python's value; where Python has one, ours has too.

    But for lists that are repeated and texts of lists, which ours refuses.
    """
    try:
        expression = parse(text)
    except ExpressionError:
        pytest.fail(f"refused: {text}")
    ours, pythons = expression.evaluate(values), _by_python(text, values)
    if ours is not None:
        assert _same(ours, pythons), text
    elif pythons is not None and not _has(pythons, float):
        assert _is_refused(text, values), text


def _is_refused(text: str, values: dict[str, object]) -> bool:
    """Python computes it by repeating a list, or by the text of a list or object."""
    holds = any(isinstance(one, (list, dict)) for one in values.values()) or "[" in text
    return holds and any(mark in text for mark in ("*", "str(", "f'", "%"))


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)


@given(text=TEXTS, values=st.dictionaries(st.sampled_from(NAMES), ANYTHING))
@settings(max_examples=300)
def test_nothing_raises_and_everything_can_be_stored_and_indexed(
    text: str, values: dict[str, object]
) -> None:
    """The writer evaluates them: what came out of one must never fail a write."""
    value = parse(text).evaluate(values)
    pack_body({"value": value})
    index_entries(value)


@given(st.text(max_size=30))
@settings(max_examples=300)
def test_any_text_is_an_expression_or_told_what_is_wrong(text: str) -> None:
    """With a place that is in the text, or right behind it."""
    column = _column_of_problem(text)
    assert column is None or 1 <= column <= len(text) + 1


def _column_of_problem(text: str) -> int | None:
    try:
        parse(text)
    except ExpressionError as error:
        return error.column
    return None


def test_absent_attributes_read_as_none() -> None:
    """An expression says itself what it makes of them."""
    expression = parse("0 if value is None else value * 1.8 + 32")
    assert expression.names == {"value"}
    assert expression.evaluate({}) == 0
    assert expression.evaluate({"value": 100}) == 212.0
    assert parse("value + 1").evaluate({}) is None


def test_dates_are_compared_and_their_difference_is_in_seconds() -> None:
    """The one thing that is not as in Python, whose difference no record can hold."""
    values = {"a": datetime(2026, 1, 2, tzinfo=UTC), "b": datetime(2026, 1, 1, tzinfo=UTC)}
    assert parse("a - b").evaluate(values) == 86_400.0
    assert parse("a > b").evaluate(values) is True
    assert parse("str(b)").evaluate(values) == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "'x' * 10 ** 9",
        "'x' * 65536 + 'y'",
        "2 ** 10 ** 8",
        "-2 ** 1024 * 4 ** 500",
        "10 ** 400",
        "round(5, -10 ** 9)",
        "'x'.zfill(10 ** 12)",
        "'x'.ljust(10 ** 12)",
        "('x' * 65536).replace('x', 'y' * 65536)",
        "('y' * 60000).join(('x ' * 30000).split())",
        "[1] * 10 ** 9",
        "1e308 * 10",
        "1e308 * 10 - 1e308 * 10",
        "1 / 0",
        "int('9' * 5000)",
        "(-8) ** 0.5",
        "'%1000000000d' % 1",
    ],
)
def test_what_would_be_too_big_is_none(text: str) -> None:
    """At once, without working it out."""
    begin = time.process_time()
    assert parse(text).evaluate({}) is None
    assert time.process_time() - begin < 1


def test_the_work_of_the_longest_expression_is_bounded() -> None:
    """Text of the greatest size made again and again, as often as an expression can."""
    step = f"len(a * {MAX_SIZE})"
    text = f"sum([{', '.join([step] * (MAX_NODES // 6))}])"
    begin = time.process_time()
    assert parse(text).evaluate({"a": "x"}) == MAX_SIZE * (MAX_NODES // 6)
    assert time.process_time() - begin < 1


def test_whole_values_of_a_record_pass_whatever_their_size() -> None:
    """Only what is made is bounded."""
    long = "x" * (MAX_SIZE + 1)
    assert parse("a").evaluate({"a": long}) == long
    assert parse("a + 'y'").evaluate({"a": long}) is None
    assert parse("a[0:3]").evaluate({"a": long}) == "xxx"


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "empty"),
        ("  ", 1, "empty"),
        ("value +", 8, "invalid syntax"),
        ("  (value", 3, "was never closed"),
        ("ä + place.city", 5, 'read by name: …["city"]'),
        ("a\n + f(b)", 6, "no function f"),
        ("a.format(b)", 1, "no method format"),
        ("a.__class__", 1, "__class__"),
        ("().__class__", 1, "__class__"),
        ("[x for x in a]", 1, "a comprehension cannot"),
        ("lambda: 1", 1, "a lambda cannot"),
        ("{1: 2}", 1, "a dictionary cannot"),
        ("(1, 2)", 1, "a tuple (write a list) cannot"),
        ("max(*a)", 5, "a * before a value"),
        ("round(a, ndigits=2)", 1, "no names"),
        ("a @ b", 1, "there are + -"),
        ("a << 9", 1, "there are + -"),
        ("~a", 1, "operator"),
        ("a is b", 6, "use == else"),
        ("f'{a:>9}'", 1, "no format"),
        ("b'x'", 1, "a bytes cannot"),
        ("1j", 1, "a complex cannot"),
        ("1e999", 1, "too big"),
        ("'\\ud800'", 1, "valid Unicode"),
        ("a; b", 2, "invalid syntax"),
        ("(a := 1)", 2, "an assignment"),
        ("a) + (b", 2, "unmatched"),
        ("-" * 40 + "a", 33, "nested deeper"),
        (" + ".join(["a"] * 40), 1, "nested deeper"),
        ("[" + ",".join(["a"] * 300) + "]", 512, "more than 256 parts"),
        ("(" * 300 + "a" + ")" * 300, 201, "too many nested"),
        ("a" * 2001, 2001, "longer than 2000"),
    ],
)
def test_what_is_no_expression_is_told_with_its_place(text: str, column: int, message: str) -> None:
    """Nothing of Python beyond the list is reachable."""
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert caught.value.column == column
    assert isinstance(caught.value, InvalidInput)


def test_a_result_is_finite() -> None:
    """Inside of lists too: a list keeps its other values."""
    assert parse("[1, 1e308 * 10, a]").evaluate({"a": "x"}) == [1, None, "x"]
    assert math.isfinite(float(str(parse("1e308").evaluate({}))))
