"""Reading parts of tables and indexes: pages, several keys at once, and estimates."""

from __future__ import annotations

import msgspec

from lyredb.storage.estimate import COUNTED_KEYS
from lyredb.storage.keys import encode_index_value, encode_key
from tests.storage.store import SLOT, VALUE_INDEX, ManualClock, Store, put

EVERYTHING = (b"", b"\xff")


def filled(store: Store, values: list[object]) -> list[bytes]:
    """Put a record for each value and return their keys, in order."""
    keys = [f"k{number:04}" for number in range(len(values))]
    store.commit(*(put(key, value=value) for key, value in zip(keys, values, strict=True)))
    return [encode_key(key) for key in keys]


def exactly(value: object) -> tuple[bytes, bytes]:
    encoded = encode_index_value(value)
    return encoded, encoded + b"\x00"


def test_several_records_come_in_the_order_of_their_keys_without_the_missing(store: Store) -> None:
    keys = filled(store, [1, 2, 3])
    wanted = [keys[2], encode_key("missing"), keys[0]]
    with store.engine.snapshot() as snapshot:
        rows = snapshot.get_many(SLOT, wanted)
        assert rows == [(key, snapshot.get(SLOT, key)) for key in (keys[2], keys[0])]


def test_records_whose_deadline_has_passed_are_in_no_page(store: Store) -> None:
    """A page of nothing but them is empty, and says where to go on all the same."""
    assert isinstance(store.clock, ManualClock)
    for number in range(6):
        expires = store.clock.ms + 1000 if number < 4 else 0
        store.commit(msgspec.structs.replace(put(f"k{number}", value=number), expires_ms=expires))
    store.clock.ms += 2000
    with store.engine.snapshot() as snapshot:
        rows, after = snapshot.page(SLOT, *EVERYTHING, 2)
        assert rows == []
        assert after == encode_key("k1")
        assert snapshot.get_many(SLOT, [encode_key("k0"), encode_key("k5")])[0][0] == (
            encode_key("k5")
        )


def test_pages_are_a_scan_in_both_directions(store: Store) -> None:
    """Whatever their size, each record once."""
    keys = filled(store, list(range(10)))
    for reverse in (False, True):
        for count in (1, 3, 10, 11):
            seen: list[bytes] = []
            after: bytes | None = None
            with store.engine.snapshot() as snapshot:
                while True:
                    rows, after = snapshot.page(
                        SLOT, keys[1], keys[8], count, after=after, reverse=reverse
                    )
                    seen += [key for key, _ in rows]
                    if after is None:
                        break
            wanted = keys[1:8]
            assert seen == (wanted[::-1] if reverse else wanted)


def test_pages_of_an_index_are_its_rows_in_both_directions(store: Store) -> None:
    """Values that several records have are split between pages, and nothing is lost."""
    filled(store, [1, 2, 2, 2, 2, 3, 3, "a", None])
    part = (encode_index_value(1), encode_index_value(3) + b"\x00")
    with store.engine.snapshot() as snapshot:
        for reverse in (False, True):
            whole = list(snapshot.index_rows(VALUE_INDEX, *part, reverse=reverse))
            assert len(whole) == 7
            for count in (1, 2, 3, 7, 8):
                seen: list[tuple[bytes, bytes]] = []
                after: tuple[bytes, bytes] | None = None
                while page := snapshot.index_page(
                    VALUE_INDEX, *part, count, after=after, reverse=reverse
                ):
                    seen += page
                    after = page[-1]
                assert seen == whole


def test_small_ranges_and_single_values_are_known_exactly(store: Store) -> None:
    """However many records have a value, and where all of a few values are asked for."""
    filled(store, [1] * 300 + [2] * 200 + list(range(10, 20)) + ["x"] * 5)
    with store.engine.snapshot() as snapshot:
        for value, count in ((1, 300), (2, 200), (15, 1), ("x", 5), (3, 0)):
            assert snapshot.estimate_index(VALUE_INDEX, *exactly(value)) == count
        ten = (encode_index_value(10), encode_index_value(20))
        assert snapshot.estimate_index(VALUE_INDEX, *ten) == 10
        few_values = (encode_index_value(1), encode_index_value(3))
        assert snapshot.estimate_index(VALUE_INDEX, *few_values) == 500
        assert snapshot.index_count(VALUE_INDEX) == 515


def test_a_large_range_of_even_values_is_about_its_share(store: Store) -> None:
    """Half of the way is about half of the entries."""
    count = 40 * COUNTED_KEYS
    filled(store, list(range(count)))
    half = (encode_index_value(count // 2), encode_index_value(count))
    with store.engine.snapshot() as snapshot:
        assert 0.4 < snapshot.estimate_index(VALUE_INDEX, *half) / count < 0.6
        assert snapshot.estimate_records(SLOT, *EVERYTHING) == count
