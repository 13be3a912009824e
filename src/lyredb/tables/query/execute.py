"""Running a query: pages of records, each from a snapshot that is closed again at once.

Whoever reads the result may be slow, and a snapshot that is held makes the data file
grow, so none is open while a record is handed out. A result of more than one page is
therefore not of one moment: each record is one that was committed during the search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from lyredb.formats import PAUSE, Pause
from lyredb.storage.engine import Engine
from lyredb.storage.keys import TAG_STRING, KeyValue, encode_key, is_cut
from lyredb.storage.record import decode_header
from lyredb.storage.snapshot import Snapshot
from lyredb.tables.query.plan import Plan, plan
from lyredb.tables.query.terms import EVERYTHING, ID_NAME, UPDATED_NAME, Query, Select
from lyredb.tables.stored import MS_SHIFT, StoredTable

PAGE_RECORDS: Final = 500
PAGE_BYTES: Final = 1 << 20
"""A page ends with the record that reaches it, so it is bounded: 1.3 ms for
500 small ones."""
_PREFIX_BYTES: Final = 400
"""Of a prefix: less than what every stored key keeps of a long id."""

Row = tuple[bytes, bytes]
"""Stored key and stored record."""
Match = tuple[KeyValue, bytes]
"""Key and stored record."""
Present = Callable[[KeyValue, bytes], object]


def search(
    engine: Engine, table: StoredTable, query: Query, *, prefix: str = ""
) -> Iterator[object]:
    """Yield what the query finds, lazily, in the order of the keys.

    Args:
        engine: Where the table is.
        table: What is searched.
        query: Conditions, limit, select.
        prefix: Only ids that begin with this text; ends with a slash.

    Returns:
        Records as mappings, or what is selected of them; and `PAUSE` after so many
        records looked at that others on the loop should have a turn.

    Raises:
        UnknownAttribute, InvalidQuery: At once, not on iteration.
    """
    found = plan(table, query, engine.building)
    present = _presenter(table, query.select)
    return _results(_matching(engine, table, found, prefix), table, query, present)


def explain(
    engine: Engine, table: StoredTable, query: Query, *, prefix: str = ""
) -> dict[str, object]:
    """Return how `search` would do it: ``access``, ``attribute``, ``filters``.

    Raises:
        UnknownAttribute, InvalidQuery: As `search`.
    """
    explained = plan(table, query, engine.building).explain()
    return {**explained, "prefix": prefix} if prefix else explained


def _results(
    rows: Iterator[Match | Pause], table: StoredTable, query: Query, present: Present
) -> Iterator[object]:
    skip, left = query.offset, query.limit
    if left == 0:
        return
    for row in rows:
        if isinstance(row, Pause):
            yield PAUSE
        elif skip:
            skip -= 1
        else:
            yield present(*row)
            if left is not None:
                left -= 1
                if not left:
                    return


def _matching(
    engine: Engine, table: StoredTable, found: Plan, prefix: str
) -> Iterator[Match | Pause]:
    filters = [test for _, test in found.filters]
    for looked_at, (encoded, stored) in enumerate(_rows(engine, table, found, prefix), 1):
        if looked_at % PAGE_RECORDS == 0:
            yield PAUSE
        if not all(test(stored) for test in filters):
            continue
        key = table.decode_key(encoded, decode_header(stored))
        if not prefix or table.key_to_text(key).startswith(prefix):
            yield key, stored


def _rows(engine: Engine, table: StoredTable, found: Plan, prefix: str) -> Iterator[Row]:
    match found.access:
        case "key":
            return _by_key(engine, table.slot, found.key)
        case "index":
            return _by_index(engine, table.slot, found)
        case "scan":
            start, stop = _range(prefix)
            return _by_scan(engine, table.slot, start, stop)
        case _:
            return iter(())


def _by_key(engine: Engine, slot: int, key: bytes) -> Iterator[Row]:
    with engine.snapshot() as snapshot:
        stored = snapshot.get(slot, key)
    if stored is not None:
        yield key, stored


def _by_index(engine: Engine, slot: int, found: Plan) -> Iterator[Row]:
    """Keys first, all from one snapshot, then the records in pages.

    Records of that snapshot have the value, unless the index has only its beginning;
    those of later snapshots may have changed since.
    """
    assert found.index is not None, "an index plan has one"
    test = next(test for condition, test in found.filters if condition is found.by)
    with engine.snapshot() as snapshot:
        keys = list(snapshot.index_keys(found.index.slot, found.encoded))
        page = _get(snapshot, slot, keys[:PAGE_RECORDS])
    yield from (row for row in page if test(row[1])) if is_cut(found.encoded) else page
    for at in range(PAGE_RECORDS, len(keys), PAGE_RECORDS):
        with engine.snapshot() as snapshot:
            page = _get(snapshot, slot, keys[at : at + PAGE_RECORDS])
        yield from (row for row in page if test(row[1]))


def _get(snapshot: Snapshot, slot: int, keys: list[bytes]) -> list[Row]:
    rows = ((key, snapshot.get(slot, key)) for key in keys)
    return [(key, stored) for key, stored in rows if stored is not None]


def _by_scan(engine: Engine, slot: int, start: bytes, stop: bytes | None) -> Iterator[Row]:
    after: bytes | None = None
    while True:
        with engine.snapshot() as snapshot:
            rows, is_last = _page(snapshot.scan(slot, start, stop, after=after))
        yield from rows
        if is_last:
            return
        after = rows[-1][0]


def _page(scan: Iterator[Row]) -> tuple[list[Row], bool]:
    """The next records of a scan, up to the limits of a page, and whether they are the last."""
    rows: list[Row] = []
    size = 0
    for row in scan:
        rows.append(row)
        size += len(row[1])
        if len(rows) == PAGE_RECORDS or size >= PAGE_BYTES:
            return rows, False
    return rows, True


def _range(prefix: str) -> tuple[bytes, bytes | None]:
    """The stored keys in which ids with a prefix are found. All of a table without one."""
    if not prefix:
        return b"", None
    start = encode_key(prefix)[:_PREFIX_BYTES]
    assert start[0] == TAG_STRING, "a prefix is text"
    # UTF-8 has no byte FF, so what follows all keys with this beginning is that and FF;
    # an escaped NUL (00 FF) sorts below.
    return start, start + b"\xff"


def _presenter(table: StoredTable, select: Select | None) -> Present:
    if select is None:
        return table.decode
    names = tuple(item.name for item in select.items)
    if EVERYTHING in names:
        return table.decode
    read = _reader(table, names)
    match select.form:
        case "values":
            name = names[0]
            return lambda key, stored: read(key, stored).get(name)
        case "arrays":
            return lambda key, stored: list(map(read(key, stored).get, names))
        case _:
            return read


def _reader(
    table: StoredTable, names: tuple[str, ...]
) -> Callable[[KeyValue, bytes], dict[str, object]]:
    plain = tuple(name for name in names if name not in (ID_NAME, UPDATED_NAME))
    if plain == names:
        return lambda key, stored: table.decode_only(key, stored, names)

    def read(key: KeyValue, stored: bytes) -> dict[str, object]:
        found = table.decode_only(key, stored, plain) if plain else {}
        if ID_NAME in names:
            found[ID_NAME] = list(key) if isinstance(key, tuple) else key
        if UPDATED_NAME in names:
            found[UPDATED_NAME] = decode_header(stored).version >> MS_SHIFT
        return {name: found[name] for name in names if name in found}

    return read
