"""Records get integers from leased blocks: who has to wait holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from lyredb.errors import LyreError, Overloaded
from lyredb.resources.integers import LOW, IntegerKeys
from lyredb.resources.requests import Write, Written
from lyredb.server.node import Node
from lyredb.storage.writer import Writer
from lyredb.tables.sdl import parse_sdl
from tests.resources.node_under_test import CONTEXT

SDL = "type Counter @table @export { id: Int @primaryKey n: Int }"
Leased = Callable[[range | LyreError], None]


class Lessor(Writer):
    """A writer that is far away: the test answers when it wants."""

    asked: list[Leased]

    def lease_integers(self, slot: int, on_lease: Leased) -> None:
        self.asked.append(on_lease)


@pytest.fixture
def lessor(monkeypatch: pytest.MonkeyPatch) -> list[Leased]:
    """The leases that a node opened in this test asks for."""
    asked: list[Leased] = []
    monkeypatch.setattr(
        Writer, "lease_integers", lambda self, slot, on_lease: asked.append(on_lease)
    )
    return asked


class Creations:
    """Writes to the table, and their results in the order in which they came."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.results: list[tuple[str, Written | LyreError]] = []

    def create(self, label: str, **value: object) -> None:
        target = self._node.database.resolve("Counter/", CONTEXT)
        self._submit(label, Write(target, "create", value))

    def put(self, label: str, key: int) -> None:
        target = self._node.database.resolve(f"Counter/{key}", CONTEXT)
        self._submit(label, Write(target, "put", {"n": 0}))

    def _submit(self, label: str, write: Write) -> None:
        def done(result: Written | LyreError) -> None:
            self.results.append((label, result))

        self._node.database.submit(write, CONTEXT, done)

    async def until(self, count: int) -> list[tuple[str, object]]:
        """Wait for so many results; return each with the key of its record."""
        async with asyncio.timeout(5):
            while len(self.results) < count:  # noqa: ASYNC110  # the node has no event for it
                await asyncio.sleep(0)
        return [
            (label, result.id if isinstance(result, Written) else type(result))
            for label, result in self.results
        ]


def test_a_creation_waits_for_its_block_and_later_writes_go_on(
    tmp_path: Path, lessor: list[Leased]
) -> None:
    """The first creations of a worker ask once, and nobody else waits for the answer."""

    async def body() -> None:
        node = Node.open(tmp_path / "data", parse_sdl(SDL))
        creations = Creations(node)
        creations.create("first", n=1)
        creations.create("second", n=2)
        creations.put("other", 5)
        assert await creations.until(1) == [("other", 5)]
        assert len(lessor) == 1
        lessor[0](range(6, 22))
        assert await creations.until(3) == [("other", 5), ("first", 6), ("second", 7)]
        creations.create("third")
        assert (await creations.until(4))[3] == ("third", 8)
        await node.close()

    asyncio.run(body())


def test_who_waits_hears_why_there_is_no_block(tmp_path: Path, lessor: list[Leased]) -> None:
    """And the next creation asks again."""

    async def body() -> None:
        node = Node.open(tmp_path / "data", parse_sdl(SDL))
        creations = Creations(node)
        creations.create("first")
        lessor.pop()(Overloaded("the writer is not there"))
        assert await creations.until(1) == [("first", Overloaded)]
        creations.create("second")
        lessor.pop()(range(1, 17))
        assert (await creations.until(2))[1] == ("second", 1)
        await node.close()

    asyncio.run(body())


def test_more_creations_than_a_block_has_wait_for_the_next(
    tmp_path: Path, lessor: list[Leased]
) -> None:
    """In their order."""

    async def body() -> None:
        node = Node.open(tmp_path / "data", parse_sdl(SDL))
        creations = Creations(node)
        for number in range(5):
            creations.create(str(number))
        lessor.pop()(range(1, 4))
        assert await creations.until(3) == [("0", 1), ("1", 2), ("2", 3)]
        lessor.pop()(range(10, 26))
        assert (await creations.until(5))[3:] == [("3", 10), ("4", 11)]
        await node.close()

    asyncio.run(body())


def test_a_key_that_somebody_chose_within_the_block_is_passed_over(tmp_path: Path) -> None:
    """A create without a key never conflicts."""

    async def body() -> None:
        node = Node.open(tmp_path / "data", parse_sdl(SDL))
        creations = Creations(node)
        creations.create("first")
        await creations.until(1)
        creations.put("chosen", 2)
        creations.create("second")
        results = dict(await creations.until(3))
        assert results["first"] == 1
        assert results["second"] not in (1, 2)
        assert isinstance(results["second"], int)
        await node.close()

    asyncio.run(body())


def test_a_key_that_was_sent_still_conflicts(tmp_path: Path) -> None:
    """Only keys that nobody chose are chosen anew."""

    async def body() -> None:
        node = Node.open(tmp_path / "data", parse_sdl(SDL))
        creations = Creations(node)
        creations.put("there", 7)
        creations.create("again", id=7)
        kinds = [kind for _, kind in await creations.until(2)]
        assert kinds[0] == 7
        assert isinstance(kinds[1], type)
        await node.close()

    asyncio.run(body())


def test_the_next_block_is_asked_for_before_the_last_is_used_up(tmp_path: Path) -> None:
    """So that a busy worker does not wait for each."""

    async def body() -> None:
        node = Node.open(tmp_path / "data", parse_sdl(SDL))
        asked: list[Leased] = []
        lessor = Lessor(node.engine, call_soon=lambda callback: None)
        lessor.asked = asked
        keys = IntegerKeys(lessor)
        assert keys.take(16) is None
        asked.pop()(range(1, 17))
        taken = [keys.take(16) for _ in range(16 - LOW)]
        assert (taken, asked) == (list(range(1, 17 - LOW)), [])
        assert keys.take(16) == 17 - LOW
        assert len(asked) == 1
        await node.close()

    asyncio.run(body())
