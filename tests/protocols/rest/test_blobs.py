"""REST: attributes that are blobs, streamed both ways."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import cbor2
import pytest

from lyredb.errors import RangeNotSatisfiable
from lyredb.protocols.http import HttpLimits
from lyredb.protocols.rest.plugin import RestPlugin
from lyredb.protocols.rest.ranges import range_of
from lyredb.protocols.sse.plugin import SsePlugin
from lyredb.resources.requests import Write, Written
from tests.protocols.node import ADMIN_CONTEXT, LOGIN, TestNode, serving

SCHEMA = """
type Photo @table @export {
    id: ID @primaryKey
    title: String
    picture: Blob
    parts: [Blob]
}
"""
JSON = b"content-type: application/json\r\n"
PNG = b"content-type: image/png\r\n"
LARGE = bytes(range(256)) * 400
SMALL = HttpLimits(max_body_bytes=4096)


def files(node: TestNode) -> list[Path]:
    return [path for path in (node.node.engine.path / "blobs").rglob("*") if path.is_file()]


async def record(node: TestNode, key: str = "a", **values: object) -> None:
    body = json.dumps(values).encode()
    assert (await node.call("PUT", f"/Photo/{key}", body, head=JSON)).status == 204


async def shown(node: TestNode, key: str = "a") -> dict[str, object]:
    reply = await node.call("GET", f"/Photo/{key}")
    assert reply.status == 200, reply.body
    return json.loads(reply.body)  # type: ignore[no-any-return]  # an object


@pytest.mark.parametrize("content", [b"", b"tiny\x00\xff", LARGE])
def test_what_was_put_is_got_with_its_type_whatever_its_size(content: bytes) -> None:
    """Also beyond the largest body of other requests."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA, limits=SMALL) as node:
            await record(node, title="t")
            put = await node.call("PUT", "/Photo/a.picture", content, head=PNG)
            assert (put.status, put.body) == (204, b"")
            got = await node.call("GET", "/Photo/a.picture")
            assert (got.status, got.body) == (200, content)
            assert got.headers["content-type"] == "image/png"
            assert got.headers["content-length"] == str(len(content))
            assert got.headers["accept-ranges"] == "bytes"
            assert len(files(node)) == (len(content) > 8192)
            head = await node.call("HEAD", "/Photo/a.picture")
            assert (head.body, head.headers["content-length"]) == (b"", str(len(content)))

    asyncio.run(body())


def test_a_record_shows_where_its_blob_is_and_can_be_sent_back() -> None:
    """Reading, changing the title and putting it back keeps the very file."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            await record(node, title="t")
            await node.call("PUT", "/Photo/a.picture", LARGE, head=PNG)
            before = await shown(node)
            picture = before["picture"]
            assert isinstance(picture, dict)
            assert picture.items() >= {
                "contentType": "image/png", "size": len(LARGE), "href": "/Photo/a.picture"
            }.items()  # fmt: skip
            await record(node, **(before | {"title": "u"}))  # type: ignore[arg-type]  # no key is called key
            assert await shown(node) == before | {"title": "u"}
            assert (await node.call("GET", str(picture["href"]))).body == LARGE
            stolen = await node.call(
                "PUT", "/Photo/b", json.dumps({"picture": picture}).encode(), head=JSON
            )
            assert stolen.status == 400
            assert b"belongs to one record" in stolen.body
            lie = picture | {"contentType": "text/html"}
            body = json.dumps({"picture": lie}).encode()
            assert (await node.call("PUT", "/Photo/a", body, head=JSON)).status == 400

    asyncio.run(body())


def test_small_blobs_stand_in_their_record() -> None:
    """Text as a string, bytes as bytes, others with their type; all can be sent back."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            await record(node, picture="some text")
            assert (await shown(node))["picture"] == "some text"
            got = await node.call("GET", "/Photo/a.picture")
            assert (got.body, got.headers["content-type"]) == (
                b"some text",
                "text/plain; charset=utf-8",
            )
            await node.call("PUT", "/Photo/a.picture", b"\x89PNG", head=PNG)
            assert (await shown(node))["picture"] == {
                "contentType": "image/png",
                "data": base64.b64encode(b"\x89PNG").decode(),
            }
            await record(node, **await shown(node))  # type: ignore[arg-type]  # no key is called key
            assert (await node.call("GET", "/Photo/a.picture")).body == b"\x89PNG"
            in_cbor = await node.call("GET", "/Photo/a", head=b"accept: application/cbor\r\n")
            assert cbor2.loads(in_cbor.body)["picture"]["data"] == b"\x89PNG"
            await node.call("PUT", "/Photo/a.picture", b"\xff\x00")
            assert (await node.call("GET", "/Photo/a.picture")).headers["content-type"] == (
                "application/octet-stream"
            )
            await node.call(
                "PUT", "/Photo/a.picture", b"<p>hi</p>", head=b"content-type: text/html\r\n"
            )
            assert (await shown(node))["picture"] == {
                "contentType": "text/html",
                "data": "<p>hi</p>",
            }

    asyncio.run(body())


