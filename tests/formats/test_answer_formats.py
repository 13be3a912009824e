"""What only answers are in: CSV, YAML, NDJSON, plain text, forms."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import InvalidBody, NestingTooDeep
from lyredb.formats import (
    ANSWERS,
    CSV,
    EXACT_CSV,
    FORM,
    JSON,
    NDJSON,
    PAUSE,
    PLAIN_TEXT,
    YAML,
    body_format,
    decode_text,
    force_format,
    negotiate,
)
from lyredb.formats.counting import MAX_VALUES

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.binary(max_size=20)
    | st.datetimes(datetime(1, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC))
    | st.sampled_from(
        ["yes", "No", "null", "~", "1e5", "0x1", "1:2", "- a", "a: b", "#", " a", "="]
    )
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20
)


@given(VALUES)
@settings(max_examples=300)
def test_yaml_means_what_it_was_made_of(value: object) -> None:
    """An independent reader finds the same value, types included."""
    found = yaml.safe_load(YAML.encode(value))
    assert found == value
    assert JSON.encode(found) == JSON.encode(value)


@given(st.lists(VALUES, max_size=5))
@settings(max_examples=50)
def test_a_yaml_sequence_is_a_list(values: list[object]) -> None:
    """Its parts are one document, pauses included."""
    parts = YAML.encode_sequence([PAUSE, *values, PAUSE])
    assert yaml.safe_load(b"".join(parts)) == values


def test_long_yaml_gives_others_a_turn() -> None:
    """It takes longer than other formats, so that a part of 64 kB is too much at a time."""
    parts = list(YAML.encode_sequence([{"a": "x" * 1000}] * 100))
    assert 3 <= parts.count(b"") <= 20


def rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@given(st.lists(st.lists(TEXTS.filter(lambda text: "\0" not in text), min_size=2, max_size=2)))
@settings(max_examples=100)
def test_any_text_survives_csv(records: list[list[str]]) -> None:
    """An independent reader finds every cell as it was, separators and line ends included."""
    values = [dict(zip("ab", cells, strict=True)) for cells in records]
    data = b"".join(EXACT_CSV.encode_sequence(values, columns=("a", "b")))
    assert rows(data) == [["a", "b"], *records]


def test_csv_has_the_columns_asked_for_and_ends_lines_as_the_rfc_says() -> None:
    """The header also where there is no record, absent attributes as empty cells."""
    values = [{"id": "a", "n": 1.5}, PAUSE, {"n": None, "id": "b", "x": True}]
    parts = list(CSV.encode_sequence(values, columns=("id", "n", "x")))
    assert parts == [b"id,n,x\r\n", b"a,1.5,\r\n", b"", b"b,,true\r\n"]
    assert b"".join(CSV.encode_sequence((), columns=("id",))) == b"id\r\n"


def test_csv_writes_each_type_so_that_it_can_be_read_again() -> None:
    """Nested values as JSON, dates as ISO 8601, bytes as base64; an empty text is no null."""
    record = {
        "nested": {"a": [1, "x"]},
        "at": datetime(2024, 1, 5, tzinfo=UTC),
        "raw": b"\xff\x00",
        "big": 10**30,
        "empty": "",
        "none": None,
    }
    header, line = CSV.encode(record).decode().splitlines()
    assert header == "nested,at,raw,big,empty,none"
    assert line == f'"{{""a"":[1,""x""]}}",2024-01-05T00:00:00Z,/wA=,{10**30},"",'


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3+x", "\tx", "\r="])
def test_no_spreadsheet_computes_what_somebody_stored(text: str) -> None:
    """A formula becomes a text; the format for programs leaves it alone."""
    assert rows(CSV.encode({"a": text}))[1] == ["'" + text]
    assert rows(EXACT_CSV.encode({"a": text}))[1] == [text]


@pytest.mark.parametrize("text", ["-5", "+49 (30) 123-45", "a=b", "- 1,5"])
def test_numbers_behind_a_sign_are_no_formulas(text: str) -> None:
    """Telephone numbers stay what they are."""
    assert rows(CSV.encode({"a": text}))[1] == [text]


def test_csv_without_columns_takes_those_of_the_first_record() -> None:
    """Lists and bare values, as selects make them, have no header."""
    assert b"".join(CSV.encode_sequence([{"a": 1}, {"a": 2, "b": 3}])) == b"a\r\n1\r\n2\r\n"
    assert b"".join(CSV.encode_sequence([[1, "x"], 2])) == b"1,x\r\n2\r\n"


def test_the_error_that_ends_a_stream_is_seen_in_csv() -> None:
    """It has none of the columns, and would be an empty line."""
    error = {"error": "QueryTooCostly", "message": "too much"}
    data = b"".join(CSV.encode_sequence([{"a": 1}, error], columns=("a",)))
    assert JSON.decode(rows(data)[-1][0].encode()) == error


def test_ndjson_is_a_line_per_value_both_ways() -> None:
    """Blank lines and line ends of other systems do not count."""
    values = [{"a": "x\ny"}, [1], None]
    data = b"".join(NDJSON.encode_sequence([values[0], PAUSE, *values[1:]]))
    assert data == b'{"a":"x\\ny"}\n[1]\nnull\n'
    assert NDJSON.decode(data) == values
    assert NDJSON.decode(b'{"a":1}\r\n\n \n{"b":2}') == [{"a": 1}, {"b": 2}]
    assert NDJSON.encode({"a": 1}) == b'{"a":1}\n'


def test_a_wrong_line_of_ndjson_is_named() -> None:
    """Counted from 1, as editors do."""
    with pytest.raises(InvalidBody, match=r"^line 3: the body is not valid JSON"):
        NDJSON.decode(b'{"a":1}\n\n{"a":\n{"b":1}')


def test_ndjson_has_no_more_values_than_other_bodies() -> None:
    """However they are spread over lines; text with commas is none."""
    with pytest.raises(InvalidBody, match="at most"):
        NDJSON.decode(b"1\n" * (MAX_VALUES + 1))
    with pytest.raises(InvalidBody, match="at most"):
        NDJSON.decode(b"[1,2,3,4]\n" * (MAX_VALUES // 4))
    with pytest.raises(InvalidBody, match="at most"):
        NDJSON.decode(b"\n" * (MAX_VALUES + 1))
    assert NDJSON.decode(b'"' + b"," * (MAX_VALUES + 1) + b'"') == ["," * (MAX_VALUES + 1)]


def test_a_line_of_ndjson_may_be_as_deep_as_a_record() -> None:
    """The list of lines is no level of it."""
    line = b"[" * 64 + b"]" * 64
    assert len(NDJSON.decode(line + b"\n" + line)) == 2
    with pytest.raises(NestingTooDeep):
        NDJSON.decode(b"[" + line + b"]")


def test_plain_text_is_the_text_itself() -> None:
    """Other values are JSON; each of a collection is a line."""
    assert PLAIN_TEXT.encode("grüß") == "grüß".encode()
    assert b"".join(PLAIN_TEXT.encode_sequence(["a", PAUSE, 1])) == b"a\n1\n"


def test_a_form_repeats_the_names_of_lists() -> None:
    """As it is read: what is null does not stand there."""
    data = FORM.encode({"a b": "x&y=ü", "n": [1, 2.5], "ok": True, "gone": None, "o": {"k": 1}})
    assert parse_qs(data.decode(), strict_parsing=True) == {
        "a b": ["x&y=ü"],
        "n": ["1", "2.5"],
        "ok": ["true"],
        "o": ['{"k":1}'],
    }


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("text/csv", "csv"),
        ("text/*", "yaml"),
        ("text/csv, application/json;q=0.1", "csv"),
        ("text/csv;q=0.5, application/json;q=0.1", "json"),
        ("application/ndjson", "ndjson"),
        ("application/yaml", "yaml"),
        ("application/yaml;q=0, */*", "json"),
        ("application/x-ndjson, text/plain", "ndjson"),
        ("application/x-www-form-urlencoded", "form"),
        ("text/plain, */*", "json"),
        ("text/plain, text/html", "txt"),
    ],
)
def test_answers_are_chosen_by_quality(accept: str, name: str) -> None:
    """The server's preference times the client's."""
    assert negotiate(accept).name == name


def test_each_answer_says_its_type() -> None:
    """The header lines are whole, and begin with the type that was chosen."""
    for one in ANSWERS:
        assert one.head.startswith(b"content-type: " + one.media_type.encode())
        assert one.head.endswith(b"\r\n")
        assert 0 < one.quality <= 1


def test_the_end_of_a_path_names_a_format() -> None:
    """Those that the page on HTTP has, and no others."""
    names = ("json", "cbor", "msgpack", "yaml", "ndjson", "csv")
    assert [force_format(name).name for name in names] == list(names)  # type: ignore[union-attr]
    assert force_format("txt") is None
    assert force_format("JSON") is None


def test_ndjson_is_a_body_but_no_message() -> None:
    """A message is one record, so that its lines would be none."""
    found = body_format("application/ndjson; charset=utf-8")
    assert found is NDJSON
    assert body_format("application/json") is JSON
    assert body_format("text/csv") is None


@pytest.mark.parametrize(
    ("content_type", "data", "text"),
    [
        ("text/plain", b"\xc3\xbc", "ü"),
        ("text/plain; charset=latin-1", b"\xfc", "ü"),
        ('text/html;a=b; Charset="UTF-16LE"', b"\xfc\x00", "ü"),
    ],
)
def test_text_is_read_by_its_charset(content_type: str, data: bytes, text: str) -> None:
    """UTF-8 where none is named."""
    assert decode_text(data, content_type) == text


@pytest.mark.parametrize("charset", ["klingon", "base64", "gzip", "x" * 5000, "\udc80", "utf-8\0"])
def test_an_unknown_charset_is_refused(charset: str) -> None:
    """Also what Python calls a codec and is no charset of text."""
    with pytest.raises(InvalidBody, match="charset"):
        decode_text(b"aGk=", f"text/plain; charset={charset}")


def test_text_that_is_not_in_its_charset_is_refused() -> None:
    """With a sentence about the body, not about Python."""
    with pytest.raises(InvalidBody, match="not valid ascii"):
        decode_text(b"\xff", "text/plain; charset=us-ascii")
