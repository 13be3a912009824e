"""A data file that is cut off is refused before a missing page can end the process."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest

from lyredb.errors import StorageFailed
from lyredb.storage.data_file import FILE_NAME, check_complete
from lyredb.storage.engine import Engine
from tests.storage.store import ROOMY, Store, put

PAGE = 4096


def filled(path: Path) -> Path:
    store = Store(path)
    for number in range(50):
        store.commit(put(f"{number}", value="x" * 5000))
    store.close()
    return path / FILE_NAME


@pytest.mark.parametrize("left", [0.3, 0.9])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, left: float) -> None:
    """With how much is there; what is left of it is not touched."""
    file = filled(tmp_path)
    size = int(file.stat().st_size * left) // PAGE * PAGE
    os.truncate(file, size)
    with pytest.raises(StorageFailed, match=f"cut off: it has {size // PAGE} of [0-9]+ pages"):
        Engine.open(tmp_path, settings=ROOMY)
    assert file.stat().st_size == size


def test_a_file_that_lost_part_of_a_page_is_refused(tmp_path: Path) -> None:
    """The smallest loss counts where the page is in use."""
    with (
        lmdb.open(str(tmp_path), map_size=1 << 20, lib_version=0) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"a", b"x" * 100_000)
    file = tmp_path / FILE_NAME
    check_complete(tmp_path)
    os.truncate(file, file.stat().st_size - 100)
    with pytest.raises(StorageFailed, match="cut off"):
        check_complete(tmp_path)


@pytest.mark.parametrize("rows", [1, 3000], ids=["small list of free pages", "tree of them"])
@pytest.mark.parametrize("size", [9_000_000, 20_000_000], ids=["in one page", "over several"])
def test_pages_that_were_freed_before_they_were_written_are_no_loss(
    tmp_path: Path, rows: int, size: int
) -> None:
    """LMDB counts them and never writes them; a file without them is whole."""
    environment = lmdb.open(
        str(tmp_path), map_size=1 << 30, lib_version=0, sync=False, metasync=False
    )
    reader = environment.begin()  # keeps the rows of the list from being used up
    for number in range(rows):
        with environment.begin(write=True) as transaction:
            transaction.put(b"kept", b"%d" % number)
    reader.abort()
    for number in range(5):
        with environment.begin(write=True) as transaction:
            transaction.put(b"kept%d" % number, b"")
            transaction.put(b"gone", b"x" * size * (number + 1))
            transaction.delete(b"gone")
    pages = (tmp_path / FILE_NAME).stat().st_size // PAGE
    assert pages <= environment.info()["last_pgno"], "else this proves nothing"
    check_complete(tmp_path)
    environment.close()


def test_a_store_that_was_emptied_and_filled_again_opens(tmp_path: Path) -> None:
    """Whatever its free pages are: nothing that is whole is ever refused."""
    for _ in range(3):
        store = Store(tmp_path, settings=replace(ROOMY, segment_bytes=1 << 16))
        for number in range(300):
            store.commit(put(f"{number % 7}", value="x" * (number * 90)))
        check_complete(tmp_path)
        store.engine.drop_table(16)
        store.close()
        check_complete(tmp_path)


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"x" * 9000])
def test_what_is_no_data_file_is_left_to_who_opens_it(tmp_path: Path, content: bytes) -> None:
    """This only looks for what is missing."""
    check_complete(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(content)
    check_complete(tmp_path)