def test_large_text_in_a_record_becomes_a_file() -> None:
    """A record itself stays small, however it was written; lists of blobs stay in it."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            await record(node, picture="ä" * 5000, parts=["x" * 9000])
            picture = (await shown(node))["picture"]
            assert isinstance(picture, dict)
            assert (picture["size"], picture["contentType"]) == (
                10_000,
                "text/plain; charset=utf-8",
            )
            assert (await node.call("GET", "/Photo/a.picture")).body.decode() == "ä" * 5000
            assert len(files(node)) == 1
            assert (await shown(node))["parts"] == ["x" * 9000]

    asyncio.run(body())


def test_writes_of_one_record_keep_their_order_around_files() -> None:
    """A small write that comes later must not be overtaken by a large one before it."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            database = node.node.database
            target = database.resolve("Photo/a", ADMIN_CONTEXT)
            done: list[object] = []
            for number in range(5):
                for text in (f"{number}" * 20_000, f"small {number}"):
                    write = Write(target, "put", value={"picture": text})
                    database.submit(write, ADMIN_CONTEXT, done.append)
            async with asyncio.timeout(10):
                while len(done) < 10:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
            assert all(isinstance(one, Written) for one in done)
            assert [one.position for one in done] == sorted(one.position for one in done)  # type: ignore[attr-defined]  # so it is
            assert (await shown(node))["picture"] == "small 4"

    asyncio.run(body())


def test_a_part_can_be_asked_for() -> None:
    """RFC 9110 §14: of the file as of what stands in the record."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            for key, content in (("a", LARGE), ("b", LARGE[:1000])):
                await record(node, key)
                await node.call("PUT", f"/Photo/{key}.picture", content, head=PNG)
                size = len(content)
                part = await node.call(
                    "GET", f"/Photo/{key}.picture", head=b"range: bytes=100-199\r\n"
                )
                assert (part.status, part.body) == (206, content[100:200])
                assert part.headers["content-range"] == f"bytes 100-199/{size}"
                last = await node.call("GET", f"/Photo/{key}.picture", head=b"range: bytes=-7\r\n")
                assert (last.status, last.body) == (206, content[-7:])
                none = await node.call(
                    "GET", f"/Photo/{key}.picture", head=b"range: bytes=%d-\r\n" % size
                )
                assert (none.status, none.headers["content-range"]) == (416, f"bytes */{size}")
                assert json.loads(none.body) == (
                    f"RangeNotSatisfiable: the content has {size} bytes, none of them in the range"
                )
                head = b"range: bytes=%d-\r\naccept: application/problem+json\r\n" % size
                told = json.loads((await node.call("GET", f"/Photo/{key}.picture", head=head)).body)
                assert (told["status"], told["code"]) == (416, "RANGE_NOT_SATISFIABLE")
                tag = part.headers["etag"].encode()
                same = b"range: bytes=1-1\r\nif-range: %b\r\n"
                kept = await node.call("GET", f"/Photo/{key}.picture", head=same % tag)
                assert kept.status == 206
                await node.call("PUT", f"/Photo/{key}.picture", content, head=PNG)
                changed = await node.call("GET", f"/Photo/{key}.picture", head=same % tag)
                assert (changed.status, changed.body) == (200, content)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=8-99", (8, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=-", None),
    ],
)
def test_ranges_are_read_as_the_standard_has_them(
    header: str, found: tuple[int, int] | None
) -> None:
    """What is not understood is ignored (RFC 9110 §14.2)."""
    assert range_of(header, 10) == found


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_ranges_outside_of_the_content_are_unsatisfiable(header: str, size: int) -> None:
    """Not an empty part."""
    with pytest.raises(RangeNotSatisfiable):
        range_of(header, size)


def test_conditions_hold_for_blobs() -> None:
    """A tag is that of the record, so what was read is what may be overwritten."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            await record(node)
            await node.call("PUT", "/Photo/a.picture", LARGE, head=PNG)
            tag = (await node.call("GET", "/Photo/a.picture")).headers["etag"].encode()
            known = await node.call("GET", "/Photo/a.picture", head=b"if-none-match: %b\r\n" % tag)
            assert known.status == 304
            condition = PNG + b"if-match: %b\r\n" % tag
            assert (await node.call("PUT", "/Photo/a.picture", b"1", head=condition)).status == 204
            again = await node.call("PUT", "/Photo/a.picture", LARGE, head=condition)
            assert again.status == 412
            assert (await node.call("GET", "/Photo/a.picture")).body == b"1"

    asyncio.run(body())


