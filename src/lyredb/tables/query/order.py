"""The order of a result: bytes to sort by, and as few of them in memory as will do.

Ascending: what is absent, null, false, true, numbers, dates, texts, bytes, lists,
objects; a list stands where its smallest element does, when descending where its greatest
does. Times that the server sets are exact. What is equal comes by key, ascending.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lyredb.storage.keys import ABSENT, KEY_PREFIX_BYTES, encode_ordered, is_cut
from lyredb.storage.record import decode_header
from lyredb.tables.query.access import Batches, ByIndex
from lyredb.tables.query.compare import smallest
from lyredb.tables.query.fields import Document, Touched
from lyredb.tables.query.paths import Leaf, Names, Step
from lyredb.tables.query.predicate import Joins
from lyredb.tables.query.terms import SortKey
from lyredb.tables.query.view import Row
from lyredb.tables.stored import StoredTable

_FLIP: Final = bytes(255 - byte for byte in range(256))
_BETWEEN: Final = b"\x01"
"""Between two parts of an order. A text goes on after an inner NUL with 0xFF, or 0x00 when it
descends; what follows its end must be neither, as an absent value in the next part is."""
_LEAST: Final = 1024
"""Rows that are gathered before any are thrown away."""
_Part = Callable[[Document, bytes, bytes], bytes]


@dataclass(slots=True, eq=False)
class OrderKey:
    """One key of an order.

    Attributes:
        steps: Relations on the way to the attribute.
        leaf: The attribute.
        descending: From the greatest down.
    """

    steps: tuple[Step, ...]
    leaf: Leaf
    descending: bool

    @property
    def label(self) -> str:
        """The path, with a minus when it descends."""
        path = ".".join((*(step.name for step in self.steps), self.leaf.label))
        return f"-{path}" if self.descending else path


def order_of(sort: tuple[SortKey, ...], table: StoredTable, names: Names) -> tuple[OrderKey, ...]:
    """Return an order as the table understands it.

    Raises:
        InvalidQuery, UnknownAttribute, NotAuthorised, QueryTooCostly: It cannot.
    """
    return tuple(_order_key(one, table, names) for one in sort)


def _order_key(key: SortKey, table: StoredTable, names: Names) -> OrderKey:
    steps: list[Step] = []
    path = key.path
    while len(path) > 1:
        names.require(table, path[0])
        step = names.step(table, path[0], len(steps))
        if step is None:
            break
        steps.append(step)
        table, path = step.target, path[1:]
    return OrderKey(tuple(steps), names.leaf(table, path), key.descending)


def sort_bytes(
    keys: tuple[OrderKey, ...], table: StoredTable, joins: Joins
) -> Callable[[bytes, bytes], bytes]:
    """Return what a record is ordered by: bytes that compare as the records do."""
    touched = Touched(table)
    parts = [_part(key, key.steps, touched, joins) for key in keys]
    flips = [key.descending for key in keys]
    by_key = bool(keys) and keys[-1].leaf.source == "key" and not keys[-1].steps
    read = touched.reader()

    def encode(key: bytes, stored: bytes) -> bytes:
        document = read(stored)
        found = [
            part(document, key, stored).translate(_FLIP) if flip else part(document, key, stored)
            for part, flip in zip(parts, flips, strict=True)
        ]
        # A key that is asked for stands in its whole length; the stored one is a tie-breaker.
        return _BETWEEN.join(found) if by_key else _BETWEEN.join(found) + key

    return encode


def _part(key: OrderKey, steps: tuple[Step, ...], touched: Touched, joins: Joins) -> _Part:
    if not steps:
        value, largest = touched.order_value(key.leaf), key.descending
        return lambda doc, k, stored: smallest(
            _in_order(value(doc, k, stored)), encode_ordered, largest=largest
        )
    join = joins.of(steps[0])
    here = join.here(touched)
    inner = Touched(steps[0].target)
    part = _part(key, steps[1:], inner, joins)
    read = inner.reader()
    choose = max if key.descending else min
    nothing = encode_ordered(ABSENT)

    def related(doc: Document, k: bytes, stored: bytes) -> bytes:
        rows = join.rows(here(doc, k, stored))
        return choose((part(read(row[1]), *row) for row in rows), default=nothing)

    return related


def _in_order(value: object) -> object:
    """A key that is a list is one value, not several."""
    return (value,) if isinstance(value, tuple) else value


def sorted_rows(
    batches: Batches,
    encode: Callable[[bytes, bytes], bytes],
    joins: Joins,
    slot: int,
    keep: int | None,
) -> Batches:
    """Yield records in order, after all have been read.

    Only what they are ordered by is in memory; the records are read again, as of the same
    position. With `keep` no more than twice as many are ever held.

    Args:
        batches: In any order.
        encode: `sort_bytes`.
        joins: Has the view.
        slot: Of the table.
        keep: How many are wanted, ``None`` for all.
    """
    meter = joins.view.meter
    held: list[tuple[bytes, bytes]] = []
    bound: bytes | None = None
    room = None if keep is None else max(2 * keep, _LEAST)
    for rows in batches:
        for key, stored in rows:
            place = encode(key, stored)
            if bound is None or place < bound:
                held.append((place, key))
        if room is not None and keep is not None and len(held) >= room:
            held.sort()
            meter.looked_at(0, keep - len(held))
            del held[keep:]
            bound = held[-1][0] if held else None
        meter.order(len(held))
        yield []
    held.sort()
    if keep is not None:
        del held[keep:]
    yield from _read_again([key for _, key in held], joins, slot)


def _read_again(keys: list[bytes], joins: Joins, slot: int) -> Batches:
    view = joins.view
    at = 0
    while at < len(keys):
        some = keys[at : at + view.batch]
        at += len(some)
        yield view.get_many(slot, some)


def streamed_by_index(
    access: ByIndex,
    keep: Callable[[list[Row]], list[Row]],
    encoder: Callable[[], Callable[[bytes, bytes], bytes]],
    joins: Joins,
    *,
    has_more_keys: bool,
) -> Batches:
    """Yield records in the order of an index that is the order asked for.

    Records of one value that was cut, or that further keys of the order tell apart, are
    gathered and sorted; they are the only ones in memory.

    Args:
        access: The index, in the direction of the order.
        keep: Filters a batch.
        encoder: Makes `sort_bytes`, when it is needed.
        joins: Has the view.
        has_more_keys: The order has keys after the indexed one.
    """
    run: list[tuple[bytes, Row]] = []
    encode: Callable[[bytes, bytes], bytes] | None = None
    value = b""
    for values, rows in access.valued(joins, with_values=has_more_keys):
        ready: list[Row] = []
        if not values:
            yield _in_run(run) + keep(rows)
            run = []
            continue
        encode = encode or encoder()
        kept = {key for key, _ in keep(rows)}
        for encoded, (key, stored) in zip(values, rows, strict=True):
            if run and encoded != value:
                ready += _in_run(run)
                run = []
            if key not in kept:
                continue
            if has_more_keys or is_cut(encoded):
                value = encoded
                run.append((encode(key, stored), (key, stored)))
            else:
                ready.append((key, stored))
        joins.view.meter.order(len(run))
        yield ready
    yield _in_run(run)


def _in_run(run: list[tuple[bytes, Row]]) -> list[Row]:
    return [row for _, row in sorted(run)]


def streamed_by_key(batches: Batches, joins: Joins, *, reverse: bool) -> Batches:
    """Yield records in the order of their whole keys; they come in that of the stored ones.

    Keys of more than 460 bytes with the same beginning are gathered and sorted.
    """
    run: list[tuple[bytes, Row]] = []
    beginning = b""
    for rows in batches:
        ready: list[Row] = []
        for key, stored in rows:
            if len(key) <= KEY_PREFIX_BYTES:
                ready += _by_whole_key(run, reverse)
                run = []
                ready.append((key, stored))
                continue
            if run and key[:KEY_PREFIX_BYTES] != beginning:
                ready += _by_whole_key(run, reverse)
                run = []
            beginning = key[:KEY_PREFIX_BYTES]
            run.append((decode_header(stored).full_id or key, (key, stored)))
        joins.view.meter.order(len(run))
        yield ready
    yield _by_whole_key(run, reverse)


def _by_whole_key(run: list[tuple[bytes, Row]], reverse: bool) -> list[Row]:
    return [row for _, row in sorted(run, reverse=reverse)]
