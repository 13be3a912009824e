"""SDL text to schema values, and errors that say where and what."""

from __future__ import annotations

import logging

import pytest

from lyredb.errors import SchemaError
from lyredb.tables.schema import Attribute, Computed, Export, NestedType, Relation, TypeRef
from lyredb.tables.sdl import parse_sdl

PLANT = '''
"""A sensor somewhere in the plant."""
type Sensor @table(expiration: 3600) @export(name: "plant/Sensor", mqtt: false) @sealed {
  id: ID! @primaryKey
  "in °C"
  value: Float! @indexed
  samples: [[Float!]]
  place: Place
  made: Date @createdTime
  at: Long! @updatedTime @indexed
}
type Place @sealed { building: String! rooms: [Place!] }
type Other { unused: Any }
directive @export(name: String) on OBJECT
'''


def test_sdl_declares_a_table() -> None:
    """Every directive and kind of type of this version in one table."""
    (table,) = parse_sdl(PLANT).tables
    assert table.full_name == "data.Sensor"
    assert table.primary_key == "id"
    assert table.sealed
    assert table.expiration_s == 3600
    assert table.export == Export("plant/Sensor", mqtt=False)
    assert table.description == "A sensor somewhere in the plant."
    assert table.attributes == (
        Attribute("id", TypeRef("ID"), role="primary key"),
        Attribute("value", TypeRef("Float", required=True), indexed=True, description="in °C"),
        Attribute("samples", TypeRef("", TypeRef("", TypeRef("Float", required=True)))),
        Attribute("place", TypeRef("Place")),
        Attribute("made", TypeRef("Date"), role="created"),
        Attribute("at", TypeRef("Long"), role="updated", indexed=True),
    )
    place = NestedType(
        "Place",
        (
            Attribute("building", TypeRef("String", required=True)),
            Attribute("rooms", TypeRef("", TypeRef("Place", required=True))),
        ),
        sealed=True,
    )
    assert table.nested == (place,)


def test_id_is_the_key_when_none_is_declared() -> None:
    """Without any key it is an attribute ``id``, declared or not."""
    declared, undeclared = parse_sdl("type A @table { id: Int } type B @table { x: Int }").tables
    assert (declared.primary_key, declared.key_type) == ("id", "Int")
    assert (undeclared.primary_key, undeclared.key_type) == ("id", "Any")
    assert undeclared.has_attribute("id")


def test_table_and_database_names_can_be_given() -> None:
    """``schema`` is the old name of ``database``; words may be bare."""
    first, second = parse_sdl(
        'type A @table(table: "a-b", database: plant) { id: ID } '
        'type B @table(schema: "old") { id: ID }'
    ).tables
    assert first.full_name == "plant.a-b"
    assert second.full_name == "old.B"


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("type A @table {\n  id ID\n}", 2, 6, "Expected ':', found Name 'ID'"),
        ("type A @table {\n  v: Floatt\n}", 2, 6, "unknown type Floatt; did you mean Float?"),
        ("type A @table {\n  p: Placce\n}\ntype Place { x: Int }", 2, 6, "did you mean Place?"),
        ("type A @table {\n  v: Int @embed(source: x)\n}", 2, 10, "@embed is not supported yet"),
        ("type A @table {\n  v: Int @table\n}", 2, 10, "@table belongs to a type"),
        ("type A\n @table\n @indexed { v: Int }", 3, 2, "@indexed belongs to a field"),
        ("type A @table(expiraton: 1) { v: Int }", 1, 15, "did you mean expiration?"),
        ("type A @table(audit: true) { v: Int }", 1, 15, "@table(audit:) is not supported yet"),
        ('type A @table(expiration: "1h") { v: Int }', 1, 15, "must be an integer"),
        ("type A @table @export(rest: 1) { v: Int }", 1, 23, "must be true or false"),
        ("type A @table {\n a: ID @primaryKey\n b: ID @primaryKey\n}", 3, 2, "a and b are both"),
        ("type A @table {\n a: Float @primaryKey\n}", 2, 2, "a primary key attribute cannot be"),
        ("type A @table {\n x: Int\n id: Float\n}", 3, 2, "a primary key attribute cannot be"),
        ("type A @table {\n a: String @updatedTime\n}", 2, 2, "allowed: Date, Float, Long"),
        ("type A @table {\n a: Int\n a: Int\n}", 3, 2, "a is declared twice"),
        ("type N {\n a: Int @indexed\n}", 2, 2, "belong to tables"),
        ("type A @table { x: Int }\ntype A { y: Int }", 2, 6, "type A is declared twice"),
        ('type A @table { x: Int }\ntype B @table(table: "A") { y: Int }', 2, 6, "declared twice"),
        (
            'type A @table @export { x: Int }\ntype B @table @export(name: "A") { y: Int }',
            2, 6, "both exported as 'A'",
        ),
        ('type A @table @export(name: "health/x") { y: Int }', 1, 6, "belongs to the server"),
        ('type A @table @export(name: "a//b") { y: Int }', 1, 6, "empty segment"),
        ("type Topic @table { y: Int }", 1, 6, "belongs to the server itself"),
        ("type Float { y: Int }", 1, 6, "a type of its own"),
        ("type A @table {\n b: [B]\n}\ntype B @table { x: Int }", 2, 5, "B is a table: say"),
        ("type A @table { x: Int }\nenum E { A B }", 2, 1, "enum types are not supported"),
        ("input I { x: Int }", 1, 1, "input types are not supported"),
        ("interface I { x: Int }", 1, 1, "interface types are not supported"),
        ("union U = A | B", 1, 1, "union types are not supported"),
        ("extend type A { y: Int }", 1, 1, "declared in one place"),
        ("type A @table {\n a(x: Int): Int\n}", 2, 4, "take no arguments"),
    ],
)  # fmt: skip
def test_errors_say_where_and_what(text: str, line: int, column: int, message: str) -> None:
    """File, line and column, what is wrong, and the nearest right name."""
    with pytest.raises(SchemaError) as caught:
        parse_sdl(text, "plant.graphql")
    assert (caught.value.file, caught.value.line, caught.value.column) == (
        "plant.graphql",
        line,
        column,
    )
    assert message in str(caught.value)


