"""REST over a real port and a real node: statuses, headers, formats, conditions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from lyredb.protocols.rest.plugin import RestPlugin
from tests.protocols.node import LOGIN, TestNode, serving

JSON = b"content-type: application/json\r\n"


async def collection(node: TestNode, path: str) -> object:
    reply = await node.call("GET", path)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def test_put_then_get_gives_the_record_with_its_key_and_an_etag() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            put = await node.call("PUT", "/Sensor/a/b", b'{"value": 1.5}', head=JSON)
            assert (put.status, put.body) == (204, b"")
            get = await node.call("GET", "/Sensor/a/b")
            assert get.status == 200
            assert json.loads(get.body) == {"id": "a/b", "value": 1.5}
            assert get.headers["content-type"] == "application/json"
            assert get.headers["vary"] == "accept"
            assert len(get.headers["etag"]) == 12

    asyncio.run(body())


def test_put_replaces_and_patch_merges_the_top_level() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.call("PUT", "/Sensor/a", b'{"value": 1, "site": "x"}')
            await node.call(
                "PATCH", "/Sensor/a", b'{"value": 2, "n": {"__op__": "add", "value": 3}}'
            )
            merged = json.loads((await node.call("GET", "/Sensor/a")).body)
            await node.call("PUT", "/Sensor/a", b'{"value": 7}')
            replaced = json.loads((await node.call("GET", "/Sensor/a")).body)
            assert merged == {"id": "a", "value": 2, "site": "x", "n": 3}
            assert replaced == {"id": "a", "value": 7}

    asyncio.run(body())


def test_patch_makes_a_missing_record() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            assert (await node.call("PATCH", "/Sensor/new", b'{"value": 1}')).status == 204
            assert (await node.call("GET", "/Sensor/new")).status == 200

    asyncio.run(body())


def test_delete_answers_true_also_for_a_missing_record() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            for _ in range(2):
                reply = await node.call("DELETE", "/Sensor/a")
                assert (reply.status, reply.body) == (200, b"true")
            assert (await node.call("GET", "/Sensor/a")).status == 404

    asyncio.run(body())


def test_post_makes_a_key_and_names_it() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            reply = await node.call("POST", "/Sensor/", b'{"value": 4}')
            key = json.loads(reply.body)
            assert reply.status == 201
            assert reply.headers["location"] == key
            assert reply.headers["content-location"] == f"/Sensor/{key}"
            assert (await node.call("GET", f"/Sensor/{key}")).status == 200
            number = await node.call("POST", "/Counter/", b'{"n": 4}')
            assert number.headers["location"] == str(json.loads(number.body)) == "1"

    asyncio.run(body())


def test_post_of_an_existing_key_is_409() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            reply = await node.call("POST", "/Sensor/", b'{"id": "a", "value": 9}')
            assert (reply.status, json.loads(reply.body)) == (
                409,
                "RecordExists: Record already exists",
            )
            assert json.loads((await node.call("GET", "/Sensor/a.value")).body) == 1

    asyncio.run(body())


def test_property_is_one_attribute_and_undeclared_ones_belong_to_the_id() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1.5, "extra": 2})
            await node.put("Sensor/a.extra", {"value": 3})
            assert (await node.call("GET", "/Sensor/a.value")).body == b"1.5"
            other = json.loads((await node.call("GET", "/Sensor/a.extra")).body)
            assert other == {"id": "a.extra", "value": 3}
            assert (await node.call("GET", "/Sensor/a.site")).status == 404

    asyncio.run(body())


def test_a_record_with_the_id_of_a_property_path_comes_first() -> None:
    """In every method, as it does before a format's ending."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1.5})
            assert (await node.call("GET", "/Sensor/a.value")).body == b"1.5"
            made = await node.call("POST", "/Sensor/", b'{"id": "a.value", "value": 7}', head=JSON)
            assert made.status == 201
            await node.call("PATCH", "/Sensor/a.value", b'{"site": "x"}', head=JSON)
            get = await node.call("GET", "/Sensor/a.value")
            assert json.loads(get.body) == {"id": "a.value", "value": 7, "site": "x"}
            assert json.loads((await node.call("GET", "/Sensor/a")).body)["value"] == 1.5
            options = await node.call("OPTIONS", "/Sensor/a.value")
            assert options.headers["allow"].startswith("GET, HEAD, PUT, PATCH, DELETE")
            assert (await node.call("DELETE", "/Sensor/a.value")).status == 200
            assert (await node.call("GET", "/Sensor/a.value")).body == b"1.5"

    asyncio.run(body())


