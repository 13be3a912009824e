"""What has to be done to bring a store to another schema, decided before anything is done.

Nothing is deleted by a schema: a table that is declared no more is not exported, a new name is
a new table, records are not validated again. A removed index stays in the layout, and is kept
up to date, until `without_retired` is applied: processes that have not heard of the new schema
yet answer queries by it, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from lyredb.errors import FormatMismatch, SchemaError, StorageError
from lyredb.storage.engine import Engine
from lyredb.storage.layout import TableLayout
from lyredb.storage.mutation import Kind, Mutation
from lyredb.tables.builtin import BUILTIN_SCHEMAS
from lyredb.tables.layouts import DEADLINES, IndexKey, key_of_index, layout_of, wanted_indexes
from lyredb.tables.schema import Schema, TableSchema
from lyredb.tables.stored import StoredTable

ROW_PREFIX: Final = "table/"
"""Schema rows of tables: ``table/<database>.<table>``."""

_READINGS: Final = 100
"""At most, until rows and layouts are of the same moment; two are needed when one changes."""
_SAME_KEYS: Final = frozenset(
    (
        ("ID", "String"), ("String", "ID"),
        ("Int", "Long"), ("Int", "BigInt"), ("Long", "BigInt"),
        ("Int", "Any"), ("Long", "Any"),
    )
)  # fmt: skip
"""Changes of a key's type with which every key stays what it is, stored and as text."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(TableSchema)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in this order; all of it may be nothing.

    Attributes:
        layouts: To be defined, for each declared table and each of before; indexes that are
            declared no more are among theirs.
        tables: The declared tables as they will be, each with the indexes that it declares.
        rows: The schema rows that change, as one transaction.
    """

    layouts: tuple[TableLayout, ...]
    tables: tuple[StoredTable, ...]
    rows: tuple[Mutation, ...]

    @property
    def changed(self) -> list[str]:
        """The full names of the tables whose rows change."""
        return [row.key.decode().removeprefix(ROW_PREFIX) for row in self.rows]


def plan(engine: Engine, schema: Schema, *, live: bool = False) -> Plan:
    """Return what brings a store to a schema.

    Args:
        engine: The store; written by this process.
        schema: As it is to be.
        live: Somebody may be writing by the present one.

    Raises:
        SchemaError: The key of a table would change where that is not possible, or there
            are more tables and indexes than the store has room for.
        FormatMismatch: A schema row was written by a later version.
    """
    declared = (*BUILTIN_SCHEMAS.values(), *schema.tables)
    rows = engine.list_meta(ROW_PREFIX)
    _refuse_other_keys(engine, rows, declared, live=live)
    of_before = _declared_no_more(rows, {one.full_name for one in declared})
    everything = _layouts(engine, (*declared, *of_before))
    own = everything[: len(declared)]
    layouts = tuple(_with_retiring(engine.layouts.get(one.slot), one) for one in everything)
    _refuse_too_many(engine, layouts[: len(declared)])
    return Plan(
        layouts,
        tuple(StoredTable(*pair) for pair in zip(declared, own, strict=True)),
        tuple(_changed_rows(engine, rows, {one.full_name: one for one in declared}, own)),
    )


def stored_tables(engine: Engine) -> list[StoredTable]:
    """Return the tables as the rows of the store say, each with the indexes it declares.

    Beside another process that writes, tables are read again until layouts and rows fit.

    Raises:
        FormatMismatch: A schema row was written by a later version, or none fits.
    """
    for _ in range(_READINGS):
        rows = engine.list_meta(ROW_PREFIX)
        found = [_of_row(engine, name, row) for name, row in rows.items()]
        if None not in found:
            return [table for table in found if table is not None]
        engine.refresh_shape()
    raise FormatMismatch("the store has tables without the indexes that they declare")


def without_retired(engine: Engine) -> list[TableLayout]:
    """Return the layouts to be defined so that indexes which nobody declares are removed."""
    return [
        replace(layout, indexes=kept)
        for table in stored_tables(engine)
        for layout in (engine.layouts[table.slot],)
        for kept in (tuple(one for one in layout.indexes if one in table.layout.indexes),)
        if kept != layout.indexes
    ]


def encode_schema_row(schema: TableSchema) -> bytes:
    """Return the schema row of a table: MessagePack of its fields."""
    return _encoder.encode(schema)


def decode_schema_row(row: bytes) -> TableSchema:
    """Return the table that a schema row holds.

    Raises:
        FormatMismatch: It was written by a later version, or is damaged.
    """
    try:
        return _decoder.decode(row)
    except msgspec.DecodeError as error:
        raise FormatMismatch("a table's schema row cannot be read by this version") from error


def _declared_no_more(rows: Mapping[str, bytes], declared: Set[str]) -> list[TableSchema]:
    """The tables that stay, whose records may have deadlines as others."""
    names = [name for name in rows if name.removeprefix(ROW_PREFIX) not in declared]
    return [decode_schema_row(rows[name]) for name in names]


def _of_row(engine: Engine, name: str, row: bytes) -> StoredTable | None:
    """The table of a row, ``None`` while the layouts that are known are older than it."""
    schema = decode_schema_row(row)
    full_name = name.removeprefix(ROW_PREFIX)
    layout = next((one for one in engine.layouts.values() if one.name == full_name), None)
    slots = _index_slots(layout)
    if layout is None or set(wanted_indexes(schema)) - slots.keys() - {DEADLINES}:
        return None
    return StoredTable(schema, layout_of(schema, layout.slot, slots))


def _refuse_other_keys(
    engine: Engine, rows: Mapping[str, bytes], declared: Iterable[TableSchema], *, live: bool
) -> None:
    """Refuse another key for records that are there: each would get a wrong one.

    And at any time while somebody may be about to write by the present one.

    Raises:
        SchemaError: Names the table, the old and the new key, and the way out.
    """
    existing = {layout.name: layout.slot for layout in engine.layouts.values()}
    for schema in declared:
        row = rows.get(ROW_PREFIX + schema.full_name)
        slot = existing.get(schema.full_name)
        if row is None or slot is None:
            continue
        old = decode_schema_row(row)
        if _has_same_keys(old, schema):
            continue
        change = f"from {_key_of(old)} to {_key_of(schema)}"
        with engine.snapshot() as snapshot:
            count = snapshot.count(slot)
        if count:
            raise SchemaError(
                f"table {schema.full_name} has {count} records, so its key cannot change "
                f"{change}; declare a new table, or export the records, delete them, and "
                "import them again"
            )
        if live:
            raise SchemaError(
                f"the key of table {schema.full_name} changes {change}, which needs a restart"
            )


def _has_same_keys(old: TableSchema, new: TableSchema) -> bool:
    types = (old.key_type, new.key_type)
    same_types = types[0] == types[1] or types in _SAME_KEYS
    same_form = old.split_segments == new.split_segments
    return old.primary_key == new.primary_key and same_types and same_form


def _key_of(schema: TableSchema) -> str:
    form = ", with split segments" if schema.split_segments else ""
    return f"{schema.primary_key} ({schema.key_type}{form})"


def _refuse_too_many(engine: Engine, layouts: Iterable[TableLayout]) -> None:
    try:
        engine.check_room(layouts)
    except StorageError as error:
        raise SchemaError(str(error)) from error


def _layouts(engine: Engine, declared: tuple[TableSchema, ...]) -> list[TableLayout]:
    """The layout of each table, with the slots it has or with free ones."""
    existing = {layout.name: layout for layout in engine.layouts.values()}
    builtin = {schema.full_name: slot for slot, schema in BUILTIN_SCHEMAS.items()}
    new_tables = [
        one.full_name
        for one in declared
        if one.full_name not in existing and one.full_name not in builtin
    ]
    new_indexes = [
        (one.full_name, key)
        for one in declared
        for key in wanted_indexes(one)
        if key not in _index_slots(existing.get(one.full_name))
    ]
    free = engine.allocate_slots(tables=len(new_tables), indexes=len(new_indexes))
    slots = builtin | dict(zip(new_tables, free.tables, strict=True))
    index_slots = dict(zip(new_indexes, free.indexes, strict=True))
    return [_layout(one, existing.get(one.full_name), slots, index_slots) for one in declared]


def _layout(
    schema: TableSchema,
    old: TableLayout | None,
    slots: Mapping[str, int],
    index_slots: Mapping[tuple[str, IndexKey], int],
) -> TableLayout:
    name = schema.full_name
    kept = _index_slots(old)
    wanted = {
        key: kept[key] if key in kept else index_slots[name, key] for key in wanted_indexes(schema)
    }
    return layout_of(schema, old.slot if old else slots[name], wanted)


def _index_slots(layout: TableLayout | None) -> dict[IndexKey, int]:
    if layout is None:
        return {}
    return {key_of_index(index): index.slot for index in layout.indexes}


def _with_retiring(old: TableLayout | None, new: TableLayout) -> TableLayout:
    retiring = [index for index in old.indexes if index not in new.indexes] if old else []
    return replace(new, indexes=(*new.indexes, *retiring))


def _changed_rows(
    engine: Engine,
    rows: Mapping[str, bytes],
    declared: Mapping[str, TableSchema],
    layouts: Iterable[TableLayout],
) -> Iterator[Mutation]:
    """The rows of declared tables that differ, and of others that are exported still."""
    for layout in layouts:
        name, row = ROW_PREFIX + layout.name, encode_schema_row(declared[layout.name])
        if rows.get(name) != row:
            yield Mutation(layout.slot, name.encode(), Kind.SCHEMA, row)
    for layout in engine.layouts.values():
        name = ROW_PREFIX + layout.name
        if layout.name in declared or name not in rows:
            continue
        row = encode_schema_row(replace(decode_schema_row(rows[name]), export=None))
        if rows[name] != row:
            yield Mutation(layout.slot, name.encode(), Kind.SCHEMA, row)
