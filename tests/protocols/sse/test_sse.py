"""Server-Sent Events over a real port and a real node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from lyredb.protocols.rest.plugin import RestPlugin
from lyredb.protocols.sse.handler import wants_stream
from lyredb.protocols.sse.plugin import SsePlugin
from tests.protocols.node import LOGIN, RawClient, TestNode, serving, until


@dataclass
class Event:
    """One event as a browser sees it."""

    event: str = "message"
    id: str = ""
    data: str = ""
    comment: bool = False

    @property
    def envelope(self) -> dict[str, object]:
        found = json.loads(self.data)
        assert isinstance(found, dict)
        return found


class Source:
    """An EventSource on chunks; one event per chunk or several."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.waiting: list[Event] = []

    async def next(self) -> Event:
        """The next event that is no comment and no retry time."""
        while True:
            event = await self.next_block()
            if event.data:
                return event

    async def next_block(self) -> Event:
        while not self.waiting:
            chunk = await self.client.chunk()
            assert chunk, "the stream has ended"
            self.waiting += [parse(block) for block in chunk.split(b"\n\n") if block]
        return self.waiting.pop(0)

    async def until_ready(self) -> list[Event]:
        events = []
        while (event := await self.next()).event != "ready":
            events.append(event)
        return events


def parse(block: bytes) -> Event:
    event = Event()
    for line in block.decode().split("\n"):
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            event.comment = True
        elif name in ("event", "id", "data"):
            setattr(event, name, value)
    return event


async def source(
    node: TestNode, path: str, *, last: str = "", login: bytes = LOGIN, accept: str = ""
) -> Source:
    client = await node.connect()
    head = f"accept: {accept or 'text/event-stream'}\r\n".encode()
    if last:
        head += f"last-event-id: {last}\r\n".encode()
    client.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n".encode() + login + head + b"\r\n")
    status, headers = await client.head()
    assert status == 200
    assert headers["content-type"] == "text/event-stream"
    return Source(client)


def plugins() -> tuple[SsePlugin, RestPlugin]:
    return SsePlugin(), RestPlugin()


def test_record_stream_is_state_then_ready_then_changes() -> None:
    async def body() -> None:
        async with serving(*plugins()) as node:
            await node.put("Sensor/a", {"value": 1})
            await node.put("Sensor/b", {"value": 9})
            stream = await source(node, "/Sensor/a")
            state = await stream.until_ready()
            assert [event.envelope["value"] for event in state] == [{"id": "a", "value": 1}]
            assert state[0].envelope["current"] is True
            await node.put("Sensor/b", {"value": 10})
            await node.put("Sensor/a", {"value": 2})
            change = await stream.next()
            assert change.envelope["value"] == {"id": "a", "value": 2}
            assert change.id == change.envelope["position"]
            await node.delete("Sensor/a")
            gone = (await stream.next()).envelope
            assert (gone["type"], "value" in gone) == ("delete", False)

    asyncio.run(body())


def test_collection_stream_has_every_record_and_only_those_below_its_prefix() -> None:
    async def body() -> None:
        async with serving(*plugins()) as node:
            for key in ("s/1", "s/2", "t/1"):
                await node.put(f"Sensor/{key}", {"value": 1})
            whole, below = await source(node, "/Sensor/"), await source(node, "/Sensor/s/")
            table = await source(node, "/Sensor")
            assert [one.envelope["id"] for one in await whole.until_ready()] == [
                "s/1",
                "s/2",
                "t/1",
            ]
            assert [one.envelope["id"] for one in await below.until_ready()] == ["s/1", "s/2"]
            assert len(await table.until_ready()) == 3
            await node.put("Sensor/t/2", {"value": 2})
            await node.put("Sensor/s/3", {"value": 3})
            assert (await below.next()).envelope["id"] == "s/3"
            assert (await whole.next()).envelope["id"] == "t/2"

    asyncio.run(body())


def test_resume_sends_what_was_missed_and_nothing_twice() -> None:
    async def body() -> None:
        async with serving(*plugins()) as node:
            await node.put("Sensor/a", {"value": 0})
            first = await source(node, "/Sensor/")
            await first.until_ready()
            await node.put("Sensor/a", {"value": 1})
            last = (await first.next()).id
            first.client.writer.close()
            for value in (2, 3):
                await node.put("Sensor/a", {"value": value})
            for again in (
                await source(node, "/Sensor/", last=last),
                await source(node, f"/Sensor/?lastEventId={last}"),
            ):
                missed = await again.until_ready()
                values = [event.envelope["value"]["value"] for event in missed]  # type: ignore[index]
                assert values == [2, 3]

    asyncio.run(body())


def test_position_of_another_log_or_nonsense_gets_reset_and_current_state() -> None:
    """Never silence, and never a 400: an EventSource would not come back after it."""

    async def body() -> None:
        async with serving(*plugins()) as node:
            await node.put("Sensor/a", {"value": 0})
            for last in ("00000000000000ff.7", "nonsense"):
                stream = await source(node, "/Sensor/a", last=last)
                events = await stream.until_ready()
                assert [event.event for event in events] == ["reset", "message"]
                assert events[1].envelope["current"] is True

    asyncio.run(body())


