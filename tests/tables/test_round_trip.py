"""The two notations are one: SDL → schema → classes → schema, for random schemas."""

from __future__ import annotations

import sys
from types import ModuleType

from hypothesis import HealthCheck, given, settings

from lyredb.tables.declare import schema_of
from lyredb.tables.generate import classes_source
from lyredb.tables.schema import Schema
from lyredb.tables.sdl import parse_sdl
from lyredb.tables.source import load_schema, tables_of
from tests.tables.schemas import schemas, sdl_of


def schema_of_source(source: str) -> Schema:
    """Run generated source as a module, and read its classes."""
    module = ModuleType("generated_tables")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, "generated_tables.py", "exec"), vars(module))
        return schema_of(tables_of(module))
    finally:
        del sys.modules[module.__name__]


@given(schema=schemas())
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
def test_sdl_and_classes_give_identical_schemas(schema: Schema) -> None:
    """Whatever names, types, nesting, roles and descriptions are in it."""
    parsed = parse_sdl(sdl_of(schema))
    assert parsed == schema
    source = classes_source(parsed)
    assert schema_of_source(source) == schema
    assert classes_source(schema_of_source(source)) == source


def test_generated_source_is_stable_and_readable() -> None:
    """What a person sees who opens the file."""
    sdl = '''
    """A sensor."""
    type Sensor @table @export @sealed {
      id: ID @primaryKey
      value: Float! @indexed
      site: String
      class: [Place!]
      at: Date @updatedTime
    }
    type Place { floor: Int! }
    '''
    assert (
        classes_source(load_schema(sdl))
        == '''"""Tables as typed classes."""

from __future__ import annotations

from lyredb import (
    Col,
    Indexed,
    Int32,
    Key,
    Nested,
    Table,
    UpdatedTime,
    field,
)


class Place(Nested):
    floor: Col[Int32]


class Sensor(Table, export=True, sealed=True):
    """A sensor."""

    id: Key[str]
    value: Indexed[float]
    site: Col[str | None] = field(default=None)
    class_: Col[list[Place] | None] = field(default=None, name="class")
    at = UpdatedTime()
'''
    )


def test_an_empty_schema_has_an_empty_module() -> None:
    """Nothing is imported that is not used."""
    assert schema_of_source(classes_source(Schema())) == Schema()
