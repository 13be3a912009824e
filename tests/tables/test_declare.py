"""Typed classes: instances, columns, and errors with their place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from lyredb.errors import SchemaError
from lyredb.tables.declare import (
    GENERATED,
    ID,
    BigInt,
    Blob,
    Col,
    Column,
    CreatedTime,
    ExpiresAt,
    Export,
    Indexed,
    Int32,
    Key,
    Nested,
    Rel,
    String,
    Table,
    UpdatedTime,
    computed,
    field,
    relationship,
    schema_of,
)
from lyredb.tables.declare.table import ClassShape
from lyredb.tables.query.terms import Condition
from lyredb.tables.schema import Relation
from lyredb.tables.sdl import parse_sdl
from lyredb.tables.source import load_schema


class Place(Nested, sealed=True):
    """A place in the plant."""

    city: Col[str]
    rooms: Col[list[Place] | None]
    owner: Col[Owner | None]


class Owner(Nested):
    name: Col[str | None] = field(default="nobody")


class Sensor(Table, export="plant/Sensor", sealed=True, expires_s=60):
    """A sensor."""

    kind: ClassVar[str] = "no column"
    id: Key[str]
    value: Indexed[float]
    site: Col[str | None] = field(default="somewhere", description="in the plant")
    note: Col[str | None]
    place: Col[Place | None]
    get_: Col[int | None] = field(name="get")
    made = CreatedTime()
    at = UpdatedTime(float, indexed=True)


AnySensor: Any = Sensor
"""For mistakes that a type checker would not let pass."""


class Everything(Table, name="every-thing", database="plant", export=Export("e", mqtt=False)):
    id: Key[String]
    small: Col[Int32]
    long: Col[int]
    big: Col[BigInt]
    flag: Col[bool]
    date: Col[datetime]
    raw: Col[bytes]
    any: Col[Any]
    maybe: Col[Any | None]
    name: Col[ID]
    lists: Col[list[list[float | None]] | None]


SDL = """
"A sensor."
type Sensor @table(expiration: 60) @export(name: "plant/Sensor") @sealed {
  id: ID @primaryKey
  value: Float! @indexed
  "in the plant" site: String
  note: String
  place: Place
  get: Long
  made: Date @createdTime
  at: Float @updatedTime @indexed
}
"A place in the plant."
type Place @sealed { city: String! rooms: [Place!] owner: Owner }
type Owner { name: String }
type E @table(table: "every-thing", database: "plant") @export(name: "e", mqtt: false) {
  id: String @primaryKey
  small: Int! long: Long! big: BigInt! flag: Boolean! date: Date! raw: Bytes! any: Any! maybe: Any
  name: ID! lists: [[Float]!]
}
"""


def test_classes_and_sdl_declare_the_same() -> None:
    """Nested types are found, forward references too; tables in the order given."""
    assert schema_of([Sensor, Everything]) == parse_sdl(SDL)


def test_an_instance_wraps_its_record() -> None:
    """Values go in and out as they are; names of records differ where they must."""
    sensor = Sensor(id="a", value=1.5, note=None, get_=7, place=Place(city="x", rooms=[]))  # type: ignore[call-arg]  # owner
    assert sensor.to_dict() == {
        "id": "a", "value": 1.5, "note": None, "get": 7, "place": {"city": "x", "rooms": []},
    }  # fmt: skip
    assert (sensor.id, sensor.value, sensor.get_) == ("a", 1.5, 7)
    sensor.value = 2
    del sensor.get_
    assert sensor.to_dict()["value"] == 2
    assert "get" not in sensor.to_dict()


def test_absent_is_not_null() -> None:
    """Both read as None where the type allows it; the default fills what is absent only."""
    sensor = Sensor.from_dict({"id": "a", "note": None})
    assert (sensor.note, sensor.place, sensor.site) == (None, None, "somewhere")
    assert "note" in sensor
    assert "place" not in sensor
    assert "site" not in sensor.to_dict()
    sensor.site = None
    assert sensor.site is None
    with pytest.raises(AttributeError, match="has no value"):
        assert sensor.value


def test_nested_objects_are_instances_over_the_same_record() -> None:
    """A change in one is a change of the record; lists of them are instances too."""
    record: dict[str, object] = {"place": {"city": "x", "rooms": [{"city": "y"}]}}
    sensor = Sensor.from_dict(record)
    assert sensor.place is not None
    sensor.place.city = "z"
    sensor.place.owner = Owner()
    assert sensor.place.rooms == [Place.from_dict({"city": "y"})]
    assert sensor.place.owner.name == "nobody"
    assert record == {"place": {"city": "z", "rooms": [{"city": "y"}], "owner": {}}}
    assert Sensor.from_dict({"place": "of old"}).place == "of old"


def test_extra_holds_undeclared_attributes() -> None:
    """And writes through to the record."""
    record: dict[str, object] = {"id": "a", "get": 1, "more": 2}
    sensor = Sensor.from_dict(record)
    assert dict(sensor.extra) == {"more": 2}
    sensor.extra["most"] = 3
    del sensor.extra["more"]
    assert record == {"id": "a", "get": 1, "most": 3}
    with pytest.raises(KeyError):
        sensor.extra["get"] = 1
    with pytest.raises(KeyError):
        assert sensor.extra["id"]
    assert len(sensor.extra) == 1


def test_instances_compare_and_print_by_their_record() -> None:
    """As data does."""
    assert Owner(name="x") == Owner(name="x") != Owner()
    assert repr(Sensor.from_dict({"id": "a", "get": 1, "x": 2})) == "Sensor(id='a', get_=1, x=2)"


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: AnySensor(valuex=1), TypeError, "no column valuex; did you mean value?"),
        (lambda: AnySensor(at=1), TypeError, "Sensor.at is set by the server"),
        (lambda: setattr(Sensor.from_dict({}), "valuex", 1), AttributeError, "did you mean value?"),
        (lambda: setattr(Sensor.from_dict({}), "at", 1), AttributeError, "set by the server"),
        (lambda: field(default=[]), ValueError, "must not be mutable"),
        (lambda: (Sensor.value == 1) and (Sensor.value == 2), TypeError, "`&`"),
        (lambda: 1 == Sensor.value == 2, TypeError, "`&`"),
        (lambda: (AnySensor.value == 1) & 3, TypeError, "joined with another condition"),
    ],
)  # fmt: skip
def test_mistakes_are_told(
    action: Callable[[], object], error: type[Exception], message: str
) -> None:
    """At once, with what would be right."""
    with pytest.raises(error) as caught:
        action()
    assert message in str(caught.value)


def test_columns_make_conditions_with_record_names() -> None:
    """Values of nested classes become what records hold."""
    assert (Sensor.get_ == 1) == Condition(("get",), "equals", 1)
    place = Place.from_dict({"city": "x"})
    assert (Sensor.place == place) == Condition(("place",), "equals", {"city": "x"})
    assert len({Sensor.value, Sensor.id}) == 2


def test_columns_are_inherited() -> None:
    """A class may widen another table's."""

    class Special(Sensor):
        more: Col[int | None]

    table = schema_of([Special]).tables[0]
    assert [one.name for one in table.attributes] == [
        "id", "value", "site", "note", "place", "get", "more", "made", "at",
    ]  # fmt: skip
    assert table.full_name == "data.Special"


