"""REST on whole collections: lists of records, deletes by query, queries in bodies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import cbor2
import msgspec
import pytest

from lyredb.protocols.rest.plugin import RestPlugin
from tests.protocols.node import TestNode, serving

JSON = b"content-type: application/json\r\n"
NDJSON = b"content-type: application/x-ndjson\r\n"


async def ids(node: TestNode, path: str = "/Sensor/") -> list[object]:
    reply = await node.call("GET", f"{path}?select($id)")
    assert reply.status == 200, reply.body
    return sorted(json.loads(reply.body))


async def fill(node: TestNode, count: int, **more: object) -> None:
    records = [{"id": f"s{n}", "value": n, **more} for n in range(count)]
    reply = await node.call("PUT", "/Sensor/", json.dumps(records).encode(), head=JSON)
    assert (reply.status, reply.body) == (204, b"")


def test_a_list_that_is_put_replaces_and_makes_each_by_its_key() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/s1", {"value": 9, "site": "old"})
            await fill(node, 3)
            assert await ids(node) == ["s0", "s1", "s2"]
            assert json.loads((await node.call("GET", "/Sensor/s1")).body) == {
                "id": "s1",
                "value": 1,
            }
            assert (await node.call("PUT", "/Sensor/", b"[]", head=JSON)).status == 204

    asyncio.run(body())


def test_a_list_that_is_posted_answers_with_the_keys_in_its_order() -> None:
    """Those that came and those that were made, numbers where keys are numbers."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            reply = await node.call(
                "POST", "/Sensor/", b'[{"id": "b"}, {"value": 1}, {"id": "a"}]', head=JSON
            )
            keys = json.loads(reply.body)
            assert (reply.status, keys[0], keys[2]) == (201, "b", "a")
            assert "location" not in reply.headers
            assert await ids(node) == sorted(keys)
            lines = b'{"n": 1}\n{"n": 2}\n'
            counted = await node.call("POST", "/Counter/", lines, head=NDJSON)
            assert (counted.status, json.loads(counted.body)) == (201, [1, 2])
            packed = cbor2.dumps([{"n": 3}])
            head = b"content-type: application/cbor\r\naccept: application/cbor\r\n"
            as_cbor = await node.call("POST", "/Counter/", packed, head=head)
            assert (as_cbor.status, cbor2.loads(as_cbor.body)) == (201, [3])

    asyncio.run(body())


@pytest.mark.parametrize(
    ("method", "sent", "status"),
    [
        ("POST", [{"id": "new"}, {"id": "there"}], 409),
        ("POST", [{"id": "new"}, {"id": "new"}], 409),
        ("POST", [{"id": "new"}, {"value": "x"}], 400),
        ("POST", [{"id": "new"}, 7], 400),
        ("PUT", [{"id": "new"}, {"value": 1}], 400),
        ("PUT", [{"id": "new"}, {"id": "a//b"}], 400),
        ("PUT", {"id": "new"}, 400),
        ("PUT", None, 400),
        ("POST", None, 400),
        ("POST", "x", 400),
    ],
)
def test_a_list_is_taken_whole_or_not_at_all(method: str, sent: object, status: int) -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/there", {"value": 1})
            reply = await node.call(method, "/Sensor/", json.dumps(sent).encode(), head=JSON)
            assert reply.status == status, reply.body
            assert await ids(node) == ["there"]

    asyncio.run(body())


def test_what_is_no_list_by_its_type_is_415() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            reply = await node.call("PUT", "/Sensor/", b"x", head=b"content-type: image/png\r\n")
            assert reply.status == 415
            assert (await node.call("PUT", "/Sensor/", b"")).status == 400

    asyncio.run(body())


