"""REST over a real port and a real node: statuses, headers, formats, conditions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import cbor2
import msgspec

from lyredb.protocols.rest.plugin import RestPlugin
from tests.protocols.node import LOGIN, TestNode, serving

JSON = b"content-type: application/json\r\n"


def accept(media_type: str) -> bytes:
    return f"accept: {media_type}\r\n".encode()


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
    """As it does before a format's ending; writes are to that record, as over MQTT."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1.5})
            assert (await node.call("GET", "/Sensor/a.value")).body == b"1.5"
            put = await node.call("PUT", "/Sensor/a.value", b'{"value": 7}', head=JSON)
            assert put.status == 204
            get = await node.call("GET", "/Sensor/a.value")
            assert json.loads(get.body) == {"id": "a.value", "value": 7}
            await node.call("PATCH", "/Sensor/a.value", b'{"site": "x"}', head=JSON)
            get = await node.call("GET", "/Sensor/a.value")
            assert json.loads(get.body) == {"id": "a.value", "value": 7, "site": "x"}
            assert json.loads((await node.call("GET", "/Sensor/a")).body)["value"] == 1.5
            assert (await node.call("DELETE", "/Sensor/a.value")).status == 200
            assert (await node.call("GET", "/Sensor/a.value")).body == b"1.5"
            options = await node.call("OPTIONS", "/Sensor/a.value")
            assert options.headers["allow"] == "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"

    asyncio.run(body())


def test_a_property_path_that_can_be_no_key_takes_no_writes() -> None:
    """Of a table with integer keys."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Counter/7", {"n": 3})
            reply = await node.call("PUT", "/Counter/7.n", b'{"n": 4}', head=JSON)
            assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
            assert (await node.call("GET", "/Counter/7.n")).body == b"3"

    asyncio.run(body())


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


async def collection(node: TestNode, path: str) -> object:
    reply = await node.call("GET", path)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


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

    asyncio.run(body())


def test_other_methods_are_405_with_what_is_allowed() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            client = await node.connect()
            for method, path, allow in (
                ("POST", "/Sensor/a", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
                ("PUT", "/Sensor/", "GET, HEAD, POST, OPTIONS"),
                ("DELETE", "/Sensor/?value=1", "GET, HEAD, POST, OPTIONS"),
                ("POST", "/Sensor/p/", "GET, HEAD, OPTIONS"),
                ("POST", "/Sensor", "GET, HEAD, OPTIONS"),
                ("TRACE", "/Sensor/a", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
                ("QUERY", "/Sensor/", "GET, HEAD, POST, OPTIONS"),
                ("COPY", "/Sensor/a", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
                ("MOVE", "/Sensor/a", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
            ):
                reply = await client.ask(method, path, LOGIN)
                assert (reply.status, reply.headers["allow"]) == (405, allow), (method, path)

    asyncio.run(body())


def test_options_says_what_exists_without_a_login() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            reply = await node.call("OPTIONS", "/Sensor/a", login=b"")
            assert (reply.status, reply.headers["allow"]) == (
                204,
                "GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
            )

    asyncio.run(body())


def test_unknown_path_is_404_even_without_a_login() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            for path in ("/", "/Nothing/a", "/sensor/a", "/Quiet/a", "/system.user/admin"):
                assert (await node.call("GET", path, login=b"")).status == 404, path

    asyncio.run(body())


def test_without_a_login_is_401_with_a_challenge_and_a_wrong_one_says_so() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            for method, path in (("GET", "/Sensor/a"), ("PUT", "/Sensor/a"), ("GET", "/Sensor")):
                reply = await node.call(method, path, b'{"value":1}', login=b"")
                assert reply.status == 401, (method, path)
                assert reply.headers["www-authenticate"].startswith('Basic realm="LyreDB"')
                assert json.loads(reply.body) == "LoginRequired: Must login"
            wrong = await node.call("GET", "/Sensor/a", login=b"authorization: Basic eDp5\r\n")
            assert (wrong.status, json.loads(wrong.body)) == (401, {"error": "Login failed"})
            other = await node.call("GET", "/Sensor/a", login=b"authorization: Bearer x\r\n")
            assert other.status == 400

    asyncio.run(body())


def test_compressed_body_is_refused_and_not_stored_as_it_is() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            reply = await node.call(
                "PUT", "/Sensor/a", b"\x1f\x8b", head=b"content-encoding: gzip\r\n"
            )
            assert reply.status == 400
            assert "compressed" in json.loads(reply.body)
            assert (await node.call("GET", "/Sensor/a")).status == 404

    asyncio.run(body())


def test_who_may_not_write_learns_nothing_about_the_body() -> None:
    """A body that would be a 400 is a 401 for a stranger: it is not looked at."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            for method, path in (
                ("PUT", "/Sensor/a"),
                ("PATCH", "/Sensor/a"),
                ("POST", "/Sensor/"),
            ):
                reply = await node.call(method, path, b'{"value":', login=b"")
                assert reply.status == 401, (method, path)
                assert (await node.call(method, path, b'{"value":')).status == 400

    asyncio.run(body())