def test_unknown_directives_are_ignored_with_a_warning_for_near_misses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Other tools' directives stay out of our way."""
    with caplog.at_level(logging.WARNING):
        parse_sdl("type A @table {\n id: ID\n v: Int @index @deprecated\n}", "a.graphql")
    assert [record.getMessage() for record in caplog.records] == [
        "a.graphql:3: @index is ignored; did you mean @indexed?"
    ]


SHOP = """
type Brand @table(database: "makers") {
  id: Int @primaryKey
  name: String
  products: [Product] @relationship(to: brandId)
}
type Product @table(expiration: 60, eviction: 30, scanInterval: 15) @splitSegments @hidden {
  id: ID @primaryKey
  brandId: Int @indexed
  tagIds: [ID]
  price: Float
  gone: Date @expiresAt
  brand: Brand @relationship(from: "brandId") @enumerable
  tags: [Product] @relationship(from: tagIds)
  same: [Product] @relationship(from: price, to: price)
  taxed: Float @computed(from: "price * 1.19", version: 2) @indexed
    @allow(role: clerk) @allow(role: "boss")
  label: String @computed @hidden
}
"""


def test_sdl_declares_relationships_computed_attributes_and_deadlines() -> None:
    """Across databases, of a table with itself, with bare words and strings."""
    brand, product = parse_sdl(SHOP).tables
    assert (product.expiration_s, product.eviction_s, product.scan_interval_s) == (60, 30, 15)
    assert (product.split_segments, product.hidden) == (True, True)
    assert brand.attributes[-1].relation == Relation("data.Product", there="brandId", many=True)
    found = {one.name: one for one in product.attributes}
    assert found["gone"].role == "expires"
    assert found["brand"] == Attribute(
        "brand", TypeRef("Any"), relation=Relation("makers.Brand", "brandId"), enumerable=True
    )
    assert found["tags"].relation == Relation("data.Product", "tagIds", many=True)
    assert found["same"].relation == Relation("data.Product", "price", "price", many=True)
    assert found["taxed"] == Attribute(
        "taxed",
        TypeRef("Float"),
        indexed=True,
        computed=Computed("price * 1.19", "2"),
        roles=("clerk", "boss"),
    )
    assert found["label"].computed == Computed("")
    assert found["label"].hidden


_TWO = (
    "type B @table {{ id: ID n: Int l: [ID] o: N b: Blob v: Int @computed }}\ntype N {{ x: Int }}\n"
)


