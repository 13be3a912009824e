"""What a subscription begins with, as its client asks for it.

By default current state. Otherwise, by the names that all protocols share, ``startTime``
(what was committed after it), ``previousCount`` (the last changes) or ``omitCurrent``
(nothing). Where a position to resume after is given, it wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from lyredb.delivery.cursor import CatchUp
from lyredb.delivery.position import Position
from lyredb.delivery.replay import ReplayStart
from lyredb.errors import InvalidQuery
from lyredb.resources.coverage import WILDCARDS
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription_parts import Rooms
from lyredb.storage.frontier import KeyRange
from lyredb.tables.gateway import Beginning
from lyredb.tables.times import ms_of_date, parse_date

MAX_COUNT: Final = 1000
"""How many last changes may be asked for: they are looked for backwards, and who wants more
knows since when."""
START_TIME: Final = "startTime"
PREVIOUS_COUNT: Final = "previousCount"
OMIT_CURRENT: Final = "omitCurrent"
NAMES: Final = frozenset((START_TIME, PREVIOUS_COUNT, OMIT_CURRENT))
_FLAGS: Final = {"": True, "true": True, "1": True, "false": False, "0": False}
_MS: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_LOST_PLUS: Final = re.compile(r"(?<=\d) (?=\d\d:?\d\d$)")
"""Before the zone of a time from a query, where ``+`` is a space."""
_MAX_MS: Final = 253_402_300_799_999
"""The end of the year 9999, as of dates."""


def parse_beginning(pairs: Iterable[tuple[str, str]], after: str = "") -> Beginning:
    """Read where to begin from names and values.

    Args:
        pairs: Only with names in `NAMES`.
        after: The position to resume after, ``""`` for none.

    Raises:
        InvalidQuery: A value makes no sense, or there are two of a name; the message names it.
    """
    said: dict[str, str] = {}
    for name, value in pairs:
        if name in said:
            raise InvalidQuery(f"{name} is given twice")
        said[name] = value
    return Beginning(
        _flag(said[OMIT_CURRENT]) if OMIT_CURRENT in said else False,
        after,
        _start_ms(said[START_TIME]) if START_TIME in said else None,
        _count(said[PREVIOUS_COUNT]) if PREVIOUS_COUNT in said else 0,
    )


def _start_ms(text: str) -> int:
    ms = float(text) if _MS.fullmatch(text) else None
    if ms is None:
        date = parse_date(text) or parse_date(_LOST_PLUS.sub("+", text))
        ms = None if date is None else ms_of_date(date)
    if ms is None or not 0 <= ms <= _MAX_MS:
        raise InvalidQuery(
            f"{START_TIME} must be epoch milliseconds or an ISO 8601 time, got {text[:40]!r}"
        )
    return int(ms)


def _count(text: str) -> int:
    # Nine digits are enough to be too many, and are read in no time.
    count = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if not 1 <= count <= MAX_COUNT:
        raise InvalidQuery(f"{PREVIOUS_COUNT} must be 1 to {MAX_COUNT}, got {text[:40]!r}")
    return count


def _flag(text: str) -> bool:
    value = _FLAGS.get(text.lower())
    if value is None:
        raise InvalidQuery(f"{OMIT_CURRENT} must be true or false, got {text[:40]!r}")
    return value


def check_replay(topic_filter: str, options: SubscribeOptions) -> None:
    """Refuse what cannot be replayed.

    Raises:
        InvalidQuery: The count is out of range, or a time limits it for more than a record.
    """
    count = options.previous_count
    if type(count) is int and count == 0:
        return
    # Python's callers may say anything: 2.5 entries would never be found to be enough.
    if type(count) is not int or not 0 <= count <= MAX_COUNT:
        raise InvalidQuery(f"{PREVIOUS_COUNT} must be 1 to {MAX_COUNT}, got {count!r:.40}")
    is_record = WILDCARDS.isdisjoint(topic_filter.split("/"))
    if options.previous_count and options.start_ms is not None and not is_record:
        raise InvalidQuery(f"{START_TIME} and {PREVIOUS_COUNT} go together for one record only")


def is_replay(options: SubscribeOptions) -> bool:
    """Tell whether a part of the log is asked for instead of current state."""
    return options.start_ms is not None or options.previous_count > 0


def first_reading(
    rooms: Rooms,
    topic_filter: str,
    where: Callable[[], Sequence[KeyRange]],
    after: Position | None,
    options: SubscribeOptions,
) -> CatchUp | None:
    """Return what a subscription reads first; ``None`` when changes from now on are enough.

    Args:
        rooms: What it works with.
        topic_filter: What it wants.
        where: Returns the ranges of that; asked when something is to be read.
        after: The place to go on from, ``None`` for none.
        options: What it begins with otherwise.

    Raises:
        PositionLost: The log does not reach back to where it should begin.
    """
    engine, registry = rooms.engine, rooms.registry
    if after is not None:
        engine.refresh()  # another worker may have told it already
        return CatchUp.resume(engine, registry, topic_filter, where(), after, rooms.searches)
    if is_replay(options):
        start = ReplayStart(options.start_ms, options.previous_count)
        return CatchUp.replay(engine, registry, topic_filter, where(), start)
    if options.omit_current:
        return None
    return CatchUp.current(engine, registry, topic_filter, where())