def test_direct_messages_have_no_id() -> None:
    """Nobody can resume after them, so a resume must not name them."""

    async def body() -> None:
        async with serving(*plugins()) as node:
            stream = await source(node, "/Sensor/a")
            await stream.until_ready()
            node.publish("Sensor/a", b'{"ping": 1}')
            event = await stream.next()
            assert (event.envelope["type"], event.envelope["value"], event.id) == (
                "message",
                {"ping": 1},
                "",
            )

    asyncio.run(body())


def test_rest_write_reaches_the_stream() -> None:
    async def body() -> None:
        async with serving(*plugins()) as node:
            stream = await source(node, "/Sensor/a")
            await stream.until_ready()
            await node.call("PUT", "/Sensor/a", b'{"value": 5}')
            await node.call("PATCH", "/Sensor/a", b'{"site": "x"}')
            assert (await stream.next()).envelope["value"] == {"id": "a", "value": 5}
            assert (await stream.next()).envelope["value"] == {"id": "a", "value": 5, "site": "x"}

    asyncio.run(body())


def test_silent_stream_gets_heartbeats() -> None:
    async def body() -> None:
        async with serving(*plugins(), settings={"sse.heartbeat": 0.1}) as node:
            stream = await source(node, "/Sensor/a")
            await stream.until_ready()
            assert (await stream.next_block()).comment
            assert (await stream.next_block()).comment

    asyncio.run(body())


def test_heartbeat_is_left_out_where_events_flow() -> None:
    """A comment per stream and beat would cost more than the events of a quiet table."""

    async def body() -> None:
        sse = SsePlugin()
        async with serving(sse, RestPlugin(), settings={"sse.heartbeat": 3_600.0}) as node:
            stream = await source(node, "/Sensor/a")
            await stream.until_ready()
            assert sse._streams is not None
            (served,) = sse._streams._streams
            served.beat()  # since the last one the state was sent
            await node.put("Sensor/a", {"value": 1})
            assert not (await stream.next_block()).comment
            served.beat()  # since the last one an event was sent
            served.beat()
            assert (await stream.next_block()).comment
            await node.put("Sensor/a", {"value": 2})
            assert not (await stream.next_block()).comment

    asyncio.run(body())


def test_stream_needs_rights_and_a_path() -> None:
    async def body() -> None:
        async with serving(*plugins()) as node:
            head = b"accept: text/event-stream\r\n"
            assert (await node.call("GET", "/Sensor/a", head=head, login=b"")).status == 401
            assert (await node.call("GET", "/Nothing/a", head=head)).status == 404
            assert (await node.call("GET", "/Quiet/a", head=head)).status == 404
            assert (await node.call("GET", "/Sensor/a.value", head=head)).status == 405

    asyncio.run(body())


def test_stream_is_chosen_by_quality() -> None:
    assert wants_stream("text/event-stream")
    assert wants_stream("application/json;q=0.5, text/event-stream")
    assert wants_stream("text/event-stream, */*")
    assert not wants_stream("text/event-stream;q=0.1, application/json")
    assert not wants_stream("application/json, */*")
    assert not wants_stream("text/event-stream;q=0")


def test_http_1_0_gets_the_stream_without_chunks() -> None:
    async def body() -> None:
        async with serving(*plugins()) as node:
            await node.put("Sensor/a", {"value": 1})
            client = await node.connect()
            head = b"accept: text/event-stream\r\n"
            client.send(b"GET /Sensor/a HTTP/1.0\r\n" + LOGIN + head + b"\r\n")
            _, headers = await client.head()
            assert "transfer-encoding" not in headers
            async with asyncio.timeout(5):
                text = await client.reader.readuntil(b"event: ready\n")
            assert text.startswith(b"retry: 2000\n\nid: ")
            await node.stop()
            assert await client.reader.read() is not None

    asyncio.run(body())


def test_large_state_reaches_a_client_that_pauses() -> None:
    """State is read no faster than the client reads: the buffer limit is not reached."""

    async def body() -> None:
        async with serving(*plugins(), settings={"sse.bufferSize": 200_000}) as node:
            for number in range(400):
                await node.put(f"Sensor/{number:04}", {"text": "x" * 20_000})
            stream = await source(node, "/Sensor/")
            await asyncio.sleep(0.3)  # the client reads nothing meanwhile
            state = await stream.until_ready()
            assert [event.envelope["id"] for event in state] == [f"{n:04}" for n in range(400)]

    asyncio.run(body())


def test_stop_ends_streams_properly() -> None:
    async def body() -> None:
        async with serving(*plugins()) as node:
            stream = await source(node, "/Sensor/a")
            await stream.until_ready()
            async with asyncio.timeout(3):
                await node.stop()
            assert await stream.client.chunk() == b""
            assert await stream.client.at_end()

    asyncio.run(body())


