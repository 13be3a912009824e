"""What a topic filter covers: tables, and in each the ranges of keys to read.

Current state of a subscription is read by key range and not by looking at every
record: the levels before the first wildcard are a prefix of the ids. The ranges may
hold a few records more than the filter matches; the reader compares topics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from lyredb.delivery.admission import ALL, View
from lyredb.delivery.filters import has_wildcard, parse_exact, parse_filter
from lyredb.errors import LyreError, NotAuthorised, UnknownTopic
from lyredb.plugins.context import Context
from lyredb.resources.access import Access
from lyredb.resources.registry import INTERNAL, Registry, shorten
from lyredb.storage.frontier import KeyRange
from lyredb.storage.keys import KEY_PREFIX_BYTES, KeyValue, encode_full_key
from lyredb.tables.schema import RESERVED_ROOTS
from lyredb.tables.stored import StoredTable

WILDCARDS = frozenset(("+", "#"))
_NO_MASKS: Mapping[str, View] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a filter somebody may read; one object for all filters that reach the same.

    Attributes:
        tables: Full names of the tables.
        masks: What is seen of their messages, by name; without those of which all is.
    """

    tables: frozenset[str]
    masks: Mapping[str, View]


def coverage(topic_filter: str, registry: Registry, access: Access, context: Context) -> Coverage:
    """Return what the filter covers and the principal may read.

    Raises:
        InvalidTopic: The filter is not legal (MQTT 5 §4.7.1), or it is one topic which
            cannot be a record of its table.
        UnknownTopic: The filter's first levels name no table.
        NotAuthorised: They name tables, and the principal may subscribe to none.
    """
    protocol = context.protocol
    is_exact = not has_wildcard(topic_filter)
    if is_exact:
        parse_exact(topic_filter, allow_internal=protocol == "python")
    else:
        parse_filter(topic_filter, allow_internal=protocol == "python")
    levels = topic_filter.split("/")
    mounted = _mounted(levels, registry, protocol)
    names: list[str] = []
    masks: dict[str, View] = {}
    for table, _ in mounted:
        view = access.sees(context.principal, table, topic_filter)
        if view is not None:
            names.append(table.name)
            if view is not ALL:
                masks[table.name] = view
    if mounted and not names:
        who = context.principal.name
        raise NotAuthorised(f"{who} may not subscribe to {shorten(topic_filter)}")
    if not mounted and levels[0] not in WILDCARDS:
        raise UnknownTopic(f"no table is exported as {shorten(topic_filter)}")
    if is_exact:
        registry.require_topic(topic_filter, protocol)
    whole = _unmasked(tuple(names))
    return Coverage(whole.tables, masks) if masks else whole


@lru_cache(maxsize=64)
def _unmasked(names: tuple[str, ...]) -> Coverage:
    """One object for equal ones: a million subscriptions reach the same few tables."""
    return Coverage(frozenset(names), _NO_MASKS)


def ranges_of(
    topic_filter: str, registry: Registry, protocol: str, tables: Set[str]
) -> tuple[KeyRange, ...]:
    """Return where current state lies of what a filter covers, by slot and key.

    Args:
        topic_filter: A legal one.
        registry: Knows what it reaches.
        protocol: Of who has it.
        tables: The names of those that count.
    """
    ranges = [
        found
        for table, rest in _mounted(topic_filter.split("/"), registry, protocol)
        if table.name in tables
        for found in _ranges(table, rest)
    ]
    if len(ranges) > 1:
        ranges.sort(key=lambda found: (found.slot, found.start))
    return tuple(ranges)


def _mounted(
    levels: list[str], registry: Registry, protocol: str
) -> list[tuple[StoredTable, list[str]]]:
    """Tables that the filter reaches, each with the levels that are left for its ids."""
    first = levels[0]
    if first.startswith(INTERNAL):
        return [(registry.topic(first, protocol).table, levels[1:])]
    found: list[tuple[StoredTable, list[str]]] = []
    exact = False
    is_any = first in WILDCARDS
    for root in registry.roots(protocol) if is_any else registry.roots_at(first, protocol):
        path = root.path.split("/")
        rest = _rest_below(levels, path)
        if rest is not None:
            found.append((root.table, rest))
            exact = exact or levels[: len(path)] == path
    if registry.open_table is not None and not exact and _may_be_open(first):
        found.append((registry.open_table, levels))
    return found


def _may_be_open(first: str) -> bool:
    """Tell whether an open topic can begin with this level; the server's own cannot."""
    return not first.startswith("$") and first not in RESERVED_ROOTS


def _rest_below(levels: list[str], path: list[str]) -> list[str] | None:
    """The filter's levels behind a root path, ``None`` when it does not reach below."""
    for index, segment in enumerate(path):
        if index >= len(levels):
            return None
        if levels[index] == "#":
            return ["#"]
        if levels[index] not in ("+", segment):
            return None
    return levels[len(path) :]


def _ranges(table: StoredTable, rest: Sequence[str]) -> Iterator[KeyRange]:
    if not rest:
        yield KeyRange(table.slot, b"", b"\x00")  # the root topic, which has messages alone
        return
    fixed = _fixed(rest)
    if not fixed:
        yield KeyRange(table.slot)
        return
    prefix = "/".join(fixed)
    behind = rest[len(fixed) :]
    if not behind or behind[0] == "#":
        yield from _one_record(table, prefix)
    if behind:
        yield from _below(table, prefix)


def _below(table: StoredTable, prefix: str) -> Iterator[KeyRange]:
    """The records whose ids begin with these levels and have more."""
    whole: KeyValue = prefix + "/"
    if table.schema.split_segments:
        try:
            found = table.key_from_text(prefix)
        except LyreError:
            return  # no id has such levels
        whole = found if isinstance(found, tuple) else (found,)
    # Keys of very long ids are cut, so only that part of the prefix may decide.
    start = encode_full_key(whole)[:KEY_PREFIX_BYTES]
    # 0xFF is no byte of UTF-8 and no tag, so this is behind all that is longer.
    yield KeyRange(table.slot, start, start + b"\xff")


def _fixed(rest: Sequence[str]) -> list[str]:
    fixed: list[str] = []
    for level in rest:
        if level in WILDCARDS:
            break
        fixed.append(level)
    return fixed


def _one_record(table: StoredTable, text: str) -> Iterator[KeyRange]:
    try:
        key = table.encode_key(table.key_from_text(text))
    except LyreError:
        return  # no record of this table can have this id
    yield KeyRange(table.slot, key, key + b"\x00")
