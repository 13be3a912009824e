"""Several writes as one transaction: all of it or nothing, each after the ones before it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lyredb.errors import (
    InvalidRecord,
    LyreError,
    NotAuthorised,
    PreconditionFailed,
    RecordExists,
    TransactionTooLarge,
    WriteConflict,
)
from lyredb.plugins.context import Context
from lyredb.resources.deletion import ATTEMPTS, Deletions
from lyredb.resources.requests import Write, WriteOperation
from lyredb.security.principals import Role
from lyredb.security.rights import RoleDefinition
from lyredb.server.node import Node
from lyredb.storage.mutation import Mutation, Precondition
from lyredb.storage.settings import StorageSettings
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.sdl import parse_sdl
from tests.resources.fixed_roles import rights_of
from tests.resources.node_under_test import CONTEXT, Collector

SDL = """
type Sensor @table @export { id: ID @primaryKey value: Int @indexed more: Any }
type Entry @table @export { id: Int @primaryKey text: String! }
"""
SMALL = StorageSettings(max_transaction_mutations=20)


@asynccontextmanager
async def node_with(**rights: bool) -> AsyncIterator[tuple[Node, Context]]:
    """A node, and somebody who has these rights on its tables."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node.open(Path(folder) / "data", parse_sdl(SDL), storage=SMALL)
        try:
            tables = {"Sensor": rights_of(**rights), "Entry": rights_of(**rights)}
            await node.roles.put(RoleDefinition("r", databases={"data": tables}))
            yield node, Context(Role("r"), "rest", user="ada")
        finally:
            await node.close()


def run(body: Callable[[Node], Awaitable[None]]) -> None:
    async def opened() -> None:
        async with node_with() as (node, _):
            await body(node)

    asyncio.run(opened())


def write(
    node: Node,
    operation: WriteOperation,
    path: str,
    value: object = None,
    precondition: Precondition | None = None,
) -> Write:
    return Write(node.database.resolve(path, CONTEXT), operation, value, precondition=precondition)


def value_of(node: Node, path: str) -> dict[str, object] | None:
    reading = node.database.get(node.database.resolve(path, CONTEXT), CONTEXT)
    return None if reading is None else reading.value()


def test_the_results_come_in_the_order_of_the_writes(tmp_path: Path) -> None:
    """Keys, positions and whether there was a record, of each; one transaction in the log."""

    async def body(node: Node) -> None:
        await node.database.write(write(node, "put", "Sensor/b", {"value": 1}), CONTEXT)
        before = node.engine.position
        written = await node.database.write_all(
            [
                write(node, "put", "Sensor/a", {"value": 1}),
                write(node, "patch", "Sensor/b", {"value": {"__op__": "add", "value": 4}}),
                write(node, "delete", "Sensor/none"),
                write(node, "create", "Entry/", {"text": "x"}),
                write(node, "create", "Entry/", {"text": "y"}),
            ],
            CONTEXT,
        )
        assert [one.id for one in written] == ["a", "b", "none", 1, 2]
        assert [one.existed for one in written] == [False, True, False, False, False]
        assert [one.position - before for one in written] == [1, 2, -before, 3, 4]
        assert value_of(node, "Sensor/b") == {"id": "b", "value": 5}
        with node.engine.snapshot() as snapshot:
            entries = snapshot.entries(before)
        assert [entry.is_last for entry in entries] == [False, False, False, True]

    run(body)


@pytest.mark.parametrize(
    ("second", "error"),
    [
        (("create", "Sensor/", {"id": "old"}), RecordExists),
        (("create", "Sensor/", {"id": "new"}), RecordExists),
        (("put", "Sensor/x", {"value": "text"}), InvalidRecord),
        (("patch", "Sensor/old", {"value": {"__op__": "add", "value": 2**31}}), InvalidRecord),
    ],
)
def test_one_that_is_refused_takes_all_with_it(
    second: tuple[WriteOperation, str, object], error: type[LyreError]
) -> None:
    """Also a key that is created twice in one list; the error says which write it was."""

    async def body(node: Node) -> None:
        await node.database.write(write(node, "put", "Sensor/old", {"value": 1}), CONTEXT)
        before = node.engine.position
        writes = [
            write(node, "create", "Sensor/", {"id": "new", "value": 1}),
            write(node, *second),
            write(node, "put", "Sensor/other", {"value": 1}),
        ]
        with pytest.raises(error) as caught:
            await node.database.write_all(writes, CONTEXT)
        assert caught.value.mutation == 1
        assert node.engine.position == before
        assert value_of(node, "Sensor/new") is None

    run(body)


