"""How far an import has come: a row that is committed together with the records.

It is a row of ``sess``, which is not logged; see ``docs/design/0001-stored-formats.md``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from lyredb.errors import FormatMismatch, InvalidInput
from lyredb.operations.transfer.spec import STDIN, ImportSpec, Place
from lyredb.storage.snapshot import Snapshot

_PREFIX: Final = b"\x00import/"
"""No session has such a name: client identifiers have no NUL (MQTT 5 §1.5.4)."""
_STOP: Final = b"\x00import0"
_FORMAT: Final = 1
KEPT: Final = 1_000
"""So many imports are remembered; of an older one its file would be imported again."""
_HEAD_BYTES: Final = 65_536


class ImportState(msgspec.Struct, frozen=True, array_like=True):
    """An import that was begun.

    Attributes:
        place: Where it goes on.
        skip: So many mutations from there on are written already.
        written: Records written.
        bad: Rows left out.
        is_done: The file was read to its end.
        at_ms: When this was written, since 1970.
    """

    place: Place = Place()
    skip: int = 0
    written: int = 0
    bad: int = 0
    is_done: bool = False
    at_ms: int = 0


def state_name(spec: ImportSpec) -> bytes:
    """Return the name of the row of an import, ``b""`` for one that cannot be told again.

    The same file, unchanged, for the same table in the same way is the same import.

    Raises:
        InvalidInput: The file cannot be read.
    """
    if spec.path == STDIN:
        return b""
    file = Path(spec.path)
    try:
        stat = file.stat()
        with file.open("rb") as opened:
            head = opened.read(_HEAD_BYTES)
    except OSError as error:
        raise InvalidInput(f"{spec.path} cannot be read: {error.strerror}") from error
    told = (str(file.resolve()), stat.st_size, stat.st_mtime_ns, head)
    how = (spec.slot, spec.format, spec.mode, spec.key, spec.delimiter, spec.null)
    return _PREFIX + hashlib.sha256(msgspec.msgpack.encode((told, how))).digest()[:16]


def surplus_rows(snapshot: Snapshot, name: bytes) -> list[tuple[bytes, None]]:
    """Return what has to be deleted so that the rows of imports do not pile up.

    Args:
        snapshot: Where they are looked for.
        name: Of the row that is being written, and stays.
    """
    ages: list[tuple[int, bytes]] = []
    for each, row in snapshot.session_rows(_PREFIX, _STOP):
        if each != name:
            try:
                ages.append((decode_state(row).at_ms, each))
            except FormatMismatch:
                ages.append((0, each))  # of no use to anybody
    ages.sort(reverse=True)
    return [(each, None) for _, each in ages[KEPT - 1 :]]


def encode_state(state: ImportState) -> bytes:
    """Return the row."""
    return bytes((_FORMAT,)) + msgspec.msgpack.encode(state)


def decode_state(row: bytes) -> ImportState:
    """Return the state of a row.

    Raises:
        FormatMismatch: An unknown format or a damaged row.
    """
    if not row or row[0] != _FORMAT:
        raise FormatMismatch("the state of an import has a format that this version cannot read")
    try:
        return msgspec.msgpack.decode(memoryview(row)[1:], type=ImportState)
    except msgspec.DecodeError as error:
        raise FormatMismatch("the state of an import is damaged") from error
