"""Which part of an index or of the keys a condition speaks of.

A part is a half-open range of encoded values. Values that were cut at 480 bytes stand at
the end of what they have in common, so a range takes in those that might belong to it;
whoever walks it looks at the record when `is_cut` says so.
"""

from __future__ import annotations

import math
from typing import Final

from lyredb.errors import InvalidKey, InvalidQuery
from lyredb.storage.keys import (
    KEY_PREFIX_BYTES,
    LONGEST_NATURAL,
    TAG_BYTES,
    TAG_STRING,
    KeyValue,
    encode_full_key,
    encode_index_value,
    encode_ordered,
    is_cut,
    shorten_key,
)
from lyredb.tables.query.compare import pair
from lyredb.tables.query.terms import Comparator

Range = tuple[bytes, bytes]
"""First value, and the first that is out."""
EVERYTHING: Final[Range] = (b"", b"\xff")
_NEXT: Final = b"\x00"
_FALSE: Final = 0x18
_AFTER_TRUE: Final = 0x1A
_TIMES: Final = ("created", "updated")


def index_ranges(comparator: Comparator, wanted: object, source: str) -> list[Range] | None:
    """Return the parts of an index that a condition speaks of, ascending and apart.

    Args:
        comparator: Of the condition.
        wanted: Its value, as `values.read_value` gives it.
        source: Of the index; times of versions have fractions there that nobody sees.

    Returns:
        ``None`` when an index cannot tell. An empty list when nothing can match.

    Raises:
        InvalidQuery: The value cannot be in an index.
    """
    if source in _TIMES:
        return _time_ranges(comparator, wanted)
    try:
        match comparator:
            case "equals":
                return None if isinstance(wanted, (list, dict)) else [_exactly(wanted)]
            case "in":
                assert isinstance(wanted, (list, tuple)), "read_value makes one"
                if any(isinstance(one, (list, dict)) for one in wanted):
                    return None
                return joined([_exactly(one) for one in wanted])
            case "between":
                low, high = pair(wanted, "")
                return _kept([(_from(low)[0], _upto(high)[1])])
            case "greater_than":
                return _kept([_above(wanted)])
            case "greater_than_equal":
                return _kept([_from(wanted)])
            case "less_than":
                return _kept([_below(wanted)])
            case "less_than_equal":
                return _kept([_upto(wanted)])
            case "starts_with":
                return [_beginning(wanted)]
            case _:
                return None
    except InvalidKey as error:
        raise InvalidQuery(str(error)) from error


def joined(ranges: list[Range]) -> list[Range]:
    """Return ranges ascending, with those that touch or overlap made one."""
    found: list[Range] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return _kept(found)


def common(left: list[Range], right: list[Range]) -> list[Range]:
    """Return what two ascending lists of ranges have in common."""
    found = []
    for one in left:
        for other in right:
            start, stop = max(one[0], other[0]), min(one[1], other[1])
            if start < stop:
                found.append((start, stop))
    return found


def _kept(ranges: list[Range]) -> list[Range]:
    return [one for one in ranges if one[0] < one[1]]


def _exactly(value: object) -> Range:
    encoded = encode_index_value(value)
    return encoded, encoded + _NEXT


def _kind(encoded: bytes) -> Range:
    """All values of the type of an encoded one."""
    tag = encoded[0]
    if _FALSE <= tag < _AFTER_TRUE:
        return bytes((_FALSE,)), bytes((_AFTER_TRUE,))
    return bytes((tag,)), bytes((tag + 1,))


def _from(value: object) -> Range:
    encoded = encode_index_value(value)
    return encoded, _kind(encoded)[1]


def _above(value: object) -> Range:
    encoded = encode_index_value(value)
    return (encoded if is_cut(encoded) else encoded + _NEXT), _kind(encoded)[1]


def _upto(value: object) -> Range:
    encoded = encode_index_value(value)
    return _kind(encoded)[0], encoded + _NEXT


def _below(value: object) -> Range:
    encoded = encode_index_value(value)
    return _kind(encoded)[0], encoded + _NEXT if is_cut(encoded) else encoded


def _beginning(wanted: object) -> Range:
    whole = encode_ordered(wanted)[:-1]  # without the end of the text
    if len(whole) > LONGEST_NATURAL:
        return _exactly(wanted)
    return whole, after_prefix(whole)


