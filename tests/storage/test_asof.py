from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import PositionLost
from lyredb.storage.asof import AsOfScan
from lyredb.storage.keys import encode_key
from lyredb.storage.record import with_last_seq
from tests.storage.store import SLOT, SMALL, Store, body_of, delete, fill, message, patch, put

writes = st.lists(
    st.tuples(st.sampled_from(["put", "patch", "delete", "message"]), st.sampled_from("abcdef")),
    max_size=8,
)


def write(store: Store, transaction: list[tuple[str, str]], number: int) -> None:
    made = {
        "put": lambda name: put(name, value=number),
        "patch": lambda name: patch(name, other=number),
        "delete": lambda name: delete(name),
        "message": lambda name: message(name),
    }
    for kind, name in transaction:
        store.commit(made[kind](name))


def image(stored: bytes) -> bytes:
    """Return all but what a message changes."""
    return with_last_seq(stored, 0, add_flags=0x40)


@settings(max_examples=60)
@given(writes, st.lists(writes, max_size=8), st.integers(1, 80))
def test_pages_show_the_table_as_it_was(
    before: list[tuple[str, str]], between: list[list[tuple[str, str]]], size: int
) -> None:
    """Whatever is written, deleted and made between the pages."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), settings=SMALL)
        write(store, before, 0)
        with store.engine.snapshot() as snapshot:
            expected = [(key, image(stored)) for key, stored in snapshot.scan(SLOT)]
            scan = AsOfScan(store.engine, SLOT, snapshot.position)
        found: list[tuple[bytes, bytes]] = []
        done = False
        for number, transaction in enumerate(between, 1):
            if not done:
                records, done = scan.page(size, 1000)
                found += records
            write(store, transaction, number)
        if not done:
            found += list(scan)
        assert [(key, image(stored)) for key, stored in found] == expected
        store.close()


def test_a_changed_and_a_deleted_record_are_found_by_their_chains(store: Store) -> None:
    """Through messages and several later writes; what was made later is not there."""
    fill(store, "ab", value="old")
    store.commit(message("a"))
    position = store.engine.position
    for transaction in ([put("a", value=1)], [message("a"), delete("b")], [put("c")]):
        store.commit(*transaction)
    store.commit(delete("a"), put("b", value=2), message("d"))
    found = dict(AsOfScan(store.engine, SLOT, position))
    assert {key: body_of(stored) for key, stored in found.items()} == {
        encode_key("a"): {"value": "old"},
        encode_key("b"): {"value": "old"},
    }


def test_an_image_whose_entry_was_trimmed_comes_from_the_next_entry(tmp_path: Path) -> None:
    """The before-image is inlined when its own entry is in the old half of the ring."""
    store = Store(tmp_path, settings=SMALL)
    fill(store, "a", value="old")
    store.commit(message("a"))
    fill(store, [f"k{number}" for number in range(61)], value=0)
    position = store.engine.position
    store.commit(delete("a"))
    store.commit(put("b", value=1))
    assert store.engine.floor > 1
    found = dict(AsOfScan(store.engine, SLOT, position))
    assert len(found) == 62
    store.close()


def test_a_before_image_is_inlined_from_the_old_half_of_the_ring_only(tmp_path: Path) -> None:
    """What the newest half of the ring holds need not be stored twice."""
    store = Store(tmp_path, settings=SMALL)
    fill(store, "a", value=1)
    fill(store, [f"k{number}" for number in range(10)], value=1)
    fill(store, "b", value=1)
    store.commit(put("a", value=2), put("b", value=2))
    with store.engine.snapshot() as snapshot:
        old, recent = snapshot.entries(store.engine.position - 2)
    assert body_of(old.before) == {"value": 1}
    assert (recent.before, recent.existed) == (b"", True)
    store.close()


def test_a_position_below_the_floor_is_refused(tmp_path: Path) -> None:
    """The past that the log has lost is not made up."""
    store = Store(tmp_path, settings=SMALL)
    for number in range(80):
        store.commit(put("a", value=number))
    scan = AsOfScan(store.engine, SLOT, 1)
    with pytest.raises(PositionLost):
        scan.page()
    store.close()
