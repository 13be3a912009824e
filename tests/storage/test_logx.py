"""The index of a segment in memory: where the entries of a key are, however they came."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from lyredb.storage.logx import SegmentIndex
from lyredb.storage.meta import Segment
from lyredb.storage.overlay import Address

ADDRESSES = tuple((slot, key) for slot in (1, 2) for key in (b"", b"hall", b"yard"))


def copy_of(address: Address) -> Address:
    """An equal one that is another object, as what is read from the log is."""
    return (address[0], bytes(bytearray(address[1])))


@given(
    st.lists(st.tuples(st.sampled_from(ADDRESSES), st.integers(1, 4), st.booleans()), max_size=9)
)
def test_runs_of_one_topic_are_found_as_single_entries_are(
    runs: list[tuple[Address, int, bool]],
) -> None:
    """Runs come as one object again and again, or as equal ones; in one call or in several."""
    index = SegmentIndex(Segment(number=1, first_seq=11, first_ms=1))
    expected: dict[Address, list[int]] = defaultdict(list)
    offset = 0
    for address, count, is_run in runs:
        index.add([address] * count if is_run else [copy_of(address) for _ in range(count)])
        expected[address] += range(offset, offset + count)
        offset += count
    assert index.next_seq == 11 + offset
    for slot, key in ADDRESSES:
        assert list(index.of_key(slot, key)) == expected[slot, key]
    for slot in (1, 2):
        assert list(index.of_slot(slot)) == sorted(
            each for address in ADDRESSES if address[0] == slot for each in expected[address]
        )
