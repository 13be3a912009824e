"""REST: what bodies may be, in which formats they come and go, and what is refused."""

from __future__ import annotations

import asyncio
import gzip
import json

import cbor2
import msgspec

from lyredb.protocols.rest.plugin import RestPlugin
from tests.protocols.node import serving

JSON = b"content-type: application/json\r\n"


def accept(media_type: str) -> bytes:
    return f"accept: {media_type}\r\n".encode()


def test_binary_property_is_served_as_bytes() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"raw": b"\x00\xff"})
            reply = await node.call("GET", "/Sensor/a.raw")
            assert (reply.body, reply.headers["content-type"]) == (
                b"\x00\xff",
                "application/octet-stream",
            )

    asyncio.run(body())


def test_compressed_body_is_the_record_that_was_compressed() -> None:
    """A broken one is refused, and nothing is stored of it."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            head = b"content-encoding: gzip\r\ncontent-type: application/json\r\n"
            packed = gzip.compress(b'{"value": 2}')
            assert (await node.call("PUT", "/Sensor/a", packed, head=head)).status == 204
            assert (await node.call("PUT", "/Sensor/b", packed[:-9], head=head)).status == 400
            assert json.loads((await node.call("GET", "/Sensor/a")).body) == {"id": "a", "value": 2}
            assert (await node.call("GET", "/Sensor/b")).status == 404

    asyncio.run(body())


def test_tag_of_a_compressed_record_serves_for_conditions() -> None:
    """For reading again (304) and for writing only over what was read (412)."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"text": "x" * 2_000})
            packed = b"accept-encoding: gzip\r\n"
            reply = await node.call("GET", "/Sensor/a", head=packed)
            tag = reply.headers["etag"]
            assert (tag[-6:], reply.headers["content-encoding"]) == ('.gzip"', "gzip")
            known = f"if-none-match: {tag}\r\n".encode()
            again = await node.call("GET", "/Sensor/a", head=packed + known)
            assert (again.status, again.headers["etag"]) == (304, tag)
            head = f"if-match: {tag}\r\ncontent-type: application/json\r\n".encode()
            assert (await node.call("PUT", "/Sensor/a", b"{}", head=head)).status == 204
            assert (await node.call("PUT", "/Sensor/a", b"{}", head=head)).status == 412

    asyncio.run(body())


def test_formats_are_negotiated_both_ways() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            head = b"content-type: application/cbor\r\n"
            put = await node.call("PUT", "/Sensor/a", cbor2.dumps({"value": 1.5}), head=head)
            packed = msgspec.msgpack.encode({"value": 2.5})
            head = b"content-type: application/x-msgpack\r\n"
            pack = await node.call("PUT", "/Sensor/b", packed, head=head)
            assert (put.status, pack.status) == (204, 204)
            as_cbor = await node.call("GET", "/Sensor/b", head=accept("application/cbor"))
            assert cbor2.loads(as_cbor.body) == {"id": "b", "value": 2.5}
            as_pack = await node.call("GET", "/Sensor/a", head=accept("application/x-msgpack"))
            assert msgspec.msgpack.decode(as_pack.body) == {"id": "a", "value": 1.5}
            all_cbor = await node.call("GET", "/Sensor/", head=accept("application/cbor"))
            assert [one["id"] for one in cbor2.loads(all_cbor.body)] == ["a", "b"]
            none = await node.call("GET", "/Sensor/a", head=accept("text/html"))
            assert none.status == 406
            assert "application/json" in none.body.decode()

    asyncio.run(body())


def test_ending_chooses_the_format_unless_it_belongs_to_a_record() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1.5})
            await node.put("Sensor/b.json", {"value": 2})
            as_cbor = await node.call("GET", "/Sensor/a.cbor")
            assert cbor2.loads(as_cbor.body) == {"id": "a", "value": 1.5}
            literal = await node.call("GET", "/Sensor/b.json")
            assert json.loads(literal.body)["id"] == "b.json"
            found = await node.call("GET", "/Sensor/.msgpack?value==1.5&select(id)")
            assert msgspec.msgpack.decode(found.body) == "a"
            assert (await node.call("GET", "/Sensor/none.json")).status == 404

    asyncio.run(body())