def test_preconditions_see_what_earlier_writes_of_the_list_made() -> None:
    """A list is its writes one after the other, so what it deletes it can create again."""

    async def body(node: Node) -> None:
        first = await node.database.write(write(node, "put", "Sensor/a", {"value": 1}), CONTEXT)
        same = Precondition(any_of=frozenset((first.version,)))
        await node.database.write_all(
            [
                write(node, "patch", "Sensor/a", {"value": 2}, same),
                write(node, "delete", "Sensor/a"),
                write(node, "create", "Sensor/", {"id": "a", "value": 3}),
            ],
            CONTEXT,
        )
        assert value_of(node, "Sensor/a") == {"id": "a", "value": 3}
        now = await node.database.write(write(node, "put", "Sensor/a", {"value": 4}), CONTEXT)
        same = Precondition(any_of=frozenset((now.version,)))
        twice = [
            write(node, "patch", "Sensor/a", {"value": 5}, same),
            write(node, "patch", "Sensor/a", {"value": 6}, same),
        ]
        with pytest.raises(PreconditionFailed) as caught:
            await node.database.write_all(twice, CONTEXT)
        assert caught.value.mutation == 1
        assert value_of(node, "Sensor/a") == {"id": "a", "value": 4}

    run(body)


CONDITIONS = {
    "must_exist": Precondition(must_exist=True),
    "any_of": Precondition(any_of=frozenset((7,))),
    "none_of": Precondition(must_be_absent=True),
    "unmodified": Precondition(unmodified_since_ms=1),
}