@pytest.mark.parametrize(
    ("fields", "column", "message"),
    [
        ("b: B @relationship", 6, "needs `from`, `to` or both"),
        ("b: B @relationship(from: x)", 6, "A declares no attribute x"),
        ("bId: ID b: B @relationship(from: bid)", 14, "no attribute bid; did you mean bId?"),
        ("b: [B] @relationship(to: m)", 8, "B declares no attribute m"),
        ("b: [B] @relationship(to: v)", 8, "B.v is not stored"),
        ("b: [B] @relationship(to: o)", 8, "B.o is an object"),
        ("b: B @relationship(to: l)", 6, "there can be many; write [B]"),
        ("k: ID b: [B] @relationship(from: k)", 14, "k holds one key; write B"),
        ("k: [ID] b: B @relationship(from: k)", 14, "k holds a list of keys; write [B]"),
        ("k: Int b: B @relationship(from: k)", 13, "k is Int and B.id is ID, which are never"),
        ("k: ID b: B! @relationship(from: k)", 10, "cannot be asked to have it"),
        ("k: ID b: C @relationship(from: k)", 10, "C is no table that is declared here"),
        ("k: ID b: [[B]] @relationship(from: k)", 10, "a relationship is B or [B]"),
        ("k: ID b: B @relationship(from: k) @indexed", 7, "a relationship has no index"),
        ("k: ID b: B @relationship(from: k) @computed", 7, "exclude each other"),
        ("b: B @relationship(by: k)", 20, "@relationship(by:) is unknown"),
        ("b: B @relationship(from: [k])", 20, "must be a string"),
        ("v: Int @computed(from: 3)", 18, "must be a string"),
        ('v: Int @computed(from: "")', 18, "the expression is empty"),
        ('v: Int @computed(from: "n +")', 18, "invalid syntax (column 4 of the expression)"),
        ('v: Int @computed(from: "n.x")', 18, 'read by name: …["x"]'),
        ('v: Int @computed(from: "v + 1")', 18, "v is not stored"),
        ('v: Int @computed(from: "id + 1") @indexed', 18, "id is no part of the record's body"),
        ("v: Int @computed @indexed", 1, "only what an expression computes can be indexed"),
        ('v: Int! @computed(from: "1")', 1, "cannot be asked to have it"),
        ('v: Blob @computed(from: "1")', 1, "cannot be a Blob"),
        ("v: Int @enumerable", 1, "it is stored"),
        ("v: Int @allow", 8, "@allow names a role"),
        ('v: Int @allow(role: "")', 15, "@allow names a role"),
        ("v: Int @allow(role: a) @allow(role: a)", 1, "a role is allowed twice"),
        ("k: ID @primaryKey @allow(role: a)", 1, "whoever may use the table sees its keys"),
        ("v: String @expiresAt", 1, "allowed: Date, Float, Long"),
        ("v: Date @expiresAt w: Date @expiresAt", 20, "v and w are both declared as expires"),
        ("v: Date @expiresAt @updatedTime", 1, "exclude each other"),
        ('v: [Float] @indexed(type: "HNSW")', 21, "@indexed(type:) is not supported yet"),
        ("v: Int @fullText", 8, "@fullText is not supported yet"),
        ("v: Int @indexed @indexed", 17, "stands here twice"),
    ],
)  # fmt: skip
def test_errors_of_attributes_have_their_place(fields: str, column: int, message: str) -> None:
    """At the directive or argument that is wrong."""
    text = f"{_TWO.format()}type A @table {{ \n{fields}\n}}"
    with pytest.raises(SchemaError) as caught:
        parse_sdl(text, "shop.graphql")
    assert message in str(caught.value)
    assert (caught.value.line, caught.value.column) == (4, column)


@pytest.mark.parametrize(
    ("head", "column", "message"),
    [
        ("@table(expiration: 0)", 15, "above 0"),
        ("@table(expiration: 1, scanInterval: 0)", 30, "above 0"),
        ("@table(eviction: 5)", 6, "an eviction needs an expiration"),
        ("@table(scanInterval: 5)", 6, "a scan interval needs an expiration"),
        ("@table(expiration: 1, eviction: -1)", 6, "an eviction is a number of seconds"),
        ("@table(expiration: 99999999999)", 6, "from 1 to 10000000000"),
        ("@table(replicate: false)", 15, "@table(replicate:) is not supported yet"),
        ('@table @export(name: "")', 6, "under the empty path: it would take"),
        ("@table @export(mcp: true)", 23, "@export(mcp:) is not supported yet"),
        ("@splitSegments", 8, "belongs to a type with @table"),
        ("@table @allow(role: a)", 15, "@allow belongs to a field"),
    ],
)
def test_errors_of_tables_have_their_place(head: str, column: int, message: str) -> None:
    """What cannot be, and what comes later."""
    with pytest.raises(SchemaError) as caught:
        parse_sdl(f"type A {head} {{ v: Int }}", "a.graphql")
    assert message in str(caught.value)
    assert (caught.value.line, caught.value.column) == (1, column)


def test_only_keys_that_can_be_lists_are_split() -> None:
    """An integer or plain string has no segments."""
    with pytest.raises(SchemaError, match="the key can be ID or Any"):
        parse_sdl("type A @table @splitSegments { id: Int @primaryKey }")


@pytest.mark.parametrize(
    "field", ["x: Int @computed", "x: Int @allow(role: a)", "x: Date @expiresAt"]
)
def test_what_belongs_to_tables_is_refused_in_nested_types(field: str) -> None:
    """Where it would have no meaning."""
    with pytest.raises(SchemaError, match=r"belong to tables|table's own"):
        parse_sdl(f"type N {{ {field} }}")


def test_an_expression_of_a_sealed_table_reads_what_is_declared() -> None:
    """In an open table any attribute may be there."""
    text = 'type A @table {} {{ value: Int v: Int @computed(from: "valu") }}'
    parse_sdl(text.format(""))
    with pytest.raises(SchemaError, match="no attribute valu; did you mean value"):
        parse_sdl(text.format("@sealed"))