def after_prefix(prefix: bytes) -> bytes:
    """Return the first bytes that are behind everything with a beginning."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,))


def _time_ranges(comparator: Comparator, wanted: object) -> list[Range] | None:
    """Milliseconds that are seen stand for a whole one with fractions in the index."""
    match comparator:
        case "equals":
            return _milliseconds(wanted, wanted)
        case "in":
            assert isinstance(wanted, (list, tuple)), "read_value makes one"
            return joined([one for value in wanted for one in _milliseconds(value, value)])
        case "between":
            low, high = pair(wanted, "")
            return _milliseconds(low, high)
        case "greater_than":
            return _milliseconds(math.floor(_number(wanted)) + 1, None)
        case "greater_than_equal":
            return _milliseconds(wanted, None)
        case "less_than":
            return _milliseconds(None, math.ceil(_number(wanted)) - 1)
        case "less_than_equal":
            return _milliseconds(None, wanted)
        case _:
            return None


def _number(value: object) -> float:
    return value if isinstance(value, (int, float)) else 0


def _milliseconds(low: object, high: object) -> list[Range]:
    """All times whose whole milliseconds are from one to another, both included."""
    least = bytes((0x20,)) if low is None else None
    if least is None:
        if not isinstance(low, (int, float)):
            return []
        least = encode_index_value(math.ceil(low))
    if high is None:
        return [(least, bytes((0x21,)))]
    if not isinstance(high, (int, float)):
        return []
    return _kept([(least, encode_index_value(math.floor(high) + 1))])


def key_ranges(comparator: Comparator, wanted: object) -> list[Range] | None:
    """Return the parts of the keys of a table that a condition on the key speaks of.

    For comparators other than ``equals`` and ``in``. Long keys are ordered by their
    beginning alone, so that a part may take in some that do not match; see `is_exact`.
    """
    try:
        match comparator:
            case "between":
                low, high = pair(wanted, "")
                return _kept([(_key_from(low), _key_upto(high))])
            case "greater_than" | "greater_than_equal":
                is_behind = comparator == "greater_than" and len(_full(wanted)) <= KEY_PREFIX_BYTES
                start = _key_upto(wanted) if is_behind else _key_from(wanted)
                return _kept([(start, _kind(_full(wanted))[1])])
            case "less_than" | "less_than_equal":
                is_before = comparator == "less_than" and len(_full(wanted)) <= KEY_PREFIX_BYTES
                stop = _key_from(wanted) if is_before else _key_upto(wanted)
                return _kept([(_kind(_full(wanted))[0], stop)])
            case "starts_with":
                return [_key_beginning(_full(wanted))] if isinstance(wanted, str) else []
            case "prefix":
                first = wanted if isinstance(wanted, (list, tuple)) else [wanted]
                return [_key_beginning(_full(tuple(first)))]
            case _:
                return None
    except InvalidKey:
        return None


def is_exact(comparator: Comparator, wanted: object) -> bool:
    """Tell whether the parts of `key_ranges` hold all keys that match, and no others.

    So it is where no bound is as long as what is kept of the beginning of a long key.
    """
    if comparator == "prefix":
        return False
    bounds = pair(wanted, "") if comparator == "between" else (wanted,)
    return all(len(_full(bound)) <= KEY_PREFIX_BYTES for bound in bounds)


def text_prefix_range(text: str, *, split: bool) -> Range:
    """Return the part of the keys in which ids are that begin with a text.

    Args:
        text: Ends with a slash, or is empty for the whole table.
        split: Keys are lists of segments.
    """
    if not text:
        return b"", b"\xff"
    if not split:
        return _key_beginning(_full(text))
    # A segment may be a number or text, so only the range of all lists is sure.
    return b"\x40", b"\x41"


def _full(value: object) -> bytes:
    return encode_full_key(value)  # type: ignore[arg-type]  # raises for what is no key


def _key_from(value: object) -> bytes:
    return _full(value)[:KEY_PREFIX_BYTES]


def _key_upto(value: object) -> bytes:
    full = _full(value)
    return full + _NEXT if len(full) <= KEY_PREFIX_BYTES else full[:KEY_PREFIX_BYTES] + b"\xff\xff"


def _key_beginning(full: bytes) -> Range:
    start = full[:KEY_PREFIX_BYTES]
    # Text has no byte FF; the mark of a long key is one.
    return start, start + b"\xff\xff" if start[0] in (TAG_STRING, TAG_BYTES) else after_prefix(
        start
    )


def key_of(value: KeyValue) -> bytes:
    """Return the stored form of a checked key."""
    return shorten_key(encode_full_key(value))