def test_delete_of_a_collection_is_of_what_matches_or_of_all() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await fill(node, 6)
            await node.put("Sensor/hall/a", {"value": 1})
            reply = await node.call("DELETE", "/Sensor/?value=gt=3")
            assert (reply.status, reply.body) == (200, b"true")
            assert await ids(node) == ["hall/a", "s0", "s1", "s2", "s3"]
            assert (await node.call("DELETE", "/Sensor?value==3")).status == 200
            assert (await node.call("DELETE", "/Sensor/?value==99")).body == b"true"
            assert await ids(node) == ["hall/a", "s0", "s1", "s2"]
            assert (await node.call("DELETE", "/Sensor/hall/")).status == 200
            assert await ids(node) == ["s0", "s1", "s2"]
            assert (await node.call("DELETE", "/Sensor/")).status == 200
            assert await ids(node) == []

    asyncio.run(body())


def test_delete_with_a_query_that_makes_no_sense_deletes_nothing() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await fill(node, 3)
            for query in ("value=zz=3", "value==x", "select(id)", "explain()", "nonsense(3)"):
                reply = await node.call("DELETE", f"/Sensor/?{query}")
                assert reply.status == 400, query
            assert len(await ids(node)) == 3

    asyncio.run(body())


def test_conditions_on_a_collection_are_those_of_what_is_always_there() -> None:
    """It has no tag, so none matches, and no date; it exists (RFC 9110 §13.1)."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await fill(node, 1)
            for method, sent in (("PUT", b"[]"), ("POST", b"{}"), ("DELETE", b"")):
                for head, status in (
                    (b'if-match: "0000000000"\r\n', 412),
                    (b"if-none-match: *\r\n", 412),
                    (b"if-match: x\r\n", 400),
                ):
                    reply = await node.call(method, "/Sensor/", sent, head=JSON + head)
                    assert reply.status == status, (method, head)
            assert await ids(node) == ["s0"]
            fine = b'if-match: *\r\nif-none-match: "0000000000"\r\n'
            assert (await node.call("PUT", "/Sensor/", b"[]", head=JSON + fine)).status == 204

    asyncio.run(body())


def test_query_takes_an_object_or_the_text_of_a_url() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await fill(node, 5)
            asked: Mapping[str, object] = {
                "conditions": [{"attribute": "value", "comparator": "gt", "value": 2}],
                "select": ["id"],
            }
            by_object = await node.call("QUERY", "/Sensor/", json.dumps(asked).encode(), head=JSON)
            assert (by_object.status, json.loads(by_object.body)) == (
                200,
                [{"id": "s3"}, {"id": "s4"}],
            )
            text = b"value=gt=2&select(id,)"
            for head in (
                b"content-type: text/plain\r\n",
                b"content-type: application/x-www-form-urlencoded\r\n",
            ):
                by_text = await node.call("QUERY", "/Sensor/", text, head=head)
                assert by_text.body == by_object.body
            everything = await node.call("QUERY", "/Sensor/")
            assert len(json.loads(everything.body)) == 5
            csv = await node.call(
                "QUERY", "/Sensor/", text, head=b"content-type: text/plain\r\naccept: text/csv\r\n"
            )
            assert csv.body.decode().split() == ["id", "s3", "s4"]

    asyncio.run(body())


def test_query_that_cannot_be_understood_is_refused() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            for sent, head, status in (
                (b'{"conditions": [{"attribute": "value", "comparator": "zz"}]}', JSON, 400),
                (b"[1]", JSON, 400),
                (b"null", JSON, 400),
                (b"{", JSON, 400),
                (b"\xff", b"content-type: text/plain\r\n", 400),
                (b"x", b"content-type: image/png\r\n", 415),
            ):
                reply = await node.call("QUERY", "/Sensor/", sent, head=head)
                assert reply.status == status, (sent, reply.body)
            assert (await node.call("QUERY", "/Sensor/?value=1", b"{}", head=JSON)).status == 400
            assert (await node.call("QUERY", "/Sensor/", b"{}", head=JSON, login=b"")).status == 401

    asyncio.run(body())


def test_explain_answers_with_the_plan_in_the_url_and_in_the_body() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await fill(node, 3, site="x")
            by_url = await node.call("GET", "/Sensor/?site=x&explain()")
            asked = {"conditions": [{"attribute": "site", "value": "x"}], "explain": True}
            by_body = await node.call("QUERY", "/Sensor/", json.dumps(asked).encode(), head=JSON)
            assert (by_url.status, by_body.status) == (200, 200)
            assert b"site" in by_url.body
            assert isinstance(json.loads(by_body.body), dict)

    asyncio.run(body())


def test_csv_of_a_collection_has_the_declared_attributes_as_its_header() -> None:
    """Also where no record has one of them."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await fill(node, 1)
            reply = await node.call("GET", "/Sensor/.csv")
            assert reply.body.decode().split() == ["id,value,site,raw", "s0,0,,"]
            assert reply.headers["content-type"] == "text/csv; charset=utf-8"
            chosen = await node.call("GET", "/Sensor/.csv?select(value,id)")
            assert chosen.body.decode().split() == ["value,id", "0,s0"]
            one = await node.call("GET", "/Sensor/s0.csv")
            assert one.body.decode().split()[0].startswith("id,value")

    asyncio.run(body())


