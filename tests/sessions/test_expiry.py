"""Sessions whose time is over are removed, and those that lost their connection get a time."""

from __future__ import annotations

import asyncio

import pytest

from lyredb.server import store as store_module
from lyredb.server.node import Node
from lyredb.sessions import expiry as expiry_module
from lyredb.sessions import groups_wire as wire
from lyredb.sessions import rows
from lyredb.sessions.expiry import ROUND_S, STEP_S, SessionExpiry
from lyredb.sessions.stored import StoredSession
from lyredb.sessions.terms import group_client_id
from tests.sessions.clients import closed, opened, sessions_of, until
from tests.sessions.test_store import rows_in, run


class Clock:
    """Replaces the engine's."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.ms = node.engine.now_ms()
        node.engine.now_ms = lambda: self.ms


def expiry_of(node: Node, claimed: set[str], gone: list[str]) -> SessionExpiry:
    return SessionExpiry(
        node.engine, node.writer, is_claimed=claimed.__contains__, on_removed=gone.append
    )


async def looked(expiry: SessionExpiry) -> float:
    """One step, and its answers."""
    pause_s = expiry.step()
    for _ in range(20):
        await asyncio.sleep(0)
    return pause_s


async def asleep(node: Node, client_id: str, expiry_s: int) -> None:
    session = await opened(sessions_of(node), client_id, 1)
    assert isinstance(session, StoredSession)
    await closed(session, expiry_s)


def keys_of(node: Node) -> list[bytes]:
    with node.engine.snapshot() as snapshot:
        return [key for key, _ in snapshot.scan_stored(2, rows.FIRST_KEY, rows.STOP_KEY)]


def test_a_session_is_removed_with_its_rows_when_its_time_is_over() -> None:
    """And not before; what never expires stays."""

    async def body(node: Node) -> None:
        clock, gone = Clock(node), list[str]()
        await asleep(node, "short", 10)
        await asleep(node, "long", 100)
        await asleep(node, "ever", 0xFFFF_FFFF)
        expiry = expiry_of(node, set(), gone)
        clock.ms += 9_000
        assert await looked(expiry) == ROUND_S
        assert gone == []
        clock.ms += 2_000
        await looked(expiry)
        assert gone == ["short"]
        assert expiry.removed == 1
        assert keys_of(node) == [rows.key_of("ever"), rows.key_of("long")]
        assert len(rows_in(node)) == 2

    run(body)


def test_a_session_that_lost_its_connection_ends_in_time() -> None:
    """Its worker or the server died: it begins to expire when nobody claims it."""

    async def body(node: Node) -> None:
        clock, gone, claimed = Clock(node), list[str](), {"c"}
        session = await opened(sessions_of(node), "c", 1, expiry_s=10)
        expiry = expiry_of(node, claimed, gone)
        clock.ms += 60_000
        await looked(expiry)
        assert (gone, expiry.orphaned) == ([], 0)
        claimed.clear()
        await looked(expiry)
        assert (gone, expiry.orphaned) == ([], 1)
        clock.ms += 9_000
        await looked(expiry)
        assert gone == []
        clock.ms += 2_000
        await looked(expiry)
        assert gone == ["c"]
        assert isinstance(session, StoredSession)

    run(body)


def test_the_session_of_a_group_that_is_owned_gets_no_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody claims its name as a client's. With a deadline its owner would lose it."""
    monkeypatch.setattr(store_module, "SESSION_ROUND_S", 0.0)
    monkeypatch.setattr(expiry_module, "ROUND_S", 0.0)

    async def body(node: Node) -> None:
        group = group_client_id("a group")
        node.calls.on_notice(wire.OWNER, lambda body: None)
        node.calls.notify(wire.JOIN, wire.encode(wire.Join("a group")))
        sessions = sessions_of(node)
        for epoch, client_id in enumerate((group, "orphan"), 1):
            assert isinstance(await opened(sessions, client_id, epoch), StoredSession)
        await until(lambda: not is_connected(node, "orphan"))
        assert is_connected(node, group)

    run(body)


def is_connected(node: Node, client_id: str) -> bool:
    with node.engine.snapshot() as snapshot:
        found = rows.find(snapshot, client_id)
    assert found is not None
    return found.description.connected


def test_a_session_that_began_anew_meanwhile_stays() -> None:
    """Between the look and the commit its client may be back."""

    async def body(node: Node) -> None:
        clock, gone = Clock(node), list[str]()
        await asleep(node, "c", 10)
        clock.ms += 11_000
        opening = asyncio.ensure_future(opened(sessions_of(node), "c", 2))
        await asyncio.sleep(0)
        await looked(expiry_of(node, set(), gone))
        session = await opening
        assert isinstance(session, StoredSession)
        assert gone == []
        assert keys_of(node) == [rows.key_of("c")]
        assert await closed(session) is None
        assert isinstance(await opened(sessions_of(node), "c", 3), StoredSession)

    run(body)


def test_a_round_goes_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 sessions must not hold up writes."""
    monkeypatch.setattr(expiry_module, "PAGE", 2)

    async def body(node: Node) -> None:
        clock, gone = Clock(node), list[str]()
        for number in range(5):
            await asleep(node, f"c{number}", 1)
        clock.ms += 2_000
        expiry = expiry_of(node, set(), gone)
        assert [await looked(expiry) for _ in range(3)] == [STEP_S, STEP_S, ROUND_S]
        assert len(gone) == 5

    run(body)