def test_local_classes_find_the_names_around_them() -> None:
    """Annotations are evaluated where the class stands."""

    class Inner(Nested):
        again: Col[Inner | None]

    class Outer(Table):
        inner: Col[Inner | None]

    assert [nested.name for nested in schema_of([Outer]).tables[0].nested] == ["Inner"]
    assert Outer.from_dict({"inner": {"again": {}}}).inner == Inner(again=Inner.from_dict({}))


def test_quoted_and_plain_annotations_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without ``from __future__ import annotations``."""
    made: dict[str, Any] = {"__name__": __name__}
    body = (
        "from lyredb.tables.declare import *\n"
        "class A(Table):\n    id: Key[int]\n    b: Col[list['Place']]\n    c: 'Col[str]'\n"
        "class Place(Nested):\n    x: Col[int]\n"
    )
    schemas = []
    for head in ("", "from __future__ import annotations\n"):
        exec(compile(head + body, "quoted.py", "exec", dont_inherit=True), made)
        columns = made["A"]._lyre_columns
        assert [type(one) for one in columns.values()] == [Key, Col, Col]
        module = ModuleType(__name__)
        vars(module).update(made)
        monkeypatch.setitem(sys.modules, __name__, module)
        schemas.append(schema_of([made["A"]]))
    assert schemas[0] == schemas[1]


BAD = [
    ("    other: Col[Site]", "Site is a table: say by which attribute"),
    ("    other: Col[list[Site] | None]", "Site is a table: say"),
    ("    value: Col[Floatt]", "unknown type Floatt; did you mean float?"),
    ("    value: Col[Placce | None]", "unknown type Placce; did you mean Place?"),
    ("    value: Col[int | str]", "is several types"),
    ("    value: Col[dict[str, int]]", "a column cannot be of type dict[str, int]"),
    ("    value: Col[complex]", "a column cannot be of type complex"),
    ("    value: Col", "write the type in brackets: Col[float]"),
    ("    value: float", "a column is written Col[float]"),
    ("    value: Clo[float]", "'Clo[float]' is no type"),
    ("    value: Coll", "unknown name Coll; did you mean Col?"),
    ("    value: Col[float] = 3.0", "a default is written field(default=3.0)"),
    ("    value = field(default=3)", "needs an annotation"),
    ("    get: Col[int]", "the name get is taken; write get_: … = field(name='get')"),
    ("    value: Key[float]", "a primary key attribute cannot be Float"),
    ("    id: Col[float]", "a primary key attribute cannot be Float"),
    ("    value: Key[int]\n    id: Key[str]", "value and id are both declared as primary key"),
    ("    value = UpdatedTime(bytes)", "a updated attribute cannot be Bytes"),
    ("    x: Col[int] = field(name='value')\n    value: Col[int]", "value is declared twice"),
]


@pytest.mark.parametrize(("body", "message"), BAD)
def test_errors_in_classes_have_file_line_and_column(
    tmp_path: Path, body: str, message: str
) -> None:
    """As those in SDL have."""
    head = (
        "from __future__ import annotations\nfrom lyredb.tables.declare import *\n\n"
        "class Place(Nested):\n    city: Col[str]\nclass Site(Table): pass\nclass A(Table):\n"
    )
    file = tmp_path / "tables.py"
    file.write_text(head + body + "\n", encoding="utf-8")
    with pytest.raises(SchemaError) as caught:
        load_schema(file)
    assert message in str(caught.value)
    lines = body.split("\n")
    assert caught.value.file == "tables.py"
    assert caught.value.line == 7 + len(lines)
    assert caught.value.column == 5


def test_table_arguments_are_checked() -> None:
    """The same rules as in SDL."""

    class A(Table, export="health/A"):
        x: Col[int]

    with pytest.raises(SchemaError, match=r"test_declare\.py:\d+:5: .*belongs to the server"):
        schema_of([A])

    class B(Table, expires_s=-1):
        x: Col[int]

    with pytest.raises(SchemaError, match="seconds from 1 to"):
        schema_of([B])
    with pytest.raises(SchemaError, match="declared twice"):
        schema_of([Sensor, Sensor])
    with pytest.raises(SchemaError, match="no class derived from Table"):
        schema_of([Place])  # type: ignore[list-item]  # the mistake in question


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("class A(Table, export=5)", "export must be bool or str or Export, got 5"),
        ("class A(Table, exprt=True)", "unknown class argument exprt; did you mean export?"),
        ("class A(Table, xyz=1)", "unknown class argument xyz; there are export, sealed,"),
        ("class A(Table, sealed='no')", "sealed must be bool, got no"),
        ("class A(Table, expires_s=True)", "expires_s must be int, got True"),
        ("class A(Table, expires_s='1h')", "expires_s must be int, got 1h"),
        ("class A(Table, name=5)", "name must be str, got 5"),
        ("class A(Table, database=None)", "database must be str, got None"),
        ("class A(Nested, seald=True)", "unknown class argument seald; did you mean sealed?"),
        ("class A(Nested, sealed=1)", "sealed must be bool, got 1"),
    ],
)
def test_wrong_class_arguments_have_their_place(
    tmp_path: Path, statement: str, message: str
) -> None:
    """A misspelt one must not be ignored, nor be a bare TypeError."""
    file = tmp_path / "tables.py"
    file.write_text(f"from lyredb.tables.declare import *\n\n{statement}: pass\n")
    with pytest.raises(SchemaError) as caught:
        load_schema(file)
    assert message in str(caught.value)
    assert (caught.value.file, caught.value.line, caught.value.column) == ("tables.py", 3, 1)


def test_two_nested_types_of_one_name_are_refused() -> None:
    """A schema has one meaning per name."""

    class Other(Nested, name="Place"):
        x: Col[int]

    class A(Table):
        first: Col[Place | None]
        second: Col[Other | None]

    with pytest.raises(SchemaError, match="two nested types Place"):
        schema_of([A])


def test_generated_keys_have_no_value_yet() -> None:
    """The default tells a type checker that the key may be left out."""

    class A(Table):
        id: Key[str] = field(default=GENERATED)

    with pytest.raises(AttributeError, match="has no id"):
        assert A().id
    assert isinstance(A.id, Column)


def test_values_are_not_copied_or_converted() -> None:
    """What a record holds is what an instance shows."""
    when = datetime(2024, 1, 5, tzinfo=UTC)
    assert Everything.from_dict({"date": when, "big": 10**30}).date is when
    assert sys.getsizeof(Everything.from_dict({})) < 200


class Brand(Table, database="makers"):
    id: Key[Int32]
    name: Col[str | None]
    products: Rel[list[Product]] = relationship(to="brandId")


class Product(
    Table, expires_s=60, eviction_s=30, scan_interval_s=15, split_segments=True, hidden=True
):
    id: Key[str]
    brand_id: Indexed[Int32 | None] = field(name="brandId")
    price: Col[float | None] = field(roles=("clerk", "boss"))
    picture: Col[Blob | None]
    brand: Rel[Brand] = relationship(from_="brandId", enumerable=True)
    taxed: Indexed[float] = computed("price * 1.19", version=2, enumerable=True)
    label: Col[str] = computed(hidden=True, description="for the shelf")
    gone = ExpiresAt(indexed=True)


PRODUCTS = """
type Brand @table(database: "makers") {
  id: Int @primaryKey
  name: String
  products: [Product] @relationship(to: "brandId")
}
type Product @table(expiration: 60, eviction: 30, scanInterval: 15) @splitSegments @hidden {
  id: ID @primaryKey
  brandId: Int @indexed
  price: Float @allow(role: "clerk") @allow(role: "boss")
  picture: Blob
  brand: Brand @relationship(from: "brandId") @enumerable
  taxed: Float @computed(from: "price * 1.19", version: "2") @indexed @enumerable
  "for the shelf" label: String @computed @hidden
  gone: Date @expiresAt @indexed
}
"""


def test_classes_and_sdl_declare_the_same_relationships_and_computed_attributes() -> None:
    """With every mark; annotated deadlines are the same ones, and can be required."""
    assert schema_of([Brand, Product]) == parse_sdl(PRODUCTS)

    class Required(Table):
        gone: ExpiresAt[float] = field(indexed=True)

    sdl = "type Required @table { gone: Float! @expiresAt @indexed }"
    assert schema_of([Required]) == parse_sdl(sdl)


def test_local_classes_may_be_related_to_each_other() -> None:
    """In both directions, though a function's names cannot be looked up from outside."""

    class Author(Table):
        id: Key[str]
        books: Rel[list[Book]] = relationship(to="author_id")

    class Book(Table):
        author_id: Col[ID]
        author: Rel[Author | None] = relationship(from_="author_id")

    author, book = schema_of([Author, Book]).tables
    assert author.attributes[1].relation == Relation("data.Book", there="author_id", many=True)
    assert book.attributes[1].relation == Relation("data.Author", "author_id")


