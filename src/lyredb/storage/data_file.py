"""Whether a data file has all of its pages, looked at before it is mapped.

A page that is missing at the end of a mapped file ends the process with SIGBUS when it is
touched, so this reads the file by itself: the two root pages, and the list of free pages where
the file is shorter than they say. That alone is no damage: pages that were made and freed in one
transaction are counted but never written, and must be on that list (measured: such a
difference after 48 of 50 commits that delete what they have written).

Source: the page layout of LMDB 0.9, `MDB_meta`, `MDB_page`, `MDB_node` in ``mdb.c``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from lyredb.errors import StorageFailed

FILE_NAME: Final = "data.mdb"
_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
_ROOT: Final = struct.Struct("=II16xI36xQ48xQQ")
"""Behind a root page's header: magic, version, page size, root of the free list, the last page
and the transaction."""
_PAGE: Final = struct.Struct("=8x2xHHH")
"""Flags, and the end of the pointers to nodes."""
_NODE: Final = struct.Struct("=HHHH")
_NUMBER: Final = struct.Struct("=Q")
_HEADER_BYTES: Final = 16
_BRANCH: Final = 0x01
_BIG: Final = 0x01
_NO_PAGE: Final = 2**64 - 1
_MAX_LEVELS: Final = 32


class _Root(NamedTuple):
    page_size: int
    free_list: int
    last_page: int
    transaction: int


def check_complete(directory: Path) -> None:
    """Check that the file of a data directory ends where its newest root says, or later.

    A file that is not there, or none of this format, is left to who opens it.

    Raises:
        StorageFailed: Pages are missing at its end.
    """
    try:
        with open(directory / FILE_NAME, "rb", buffering=0) as file:
            _check(file.fileno())
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageFailed(f"the data file cannot be read: {error.strerror}") from error


def _check(descriptor: int) -> None:
    root = _newest_root(descriptor)
    if root is None:
        return
    # After the root: beside a process that writes, the file only grows.
    pages = os.fstat(descriptor).st_size // root.page_size
    if pages > root.last_page:
        return
    try:
        free = set(_free_pages(descriptor, root))
    except (struct.error, RecursionError):  # the list itself lies behind the end, or is garbage
        free = set()
    if not free.issuperset(range(pages, root.last_page + 1)):
        raise StorageFailed(
            f"the data file is cut off: it has {pages} of {root.last_page + 1} pages; "
            "restore it from a backup"
        )


def _newest_root(descriptor: int) -> _Root | None:
    first = _root(descriptor, 0)
    if first is None:
        return None
    second = _root(descriptor, first.page_size)
    return max((first, second), key=lambda one: one.transaction) if second else first


def _root(descriptor: int, offset: int) -> _Root | None:
    data = os.pread(descriptor, _ROOT.size, offset + _HEADER_BYTES)
    if len(data) < _ROOT.size:
        return None
    magic, version, page_size, free_list, last_page, transaction = _ROOT.unpack(data)
    is_ours = magic == _MAGIC and version == _VERSION and page_size >= 512
    return _Root(page_size, free_list, last_page, transaction) if is_ours else None


def _free_pages(descriptor: int, root: _Root) -> Iterator[int]:
    if root.free_list != _NO_PAGE:
        yield from _free_below(descriptor, root.page_size, root.free_list, _MAX_LEVELS)


def _free_below(descriptor: int, page_size: int, number: int, levels: int) -> Iterator[int]:
    """The free pages that a page of the free list's tree names, directly or below it."""
    if not levels:
        raise RecursionError("a tree of pages is never so deep")
    page = os.pread(descriptor, page_size, number * page_size)
    flags, end, _ = _PAGE.unpack_from(page)
    for (place,) in struct.iter_unpack("=H", page[_HEADER_BYTES:end]):
        low, high, more, key_size = _NODE.unpack_from(page, place)
        if flags & _BRANCH:
            child = low | high << 16 | more << 32
            yield from _free_below(descriptor, page_size, child, levels - 1)
            continue
        start = place + _NODE.size + key_size
        data = page[start : start + (low | high << 16)]
        if more & _BIG:
            (overflow,) = _NUMBER.unpack_from(page, start)
            offset = overflow * page_size + _HEADER_BYTES
            data = os.pread(descriptor, low | high << 16, offset)
        (count,) = _NUMBER.unpack_from(data)
        yield from struct.unpack_from(f"={count}Q", data, _NUMBER.size)
