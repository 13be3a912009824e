"""The tables of docs/queries.md: each row is run against a real database.

The page's own schema and records are loaded; what a row says by its header is what must come
out.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import lyredb
from lyredb.errors import InvalidQuery, NotFound
from lyredb.resources.embedded import EmbeddedDatabase
from lyredb.tables.generate import classes_source
from lyredb.tables.query.parse_object import read_query
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.source import load_schema
from tests.docs.pages import DOCS, blocks

PAGE = "queries.md"
SCHEMA = next(one.code for one in blocks(PAGE) if one.language == "graphql")
RECORDS: dict[str, list[dict[str, Any]]] = json.loads(
    next(one.code for one in blocks(PAGE) if one.language == "json")
)
OBJECTS = [one for one in blocks(PAGE) if one.language == "json" and one.output]
LEAST_ROWS = 80


class Row(NamedTuple):
    """One row of a table of the page: what it claims, of which table, and its two cells."""

    claim: str
    table: str
    query: str
    answer: str


def rows() -> Iterator[Row]:
    head: list[str] = []
    for line in (DOCS / PAGE).read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            head = []
            continue
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not head:
            head = cells
        elif not set(line) <= set("|- ") and re.match(r"query( on \w+)?$|Python$", head[0]):
            _, _, table = head[0].partition(" on ")
            yield Row(head[1], table or "Product", cells[0].strip("`"), cells[1].strip("`"))


def claims(claim: str) -> list[Row]:
    return [one for one in rows() if one.claim == claim]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[asyncio.Runner]:
    """A loop with the page's database open in it."""
    with asyncio.Runner() as runner:
        opened = lyredb.open(tmp_path_factory.mktemp("queries"), schema=SCHEMA)
        database = runner.run(opened.__aenter__())
        runner.run(_fill(database))
        runner.database = database  # type: ignore[attr-defined]  # for the tests below
        yield runner
        runner.run(opened.__aexit__(None, None, None))


async def _fill(database: EmbeddedDatabase) -> None:
    for table, records in RECORDS.items():
        for record in records:
            await database.tables[table].put(record)


def found(run: asyncio.Runner, table: str, query: Any) -> list[Any]:
    database: EmbeddedDatabase = run.database  # type: ignore[attr-defined]  # see the fixture
    return run.run(database.tables[table].query(query).list())


def test_the_page_makes_enough_claims() -> None:
    """A changed notation of its tables must not silently leave them unchecked."""
    assert len(list(rows())) >= LEAST_ROWS
    for claim in ("finds", "finds in this order", "answer", "error", "explains", "URL"):
        assert claims(claim), claim


@pytest.mark.parametrize("row", claims("finds"), ids=lambda row: row.query)
def test_a_query_finds_what_the_page_says(run: asyncio.Runner, row: Row) -> None:
    """In the order shown only when the query sorts."""
    ids = [one["id"] for one in found(run, row.table, row.query)]
    expected = row.answer.split()
    assert (ids if "sort(" in row.query else sorted(ids)) == expected


@pytest.mark.parametrize("row", claims("finds in this order"), ids=lambda row: row.query)
def test_a_sort_has_the_order_that_the_page_says(run: asyncio.Runner, row: Row) -> None:
    """Ties included."""
    assert [one["id"] for one in found(run, row.table, row.query)] == row.answer.split()


@pytest.mark.parametrize("row", claims("answer"), ids=lambda row: row.query)
def test_a_select_answers_what_the_page_says(run: asyncio.Runner, row: Row) -> None:
    """As JSON, the order of keys aside."""
    assert found(run, row.table, row.query) == json.loads(row.answer)


@pytest.mark.parametrize("row", claims("error"), ids=lambda row: row.query)
def test_an_error_says_what_the_page_says(run: asyncio.Runner, row: Row) -> None:
    """The sentence that a client gets."""
    with pytest.raises((InvalidQuery, NotFound)) as caught:
        found(run, row.table, row.query)
    assert row.answer in str(caught.value)


@pytest.mark.parametrize("row", claims("explains"), ids=lambda row: row.query)
def test_an_explanation_says_what_the_page_says(run: asyncio.Runner, row: Row) -> None:
    """And more, which is for people."""
    (explained,) = found(run, row.table, f"{row.query}&explain()")
    expected = json.loads(row.answer)
    assert {key: explained.get(key) for key in expected} == expected


@pytest.mark.parametrize("block", OBJECTS, ids=str)
def test_an_object_means_the_text_below_it(run: asyncio.Runner, block: Any) -> None:
    """The same but for the values, which are plain in one and text in the other."""
    by_object, by_text = read_query(json.loads(block.code)), parse_query(block.output.strip())
    assert by_object.sort == by_text.sort
    assert by_object.select == by_text.select
    assert (by_object.limit, by_object.offset) == (by_text.limit, by_text.offset)
    results = found(run, "Product", json.loads(block.code))
    assert results
    assert results == found(run, "Product", block.output.strip())


def test_python_has_the_urls_that_the_page_says(
    run: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classes are those that `lyredb types` makes of the page's schema."""
    module = tmp_path / "page_tables.py"
    module.write_text(classes_source(load_schema(SCHEMA)), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    names = vars(importlib.import_module("page_tables"))
    for row in claims("URL"):
        search = eval(row.query, names)
        assert search.url() == row.answer, row.query