def test_a_property_is_set_and_set_to_null_alone() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1.5, "site": "x"})
            put = await node.call("PUT", "/Sensor/a.value", b"7", head=JSON)
            assert (put.status, put.body) == (204, b"")
            assert (await node.call("GET", "/Sensor/a.value")).body == b"7"
            deleted = await node.call("DELETE", "/Sensor/a.value")
            assert (deleted.status, deleted.body) == (200, b"true")
            whole = json.loads((await node.call("GET", "/Sensor/a")).body)
            assert whole == {"id": "a", "value": None, "site": "x"}

    asyncio.run(body())


def test_a_property_is_text_bytes_or_what_curl_sends() -> None:
    """``curl -d`` says that everything is a form; bytes are for attributes that hold them."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1.5})

            async def put(name: str, content: bytes, media_type: str) -> int:
                head = f"content-type: {media_type}\r\n".encode()
                return (await node.call("PUT", f"/Sensor/a.{name}", content, head=head)).status

            assert await put("site", "süd".encode("latin-1"), "text/plain; charset=latin-1") == 204
            assert await put("value", b"3.5", "application/x-www-form-urlencoded") == 204
            assert await put("raw", b"\x00\xff", "application/octet-stream") == 204
            assert await put("site", b"\x00", "image/png") == 415
            assert await put("site", b"\xff", "text/plain") == 400
            assert await put("value", b'"x"', "application/json") == 400
            whole = json.loads((await node.call("GET", "/Sensor/a")).body)
            assert (whole["site"], whole["value"], whole["raw"]) == ("süd", 3.5, "AP8=")

    asyncio.run(body())


def test_a_property_of_no_record_is_nowhere() -> None:
    """PUT is 404 and makes nothing; a DELETE has nothing to do; conditions come first."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            assert (await node.call("PUT", "/Sensor/a.value", b"7", head=JSON)).status == 404
            assert (await node.call("DELETE", "/Sensor/a.value")).status == 200
            star = b"if-match: *\r\n"
            for method in ("PUT", "DELETE"):
                reply = await node.call(method, "/Sensor/a.value", b"7", head=JSON + star)
                assert reply.status == 412, method
            assert (await node.call("GET", "/Sensor/a")).status == 404

    asyncio.run(body())


def test_a_property_is_written_on_the_condition_of_its_record() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1.5})
            tag = (await node.call("GET", "/Sensor/a.value")).headers["etag"].encode()
            head = JSON + b"if-match: " + tag + b"\r\n"
            assert (await node.call("PUT", "/Sensor/a.value", b"2", head=head)).status == 204
            assert (await node.call("PUT", "/Sensor/a.value", b"3", head=head)).status == 412
            assert (await node.call("GET", "/Sensor/a.value")).body == b"2"

    asyncio.run(body())


def test_keys_and_times_of_the_server_are_read_only_properties() -> None:
    schema = """type T @table @export {
        id: Int @primaryKey n: Int made: Float @createdTime }"""

    async def body() -> None:
        async with serving(RestPlugin(), schema=schema) as node:
            await node.put("T/7", {"n": 3})
            for name in ("id", "made", "id", "made"):  # also once the login is known
                reply = await node.call("PUT", f"/T/7.{name}", b"4", head=JSON)
                assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS, TRACE")
            assert (await node.call("PUT", "/T/7.n", b"4", head=JSON)).status == 204
            assert (await node.call("GET", "/T/7.n")).body == b"4"

    asyncio.run(body())