def test_if_none_match_takes_lists_weak_tags_and_a_star() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            tag = (await node.call("GET", "/Sensor/a")).headers["etag"]
            for value in (tag, f'"x,y", {tag}', f"W/{tag}", "*"):
                head = f"if-none-match: {value}\r\n".encode()
                reply = await node.call("GET", "/Sensor/a", head=head)
                assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", tag), value
            other = await node.call("GET", "/Sensor/a", head=b'if-none-match: "0000000000"\r\n')
            assert other.status == 200

    asyncio.run(body())


def test_if_match_decides_at_commit_so_that_no_update_is_lost() -> None:
    """Of ten writers that saw the same state exactly one wins."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 0})
            tag = (await node.call("GET", "/Sensor/a")).headers["etag"]
            head = f"if-match: {tag}\r\n".encode()
            writes = [
                node.call("PUT", "/Sensor/a", b'{"value": %d}' % number, head=head)
                for number in range(10)
            ]
            statuses = sorted(reply.status for reply in await asyncio.gather(*writes))
            assert statuses == [204] + [412] * 9

    asyncio.run(body())


def test_write_preconditions_answer_412() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            tag = (await node.call("GET", "/Sensor/a")).headers["etag"]
            past = b"if-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            for method, path, head, status in (
                ("PUT", "/Sensor/a", b"if-none-match: *\r\n", 412),
                ("PUT", "/Sensor/a", b"if-none-match: " + tag.encode() + b"\r\n", 412),
                ("PUT", "/Sensor/a", b'if-match: "0000000000"\r\n', 412),
                ("PUT", "/Sensor/a", b"if-match: W/" + tag.encode() + b"\r\n", 412),
                ("PATCH", "/Sensor/none", b"if-match: *\r\n", 412),
                ("DELETE", "/Sensor/a", past, 412),
                ("DELETE", "/Sensor/a", b'if-match: "0000000000"\r\n', 412),
                ("PUT", "/Sensor/a", b"if-match: nonsense\r\n", 400),
                ("PUT", "/Sensor/a", b"if-unmodified-since: nonsense\r\n", 204),
                ("PUT", "/Sensor/new", b"if-none-match: *\r\n", 204),
            ):
                reply = await node.call(method, path, b'{"value": 2}', head=head)
                assert reply.status == status, (method, path, head, reply.body)

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
                ("value=gt=1", 400),
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
                "code": "RecordNotFound",
                "detail": "there is no such record",
            }

    asyncio.run(body())


def test_pages_of_other_sites_cannot_write_with_a_stored_login() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            head = b"sec-fetch-site: cross-site\r\norigin: http://evil.example\r\n"
            reply = await node.call("PUT", "/Sensor/a", b'{"value": 1}', head=head)
            assert reply.status == 403
            assert (await node.call("GET", "/Sensor/a")).status == 404

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
