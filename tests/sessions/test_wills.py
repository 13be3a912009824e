"""Rows of wills: pinned as they are on disk, and read with their damage noticed."""

from __future__ import annotations

import pytest

from lyredb.errors import FormatMismatch
from lyredb.sessions.departures import Departure, Departures
from lyredb.sessions.wills import KeptWill, Will, decode_will, encode_will, row_name
from lyredb.storage.mutation import Kind, Mutation

MUTATION = Mutation(
    3, b"k", Kind.MESSAGE, body=b"gone", metadata=b"\x80", qos=2, user="u", session=9
)
KEPT = KeptWill("c", 258, "u", Will(MUTATION, 1_000, 2_000), 5)
ROW = bytes.fromhex(
    "0195a163cd0102a17583a86d75746174696f6edc001203c4016b04c404676f6e65c400c40180c2c0c40000c202"
    "a1750901c09090ab6c69666574696d655f6d73cd03e8a864656c61795f6d73cd07d005"
)
ROW_WITHOUT_RUNS = bytes.fromhex(
    "0195a163cd0102a17583a86d75746174696f6edc001103c4016b04c404676f6e65c400c40180c2c0c40000c202"
    "a1750901c090ab6c69666574696d655f6d73cd03e8a864656c61795f6d73cd07d005"
)
"""As written before a mutation could have several messages."""


def test_a_row_is_that_of_its_format_number() -> None:
    """Whoever changes the form, or that of mutations, raises the number and reads the old."""
    assert encode_will(KEPT) == ROW
    assert decode_will(ROW) == decode_will(ROW_WITHOUT_RUNS) == KEPT
    assert row_name(258) == b"\0will/\0\0\0\0\0\0\x01\x02"


@pytest.mark.parametrize("row", [b"", b"\x02" + ROW[1:], ROW[:-3], b"\x01\xc0"])
def test_a_row_that_is_damaged_or_of_another_format_is_refused(row: bytes) -> None:
    with pytest.raises(FormatMismatch):
        decode_will(row)


def departure(epoch: int, due_ms: int) -> Departure:
    return Departure(KeptWill("c", epoch, "u", KEPT.will, due_ms))


def test_a_client_that_comes_and_goes_leaves_no_deadlines_behind() -> None:
    """Each deadline of a day would be kept for a day."""
    departures = Departures()
    for epoch in range(10_000):
        departures.add(departure(epoch, 86_400_000 + epoch))
        departures.pop(epoch)
    departures.add(departure(1, 7))
    assert departures.next_ms == 7
    assert len(departures._due) <= 1_010


def test_wills_are_due_in_the_order_of_their_times() -> None:
    departures = Departures()
    for epoch, due_ms in ((1, 30), (2, 10), (3, 20), (4, 40)):
        departures.add(departure(epoch, due_ms))
    departures.add(departure(1, 5))  # dated anew
    assert [one.kept.epoch for one in departures.take_due(30)] == [1, 2, 3]
    assert [one.kept.epoch for one in departures.of("c")] == [4]
