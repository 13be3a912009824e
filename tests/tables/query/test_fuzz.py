"""Any query, run: results or an error of ours, whatever its names and values are."""

from __future__ import annotations

import random
from typing import Any, Final

import pytest

from lyredb.errors import InvalidQuery, NotFound
from lyredb.formats import PAUSE
from lyredb.tables.query.execute import search
from lyredb.tables.query.parse_object import read_query
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.stored import StoredTable
from tests.tables.conftest import Store
from tests.tables.query.queries import CORPUS, PIECES

RUNS: Final = 2500
SCHEMA: Final = """
type Product @table {
  id: ID @primaryKey
  name: String @indexed
  price: Float @indexed
  tags: [String] @indexed
  made: Date @indexed
  size: Size
  gross: Float @computed(from: "price * 2") @indexed
}
type Size { width: Int }
"""
NAMES: Final = (
    "id", "name", "price", "tags", "made", "size", "gross", "free", "size.width", "name.x", "$id",
    "$updatedtime", "*", 'q"\\', "a\x00b", "\ud800", "é",
)  # fmt: skip
VALUES: Final = (
    None, True, 1, -0.0, 1.5, "x", "", "null", [1], ["home"], {"a": 1}, 10**400, b"x", "2024-01-01",
    float("inf"), float("nan"), "\ud800", "9" * 500, {"width": 30},
)  # fmt: skip
COMPARATORS: Final = ("eq", "ne", "gt", "ge", "lt", "le", "sw", "ew", "ct", "bt", "in", "pf")


@pytest.fixture
def products(store: Store) -> StoredTable:
    """Some of each kind; names that no Struct's field can have are among them."""
    table = store.table(SCHEMA)
    store.put(table, "a", {"name": "x", "price": 1, "tags": ["home"], "size": {"width": 30}})
    store.put(table, "b", {"name": None, "price": 1.5, "made": "2024-01-01T00:00:00Z"})
    store.put(table, "c", {'q"\\': 1, "a\x00b": "x", "é": True, "free": [1, "x", None]})
    return table


def _where(rng: random.Random, depth: int = 0) -> dict[str, object]:
    if depth < 2 and rng.random() < 0.3:
        members = [_where(rng, depth + 1) for _ in range(rng.randint(1, 3))]
        return {"operator": rng.choice(("and", "or", "not")), "conditions": members}
    comparator = rng.choice(COMPARATORS)
    several = comparator in ("bt", "in", "pf")
    value = [rng.choice(VALUES) for _ in range(2)] if several else rng.choice(VALUES)
    return {"attribute": rng.choice(NAMES), "comparator": comparator, "value": value}


def _object(rng: random.Random) -> dict[str, Any]:
    query: dict[str, Any] = {"conditions": [_where(rng) for _ in range(rng.randint(0, 3))]}
    if rng.random() < 0.4:
        query["sort"] = {"attribute": rng.choice(NAMES), "descending": rng.random() < 0.5}
    if rng.random() < 0.4:
        query["select"] = rng.choice(([rng.choice(NAMES)], rng.choice(NAMES)))
    if rng.random() < 0.3:
        query["limit"] = rng.randint(0, 2)
    return query


def _text(rng: random.Random) -> str:
    text = rng.choice(CORPUS)
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(text))
        text = text[:at] + rng.choice((*PIECES, *NAMES)) + text[at:]
    return text


@pytest.mark.parametrize("kind", ["object", "text"])
def test_any_query_has_results_or_an_error_of_ours(
    store: Store, products: StoredTable, kind: str
) -> None:
    """A fixed seed. Anything else would be a 500."""
    rng = random.Random(11)
    found = 0
    for _ in range(RUNS):
        try:
            query = read_query(_object(rng)) if kind == "object" else parse_query(_text(rng))
            found += bool(list(search(store.engine, products, query)))
        except (InvalidQuery, NotFound):
            continue
    assert found > RUNS / 50


def test_attributes_of_any_name_are_found_and_selected(store: Store, products: StoredTable) -> None:
    """Quotes, backslashes and control characters are allowed in names of open tables."""
    for query in ('q"\\==1&select([a%00b,é])', "a%00b=x&sort(q%22%5C)&select([a%00b,é])"):
        found = search(store.engine, products, parse_query(query))
        assert [one for one in found if one is not PAUSE] == [["x", True]]