def test_a_format_can_end_the_path_where_keys_are_numbers() -> None:
    """``7.json`` cannot be a key, so it is looked at without its ending; for reads only."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Counter/7", {"n": 3})
            assert (await node.call("GET", "/Counter/7.json")).body == b'{"id":7,"n":3}'
            assert (await node.call("GET", "/Counter/7.n.json")).body == b"3"
            assert (await node.call("GET", "/Counter/.json")).body == b'[{"id":7,"n":3}]'
            assert (await node.call("GET", "/Counter/8.json")).status == 404
            assert (await node.call("PUT", "/Counter/7.json", b"{}", head=JSON)).status == 404

    asyncio.run(body())


def test_trace_tells_what_came_without_secrets() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            head = b"cookie: a=secret\r\nvia: 1.1 proxy\r\nx-api-key: secret\r\n"
            reply = await node.call("TRACE", "/Sensor/a?token=secret", head=head)
            assert (reply.status, reply.headers["content-type"]) == (200, "message/http")
            assert reply.body.startswith(b"TRACE /Sensor/a HTTP/1.1\r\n")
            assert b"via: 1.1 proxy\r\n" in reply.body
            assert b"secret" not in reply.body
            assert b"authorization" not in reply.body.lower()

    asyncio.run(body())


def test_dates_are_told_and_heeded_when_asked_for() -> None:
    """Also by the 404 of a record that was deleted; without the setting by nobody."""

    async def body() -> None:
        async with serving(RestPlugin(), settings={"rest.lastModified": True}) as node:
            await node.put("Sensor/a", {"value": 1.5})
            moment = (await node.call("GET", "/Sensor/a")).headers["last-modified"]
            since = f"if-modified-since: {moment}\r\n".encode()
            assert (await node.call("GET", "/Sensor/a", head=since)).status == 304
            old = b"if-modified-since: Sat, 01 Jan 2000 00:00:00 GMT\r\n"
            assert (await node.call("GET", "/Sensor/a", head=old)).status == 200
            both = since + b'if-none-match: "0000000000"\r\n'
            assert (await node.call("GET", "/Sensor/a", head=both)).status == 200
            await node.delete("Sensor/a")
            gone = await node.call("GET", "/Sensor/a")
            assert gone.status == 404
            assert gone.headers["last-modified"] >= moment[:3]
            assert "last-modified" not in (await node.call("GET", "/Sensor/b")).headers
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1.5})
            reply = await node.call("GET", "/Sensor/a", head=since)
            assert reply.status == 200
            assert "last-modified" not in reply.headers

    asyncio.run(body())


def test_collections_take_conditions_limit_and_select() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            for number in range(6):
                await node.put(f"Sensor/s/{number}", {"value": number, "site": "ab"[number % 2]})
            assert await collection(node, "/Sensor/?site=b&select(value)") == [1, 3, 5]
            assert await collection(node, "/Sensor?value==3&select(id,)") == [{"id": "s/3"}]
            assert await collection(node, "/Sensor/?limit(1,3)&select([value])") == [[1], [2]]
            assert await collection(node, "/Sensor/s/?limit(1)&select(id)") == ["s/0"]
            assert await collection(node, "/Sensor/none/") == []

    asyncio.run(body())


def test_large_collection_is_streamed_whole() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            for number in range(300):
                await node.put(f"Sensor/{number:03}", {"text": "x" * 1_000})
            reply = await node.call("GET", "/Sensor/")
            assert reply.headers["transfer-encoding"] == "chunked"
            assert [one["id"] for one in json.loads(reply.body)] == [f"{n:03}" for n in range(300)]

    asyncio.run(body())


def test_head_is_get_without_a_body() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            client = await node.connect()
            for path in ("/Sensor/a", "/Sensor/a.value", "/Sensor/", "/Sensor"):
                head = await client.ask("HEAD", path, LOGIN)
                get = await client.ask("GET", path, LOGIN)
                assert (head.status, head.headers.get("etag")) == (200, get.headers.get("etag"))
            assert (await client.ask("HEAD", "/Sensor/none", LOGIN)).status == 404

    asyncio.run(body())


def test_table_is_described() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            described = json.loads((await node.call("GET", "/Sensor")).body)
            assert (described["records"], described["name"], described["database"]) == (
                "./",
                "Sensor",
                "data",
            )
            assert "value" in {attribute["name"] for attribute in described["attributes"]}
            assert "recordCount" not in described
        counts = {"rest.includeExpensiveRecordCountEstimates": True}
        async with serving(RestPlugin(), settings=counts) as node:
            await node.put("Sensor/a", {"value": 1.5})
            described = json.loads((await node.call("GET", "/Sensor")).body)
            assert (described["recordCount"], described["estimatedRecordRange"]) == (1, [1, 1])

    asyncio.run(body())


def test_keys_that_cannot_be_are_400_and_number_keys_404() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            for path, status in (
                ("/Sensor/a%00b", 400),
                ("/Sensor/a//b", 400),
                ("/Sensor/a%2Bb", 400),
                ("/Sensor/" + "k" * 5_000, 400),
                ("/Counter/x", 404),
                ("/Counter/07", 404),
                ("/Counter/7", 404),
            ):
                assert (await node.call("GET", path)).status == status, path[:20]

    asyncio.run(body())


def test_queries_that_make_no_sense_are_400_or_404() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            for query, status in (
                ("limit(x)", 400),
                ("nonsense(1)", 400),
                ("value==x", 400),
                ("value=xx=1", 400),
                ("%ff=1", 400),
            ):
                assert (await node.call("GET", f"/Sensor/?{query}")).status == status, query
            assert (await node.call("GET", "/Sensor/a?limit(1)")).status == 400

    asyncio.run(body())


def test_select_on_one_record() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1.5, "site": "x"})
            for select, expected in (
                ("select(value)", 1.5),
                ("select(value,site)", {"value": 1.5, "site": "x"}),
                ("select(value,)", {"value": 1.5}),
                ("select([site,value])", ["x", 1.5]),
                ("select($id)", "a"),
            ):
                assert await collection(node, f"/Sensor/a?{select}") == expected

    asyncio.run(body())


def test_open_topics_keep_every_payload_and_files_win_over_them(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>page")

    async def body() -> None:
        async with serving(RestPlugin(), open_topics=True, web=tmp_path) as node:
            for path, content in (("/plant/1/t", b"21.5"), ("/page", b'{"a": }')):
                assert (await node.call("PUT", path, content)).status == 204
                assert (await node.call("GET", path)).body == content
            assert (await node.call("GET", "/page.html", login=b"")).body == b"<p>page"
            assert (await node.call("GET", "/plant/2")).status == 404

    asyncio.run(body())


def test_tables_win_over_files(tmp_path: Path) -> None:
    (tmp_path / "Sensor").mkdir()
    (tmp_path / "Sensor" / "a").write_text("file")

    async def body() -> None:
        async with serving(RestPlugin(), web=tmp_path) as node:
            assert (await node.call("GET", "/Sensor/a")).status == 404
            await node.put("Sensor/a", {"value": 1})
            assert json.loads((await node.call("GET", "/Sensor/a")).body)["value"] == 1

    asyncio.run(body())


def test_pipelined_reads_of_a_client_that_does_not_read_do_not_fill_the_memory() -> None:
    """200 answers of half a megabyte each; only some may wait for the client."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"text": "x" * 500_000})
            client = await node.connect()
            await client.ask("GET", "/Sensor/a", LOGIN)  # from here on the login is known
            client.send((b"GET /Sensor/a HTTP/1.1\r\nhost: localhost\r\n" + LOGIN + b"\r\n") * 200)
            await asyncio.sleep(0.3)
            (connection,) = node.server._port.connections
            waiting = connection.transport.get_write_buffer_size()
            assert waiting < 2_000_000
            statuses = {(await client.reply()).status for _ in range(200)}
            assert statuses == {200}

    asyncio.run(body())


def test_write_with_a_query_is_refused_rather_than_done_without_it() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            for method, path in (
                ("PUT", "/Sensor/a?value=3"),
                ("PATCH", "/Sensor/a?value=3"),
                ("DELETE", "/Sensor/a?value=3"),
                ("POST", "/Sensor/?value=3"),
            ):
                for head in (b"", b"expect: 100-continue\r\n"):
                    sent = b"" if method == "DELETE" else b'{"value": 3}'
                    if head and not sent:
                        continue
                    client = await node.connect()
                    reply = await client.ask(method, path, LOGIN + head, sent)
                    assert (reply.status, reply.body[:14]) == (400, b'"InvalidQuery:'), method
            assert (await node.call("GET", "/Sensor/a")).body == b'{"id":"a","value":1}'

    asyncio.run(body())


def test_a_query_behind_an_attribute_is_refused_rather_than_ignored() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            for query in ("select(id)", "value=2", "limit(0)"):
                reply = await node.call("GET", f"/Sensor/a.value?{query}")
                assert reply.status == 400, query

    asyncio.run(body())