@pytest.mark.parametrize("operation", ["put", "patch", "delete"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_of_requests_hold_for_every_kind_inside_a_list(
    operation: WriteOperation, name: str
) -> None:
    """A failed one is 412 as for a single write, and nothing of the list is done."""

    async def body(node: Node) -> None:
        path = "Sensor/none" if name == "must_exist" else "Sensor/a"
        await node.database.write(write(node, "put", "Sensor/a", {"value": 1}), CONTEXT)
        value = None if operation == "delete" else {"value": 2}
        writes = [
            write(node, "put", "Sensor/b", {"value": 1}),
            write(node, operation, path, value, CONDITIONS[name]),
        ]
        with pytest.raises(PreconditionFailed):
            await node.database.write_all(writes, CONTEXT)
        assert value_of(node, "Sensor/b") is None
        assert value_of(node, "Sensor/a") == {"id": "a", "value": 1}

    run(body)


@pytest.mark.parametrize(
    ("rights", "writes", "refused"),
    [
        ({"insert": True}, [("put", "new"), ("put", "old")], 1),
        ({"insert": True}, [("put", "new"), ("patch", "new")], 1),
        ({"update": True}, [("put", "old"), ("patch", "new")], 1),
        ({"insert": True, "update": True}, [("put", "new"), ("delete", "old")], 1),
        ({"delete": True}, [("delete", "old"), ("put", "old")], 1),
        ({"insert": True, "update": True}, [("put", "new"), ("patch", "old")], None),
        ({"insert": True, "delete": True}, [("delete", "old"), ("put", "old")], None),
    ],
)
def test_each_write_of_a_list_is_decided_by_its_own_right(
    rights: dict[str, bool], writes: list[tuple[WriteOperation, str]], refused: int | None
) -> None:
    """A role that may only insert or only update does so in lists too, or nothing is done."""

    async def body() -> None:
        async with node_with(**rights) as (node, context):
            await node.database.write(write(node, "put", "Sensor/old", {"value": 1}), CONTEXT)
            before = node.engine.position
            made = [
                write(node, kind, f"Sensor/{key}", None if kind == "delete" else {"value": 2})
                for kind, key in writes
            ]
            if refused is None:
                assert len(await node.database.write_all(made, context)) == len(writes)
                return
            with pytest.raises(NotAuthorised) as caught:
                await node.database.write_all(made, context)
            assert caught.value.mutation == refused
            assert node.engine.position == before

    asyncio.run(body())


def test_a_list_that_is_too_long_is_refused_before_anything_is_read() -> None:
    async def body(node: Node) -> None:
        writes = [write(node, "put", f"Sensor/{number}", {}) for number in range(21)]
        with pytest.raises(TransactionTooLarge, match="20 writes, this one has 21"):
            await node.database.write_all(writes, CONTEXT)
        assert await node.database.write_all([], CONTEXT) == []

    run(body)


def test_a_leased_integer_that_somebody_chose_is_replaced() -> None:
    """The keys of others do not make a list fail that chose none."""

    async def body(node: Node) -> None:
        create = write(node, "create", "Entry/", {"text": "x"})
        (first,) = await node.database.write_all([create], CONTEXT)
        assert isinstance(first.id, int)
        taken = first.id + 2
        await node.database.write(write(node, "put", f"Entry/{taken}", {"text": "y"}), CONTEXT)
        written = await node.database.write_all([create] * 4, CONTEXT)
        keys = [one.id for one in written]
        assert len(set(keys)) == 4
        assert taken not in keys
        assert value_of(node, f"Entry/{taken}") == {"id": taken, "text": "y"}

    run(body)


def test_messages_of_a_record_keep_their_place_around_a_list() -> None:
    """What is published after the list was sent is told after it, as for a single write."""

    async def body(node: Node) -> None:
        reader = Collector()
        options = reader.options(omit_current=True)
        node.database.subscribe("Sensor/#", reader, CONTEXT, options).start()
        await asyncio.sleep(0)
        writes = [
            write(node, "put", "Sensor/a", {"value": 1}),
            write(node, "put", "Sensor/b", {"value": 1}),
            write(node, "put", "Sensor/a", {"value": 2}),
        ]
        task = asyncio.ensure_future(node.database.write_all(writes, CONTEXT))
        await asyncio.sleep(0)
        for key in "ab":
            node.database.publish(f"Sensor/{key}", b"after", CONTEXT)
        await task
        async with asyncio.timeout(5):
            while len(reader.messages) < 5:  # noqa: ASYNC110  # a reader has no event
                await asyncio.sleep(0)
        of_a = [one.seq == 0 for one in reader.messages if one.topic == b"Sensor/a"]
        of_b = [one.seq == 0 for one in reader.messages if one.topic == b"Sensor/b"]
        assert (of_a, of_b) == ([False, False, True], [False, True])
        assert node.hub.statistics().holds == 0

    run(body)


def test_a_list_that_is_refused_lets_messages_go() -> None:
    async def body(node: Node) -> None:
        reader = Collector()
        node.database.subscribe("Sensor/#", reader, CONTEXT, reader.options()).start()
        await asyncio.sleep(0)
        writes = [
            write(node, "put", "Sensor/a", {"value": 1}),
            write(node, "put", "Sensor/a", {"value": 2}, Precondition(must_be_absent=True)),
        ]
        task = asyncio.ensure_future(node.database.write_all(writes, CONTEXT))
        await asyncio.sleep(0)
        node.database.publish("Sensor/a", b"after", CONTEXT)
        with pytest.raises(PreconditionFailed):
            await task
        async with asyncio.timeout(5):
            while not reader.messages:  # noqa: ASYNC110  # a reader has no event
                await asyncio.sleep(0)
        assert [one.seq for one in reader.messages] == [0]
        assert node.hub.statistics().holds == 0

    run(body)


async def fill(node: Node, count: int) -> None:
    await node.database.write_all(
        [write(node, "put", f"Sensor/k{number:02}", {"value": number}) for number in range(count)],
        CONTEXT,
    )


async def delete(node: Node, query: str, context: Context = CONTEXT, path: str = "Sensor/") -> int:
    target = node.database.resolve(path, CONTEXT)
    return await node.database.delete_matching(target, parse_query(query), context)


def test_what_a_query_finds_is_deleted_in_one_transaction() -> None:
    async def body(node: Node) -> None:
        await fill(node, 10)
        before = node.engine.position
        assert await delete(node, "value=7") == 1
        assert value_of(node, "Sensor/k07") is None
        assert await delete(node, "value=7") == 0
        assert await delete(node, "") == 9
        with node.engine.snapshot() as snapshot:
            ends = [entry.is_last for entry in snapshot.entries(before)]
        assert ends == [True, *[False] * 8, True]

    run(body)


def test_deleting_more_than_a_transaction_may_have_is_refused_with_the_way_out() -> None:
    async def body(node: Node) -> None:
        await fill(node, 20)
        await node.database.write(write(node, "put", "Sensor/one", {"value": 1}), CONTEXT)
        with pytest.raises(TransactionTooLarge, match="with a limit"):
            await delete(node, "")
        assert await delete(node, "limit(15)") == 15
        assert await delete(node, "") == 6

    run(body)


def test_a_record_that_changes_between_query_and_commit_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is deleted only when it still matches; with changes all the time it is a conflict."""

    async def body(node: Node) -> None:
        changes = 1
        found = Deletions.of

        async def slowly(self: Deletions, *args: object, **named: object) -> list[Mutation]:
            nonlocal changes
            made = await found(self, *args, **named)  # type: ignore[arg-type]  # passed on
            if changes:
                changes -= 1
                value = {"value": 8 if changes else 100}
                await node.database.write(write(node, "put", "Sensor/k08", value), CONTEXT)
            return made

        monkeypatch.setattr(Deletions, "of", slowly)
        await fill(node, 10)
        assert await delete(node, "value=8") == 0
        assert value_of(node, "Sensor/k08") == {"id": "k08", "value": 100}
        changes = ATTEMPTS + 1
        await node.database.write(write(node, "put", "Sensor/k08", {"value": 8}), CONTEXT)
        with pytest.raises(WriteConflict):
            await delete(node, "value=8")
        assert value_of(node, "Sensor/k08") == {"id": "k08", "value": 8}

    run(body)


@pytest.mark.parametrize(
    ("rights", "query", "allowed"),
    [
        ({"delete": True}, "", True),
        ({"delete": True}, "value=1", False),
        ({"delete": True, "read": True}, "value=1", True),
        ({"read": True, "insert": True, "update": True}, "", False),
    ],
)
def test_deleting_by_conditions_needs_the_right_to_read_too(
    rights: dict[str, bool], query: str, allowed: bool
) -> None:
    """The number of deleted records would tell what may not be read."""

    async def body() -> None:
        async with node_with(**rights) as (node, context):
            await fill(node, 3)
            if allowed:
                assert await delete(node, query, context) == (1 if query else 3)
                return
            with pytest.raises(NotAuthorised):
                await delete(node, query, context)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("operation", "value"),
    [
        ("put", {"more": {"__op__": "add", "value": 1}}),
        ("patch", {"more": {"deep": {"__op__": "add", "value": 1}}}),
        ("patch", {"more": [{"__op__": "add", "value": 1}]}),
        ("create", {"more": {"__op__": "add", "value": 1}}),
    ],
)
def test_an_increment_where_it_would_be_stored_as_data_is_refused(
    operation: WriteOperation, value: object
) -> None:
    """Whoever sends one means a number; only a patch of a top-level attribute adds."""

    async def body(node: Node) -> None:
        path = "Sensor/" if operation == "create" else "Sensor/a"
        with pytest.raises(InvalidRecord, match="top-level attribute"):
            await node.database.write(write(node, operation, path, value), CONTEXT)
        text = {"more": "__op__"}
        await node.database.write(write(node, "put", "Sensor/a", text), CONTEXT)
        assert value_of(node, "Sensor/a") == {"id": "a", "more": "__op__"}

    run(body)


def test_rights_that_end_while_a_long_list_is_read_are_decided_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two turns of the loop a role may change."""

    async def body() -> None:
        async with node_with(insert=True, update=True) as (node, context):
            monkeypatch.setattr("lyredb.resources.writing._TURN_S", 0)
            writes = [write(node, "put", f"Sensor/{number}", {}) for number in range(20)]
            task = asyncio.ensure_future(node.database.write_all(writes, context))
            await asyncio.sleep(0)
            definition = RoleDefinition("r", databases={"data": {}})
            await node.roles.put(replace(definition))
            with pytest.raises(NotAuthorised):
                await task
            assert value_of(node, "Sensor/0") is None

    asyncio.run(body())
