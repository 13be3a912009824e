"""Sessions that sleep: listed and deleted, without a server too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lyredb.errors import RecordNotFound
from lyredb.operations.broker import Broker
from lyredb.operations.broker_requests import ClientList, KickClient, Kicked, ListClients
from lyredb.server.node import Node
from lyredb.sessions import rows
from lyredb.sessions.terms import Description, StoredSubscription
from lyredb.storage.session_row import (
    InboundMark,
    InFlight,
    SessionProgress,
    encode_mark,
    encode_progress,
    inbound_name,
    progress_name,
)
from lyredb.tables.schema import Schema


def with_session(folder: Path, body: Callable[[Node, Broker], Awaitable[None]]) -> None:
    """A node with one session that sleeps, and has something in flight."""
    told = Description("me", "ada", 1, 77, 3600, False, SINCE_MS, (StoredSubscription("a/#", 1),))

    async def run() -> None:
        node = Node.open(folder / "data", Schema())
        try:
            await node.writer.commit((rows.creation_of(told),), session_rows=IN_FLIGHT)
            await body(node, Broker(node.engine, node.writer, on_forgotten=FORGOTTEN.append))
        finally:
            await node.close()

    asyncio.run(run())


SINCE_MS = time.time_ns() // 1_000_000
PROGRESS = SessionProgress(1, b"", 5, in_flight=(InFlight(1, 3), InFlight(2, 4, qos=2)))
IN_FLIGHT = (
    (progress_name(77), encode_progress(PROGRESS)),
    (inbound_name(77, 9), encode_mark(InboundMark(1, True))),
)


FORGOTTEN: list[str] = []


async def listed(broker: Broker, **request: object) -> list[str]:
    told = await broker.perform(ListClients(**request))  # type: ignore[arg-type]  # names
    assert isinstance(told, ClientList)
    return [one.client_id for one in told.clients]


def test_a_session_that_sleeps_is_listed(tmp_path: Path) -> None:
    async def body(_: Node, broker: Broker) -> None:
        told = await broker.perform(ListClients())
        assert isinstance(told, ClientList)
        (one,) = told.clients
        assert (one.client_id, one.user, one.connected, one.expiry_s) == ("me", "ada", False, 3600)
        assert (one.subscriptions, one.filters, one.in_flight) == (1, ("a/#",), 2)
        assert await listed(broker, client_id="me") == ["me"]
        assert await listed(broker, client_id="other") == []
        assert await listed(broker, after="me") == []

    with_session(tmp_path, body)


def test_a_session_is_deleted_with_all_its_rows(tmp_path: Path) -> None:
    """What is left of one would be taken for another's."""

    async def body(node: Node, broker: Broker) -> None:
        assert await broker.perform(KickClient("me", forget=True)) == Kicked(0, session=True)
        assert await listed(broker) == []
        with node.engine.snapshot() as snapshot:
            assert snapshot.session_row(progress_name(77)) is None
            assert not rows.single_removals(snapshot, 77)
        assert FORGOTTEN == ["me"], "whoever has its will is told"
        with pytest.raises(RecordNotFound, match="there is no client 'me'"):
            await broker.perform(KickClient("me", forget=True))

    with_session(tmp_path, body)
