"""REST: who may do what, which methods there are, and conditional requests."""

from __future__ import annotations

import asyncio
import json

from lyredb.protocols.rest.plugin import RestPlugin
from tests.protocols.node import LOGIN, serving


def test_other_methods_are_405_with_what_is_allowed() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            client = await node.connect()
            record = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS, TRACE"
            for method, path, allow in (
                ("POST", "/Sensor/a", record),
                ("QUERY", "/Sensor/a", record),
                ("COPY", "/Sensor/a", record),
                ("MOVE", "/Sensor/a", record),
                ("PATCH", "/Sensor/", "GET, HEAD, POST, PUT, DELETE, QUERY, OPTIONS, TRACE"),
                ("POST", "/Sensor/p/", "GET, HEAD, DELETE, QUERY, OPTIONS, TRACE"),
                ("PUT", "/Sensor/p/", "GET, HEAD, DELETE, QUERY, OPTIONS, TRACE"),
                ("POST", "/Sensor", "GET, HEAD, OPTIONS, TRACE"),
                ("PATCH", "/Sensor/a.value", "GET, HEAD, PUT, DELETE, OPTIONS, TRACE"),
                ("PUT", "/Sensor/a.id", "GET, HEAD, OPTIONS, TRACE"),
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
                "GET, HEAD, PUT, PATCH, DELETE, OPTIONS, TRACE",
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


def test_pages_of_other_sites_cannot_write_with_a_stored_login() -> None:
    async def body() -> None:
        async with serving(RestPlugin()) as node:
            head = b"sec-fetch-site: cross-site\r\norigin: http://evil.example\r\n"
            reply = await node.call("PUT", "/Sensor/a", b'{"value": 1}', head=head)
            assert reply.status == 403
            assert (await node.call("GET", "/Sensor/a")).status == 404

    asyncio.run(body())


def test_an_empty_if_match_matches_nothing() -> None:
    """A client whose tag is missing must not overwrite what it has never seen."""

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            for empty in (b"if-match:\r\n", b"if-match:  \r\n", b"if-match: ,\r\n"):
                for method, path, content in (
                    ("PUT", "/Sensor/a", b'{"value": 2}'),
                    ("PATCH", "/Sensor/a", b'{"value": 2}'),
                    ("PUT", "/Sensor/a.value", b"2"),
                    ("DELETE", "/Sensor/a", b""),
                    ("PUT", "/Sensor/", b'[{"id": "a", "value": 2}]'),
                    ("DELETE", "/Sensor/", b""),
                ):
                    reply = await node.call(method, path, content, head=empty)
                    assert reply.status == 412, (empty, method, path)
            assert json.loads((await node.call("GET", "/Sensor/a.value")).body) == 1

    asyncio.run(body())