def test_closed_stream_leaves_nothing_behind() -> None:
    async def body() -> None:
        async with serving(*plugins()) as node:
            stream = await source(node, "/Sensor/a")
            await stream.until_ready()
            assert node.node.hub.statistics().subscribers == 1
            stream.client.writer.close()
            await until(lambda: node.node.hub.statistics().subscribers == 0)

    asyncio.run(body())


def test_conditions_on_a_stream_are_refused_rather_than_ignored() -> None:
    """Who asks for some records must not be sent all of them."""

    async def body() -> None:
        async with serving(*plugins()) as node:
            head = b"accept: text/event-stream\r\n"
            for path in (
                "/Sensor/?value=1",
                "/Sensor/?limit(1)",
                "/Sensor/a?foo=bar",
                "/Sensor/?lastEventId=x&value=1",
                "/Sensor/?LastEventId=x",
            ):
                for more in (b"", b"last-event-id: x\r\n"):
                    reply = await node.call("GET", path, head=head + more)
                    assert (reply.status, reply.body[:14]) == (400, b'"InvalidQuery:'), path
            for path in ("/Sensor/?", "/Sensor/?lastEventId="):
                await (await source(node, path)).until_ready()

    asyncio.run(body())


def values(events: Sequence[Event]) -> list[object]:
    found = [one.envelope["value"] for one in events]
    return [one["value"] for one in found if isinstance(one, dict)]


def test_a_stream_begins_with_what_its_query_asks_of_the_log() -> None:
    """Instead of current state; an EventSource that comes back goes on where it was."""

    async def body() -> None:
        async with serving(*plugins()) as node:
            for number in range(1, 6):
                await node.put("Sensor/a", {"value": number})
            told = await (await source(node, "/Sensor/?startTime=0")).until_ready()
            assert values(told) == [1, 2, 3, 4, 5]
            assert not any("current" in one.envelope for one in told)
            last = await source(node, "/Sensor/?previousCount=2")
            assert values(await last.until_ready()) == [4, 5]
            assert await (await source(node, "/Sensor/?omitCurrent")).until_ready() == []
            again = await source(node, "/Sensor/?startTime=0", last=told[3].id)
            assert values(await again.until_ready()) == [5]
            await node.put("Sensor/a", {"value": 6})
            assert values([await last.next()]) == [6]

    asyncio.run(body())


@pytest.mark.parametrize(
    "query",
    [
        "startTime=yesterday",
        "startTime=",
        "startTime=-1",
        "previousCount=0",
        "previousCount=1001",
        "previousCount=x",
        "omitCurrent=maybe",
        "startTime=0&previousCount=1",
        "startTime=0&value=1",
    ],
)
def test_a_beginning_that_makes_no_sense_is_refused(query: str) -> None:
    async def body() -> None:
        async with serving(*plugins()) as node:
            reply = await node.call(
                "GET", f"/Sensor/?{query}", head=b"accept: text/event-stream\r\n"
            )
            assert (reply.status, reply.body[:14]) == (400, b'"InvalidQuery:')

    asyncio.run(body())


def test_head_says_what_get_would() -> None:
    async def body() -> None:
        async with serving(*plugins()) as node:
            head = b"accept: text/event-stream\r\n"
            for path, status in (("/Sensor/", 200), ("/Sensor/a", 200), ("/Nothing/a", 404)):
                client = await node.connect()
                reply = await client.ask("HEAD", path, LOGIN + head)
                assert reply.status == status
            reply = await node.call("HEAD", "/Sensor/", head=head)
            assert reply.headers["content-type"] == "text/event-stream"
            client = await node.connect()
            for _ in range(2):  # the connection can be used again
                reply = await client.ask("HEAD", "/Sensor/", LOGIN + head)
                assert reply.status == 200
            assert node.node.hub.statistics().subscribers == 0
            assert (await node.call("HEAD", "/Sensor/?value=1", head=head)).status == 400
            assert (await node.call("HEAD", "/Sensor/", head=head, login=b"")).status == 401

    asyncio.run(body())


def test_stream_is_refused_while_the_server_stops() -> None:
    """It would hold up the stop, and its client would have to come back at once."""

    async def body() -> None:
        sse = SsePlugin()
        async with serving(sse, RestPlugin()) as node:
            await sse.stop(1.0)
            head = b"accept: text/event-stream\r\n"
            reply = await node.call("GET", "/Sensor/", head=head)
            assert (reply.status, reply.body[:15]) == (503, b'"ServerStopping')
            assert "retry-after" in reply.headers

    asyncio.run(body())


def test_ready_has_the_position_as_its_id() -> None:
    """Else a client that saw only current state would resume in the middle of it."""

    async def body() -> None:
        async with serving(*plugins()) as node:
            stream = await source(node, "/Sensor/a")
            ready = await stream.next()
            assert ready.event == "ready"
            assert ready.id == ready.envelope["position"] != ""

    asyncio.run(body())