def test_other_content_types_are_kept_and_served_as_those_bytes() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            head = b"content-type: image/png\r\n"
            assert (await node.call("PUT", "/Sensor/p", b"\x89PNG\x00", head=head)).status == 204
            reply = await node.call("GET", "/Sensor/p")
            assert (reply.body, reply.headers["content-type"]) == (b"\x89PNG\x00", "image/png")
            assert reply.headers["content-security-policy"] == "sandbox"
            sealed = await node.call("PUT", "/Strict/p", b"\x89PNG", head=head)
            assert sealed.status == 400

    asyncio.run(body())


def test_bad_bodies_are_400_with_a_sentence() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            deep = b'{"a":' * 70 + b"1" + b"}" * 70
            for method, path, content in (
                ("PUT", "/Sensor/a", b"null"),
                ("PUT", "/Sensor/a", b"5"),
                ("PUT", "/Sensor/a", b"[]"),
                ("PUT", "/Sensor/a", b'{"value": '),
                ("PUT", "/Sensor/a", deep),
                ("PUT", "/Sensor/a", b'{"value": 1e999}'),
                ("PUT", "/Sensor/a", b'{"value": "12.5"}'),
                ("PATCH", "/Sensor/a", b'"text"'),
                ("POST", "/Sensor/", b"true"),
                ("PUT", "/Strict/a", b'{"name": "x", "more": 1}'),
                ("PUT", "/Strict/a", b"{}"),
            ):
                reply = await node.call(method, path, content, head=JSON)
                assert reply.status == 400, (method, path, content[:20])
                assert ": " in json.loads(reply.body)

    asyncio.run(body())


def test_validation_names_every_violation() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            reply = await node.call("PUT", "/Strict/a", b'{"more": 1}')
            sentence = json.loads(reply.body)
            assert "Property name is required" in sentence
            assert "Property more is not allowed" in sentence

    asyncio.run(body())


def test_problem_details_for_those_who_ask() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            head = accept("application/json, application/problem+json")
            reply = await node.call("GET", "/Sensor/none", head=head)
            assert reply.headers["content-type"] == "application/problem+json"
            assert json.loads(reply.body) == {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "code": "RECORD_NOT_FOUND",
                "detail": "there is no such record",
            }

    asyncio.run(body())


def test_server_times_are_kept_from_clients() -> None:
    schema = """type Note @table @export {
        id: ID @primaryKey text: String made: Long @createdTime changed: Long @updatedTime }"""

    async def body() -> None:
        async with serving(RestPlugin(), schema=schema) as node:
            await node.call("PUT", "/Note/a", b'{"text": "x", "made": 1, "changed": 1}')
            first = json.loads((await node.call("GET", "/Note/a")).body)
            await node.call("PUT", "/Note/a", b'{"text": "y"}')
            second = json.loads((await node.call("GET", "/Note/a")).body)
            assert first["made"] == second["made"] > 1_000_000_000_000
            assert second["changed"] >= first["changed"] > 1

    asyncio.run(body())


FORM = b"content-type: application/x-www-form-urlencoded; charset=utf-8\r\n"


