"""The whole engine against a model that was written from the conventions."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lyredb.errors import InvalidQuery, NotAuthorised, QueryTooCostly, UnknownAttribute
from lyredb.formats import PAUSE
from lyredb.storage.mutation import Kind, Mutation
from lyredb.tables.query.costs import QueryLimits
from lyredb.tables.query.execute import count, explain, keys_of, search
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.query.terms import (
    Comparator,
    Condition,
    Group,
    Query,
    Select,
    Selected,
    SortKey,
    Where,
)
from lyredb.tables.stored import StoredTable
from tests.tables.conftest import Store
from tests.tables.conftest import found as found_in
from tests.tables.query import model

SCHEMA = """
type Brand @table {{
  id: ID @primaryKey
  name: String {name}
  parentId: ID {parent}
  parent: Brand @relationship(from: parentId)
  products: [Product] @relationship(to: brandId)
}}
type Product @table {{
  id: ID @primaryKey
  price: Float {price}
  count: Long {count}
  big: BigInt {big}
  text: String {text}
  tags: [String] {tags}
  any: Any {any}
  when: Date {when}
  ok: Boolean {ok}
  brandId: ID {brand}
  makerIds: [ID] {makers}
  brand: Brand @relationship(from: brandId)
  makers: [Brand] @relationship(from: makerIds)
  same: [Product] @relationship(from: count, to: count)
}}
"""
INDEXABLE = (
    "name", "parent", "price", "count", "big", "text", "tags", "any", "when", "ok", "brand",
    "makers",
)  # fmt: skip
IDS = Select((Selected("$id"),), "values")
LONG = "x" * 600
TEXTS = ("", "a", "ab", "abc", "b", LONG + "a", LONG + "b", LONG[:479], LONG[:480])
DATES = tuple(datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3))
BIGS = (0, 2**53, 2**53 + 1, 2**64 + 1, -(2**70), 10**30)
BRANDS = ("b0", "b1", "b2", "B" * 500 + "1", "B" * 500 + "2")

_numbers = st.sampled_from((-1, 0, 0.0, -0.0, 0.5, 1, 1.0, 2, 2.5, 3))
_texts = st.sampled_from(TEXTS)
_any = st.none() | st.booleans() | _numbers | _texts | st.sampled_from(DATES)
_plain: dict[str, st.SearchStrategy[Any]] = {
    "price": st.none() | _numbers,
    "count": st.none() | st.integers(0, 4),
    "big": st.sampled_from(BIGS),
    "text": st.none() | _texts,
    "tags": st.lists(_texts, max_size=3),
    "any": _any | st.lists(_any, max_size=3),
    "when": st.none() | st.sampled_from(DATES),
    "ok": st.none() | st.booleans(),
    "brandId": st.none() | st.sampled_from((*BRANDS, "gone")),
    "makerIds": st.lists(st.sampled_from((*BRANDS, "gone")), max_size=3),
}
_mostly = ("price", "count", "text", "brandId")
_products = st.lists(
    st.fixed_dictionaries(
        {name: _plain[name] for name in _mostly},
        optional={name: one for name, one in _plain.items() if name not in _mostly},
    )
    | st.fixed_dictionaries({}, optional=_plain),
    min_size=8,
    max_size=14,
)
_brands = st.lists(
    st.fixed_dictionaries({}, optional={"name": _texts, "parentId": st.sampled_from(BRANDS)}),
    min_size=len(BRANDS),
    max_size=len(BRANDS),
)
_RANGES: tuple[Comparator, ...] = (
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
)
# Such as records often have: a query that finds nothing says little.
_asked = st.sampled_from(("a", "ab", "b", "", LONG + "a", LONG))
_orderable = {
    "price": _numbers,
    "count": st.integers(0, 4),
    "big": st.sampled_from(BIGS),
    "text": _asked,
    "tags": _asked,
    "any": _numbers | _texts | st.booleans(),
    "when": st.sampled_from(DATES),
    "ok": st.booleans(),
}


@st.composite
def _conditions(draw: st.DrawFn, at_brand: bool = False) -> Condition:
    name = "name" if at_brand else draw(st.sampled_from(tuple(_orderable)))
    values = _asked if at_brand else _orderable[name]
    comparators: list[Comparator] = ["equals", "not_equal", "in", "between", *_RANGES]
    if name in ("text", "tags", "name"):
        comparators += ["starts_with", "ends_with", "contains"]
    comparator = draw(st.sampled_from(comparators))
    value: Any
    if comparator == "in":
        value = draw(st.lists(values | st.none(), min_size=1, max_size=5))
    elif comparator == "between":
        ends = draw(st.lists(values, min_size=2, max_size=2).filter(_same_kind))
        value = tuple(ends)
    elif comparator in ("equals", "not_equal"):
        value = draw(values | st.none())
    else:
        value = draw(values)
    return Condition((name,), comparator, value)


def _same_kind(ends: list[Any]) -> bool:
    return model.kind(ends[0]) == model.kind(ends[1])


@st.composite
def _joined(draw: st.DrawFn) -> Condition:
    relation = draw(st.sampled_from(("brand", "makers", "same", "brand.parent")))
    inner = draw(_conditions(at_brand=relation != "same"))
    return Condition((*relation.split("."), *inner.path), inner.comparator, inner.value)


_keys = st.builds(
    lambda comparator, number: Condition(("id",), comparator, f"p{number}"),
    st.sampled_from(("equals", "not_equal", *_RANGES)),
    st.integers(0, 12),
)
_leaves: st.SearchStrategy[Where] = st.one_of(_conditions(), _conditions(), _joined(), _keys)
_trees: st.SearchStrategy[Where] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda members: Group("and", tuple(members)), st.lists(inner, min_size=2, max_size=3)
        ),
        st.builds(
            lambda members: Group("or", tuple(members)), st.lists(inner, min_size=2, max_size=3)
        ),
        st.builds(lambda member: Group("not", (member,)), inner),
    ),
    max_leaves=4,
)
_sorts = st.lists(
    st.builds(
        SortKey,
        st.sampled_from([*((name,) for name in _orderable), ("id",), ("brand", "name")]),
        st.booleans(),
    ),
    max_size=2,
    unique_by=lambda key: key.path,
)
_indexed = st.frozensets(st.sampled_from(INDEXABLE))


def schema_with(indexed: frozenset[str]) -> str:
    """The schema with some attributes indexed."""
    return SCHEMA.format(**{one: "@indexed" if one in indexed else "" for one in INDEXABLE})


class Data:
    """Tables in a store, and the same in memory."""

    def __init__(self, store: Store, indexed: frozenset[str]) -> None:
        catalogue = store.tables(schema_with(indexed))
        self.store = store
        self.tables = catalogue.tables
        self.product = catalogue.tables["data.Product"]
        self.brand = catalogue.tables["data.Brand"]
        self.memory: dict[str, dict[Any, dict[str, Any]]] = {"Product": {}, "Brand": {}}

    def put(self, table: StoredTable, key: str, record: dict[str, Any]) -> None:
        """Write a record in both."""
        self.store.put(table, key, record)
        self.memory[table.schema.name][key] = {"id": key, **record}

    def fill(self, products: list[dict[str, Any]], brands: list[dict[str, Any]]) -> None:
        """Write all."""
        for key, record in zip(BRANDS, brands, strict=True):
            self.put(self.brand, key, record)
        for number, record in enumerate(products):
            self.put(self.product, f"p{number}", record)

    def find(self, query: Query, table: StoredTable | None = None) -> list[Any]:
        """What the engine finds."""
        found = search(self.store.engine, table or self.product, query, tables=self.tables.get)
        return [one for one in found if one is not PAUSE]

    def explain(self, query: Query) -> dict[str, Any]:
        """How the engine would find it."""
        return explain(self.store.engine, self.product, query, tables=self.tables.get)

    def expected(self, where: Where | None) -> list[Any]:
        """What the model finds, by key."""
        products = self.memory["Product"]
        found = [
            one for one in products.values() if model.holds(self.memory, "Product", one, where)
        ]
        return sorted(one["id"] for one in found)

    def expected_order(self, query: Query) -> list[Any]:
        """What the model finds, in the order of the query."""
        found = [self.memory["Product"][key] for key in self.expected(query.where)]
        return [one["id"] for one in model.ordered(self.memory, "Product", found, query.sort)]


def test_every_query_finds_what_the_conventions_say(
    make_store: Callable[[str], Store],
) -> None:
    """Any conditions, with any indexes; most queries find something."""
    met: Counter[str] = Counter()

    @given(
        _products,
        _brands,
        _indexed,
        st.lists(_trees, min_size=4, max_size=6),
        st.lists(st.tuples(st.integers(0, 7), _trees), min_size=3, max_size=3),
    )
    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    def run(
        products: list[Any],
        brands: list[Any],
        indexed: frozenset[str],
        trees: list[Where],
        widened: list[tuple[int, Where]],
    ) -> None:
        met["stores"] += 1
        data = Data(make_store(str(met["stores"])), indexed)
        data.fill(products, brands)
        known = [one_like(products[number]) | where for number, where in widened]
        for where in (*trees, *known):
            expected = data.expected(where)
            found = data.find(Query(where, select=IDS))
            assert sorted(found) == expected, where
            assert_index_used(data, where, indexed)
            met["queries"] += 1
            met["with results"] += bool(expected)
        data.store.close()

    run()
    assert met["with results"] >= 0.6 * met["queries"], met


def one_like(product: dict[str, Any]) -> Condition:
    """A condition that a record fulfils."""
    for name in ("text", "count", "when", "ok"):
        if name in product:
            return Condition((name,), "equals", product[name])
    return Condition(("id",), "not_equal", "none")


def assert_index_used(data: Data, where: Where, indexed: frozenset[str]) -> None:
    """A condition alone on an indexed attribute is served by its index."""
    if not isinstance(where, Condition) or len(where.path) > 1 or where.path[0] not in indexed:
        return
    if where.comparator in ("not_equal", "ends_with", "contains"):
        return
    assert data.explain(Query(where))["access"] == "index", where


@given(
    _products, _brands, _indexed, _trees | st.none(), _sorts, st.integers(0, 5), st.integers(0, 3)
)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_any_order_is_the_order_of_the_conventions(
    make_store: Callable[[str], Store],
    products: list[Any],
    brands: list[Any],
    indexed: frozenset[str],
    where: Where | None,
    sort: list[SortKey],
    limit: int,
    offset: int,
) -> None:
    """By an index, in memory, through a relation; with limit and offset, both directions."""
    data = Data(make_store("one"), indexed)
    try:
        data.fill(products, brands)
        anything = Condition(("id",), "not_equal", "none")
        order = tuple(sort) if sort else (SortKey(("id",)),)
        query = Query(anything if where is None else where, order, select=IDS)
        expected = data.expected_order(query)
        assert data.find(query) == expected
        part = Query(query.where, query.sort, limit, offset, IDS)
        assert data.find(part) == expected[offset : offset + limit]
    finally:
        data.store.close()
        shutil.rmtree(data.store._path)


def fill(store: Store, table: StoredTable, records: dict[str, dict[str, Any]]) -> None:
    """Write many records in one transaction."""
    store.write(
        *(
            Mutation(table.slot, table.encode_key(key), Kind.PUT, table.encode(record, key))
            for key, record in records.items()
        )
    )


LARGE = {f"k{number:05}": {"price": number % 100, "count": number} for number in range(6000)}


@pytest.mark.parametrize(
    ("where", "sort", "most"),
    [
        (None, (), 64),
        (None, (SortKey(("count",)),), 64),
        (None, (SortKey(("count",), True),), 64),
        (None, (SortKey(("id",), True),), 64),
        (Condition(("count",), "greater_than", 5000), (SortKey(("count",)),), 64),
        (Condition(("count",), "less_than", 900), (SortKey(("count",), True),), 64),
        (Condition(("count",), "equals", 77), (), 1),
        (Condition(("count",), "in", [1, 2, 3]), (SortKey(("price",)),), 6),
        (Condition(("count",), "between", (10, 19)), (SortKey(("id",)),), 20),
        (Condition(("id",), "between", ("k00010", "k00019")), (), 10),
        (
            Group(
                "or", (Condition(("count",), "equals", 1), Condition(("id",), "equals", "k00002"))
            ),
            (),
            2,
        ),
        (
            Group(
                "and",
                (Condition(("price",), "equals", 7), Condition(("count",), "less_than", 300)),
            ),
            (),
            60,
        ),
    ],
)
def test_no_more_records_are_read_than_are_needed(
    store: Store, where: Where | None, sort: tuple[SortKey, ...], most: int
) -> None:
    """Of 6,000 records: what a range excludes is not read, nor what a limit leaves."""
    table = store.tables(schema_with(frozenset(("count", "price")))).tables["data.Product"]
    fill(store, table, LARGE)
    results = search(store.engine, table, Query(where, sort, limit=5, select=IDS))
    found = [one for one in results if one is not PAUSE]
    records = [
        {"id": key, **record}
        for key, record in LARGE.items()
        if model.holds({}, "Product", {"id": key, **record}, where)
    ]
    assert found == [one["id"] for one in model.ordered({}, "Product", records, sort)][:5]
    assert results.records_read <= most


@pytest.mark.parametrize(
    ("where", "sort"),
    [
        (None, ()),
        (Condition(("price",), "less_than", 90), ()),
        (Condition(("price",), "less_than", 90), (SortKey(("price",)),)),
        (None, (SortKey(("price",), True),)),
        (None, (SortKey(("id",), True),)),
        (Condition(("brand", "name"), "equals", "b"), ()),
        (Condition(("same", "price"), "less_than", 60), (SortKey(("count",)),)),
    ],
)
def test_a_long_answer_is_of_one_position_whatever_is_written(
    store: Store, where: Where | None, sort: tuple[SortKey, ...]
) -> None:
    """Records are changed, deleted, made and moved in the index between all of its parts."""
    indexed = frozenset(("price", "count", "brand"))
    catalogue = store.tables(schema_with(indexed))
    product, brand = catalogue.tables["data.Product"], catalogue.tables["data.Brand"]
    fill(store, brand, {"b0": {"name": "b"}, "b1": {"name": "c"}})
    padded = {key: {**one, "brandId": "b0", "text": "y" * 120} for key, one in LARGE.items()}
    fill(store, product, padded)
    query = Query(where, sort, select=IDS)
    expected = list(search(store.engine, product, query, tables=catalogue.tables.get))
    whole = [one for one in expected if one is not PAUSE]
    position = store.engine.position
    results = search(store.engine, product, query, tables=catalogue.tables.get)
    found = []
    keys = list(LARGE)
    for number, one in enumerate(results):
        if one is not PAUSE:
            found.append(one)
        if number % 50 == 0:
            turn = number // 50
            store.put(product, keys[-1 - turn], {"price": turn % 100, "brandId": "b1"})
            store.write(Mutation(product.slot, product.encode_key(keys[3000 + turn]), Kind.DELETE))
            store.put(product, f"k{turn:05}x", {"price": turn, "count": turn, "brandId": "b0"})
            store.put(brand, "b0", {"name": "other"})
    assert found == whole
    assert len(found) > 2000
    assert (results.mode, results.position) == ("as of", position)


def test_a_small_answer_is_of_one_snapshot(store: Store) -> None:
    """And says so."""
    table = store.tables(schema_with(frozenset())).tables["data.Product"]
    fill(store, table, {"a": {}, "b": {}})
    results = search(store.engine, table, Query())
    assert next(results) == {"id": "a"}
    store.write(Mutation(table.slot, table.encode_key("b"), Kind.DELETE))
    assert list(results) == [{"id": "b"}]
    assert results.mode == "snapshot"


@pytest.fixture
def shop(store: Store) -> Data:
    """Two brands, three products, one of them without a brand that exists."""
    data = Data(store, frozenset(("brand",)))
    data.put(data.brand, "b0", {"name": "Acme"})
    data.put(data.brand, "b1", {"name": "Zeta", "parentId": "b0"})
    data.put(data.product, "p0", {"price": 5, "brandId": "b0", "makerIds": ["b1", "b0"]})
    data.put(data.product, "p1", {"price": 50, "brandId": "b1"})
    data.put(data.product, "p2", {"price": 7, "brandId": "gone"})
    data.put(data.product, "p3", {"price": 1, "brandId": "b0"})
    return data


@pytest.mark.parametrize(
    ("table", "text", "found"),
    [
        ("product", "select(id,brand{name})&price=lt=10&price=gt=4",
         [{"id": "p0", "brand": {"name": "Acme"}}, {"id": "p2"}]),
        ("product", "select(id,makers{name})&id=p0",
         [{"id": "p0", "makers": [{"name": "Zeta"}, {"name": "Acme"}]}]),
        ("product", "brand.name=Zeta&select(id,brand{name,parent{name}})",
         [{"id": "p1", "brand": {"name": "Zeta", "parent": {"name": "Acme"}}}]),
        ("product", "brand.parent.name=Acme&select(id)", ["p1"]),
        ("product", "price=gt=0&sort(brand.name)&select(id)", ["p2", "p0", "p3", "p1"]),
        ("product", "price=gt=0&sort(-brand.name)&select(id)", ["p1", "p0", "p3", "p2"]),
        ("brand", "select(id,products{id})",
         [{"id": "b0", "products": [{"id": "p0"}, {"id": "p3"}]},
          {"id": "b1", "products": [{"id": "p1"}]}]),
        ("brand", "products.price=gt=2&select(id,products{id})",
         [{"id": "b0", "products": [{"id": "p0"}]}, {"id": "b1", "products": [{"id": "p1"}]}]),
        ("brand", "select(parent)&id=b1", [{"id": "b0", "name": "Acme"}]),
    ],
)  # fmt: skip
def test_related_records_are_joined_and_selected(
    shop: Data, table: str, text: str, found: list[Any]
) -> None:
    """Inner join by a condition, which also picks of many; left join by a select alone."""
    assert shop.find(parse_query(text), getattr(shop, table)) == found


def test_rights_are_asked_for_on_the_way(shop: Data) -> None:
    """An attribute that may not be read is left out, and not to be guessed at either."""

    def readable(table: StoredTable) -> frozenset[str] | None:
        return (
            frozenset(("name",))
            if table is shop.brand
            else frozenset(("price", "brandId", "brand"))
        )

    def found(text: str) -> list[Any]:
        query = parse_query(text)
        return list(
            search(
                shop.store.engine,
                shop.product,
                query,
                tables=shop.tables.get,
                readable=readable,
            )
        )

    assert found("id=p0") == [{"id": "p0", "price": 5, "brandId": "b0"}]
    assert found("id=p1&select(id,makerIds,brand)") == [
        {"id": "p1", "brand": {"id": "b1", "name": "Zeta"}}
    ]
    for text in ("makerIds=b0", "sort(count)&price=1", "brand.parentId=b0", "makers.name=x"):
        with pytest.raises(NotAuthorised):
            found(text)


def test_what_a_query_costs_is_bounded(store: Store) -> None:
    """Each limit ends a query that goes beyond it, and names itself."""
    catalogue = store.tables(schema_with(frozenset(("tags",))))
    table = catalogue.tables["data.Product"]
    fill(store, table, {f"k{number}": {"tags": ["a"], "count": 1} for number in range(300)})
    for limits, text, name in (
        (QueryLimits(looked_at=100), "price==1", "maxLookedAt"),
        (QueryLimits(sorted=100), "count==1&sort(price)", "maxSorted"),
        (QueryLimits(keys=100), "tags=a", "maxKeys"),
        (QueryLimits(conditions=1), "price==1&count==1", "maxConditions"),
        (QueryLimits(joins=1), "brand.parent.name=x", "maxJoins"),
        (QueryLimits(related=100), "id=k0&select(same)", "maxRelated"),
        (QueryLimits(seconds=0.0), "price==1", "maxTime"),
    ):
        with pytest.raises(QueryTooCostly, match=name):
            list(
                search(
                    store.engine,
                    table,
                    parse_query(text),
                    tables=catalogue.tables.get,
                    limits=limits,
                )
            )


def test_keys_counts_and_plans_come_from_the_same_engine(shop: Data) -> None:
    """For deletes, for counting, and for people who want to know."""
    query = parse_query("brandId=b0")
    keys = keys_of(shop.store.engine, shop.product, query, tables=shop.tables.get)
    assert [one.key for one in keys if one is not PAUSE] == ["p0", "p3"]  # type: ignore[attr-defined]
    assert list(count(shop.store.engine, shop.product, query, tables=shop.tables.get)) == [2]
    explained = shop.find(Query(query.where, explain=True))
    assert explained == [shop.explain(query)]
    assert explained[0]["access"] == "index"
    assert explained[0]["attribute"] == "brandId"


def test_a_full_scan_and_an_order_without_an_index_can_be_refused(shop: Data) -> None:
    """By who asks, and by the conventions."""
    with pytest.raises(UnknownAttribute, match="not indexed"):
        shop.find(Query(Condition(("price",), value=5), allow_full_scan=False))
    with pytest.raises(UnknownAttribute, match="not combined with any other"):
        shop.find(parse_query("sort(price)"))
    for where in (
        Condition(("price",), "greater_than", None),
        Condition(("price",), "starts_with", "1"),
        Condition(("price",), "between", (1,)),
        Condition(("brand",), "equals", "b0"),
    ):
        with pytest.raises(InvalidQuery):
            shop.find(Query(where))


@pytest.mark.parametrize("descending", [False, True])
def test_values_that_the_index_cuts_are_put_in_order(store: Store, *, descending: bool) -> None:
    """In an index they stand by key; long texts of one beginning come by their ends."""
    table = store.tables(schema_with(frozenset(("text",)))).tables["data.Product"]
    texts = {"a": LONG + "c", "b": LONG + "a", "c": LONG + "b", "d": LONG[:480], "e": "y"}
    fill(store, table, {key: {"text": text} for key, text in texts.items()})
    query = Query(sort=(SortKey(("text",), descending),), select=IDS)
    assert explain(store.engine, table, query)["sort"] == "index"
    expected = sorted(texts, key=texts.__getitem__, reverse=descending)
    assert found_in(store.engine, table, query) == expected


@pytest.mark.parametrize("indexed", [frozenset[str](), frozenset(("text",))])
@pytest.mark.parametrize("descending", [False, True])
def test_texts_that_end_with_nul_are_ordered_before_the_next_key_decides(
    store: Store, indexed: frozenset[str], *, descending: bool
) -> None:
    """Their escape is no part of the value that follows, whichever way that one is turned."""
    table = store.tables(schema_with(indexed)).tables["data.Product"]
    texts = {"a": "", "b": "\0", "c": "\0\0", "d": "\0a"}
    for key, text in texts.items():
        store.put(table, key, {"text": text, "count": 1} if key == "b" else {"text": text})
    expected = sorted(texts, key=texts.__getitem__, reverse=descending)
    where = Condition(("ok",), "not_equal", value=True)
    for inner in (False, True):
        sort = (SortKey(("text",), descending), SortKey(("count",), inner))
        for keys in (sort, (SortKey(("ok",)), *sort)):
            query = Query(where, sort=keys, select=IDS)
            assert found_in(store.engine, table, query) == expected


def test_long_keys_are_put_in_order_and_found(store: Store) -> None:
    """They are stored by their beginnings and a hash."""
    table = store.tables(schema_with(frozenset())).tables["data.Product"]
    keys = [LONG + end for end in "dbca"] + [LONG[:470], LONG[:461], "x", "z"]
    for key in keys:
        store.put(table, key, {})
    for descending in (False, True):
        query = Query(sort=(SortKey(("id",), descending),), select=IDS)
        assert found_in(store.engine, table, query) == sorted(keys, reverse=descending)
    for comparator, bound in (("greater_than", LONG + "b"), ("less_than_equal", LONG + "b")):
        where = Condition(("id",), comparator, bound)  # type: ignore[arg-type]  # of the list
        found = found_in(store.engine, table, Query(where, select=IDS))
        is_above = comparator == "greater_than"
        assert set(found) == {key for key in keys if (key > bound) == is_above}


@pytest.mark.parametrize(
    "comparator",
    ["equals", "greater_than", "greater_than_equal", "less_than", "less_than_equal", "starts_with"],
)
def test_values_that_the_index_cuts_are_told_apart(store: Store, comparator: Comparator) -> None:
    """What they have in common is longer than what the index has of them."""
    table = store.tables(schema_with(frozenset(("text", "tags")))).tables["data.Product"]
    texts = {end: LONG + end for end in "abc"} | {"short": LONG[:480], "shorter": LONG[:479]}
    records: dict[str, dict[str, Any]] = {
        key: {"text": text, "tags": ["0", text]} for key, text in texts.items()
    }
    fill(store, table, records)
    for name in ("text", "tags"):
        for bound in (*texts.values(), LONG):
            where = Condition((name,), comparator, bound)
            assert explain(store.engine, table, Query(where))["access"] == "index"
            found = found_in(store.engine, table, Query(where, select=IDS))
            assert set(found) == {
                key for key, one in records.items() if model.holds({}, "Product", one, where)
            }


def test_conditions_on_one_relation_are_about_one_related_record(shop: Data) -> None:
    """However an AND is written; what is negated is about the record itself."""
    cheap = Condition(("products", "price"), "less_than", 3)
    first = Condition(("products", "id"), "equals", "p0")
    other = Condition(("name",), "starts_with", "")
    for where, found in (
        (cheap & first, []),
        (Group("and", (cheap, Group("and", (first, other)))), []),
        (cheap & ~first, []),
        (cheap | first, ["b0"]),
        (~first, ["b1"]),
    ):
        assert shop.find(Query(where, select=IDS), shop.brand) == found
