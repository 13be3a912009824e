"""The stored forms, byte by byte, as files that only a new format number may change."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lyredb.errors import InvalidRecord, Overloaded
from lyredb.storage import meta
from lyredb.storage.blob import PackedBlob
from lyredb.storage.blob_rows import BlobRows, note_change
from lyredb.storage.entry import ENTRY_FORMAT, LAST, RETAIN, Entry, decode_entry, encode_entry
from lyredb.storage.keys import ABSENT, encode_full_key, encode_index_value, encode_key
from lyredb.storage.layout import IndexLayout, IndexSource, IntegerBounds, TableLayout
from lyredb.storage.logx import SegmentIndex
from lyredb.storage.mutation import Applied, DeleteReason, Kind, Outcome
from lyredb.storage.record import BLOBS, DELETED, MESSAGED, OPAQUE, encode_record, pack_body
from lyredb.storage.request_row import decode_request_row, encode_request_row, replied
from lyredb.storage.sequencer import Result
from lyredb.storage.session_row import (
    SESSION_FORMAT,
    InboundMark,
    InFlight,
    SessionProgress,
    Start,
    decode_mark,
    decode_progress,
    encode_mark,
    encode_progress,
    inbound_name,
    packet_id_of,
    progress_name,
)

GOLDEN = Path(__file__).parent / "golden"
NUMBERS = f"{meta.FORMAT_MAJOR}.{meta.FORMAT_MINOR}-{ENTRY_FORMAT}-{SESSION_FORMAT}"
VERSION = 1_700_000_000_123 << 12 | 5
BODY = pack_body(
    {
        "value": 21.5,
        "at": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
        "big": -(2**80),
        "tags": ["a", None, True],
    }
)
METADATA = pack_body({"contentType": "text/plain"})
LONG = encode_full_key("long" * 150)
RECORD = encode_record(BODY, version=VERSION, last_seq=7)
FULL_RECORD = encode_record(
    b"payload",
    version=VERSION,
    last_seq=9,
    node=2,
    flags=OPAQUE | MESSAGED,
    created=VERSION - 4096,
    expires_ms=1_800_000_000_000,
    metadata=METADATA,
    full_id=LONG,
)
BLOB_RECORD = encode_record(
    pack_body(
        {
            "small": PackedBlob("image/png", b"bytes"),
            "large": PackedBlob("text/plain", id=bytes(range(16)), size=9_000),
        }
    ),
    version=VERSION,
    last_seq=7,
    flags=BLOBS,
)
SMALL_ENTRY = Entry(
    7, Kind.PUT, LAST, DeleteReason.NONE, 16, 0, VERSION >> 12, VERSION, 3, 0, b"0a", RECORD
)
FULL_ENTRY = Entry(
    8,
    Kind.PATCH,
    RETAIN | 0x20,
    DeleteReason.EXPIRED,
    16,
    2,
    VERSION >> 12,
    VERSION + 1,
    7,
    1,
    encode_key("long" * 150),
    FULL_RECORD,
    RECORD,
    b"\x92\x80" + pack_body({"value": 1}),
    b"message",
    METADATA,
    77,
    5,
    1_800_000_000_000,
    "anna",
    LONG,
)
LAYOUT = TableLayout(
    16,
    "data.Sensor",
    "id",
    (IndexLayout(16, ("where", "city")), IndexLayout(17, (), IndexSource.UPDATED)),
    frozenset({"b", "a"}),
    frozenset({"a", "b", "c"}),
)
BOUNDED_LAYOUT = TableLayout(17, "data.Counter", bounds=(IntegerBounds("n", -(2**31), 2**31 - 1),))
FULL_LAYOUT = TableLayout(
    18,
    "data.Product",
    indexes=(
        IndexLayout(18, ("taxed",), IndexSource.COMPUTED, "price * 1.19", "2"),
        IndexLayout(19, (), IndexSource.EXPIRES),
    ),
    expiration_ms=60_000,
    expires_from="gone",
    eviction_ms=30_000,
    scan_interval_ms=15_000,
    blobs=("picture",),
)
SESSION = SessionProgress(
    3,
    bytes(range(8)),
    100,
    (102, 105, 1_000_000),
    (Start("a/#", 110), Start("+", 99, 16, b"0a")),
    (InFlight(1, 101, 2, released=True), InFlight(65_535, 7, 1, slot=16, key=b"0a")),
    (7, 9),
)
ASLEEP = SessionProgress(1_700_000_000_000_000, bytes(range(8)), 10_000_000)
RESULTS: list[tuple[int, Result]] = [
    (5, Applied(1002, (Outcome(1001, VERSION, True), Outcome(0, 0, False)))),
    (6, Overloaded("wait", retry_after_s=3)),
    (7, InvalidRecord("a is required", "b is not allowed")),
]
VALUES: list[object] = [
    ABSENT,
    None,
    False,
    True,
    0,
    1,
    -1,
    0.5,
    2**53 + 1,
    -(2**70) - 1,
    datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
    "",
    "a\0b",
    "é",
    b"\0\xff",
    [],
    ["a\0", 1, None, [True], {}],
    {"a": 1},
    "x" * 480,
]


def segment_index() -> SegmentIndex:
    index = SegmentIndex(meta.Segment(4, 1000, 0))
    index.add([(16, b"0a"), (17, b"0a"), (16, b"0b"), (16, b"0a")])
    return index


def blob_rows() -> BlobRows:
    """A file that a record has, and one that it has dropped."""
    rows: BlobRows = {}
    old, new = (frozenset((PackedBlob("image/png", id=bytes([n]) * 16, size=9),)) for n in (1, 2))
    made = (bytes([2]) * 16,)
    note_change(rows, old, new, made=made, slot=16, key=b"0a", seq=7, live=True)
    return rows


def lines(*rows: tuple[str, bytes]) -> str:
    return "".join(f"{name}: {row.hex()}\n" for name, row in rows)


def forms() -> dict[str, str]:
    """Return the content of every golden file."""
    index = segment_index()
    segments = (meta.Segment(3, 900, 10, 999, 20, 4096, True), meta.Segment(4, 1000, 20))
    form = meta.Format(1, 0, 0, meta.ENGINE, 4096, bytes(range(16)))
    return {
        "record": lines(("plain", RECORD), ("every part", FULL_RECORD)),
        "grave": lines(
            ("deleted", encode_record(b"", version=VERSION, last_seq=8, flags=DELETED)),
            ("messages", encode_record(b"", version=0, last_seq=8, flags=MESSAGED)),
            (
                "long id",
                encode_record(b"", version=VERSION, last_seq=8, flags=DELETED, full_id=LONG),
            ),
        ),
        "entry": lines(
            ("plain", encode_entry(SMALL_ENTRY)), ("every part", encode_entry(FULL_ENTRY))
        ),
        "index-values": lines(*((repr(value)[:40], encode_index_value(value)) for value in VALUES)),
        "record-keys": lines(
            ("string", encode_key("a")),
            ("integer", encode_key(-5)),
            ("list", encode_key(("a", 1, ""))),
            ("short form", encode_key("long" * 150)),
        ),
        "meta": lines(
            ("format", meta.encode_format(form)),
            ("position", meta.encode_position(1002, VERSION, 6)),
            ("directory", meta.encode_directory(segments)),
            (meta.table_row_name(16).decode(), meta.encode_layout(LAYOUT)),
        ),
        "meta-bounds": lines(
            (meta.table_row_name(17).decode(), meta.encode_layout(BOUNDED_LAYOUT)),
        ),
        "meta-tables": lines(
            (meta.table_row_name(18).decode(), meta.encode_layout(FULL_LAYOUT)),
        ),
        "meta-processes": lines(
            (meta.lease_row_name(17).decode(), meta.encode_lease(2**64 + 5)),
            (
                meta.request_row_name(2).decode(),
                encode_request_row(77, [replied(*each) for each in RESULTS]),
            ),
        ),
        "sess": lines(
            ("every part", encode_progress(SESSION)),
            ("asleep", encode_progress(ASLEEP)),
            (progress_name(258).hex(), b""),
            (inbound_name(258, 515).hex(), encode_mark(InboundMark(3, True))),
        ),
        "blob": lines(
            ("record", BLOB_RECORD),
            *((name.hex(), row or b"") for name, row in blob_rows().items()),
        ),
        "logx": lines(
            *(("table", key + b" -> " + row) for key, row in index.slot_rows()),
            *(
                ("key", key + b" -> " + row)
                for bucket in range(256)
                for key, row in index.key_rows(bucket)
            ),
        ),
    }


@pytest.mark.parametrize("name", forms())
def test_a_stored_form_is_that_of_its_format_number(name: str) -> None:
    """Whoever changes a form must raise a number, and say how the old one is read.

    ``WRITE_GOLDEN=1`` writes the files of a number that has none yet.
    """
    path = GOLDEN / f"{name}.{NUMBERS}.txt"
    if os.environ.get("WRITE_GOLDEN") and not path.exists():
        path.write_text(forms()[name])
    assert path.exists(), "a new format number needs golden files: WRITE_GOLDEN=1"
    assert path.read_text() == forms()[name]


def golden_rows(name: str) -> dict[str, bytes]:
    text = (GOLDEN / f"{name}.{NUMBERS}.txt").read_text()
    return {row[1]: bytes.fromhex(row[2]) for row in re.finditer(r"^(.+): (.*)$", text, re.M)}


def test_golden_entries_and_rows_are_read_as_they_were_written() -> None:
    """Not only writing is pinned."""
    entries = golden_rows("entry")
    assert decode_entry(7, entries["plain"]) == SMALL_ENTRY
    read = decode_entry(8, entries["every part"])
    assert (read.image, read.before, read.user, read.full_id) == (
        FULL_RECORD,
        RECORD,
        "anna",
        LONG,
    )
    rows = golden_rows("meta")
    assert meta.decode_layout(b"table/00016", rows["table/00016"]) == LAYOUT
    bounded = golden_rows("meta-bounds")["table/00017"]
    assert meta.decode_layout(b"table/00017", bounded) == BOUNDED_LAYOUT
    full = golden_rows("meta-tables")["table/00018"]
    assert meta.decode_layout(b"table/00018", full) == FULL_LAYOUT
    assert meta.decode_position(rows["position"]) == (1002, VERSION, 6)
    assert meta.decode_directory(rows["directory"])[1] == meta.Segment(4, 1000, 20)
    processes = golden_rows("meta-processes")
    assert meta.decode_lease(processes["lease/00017"]) == 2**64 + 5
    row = decode_request_row(processes["request/00002"])
    read_back = [(each.number, each.result) for each in row.replies]
    assert (row.life, read_back[0]) == (77, RESULTS[0])
    assert [(number, repr(error), vars(error)) for number, error in read_back[1:]] == [
        (number, repr(error), vars(error)) for number, error in RESULTS[1:]
    ]
    sessions = golden_rows("sess")
    assert decode_progress(sessions["every part"]) == SESSION
    assert decode_progress(sessions["asleep"]) == ASLEEP
    assert decode_mark(sessions[inbound_name(258, 515).hex()]) == InboundMark(3, True)
    assert packet_id_of(inbound_name(258, 515)) == 515


def test_the_record_of_the_formats_names_every_tag_and_flag() -> None:
    """The page and the code have one list."""
    page = (Path(__file__).parents[2] / "docs/design/0001-stored-formats.md").read_text()
    assert f"Format {meta.FORMAT_MAJOR}.{meta.FORMAT_MINOR}" in page
    for kind in Kind:
        assert f"{kind.value} {kind.name.lower()}" in page
    for reason in DeleteReason:
        assert f"{reason.value} {reason.name.lower()}" in page
    for field in (*meta.Format.__struct_fields__,):
        assert field in page
