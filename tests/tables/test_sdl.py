"""SDL text to schema values, and errors that say where and what."""

from __future__ import annotations

import logging

import pytest

from lyredb.errors import SchemaError
from lyredb.tables.schema import Attribute, Export, NestedType, TypeRef
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
    """Conventions 2.2: without any key it is an attribute ``id``, declared or not."""
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
    """Conventions 2.2: other tools' directives stay out of our way."""
    with caplog.at_level(logging.WARNING):
        parse_sdl("type A @table {\n id: ID\n v: Int @index @deprecated\n}", "a.graphql")
    assert [record.getMessage() for record in caplog.records] == [
        "a.graphql:3: @index is ignored; did you mean @indexed?"
    ]
