"""Blobs for code in the process: made of anything, read when asked, in order and in bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

import lyredb
from lyredb import Blob, Col, Key, Nested, Table, create_blob, field
from lyredb.errors import DiskFull, InvalidRecord, RecordTooLarge, StorageFailed
from lyredb.resources.embedded import EmbeddedDatabase
from lyredb.storage.blob_files import BlobFiles
from lyredb.storage.blob_rows import DROPPED
from lyredb.storage.settings import StorageSettings

LARGE = bytes(range(256)) * 1_000


class Page(Nested):
    scan: Col[Blob]


class Photo(Table, name="Photo", export=True):
    id: Key[str]
    picture: Col[Blob | None] = field(default=None)
    title: Col[str | None] = field(default=None)
    pages: Col[list[Page] | None] = field(default=None)


def opened(
    path: Path, storage: StorageSettings | None = None
) -> AbstractAsyncContextManager[EmbeddedDatabase]:
    return lyredb.open(path, schema=[Photo], storage=storage)


def files(path: Path) -> int:
    return len(list(BlobFiles(path).list()))


async def parts(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield LARGE


async def content_of(key: str) -> bytes:
    photo = await Photo.get(key)
    assert photo is not None
    assert photo.picture is not None
    return await photo.picture.bytes()


def test_a_blob_is_made_of_bytes_text_a_path_or_an_iterator(tmp_path: Path) -> None:
    """With the type that its source says, unless told otherwise."""
    picture = tmp_path / "7.png"
    picture.write_bytes(LARGE)

    async def body() -> None:
        async with opened(tmp_path / "data"):
            made = {
                "bytes": (create_blob(LARGE), LARGE, "application/octet-stream"),
                "text": (create_blob("ä" * 9_000), ("ä" * 9_000).encode(), "text/plain"),
                "path": (create_blob(picture), LARGE, "image/png"),
                "iterator": (create_blob(parts(3), "video/mp4"), LARGE * 3, "video/mp4"),
                "small": (create_blob(b"1", "image/gif"), b"1", "image/gif"),
            }
            for key, (blob, content, kind) in made.items():
                await Photo.put(Photo(id=key, picture=blob))
                photo = await Photo.get(key)
                assert photo is not None
                assert photo.picture is not None
                assert photo.picture.type.partition(";")[0] == kind
                assert photo.picture.size == len(content)
                assert await content_of(key) == content
                assert [len(part) <= 2**18 async for part in photo.picture.stream()]
            text = await Photo.get("text")
            assert text is not None
            assert text.picture is not None
            assert await text.picture.text() == "ä" * 9_000
            assert files(tmp_path / "data") == 4

    asyncio.run(body())


def test_a_record_that_was_read_can_be_put_back_and_a_blob_be_copied(tmp_path: Path) -> None:
    """A blob belongs to one record: another one needs its content."""

    async def body() -> None:
        async with opened(tmp_path):
            await Photo.put(Photo(id="a", picture=create_blob(LARGE)))
            photo = await Photo.get("a")
            assert photo is not None
            assert photo.picture is not None
            photo.title = "new"
            await Photo.put(photo)
            assert (await content_of("a"), files(tmp_path)) == (LARGE, 1)
            with pytest.raises(InvalidRecord, match="belongs to one record"):
                await Photo.put("b", photo)
            copy = create_blob(photo.picture.stream(), photo.picture.type)
            await Photo.put(Photo(id="b", picture=copy))
            await Photo.delete("a")
            assert (await content_of("b"), files(tmp_path)) == (LARGE, 2)

    asyncio.run(body())


def test_an_iterator_that_fails_writes_nothing(tmp_path: Path) -> None:
    """Neither the record nor a file."""

    async def broken() -> AsyncIterator[bytes]:
        yield LARGE
        raise ValueError("the source broke off")

    async def body() -> None:
        async with opened(tmp_path) as db:
            with pytest.raises(StorageFailed, match="the source broke off"):
                await Photo.put(Photo(id="a", picture=create_blob(broken())))
            assert await Photo.get("a") is None
            await db.database.settle()
            assert files(tmp_path) == 0

    asyncio.run(body())


def test_what_is_too_large_or_finds_the_disk_full_leaves_nothing(tmp_path: Path) -> None:
    """And the record stays as it was."""
    small = replace(StorageSettings(), max_blob_bytes=len(LARGE))

    async def body() -> None:
        async with opened(tmp_path, small) as db:
            await Photo.put(Photo(id="a", picture=create_blob(LARGE)))
            with pytest.raises(RecordTooLarge):
                await Photo.put(Photo(id="a", picture=create_blob(parts(2))))
            with pytest.raises(RecordTooLarge):
                await Photo.put(Photo(id="a", picture=create_blob(LARGE + b"x")))
            blobs = db.database.blobs
            blobs._files = BlobFiles(tmp_path, min_free_bytes=1, free_bytes_of=lambda path: 0)
            with pytest.raises(DiskFull):
                await Photo.put(Photo(id="a", picture=create_blob(LARGE)))
            assert await content_of("a") == LARGE
            await db.database.settle()
            assert files(tmp_path) == 1

    asyncio.run(body())


async def undone(db: EmbeddedDatabase) -> None:
    async with db.transaction():
        await Photo.put(Photo(id="b", picture=create_blob(LARGE)))
        raise KeyError


def test_a_transaction_has_its_blobs_and_one_undone_leaves_none(tmp_path: Path) -> None:
    """Files are written inside, and belong to records at its end."""

    async def body() -> None:
        async with opened(tmp_path) as db:
            async with db.transaction():
                await Photo.put(Photo(id="a", picture=create_blob(LARGE)))
                assert await content_of("a") == LARGE
            assert await content_of("a") == LARGE
            with pytest.raises(KeyError):
                await undone(db)
            await db.database.settle()
            assert files(tmp_path) == 1

    asyncio.run(body())


def test_a_blob_in_a_nested_object_stands_in_the_record(tmp_path: Path) -> None:
    """There is no path to it by which a file could be had."""

    async def body() -> None:
        async with opened(tmp_path):
            page = Page(scan=create_blob(LARGE[:9_000], "image/png"))
            await Photo.put(Photo(id="a", pages=[page]))
            photo = await Photo.get("a")
            assert photo is not None
            assert photo.pages is not None
            scan = photo.pages[0].scan
            assert (scan.type, await scan.bytes()) == ("image/png", LARGE[:9_000])
            assert files(tmp_path) == 0

    asyncio.run(body())


def test_searches_and_subscriptions_give_blobs(tmp_path: Path) -> None:
    """Whatever way a record comes, its blob is read in the same way."""

    async def body() -> None:
        async with opened(tmp_path):
            await Photo.put(Photo(id="a", picture=create_blob(LARGE)))
            (found,) = await Photo.where().list()
            assert found.picture is not None
            assert await found.picture.bytes() == LARGE
            async with Photo.subscribe("a") as events:
                event = await anext(events)
            assert event.value is not None
            assert event.value.picture is not None
            assert await event.value.picture.bytes() == LARGE

    asyncio.run(body())


def test_expired_records_let_go_of_their_files(tmp_path: Path) -> None:
    """A removal by the server is a delete like others."""

    class Brief(Table, name="Brief", expires_s=1):
        id: Key[str]
        picture: Col[Blob]

    async def body() -> None:
        async with lyredb.open(tmp_path, schema=[Brief]) as db:
            await db[Brief].put(Brief(id="a", picture=create_blob(LARGE)))
            engine = db.database._engine
            async with asyncio.timeout(20):
                while True:
                    with engine.snapshot() as snapshot:
                        if list(snapshot.scan_unref(DROPPED)):
                            break
                    await asyncio.sleep(0.05)

    asyncio.run(body())


@pytest.mark.parametrize("wrong", [1, None, ["x"]])
def test_a_blob_is_made_of_nothing_else(wrong: object) -> None:
    """It is said at once."""
    with pytest.raises(TypeError, match="a blob is made of"):
        create_blob(wrong)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ValueError, match="printable"):
        create_blob(b"", "text/plain\r\nx: y")