def test_what_is_not_there_is_not_found() -> None:
    """Neither record nor blob; and nothing stays of what was sent for it."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            assert (await node.call("GET", "/Photo/a.picture")).status == 404
            assert (await node.call("PUT", "/Photo/a.picture", LARGE, head=PNG)).status == 404
            await record(node, title="t")
            assert (await node.call("GET", "/Photo/a.picture")).status == 404
            await node.call("PUT", "/Photo/a.picture", LARGE, head=PNG)
            assert (await node.call("DELETE", "/Photo/a.picture")).status == 200
            assert (await node.call("GET", "/Photo/a.picture")).status == 404

    asyncio.run(body())


def test_a_body_beyond_the_limit_is_refused_and_leaves_nothing() -> None:
    """At once where its length is said, else when it has come so far."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            await record(node)
            node.node.database.blobs.max_bytes = 50_000
            said = await node.call("PUT", "/Photo/a.picture", LARGE, head=PNG)
            assert said.status == 413
            client = await node.connect()
            head = b"PUT /Photo/a.picture HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
            chunk = b"%x\r\n%b\r\n" % (len(LARGE), LARGE)
            client.send(head + PNG + LOGIN + b"\r\n" + chunk * 3)
            reply = await client.reply()
            assert reply.status == 413
            await node.node.database.settle()
            assert files(node) == []

    asyncio.run(body())


def test_an_upload_that_breaks_off_leaves_nothing() -> None:
    """The record stays as it was."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            await record(node, picture="before")
            client = await node.connect()
            head = b"PUT /Photo/a.picture HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n"
            client.send(head + PNG + LOGIN + b"\r\n" + LARGE * 4)
            async with asyncio.timeout(10):
                while not files(node):  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
            client.writer.close()
            async with asyncio.timeout(10):
                while files(node):  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
            assert (await shown(node))["picture"] == "before"

    asyncio.run(body())


def test_who_has_begun_to_read_gets_the_file_that_there_was() -> None:
    """Though it is overwritten, and even removed, meanwhile."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            await record(node)
            await node.call("PUT", "/Photo/a.picture", LARGE * 100, head=PNG)
            client = await node.connect()
            client.send(b"GET /Photo/a.picture HTTP/1.1\r\nhost: x\r\n" + LOGIN + b"\r\n")
            assert (await client.head())[0] == 200
            (file,) = files(node)
            await node.call("PUT", "/Photo/a.picture", b"other", head=PNG)
            file.unlink()
            assert await client.reader.readexactly(len(LARGE) * 100) == LARGE * 100

    asyncio.run(body())


def test_events_show_what_rest_shows() -> None:
    """A subscriber learns where the content is; it is not sent to everybody."""

    async def body() -> None:
        async with serving(RestPlugin(), SsePlugin(), schema=SCHEMA) as node:
            await record(node)
            await node.call("PUT", "/Photo/a.picture", LARGE, head=PNG)
            client = await node.connect()
            line = b"GET /Photo/a HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n"
            client.send(line + LOGIN + b"\r\n")
            await client.head()
            told = b""
            while b'"picture"' not in told:
                told += await client.chunk()
            event = next(one for one in told.split(b"\n") if one.startswith(b"data: {"))
            value = json.loads(event.removeprefix(b"data: "))["value"]
            assert value == await shown(node)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/octet-stream", b"\x00\xff"),
        ("application/octet-stream", b""),
        ("text/plain; charset=latin1", b"h\xe9"),
        ("text/plain", b"\xff"),
        ("application/json", b"{\xff"),
        ("image/png", b"text"),
        ("text/csv", b"a,b"),
        ("text/plain; charset=utf-8", "é".encode()),
    ],
)
@pytest.mark.parametrize("media_type", ["application/json", "application/cbor"])
def test_a_record_that_was_read_is_put_back_without_loss(
    kind: str, content: bytes, media_type: str
) -> None:
    """Base64 in JSON is no text: content in the record comes back with its type."""

    async def body() -> None:
        async with serving(RestPlugin(), schema=SCHEMA) as node:
            await record(node, title="t")
            head = f"content-type: {kind}\r\n".encode()
            await node.call("PUT", "/Photo/a.picture", content, head=head)
            accept = f"accept: {media_type}\r\n".encode()
            read = await node.call("GET", "/Photo/a", head=accept)
            head = f"content-type: {media_type}\r\n".encode()
            assert (await node.call("PUT", "/Photo/b", read.body, head=head)).status == 204
            got = await node.call("GET", "/Photo/b.picture")
            assert (got.body, got.headers["content-type"]) == (content, kind)

    asyncio.run(body())


@pytest.mark.parametrize("declared", ["data: Blob", "data: Bytes", "data: String"])
@pytest.mark.parametrize("content", [b"\x89PNG\xff", b"some text", b'{"x": 1}'])
def test_the_data_of_a_record_of_bytes_is_what_the_record_is(declared: str, content: bytes) -> None:
    """Its type is that of the record, never the text or octets that an attribute would be."""

    async def body() -> None:
        schema = f"type File @table @export {{ id: ID @primaryKey {declared} }}"
        async with serving(RestPlugin(), schema=schema) as node:
            assert (await node.call("PUT", "/File/x", content, head=PNG)).status == 204
            whole = await node.call("GET", "/File/x")
            part = await node.call("GET", "/File/x.data")
            assert (part.status, part.body) == (200, content) == (whole.status, whole.body)
            for name in ("content-type", "etag", "content-security-policy"):
                assert part.headers[name] == whole.headers[name], name
            assert part.headers["content-type"] == "image/png"
            assert (await node.call("GET", "/File/x.other")).status == 404

    asyncio.run(body())