def test_attributes_may_have_any_name_in_a_query() -> None:
    """Also one that no field of a class could have."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            record = {"id": "a", '"': 1, "\\": 2, "\n": 3}
            await node.call("PUT", "/Sensor/", json.dumps([record]).encode(), head=JSON)
            for query in ("%22==1", "%5C==2", "%0A==3&%22==1", "%5C=gt=1&select(%0A)"):
                reply = await node.call("GET", f"/Sensor/?{query}")
                assert reply.status == 200, query
                assert len(json.loads(reply.body)) == 1, query

    asyncio.run(body())


def test_a_collection_tells_the_position_that_it_is_of() -> None:
    """The same one until something is written, and how it was read."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await fill(node, 3)
            first = (await node.call("GET", "/Sensor/")).headers
            again = (await node.call("QUERY", "/Sensor/")).headers
            await fill(node, 1)
            later = (await node.call("GET", "/Sensor/?limit(0)")).headers
            assert first["x-lyredb-read"] == "snapshot"
            assert first["x-lyredb-position"] == again["x-lyredb-position"]
            assert first["x-lyredb-position"] != later["x-lyredb-position"]

    asyncio.run(body())


MSGPACK = b"content-type: application/x-msgpack\r\n"


def test_a_collection_that_was_read_as_messagepack_can_be_put_back() -> None:
    """Its records stand one after the other; one is a list of one for PUT, and none is none."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await fill(node, 3, list=[{"a": [1]}, "é", 1.5, None], raw="x" * 300)
            head = b"accept: application/x-msgpack\r\n"
            read = (await node.call("GET", "/Sensor/", head=head)).body
            for path in ("/Sensor/", "/Sensor/?id=s1", "/Sensor/?id=none"):
                wanted = (await node.call("GET", path, head=head)).body
                await node.call("DELETE", "/Sensor/")
                assert (await node.call("PUT", "/Sensor/", wanted, head=MSGPACK)).status == 204
                assert (await node.call("GET", "/Sensor/", head=head)).body == wanted
                await node.call("PUT", "/Sensor/", read, head=MSGPACK)

    asyncio.run(body())


def test_messagepack_objects_that_are_posted_are_made_each() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            one, two = (msgspec.msgpack.encode({"id": name}) for name in ("a", "b"))
            reply = await node.call("POST", "/Sensor/", one + two, head=MSGPACK)
            assert (reply.status, json.loads(reply.body)) == (201, ["a", "b"])
            reply = await node.call("POST", "/Sensor/", msgspec.msgpack.encode({}), head=MSGPACK)
            assert (reply.status, type(json.loads(reply.body))) == (201, str)
            for wrong in (one + b"\x01", one + two[:-1], one + b"\xc1", one + b"\xde", b"\x81"):
                for method in ("POST", "PUT"):
                    reply = await node.call(method, "/Sensor/", wrong, head=MSGPACK)
                    assert reply.status == 400, (wrong, reply.body)
            many = msgspec.msgpack.encode({"id": "c"}) * 50_001
            assert (await node.call("PUT", "/Sensor/", many, head=MSGPACK)).status == 400

    asyncio.run(body())