def test_a_virtual_column_is_read_and_not_written() -> None:
    """Related records are instances of their classes; put leaves out what was read."""
    record: dict[str, object] = {"id": "a", "brand": {"id": 7, "products": [{"id": "a"}]}}
    product = Product.from_dict(record)
    assert isinstance(product.brand, Brand)
    assert [type(one) for one in product.brand.products] == [Product]
    assert product.gone is None
    with pytest.raises(AttributeError, match="has no taxed"):
        assert product.taxed
    with pytest.raises(AttributeError, match=r"Product\.brand is not stored"):
        product.brand = Brand(id=7)  # type: ignore[call-arg]  # name has no default
    with pytest.raises(TypeError, match=r"Product\.taxed is not stored"):
        Product(taxed=1)  # type: ignore[call-arg]
    assert ClassShape(Product).unwrap(product) == {"id": "a"}
    assert ClassShape(Product).unwrap({"taxed": 1}) == {"taxed": 1}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    other: Rel[Site]", r"say by what: … = relationship\(from_=…\)"),
        ("    other: Col[str] = relationship(to='x')", "is written Rel"),
        ("    other: Rel[str] = relationship(to='x')", "a relationship is to a table"),
        ("    other: Rel[Site] = relationship(from_='x')", "Case declares no attribute x"),
        ("    other: Rel[list[Site]] = relationship(to='x')", "Site declares no attribute x"),
        ("    other: Col[int] = computed('1 +')", "invalid syntax"),
        ("    other = computed('1')", "needs an annotation"),
    ],
)
def test_errors_of_virtual_columns_have_file_line_and_column(
    body: str, message: str, tmp_path: Path
) -> None:
    """As in SDL."""
    classes = "class Site(Table):\n    y: Col[int]\n\nclass Case(Table):"
    source = f"from lyredb import *\n\n{classes}\n{body}\n"
    (tmp_path / "tables.py").write_text(source)
    with pytest.raises(SchemaError, match=message) as caught:
        load_schema(tmp_path)
    assert (caught.value.file, caught.value.line, caught.value.column) == ("tables.py", 7, 5)


def test_a_related_table_belongs_to_the_schema() -> None:
    """Both are given to the database."""
    with pytest.raises(SchemaError, match=r"data\.Product is no table of this schema"):
        schema_of([Brand])


def test_only_a_column_without_expression_has_a_function() -> None:
    """The others would never call it."""
    for name in ("taxed", "price", "nothing"):
        with pytest.raises(SchemaError, match="has a function"):
            Product.set_computed_attribute(name, lambda product: 1)


def test_roles_are_a_sequence() -> None:
    """One name in plain text would be as many roles as it has letters."""
    with pytest.raises(TypeError, match="sequence of names"):
        field(roles="clerk")
