"""Keys as values, in paths and topics, and in the store."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.errors import InvalidKey, RecordNotFound
from lyredb.storage.keys import decode_key
from lyredb.tables.keys import SAFE_INTEGER, KeyRules, key_text


@pytest.mark.parametrize(
    ("key_type", "text", "key"),
    [
        ("ID", "a/b", "a/b"),
        ("ID", "7", "7"),
        ("String", "007", "007"),
        ("Int", "-7", -7),
        ("Long", str(SAFE_INTEGER), SAFE_INTEGER),
        ("BigInt", "9" * 300, int("9" * 300)),
        ("Any", "7", 7),
        ("Any", "-0", "-0"),
        ("Any", "007", "007"),
        ("Any", "7.0", "7.0"),
        ("Any", str(SAFE_INTEGER), SAFE_INTEGER),
        ("Any", str(SAFE_INTEGER + 1), str(SAFE_INTEGER + 1)),
    ],
)
def test_text_in_a_path_names_a_key(key_type: str, text: str, key: object) -> None:
    """What the path says is what the topic says, and the key says it again."""
    rules = KeyRules(key_type)
    found = rules.from_text(text)
    assert found == key
    assert type(found) is type(key)
    assert key_text(found) == text


@pytest.mark.parametrize("key_type", ["Int", "Long", "BigInt"])
@pytest.mark.parametrize("text", ["007", "+7", "7.0", "x", "", "-0", " 7", "٣", "1e3", "9" * 400])
def test_a_text_that_is_no_canonical_integer_names_no_record(key_type: str, text: str) -> None:
    """Two paths must never be one record."""
    with pytest.raises(RecordNotFound):
        KeyRules(key_type).from_text(text)


@pytest.mark.parametrize("key_type", ["ID", "String", "Any"])
@pytest.mark.parametrize("text", ["", "/a", "a/", "a//b", "a+", "#", "a\0b", "x" * 1979])
def test_texts_that_could_not_be_topics_are_no_keys(key_type: str, text: str) -> None:
    """The same whether the key comes in a path or in a body."""
    rules = KeyRules(key_type)
    with pytest.raises(InvalidKey):
        rules.from_text(text)
    with pytest.raises(InvalidKey):
        rules.check(text)


@pytest.mark.parametrize(
    ("key_type", "value"),
    [
        ("ID", 7), ("ID", None), ("ID", True), ("Int", [1]), ("BigInt", ["a"]),
        ("Int", 2**31), ("Int", "7"), ("Int", 1.5), ("Int", True),
        ("Long", 2**53 + 1), ("Any", 1.5), ("Any", {}), ("Any", 2**53 + 2), ("BigInt", "x"),
    ],
)  # fmt: skip
def test_values_of_other_types_are_no_keys(key_type: str, value: object) -> None:
    """Each key type takes its own values only."""
    with pytest.raises(InvalidKey):
        KeyRules(key_type).check(value)


def test_undeclared_keys_are_one_for_text_and_number() -> None:
    """``"7"``, 7 and 7.0 are one record where a key may be either."""
    rules = KeyRules("Any")
    assert rules.encode("7") == rules.encode(7) == rules.encode(7.0)


@given(st.text(max_size=600) | st.integers(1 - 10**300, 10**300 - 1))
def test_keys_survive_their_stored_form(value: str | int) -> None:
    """Whatever a table takes comes back from the store as it was."""
    rules = KeyRules("BigInt" if isinstance(value, int) else "String", open_topics=True)
    key = rules.check(value)
    try:
        encoded = rules.encode(value)
    except InvalidKey:  # only text that is no Unicode
        assert isinstance(value, str)
        return
    assert len(encoded) == 481 or decode_key(encoded) == key


def test_open_topics_take_every_legal_topic() -> None:
    """Byte for byte, digits stay text."""
    rules = KeyRules("String", open_topics=True)
    for topic in ("7", "/a//b/", "x" * 65_000):
        assert rules.from_text(topic) == topic
    with pytest.raises(InvalidKey):
        rules.encode("x" * 65_536)


def test_generated_keys_are_uuids_or_the_next_number() -> None:
    """UUID v4 for text keys; numbers wherever a number can be a key."""

    def next_integer() -> int:
        return 12

    never: Callable[[], int] = pytest.fail  # a UUID asks for no number
    assert UUID(str(KeyRules("ID").generate(never))).version == 4
    assert KeyRules("Any").generate(next_integer) == 12
    assert KeyRules("Int").generate(next_integer) == 12


@pytest.mark.parametrize(
    ("key_type", "greatest"),
    [("Int", 2**31 - 1), ("Long", SAFE_INTEGER), ("Any", SAFE_INTEGER), ("BigInt", 10**300 - 1)],
)
def test_no_key_is_made_beyond_the_greatest(key_type: str, greatest: int) -> None:
    """The sentence is about the key that cannot be made, for nobody has given one."""
    rules = KeyRules(key_type)
    assert rules.generate(lambda: greatest) == greatest
    with pytest.raises(InvalidKey, match=f"the greatest one that {key_type} holds"):
        rules.generate(lambda: greatest + 1)


@pytest.mark.parametrize("key_type", ["ID", "Any", "String"])
@pytest.mark.parametrize("value", [["a", "b"], ("a",), []])
def test_a_list_is_no_key_of_a_table_that_does_not_split(key_type: str, value: object) -> None:
    """No path reaches it, and its topic would be that of a text key; the way out is named."""
    with pytest.raises(InvalidKey, match="use a string such as 'a/b'"):
        KeyRules(key_type).check(value)


@given(
    st.lists(st.text("ab0-é", min_size=1, max_size=3) | st.integers(-9, 9), min_size=1, max_size=4)
)
def test_a_split_key_is_one_record_however_it_is_written(segments: list[str | int]) -> None:
    """As a list, and as text in a path; the canonical text of an integer is the integer."""
    rules = KeyRules("Any", split=True)
    key = rules.check(segments)
    text = key_text(key)
    assert text == "/".join(map(str, segments))
    assert rules.check(text) == rules.from_text(text) == key
    assert decode_key(rules.encode(segments)) == key
    assert isinstance(key, tuple) == (len(segments) > 1)


@given(st.lists(st.lists(st.text("ab", min_size=1, max_size=2), min_size=2, max_size=3)))
def test_split_keys_are_in_the_order_of_their_segments(keys: list[list[str]]) -> None:
    """A list is before all that it is the beginning of, whatever its text is."""
    rules = KeyRules("ID", split=True)
    assert [decode_key(one) for one in sorted(map(rules.encode, keys))] == sorted(map(tuple, keys))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "empty list"),
        (["a", ""], "empty segment"),
        (["a/b", "c"], "slash"),
        (["a", ["b"]], "neither a list"),
        (["a", "+"], "reserve"),
        ("a//b", "empty segment"),
        ("a/b/", "empty segment"),
        (["a", 1.5], "not a fraction"),
        (["a", None], "not null"),
        (["a", "b" * 1977], "at most 1978 bytes"),
    ],
)
def test_a_split_key_has_segments_that_a_path_can_have(value: object, message: str) -> None:
    """What could not be written in a path, or would be another record there."""
    with pytest.raises(InvalidKey, match=message):
        KeyRules("Any", split=True).check(value)


def test_an_id_that_is_split_has_no_numbers() -> None:
    """Its segments are strings: ``7`` is the string there."""
    rules = KeyRules("ID", split=True)
    assert rules.from_text("a/7") == ("a", "7")
    with pytest.raises(InvalidKey, match="not a number"):
        rules.check(["a", 7])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_big_key_has_at_most_300_digits(sign: int) -> None:
    rules = KeyRules("BigInt")
    largest = sign * (10**300 - 1)
    assert rules.check(largest) == rules.check(str(largest)) == largest
    for beyond in (largest + sign, str(largest + sign)):
        with pytest.raises(InvalidKey):
            rules.check(beyond)