def test_what_curl_sends_by_default_is_json_or_a_form() -> None:
    """`curl -d` says that everything is a form."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            put = await node.call("PUT", "/Sensor/a", b' {"value": 1.5}', head=FORM)
            assert put.status == 204
            patch = await node.call("PATCH", "/Sensor/a", b"value=2&site=x+y&m=1&m=2", head=FORM)
            assert patch.status == 204
            assert json.loads((await node.call("GET", "/Sensor/a")).body) == {
                "id": "a", "value": 2, "site": "x y", "m": ["1", "2"],
            }  # fmt: skip
            post = await node.call("POST", "/Counter/", b"id=7&n=3", head=FORM)
            assert (post.status, post.body) == (201, b"7")

    asyncio.run(body())


def test_a_form_that_breaks_the_schema_or_is_none_says_so() -> None:
    """With the violation, or with the type that came."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            wrong = await node.call("PUT", "/Sensor/a", b"value=warm", head=FORM)
            assert wrong.status == 400
            assert b"Property value must be a number (Float), got the string 'warm'" in wrong.body
            for text in (b"hello", b'{"value": ', b"[1]"):
                reply = await node.call("PUT", "/Sensor/a", text, head=FORM)
                assert (reply.status, b"InvalidBody" in reply.body) == (400, True), text
            assert (await node.call("GET", "/Sensor/a")).status == 404

    asyncio.run(body())


def test_bytes_where_objects_are_due_name_the_type_that_came() -> None:
    """The usual cause is a missing header."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            head = b"content-type: text/plain\r\n"
            reply = await node.call("PUT", "/Strict/a", b"hello", head=head)
            assert reply.status == 400
            assert b"objects with name: application/json is expected" in reply.body
            assert b"'text/plain'" in reply.body
            missing = await node.call("PUT", "/Strict/a", b"hello")
            assert b"application/json is expected" in missing.body
            assert b"came without one" in missing.body

    asyncio.run(body())


def test_a_listing_names_the_key_of_bytes_too() -> None:
    """Else nobody could tell which record they are."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.call("PUT", "/Sensor/a", b"hello", head=b"content-type: text/plain\r\n")
            found = json.loads((await node.call("GET", "/Sensor/")).body)
            assert found == [{"id": "a", "contentType": "text/plain", "data": "hello"}]

    asyncio.run(body())


def test_multipart_form_is_refused_and_replaces_nothing() -> None:
    """`curl -F value=3` would put the whole envelope in the place of the record."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            head = b"content-type: multipart/form-data; boundary=x\r\n"
            reply = await node.call("PUT", "/Sensor/a", b"--x\r\n\r\n3\r\n--x--\r\n", head=head)
            assert reply.status == 415
            assert "multipart" in json.loads(reply.body)
            record = json.loads((await node.call("GET", "/Sensor/a")).body)
            assert record == {"id": "a", "value": 1}

    asyncio.run(body())


def test_a_content_type_that_is_none_is_400_and_stores_nothing() -> None:
    """Two types at once, or a word, are a mistake of the client: its record is no file."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            for wrong in (
                b"content-type: application/json\r\ncontent-type: text/plain\r\n",
                b"content-type: json\r\n",
                b"content-type: application/\r\n",
                b"content-type: text/plain, application/json\r\n",
                b"content-type: text/plain charset=utf-8\r\n",
            ):
                reply = await node.call("PUT", "/Sensor/a", b'{"value": 1}', head=wrong)
                assert reply.status == 400, wrong
                assert b"Content-Type" in reply.body
            assert (await node.call("GET", "/Sensor/a")).status == 404
            for right in (b"image/png", b'text/plain; charset="utf-8"', b"x-a/b.c+d;v=1 ; w=2"):
                head = b"content-type: " + right + b"\r\n"
                assert (await node.call("PUT", "/Sensor/a", b"1", head=head)).status == 204, right

    asyncio.run(body())


def test_what_a_list_of_records_may_be_is_said_in_full() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            csv = await node.call("PUT", "/Sensor/", b"id\na", head=b"content-type: text/csv\r\n")
            assert csv.status == 415
            assert b"application/x-ndjson" in csv.body
            one = await node.call("PUT", "/Sensor/", b'{"id": "a"}', head=JSON)
            assert json.loads(one.body).endswith("must be a list of objects, got an object")

    asyncio.run(body())
