"""Subscriptions over WebSocket with the websockets client, a real port and a real node."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import cbor2
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lyredb.errors import EngineClosed, LyreError, NotAuthorised, ServerStopping, SlowSubscriber
from lyredb.protocols.http import HttpLimits
from lyredb.protocols.rest.plugin import RestPlugin
from lyredb.protocols.websocket.errors import close_code_of, close_reason_of
from lyredb.protocols.websocket.plugin import WebSocketPlugin
from tests.protocols.node import LOGIN, TestNode, serving, until

AUTHORIZATION = {"Authorization": LOGIN.decode().split(": ")[1].strip()}
DEADLINE_S = 10


def open_socket(node: TestNode, path: str, **options: Any) -> connect:
    headers = options.pop("headers", AUTHORIZATION)
    url = f"ws://127.0.0.1:{node.server.address.port}{path}"
    return connect(url, additional_headers=headers, **({"compression": None} | options))


async def receive(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE_S):
        frame = await socket.recv()
    assert isinstance(frame, str), "JSON comes in text frames"
    event = json.loads(frame)
    assert isinstance(event, dict)
    return event


async def until_ready(socket: ClientConnection) -> list[dict[str, Any]]:
    events = []
    while (event := await receive(socket))["type"] != "ready":
        events.append(event)
    return events


def test_socket_is_state_then_ready_then_changes() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin(), RestPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            async with open_socket(node, "/Sensor/a") as one, open_socket(node, "/Sensor/") as all_:
                state = await until_ready(one)
                assert [event["value"] for event in state] == [{"id": "a", "value": 1}]
                assert state[0]["current"] is True
                assert len(await until_ready(all_)) == 1
                await node.call("PUT", "/Sensor/b", b'{"value": 2}')
                await node.delete("Sensor/a")
                assert (await receive(all_))["id"] == "b"
                for socket in (one, all_):
                    event = await receive(socket)
                    assert (event["type"], event["id"], "value" in event) == ("delete", "a", False)

    asyncio.run(body())


def test_format_is_chosen_by_accept_and_comes_in_binary_frames() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin()) as node:
            for media_type, decode in (
                ("application/cbor", cbor2.loads),
                ("application/x-msgpack", msgspec.msgpack.decode),
            ):
                headers = AUTHORIZATION | {"Accept": media_type}
                async with open_socket(node, "/Sensor/a", headers=headers) as socket:
                    assert decode(await socket.recv(decode=False))["type"] == "ready"
                    await node.put("Sensor/a", {"value": 1.5})
                    event = decode(await socket.recv(decode=False))
                    assert event["value"] == {"id": "a", "value": 1.5}
                await node.delete("Sensor/a")

    asyncio.run(body())


def test_format_is_chosen_by_ending_unless_that_is_a_record() -> None:
    """Browsers cannot set Accept on a WebSocket."""

    async def body() -> None:
        async with serving(WebSocketPlugin()) as node:
            await node.put("Sensor/a", {"value": 1})
            await node.put("Sensor/b.cbor", {"value": 2})
            async with open_socket(node, "/Sensor/a.cbor") as socket:
                assert cbor2.loads(await socket.recv(decode=False))["id"] == "a"
            async with open_socket(node, "/Sensor/b.cbor") as socket:
                assert (await until_ready(socket))[0]["id"] == "b.cbor"

    asyncio.run(body())


def test_refusals_come_before_the_upgrade() -> None:
    """A browser learns nothing from a close code of a connection that never opened."""

    async def body() -> None:
        async with serving(WebSocketPlugin(), RestPlugin()) as node:
            wrong = {"Authorization": "Basic eDp5"}
            evil = AUTHORIZATION | {"Origin": "http://evil.example"}
            for path, headers, status in (
                ("/Sensor/a", {}, 401),
                ("/Sensor/a", wrong, 401),
                ("/Sensor/a", evil, 403),
                ("/Nothing/a", {}, 404),
                ("/Quiet/a", AUTHORIZATION, 404),
                ("/Sensor/a.value", AUTHORIZATION, 405),
                ("/Sensor/a%2B", AUTHORIZATION, 400),
                ("/Sensor/a", AUTHORIZATION | {"Accept": "text/html"}, 406),
            ):
                with pytest.raises(InvalidStatus) as refused:
                    async with open_socket(node, path, headers=headers):
                        pass
                assert refused.value.response.status_code == status, (path, headers)
            assert "www-authenticate" not in refused.value.response.headers

    asyncio.run(body())


def test_own_origin_is_let_in() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin()) as node:
            own = AUTHORIZATION | {"Origin": f"http://127.0.0.1:{node.server.address.port}"}
            async with open_socket(node, "/Sensor/a", headers=own) as socket:
                assert await until_ready(socket) == []

    asyncio.run(body())


def test_position_resumes_without_gap_or_double() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin()) as node:
            async with open_socket(node, "/Sensor/") as socket:
                await until_ready(socket)
                await node.put("Sensor/a", {"value": 1})
                position = (await receive(socket))["position"]
            await node.put("Sensor/a", {"value": 2})
            await node.put("Sensor/a", {"value": 3})
            async with open_socket(node, f"/Sensor/?position={position}") as socket:
                missed = await until_ready(socket)
                assert [event["value"]["value"] for event in missed] == [2, 3]
            async with open_socket(node, "/Sensor/?position=nonsense") as socket:
                events = await until_ready(socket)
                assert [event["type"] for event in events] == ["reset", "put"]

    asyncio.run(body())


def test_a_socket_begins_with_what_its_query_asks_of_the_log() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin()) as node:
            for number in range(1, 5):
                await node.put("Sensor/a", {"value": number})
            for query, values in (
                ("startTime=0", [1, 2, 3, 4]),
                ("startTime=1970-01-01T00:00:00Z", [1, 2, 3, 4]),
                ("startTime=9999-01-01", []),
                ("previousCount=3", [2, 3, 4]),
                ("omitCurrent=true", []),
                ("omitCurrent=false", [4]),
            ):
                async with open_socket(node, f"/Sensor/?{query}") as socket:
                    told = await until_ready(socket)
                    assert [event["value"]["value"] for event in told] == values, query

    asyncio.run(body())


def test_conditions_on_a_subscription_are_refused_rather_than_ignored() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin()) as node:
            for query in ("value=1", "limit(1)", "foo=bar", "position=x&value=1"):
                with pytest.raises(InvalidStatus) as refused:
                    async with open_socket(node, f"/Sensor/?{query}"):
                        pass
                assert refused.value.response.status_code == 400, query
                assert b"InvalidQuery: conditions on subscr" in refused.value.response.body

    asyncio.run(body())


def test_messages_of_clients_are_ignored_but_not_without_limit() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin()) as node, open_socket(node, "/Sensor/a") as socket:
            await until_ready(socket)
            for _ in range(200):
                await socket.send("ignored" * 1_000)
            await node.put("Sensor/a", {"value": 1})
            assert (await receive(socket))["value"]["value"] == 1
            await socket.send(b"x" * 4_000_001)
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009

    asyncio.run(body())


def test_stop_closes_with_1012() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin()) as node, open_socket(node, "/Sensor/a") as socket:
            await until_ready(socket)
            async with asyncio.timeout(4):
                await node.stop()
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012

    asyncio.run(body())


def test_closed_socket_leaves_nothing_behind() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin()) as node:
            async with open_socket(node, "/Sensor/a") as socket:
                await until_ready(socket)
                assert node.node.hub.statistics().subscribers == 1
            await until(lambda: node.node.hub.statistics().subscribers == 0)
            await until(lambda: node.server.connections == 0)

    asyncio.run(body())


def test_peer_that_answers_no_ping_is_closed() -> None:
    """A socket of a machine that lost its power stays open for hours otherwise."""

    async def body() -> None:
        limits = HttpLimits(ping_interval_s=0.1, ping_timeout_s=0.1)
        async with serving(WebSocketPlugin(), limits=limits) as node:
            client = await node.connect()
            client.send(
                b"GET /Sensor/a HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n"
                b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"
                b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + LOGIN + b"\r\n"
            )
            assert (await client.head())[0] == 101
            async with asyncio.timeout(DEADLINE_S):
                await client.reader.read()  # up to the end of the connection
            await until(lambda: node.node.hub.statistics().subscribers == 0)

    asyncio.run(body())


def test_close_that_comes_with_the_handshake_is_answered() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin()) as node:
            client = await node.connect()
            client.send(
                b"GET /Sensor/a HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n"
                b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"
                b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + LOGIN + b"\r\n"
                b"\x81\x81\0\0\0\0x\x88\x82\0\0\0\0\x03\xe8"
            )
            assert (await client.head())[0] == 101
            async with asyncio.timeout(DEADLINE_S):
                assert (await client.reader.read()).endswith(b"\x88\x02\x03\xe8")
            await until(lambda: node.node.hub.statistics().subscribers == 0)

    asyncio.run(body())


def test_switched_off_by_its_setting() -> None:
    async def body() -> None:
        async with serving(WebSocketPlugin(), settings={"rest.webSocket": False}) as node:
            with pytest.raises(InvalidStatus) as refused:
                async with open_socket(node, "/Sensor/a"):
                    pass
            assert refused.value.response.status_code == 404

    asyncio.run(body())


def test_compression_is_off_by_default() -> None:
    async def body() -> None:
        async with (
            serving(WebSocketPlugin()) as node,
            open_socket(node, "/Sensor/a", compression="deflate") as socket,
        ):
            assert socket.response is not None
            assert "sec-websocket-extensions" not in socket.response.headers

    asyncio.run(body())


def every_error(base: type[LyreError]) -> list[type[LyreError]]:
    return [base, *(found for one in base.__subclasses__() for found in every_error(one))]


def test_every_error_has_a_close_code() -> None:
    for kind in every_error(LyreError):
        made = kind.__new__(kind)
        code = close_code_of(made)
        assert code in (1011, 1012, 1013, 3000, 3003), kind
    assert close_code_of(ServerStopping("")) == close_code_of(EngineClosed("")) == 1012
    assert close_code_of(SlowSubscriber("")) == 1013
    assert close_code_of(NotAuthorised("")) == 3003


def test_a_reason_fits_into_a_close_frame_in_whole_letters() -> None:
    long = NotAuthorised("é" * 200)
    assert close_reason_of(long) == "é" * 61
    assert close_reason_of(NotAuthorised("r may not")) == "r may not"
