"""Rights on single attributes, from roles and from ``@allow``, in reads and writes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import InvalidRecord, LyreError, NotAuthorised, RecordExists
from lyredb.plugins.context import Context
from lyredb.resources.allowance import Allowance, allowance_of
from lyredb.resources.readmission import Readmission
from lyredb.resources.requests import Write, WriteOperation
from lyredb.security.principals import Role
from lyredb.security.rights import read_role
from lyredb.security.users import User, Users
from lyredb.server.node import Node
from lyredb.storage.mutation import Kind, Mutation
from lyredb.tables.layouts import layout_of
from lyredb.tables.query.terms import EVERYTHING, Condition, Query, Select, Selected, SortKey
from lyredb.tables.sdl import parse_sdl
from lyredb.tables.stored import StoredTable
from tests.resources.node_under_test import CONTEXT, Collector

SDL = """
type Person @table @export {
  id: ID @primaryKey
  name: String!
  pay: Int @allow(role: "boss") @allow(role: "payroll")
  double: Int @computed(from: "pay * 2")
  rounded: Int @computed(from: "pay - pay % 100") @allow(role: "clerk")
  greeting: String @computed(from: "'hello ' + name")
  updatedAt: Float @updatedTime
}
type Sealed @table @export @sealed { id: ID @primaryKey a: Int! b: Int c: Int }
type Team @table @export {
  id: ID @primaryKey
  name: String
  members: [Member] @relationship(to: "team")
}
type Member @table @export {
  id: ID @primaryKey
  name: String
  team: ID @indexed @allow(role: "boss")
  group: Team @relationship(from: "team")
}
type Staff @table @export {
  id: ID @primaryKey
  name: String
  pay: Int
  bossId: ID
  boss: Staff @relationship(from: "bossId")
  double: Int @computed(from: "pay * 2")
  rounded: Int @computed(from: "pay - pay % 100") @allow(role: "clerk")
  greeting: String @computed(from: "'hello ' + name")
  nickname: String @computed(from: "name + undeclared")
}
type Open @table @export { id: ID @primaryKey a: Int }
"""
SCHEMA = parse_sdl(SDL)
ALL = {"read": True, "insert": True, "update": True, "delete": True}


def table_of(name: str) -> StoredTable:
    schema = SCHEMA.table(f"data.{name}")
    assert schema is not None
    return StoredTable(schema, layout_of(schema, 16, {}))


def allowance(table: str, rights: Mapping[str, object], role: str = "r") -> Allowance:
    definition = read_role(role, {"data": {table: rights}})
    return allowance_of(role, definition.rights("data", table), table_of(table))


def named(names: frozenset[str] | None) -> set[str]:
    assert names is not None, "all"
    return set(names)


def may(*names: str, **rights: bool) -> dict[str, dict[str, bool]]:
    return {name: rights for name in names}


def test_without_attributes_nothing_is_masked() -> None:
    found = allowance("Open", ALL)
    assert (found.readable, found.insertable, found.updatable, found.limit) == (None,) * 4
    assert found.usable is None


def test_only_what_is_listed_may_be_used_and_the_key_may_be_read() -> None:
    found = allowance("Sealed", ALL | {"attributes": may("a", read=True) | may("b", update=True)})
    assert named(found.readable) == {"id", "a"}
    assert named(found.updatable) == {"id", "b"}
    assert named(found.insertable) == {"id"}
    assert named(found.usable) == {"id", "a", "b"}


def test_who_may_read_no_attribute_may_not_read_the_table() -> None:
    found = allowance("Sealed", ALL | {"attributes": may("a", insert=True)})
    assert (found.rights.read, found.rights.insert, named(found.readable)) == (False, True, set())


def test_a_star_stands_for_the_declared_attributes_that_have_no_line() -> None:
    found = allowance("Sealed", ALL | {"attributes": may("*", read=True) | {"b": {}}})
    assert named(found.readable) == {"id", "a", "c"}


@pytest.mark.parametrize(
    ("role", "listed", "shown"),
    [
        ("r", (), {"greeting"}),
        ("r", ("double", "boss"), {"greeting", "double", "boss"}),
        ("clerk", ("nickname",), {"greeting", "nickname", "rounded"}),
    ],
)
def test_a_star_does_not_stand_for_what_shows_a_closed_attribute(
    role: str, listed: tuple[str, ...], shown: set[str]
) -> None:
    """Nor for what an undeclared one is part of; a line of its own does, and its own ``@allow``."""
    rights = ALL | {"attributes": may("*", *listed, read=True) | {"pay": {}, "bossId": {}}}
    assert named(allowance("Staff", rights, role).readable) == {"id", "name"} | shown


@pytest.mark.parametrize(
    ("role", "hidden"),
    [
        ("r", {"pay", "double", "rounded"}),
        ("clerk", {"pay", "double"}),
        ("payroll", {"rounded"}),
    ],
)
def test_allow_keeps_an_attribute_and_what_is_computed_of_it(role: str, hidden: set[str]) -> None:
    """Unless a computed one names the role itself: that is how to show a part of it."""
    declared = {one.name for one in table_of("Person").schema.attributes}
    assert named(allowance("Person", ALL, role).readable) == declared - hidden


def test_a_role_and_allow_have_to_agree() -> None:
    listed = ALL | {"attributes": may("pay", "name", read=True)}
    assert named(allowance("Person", listed).readable) == {"id", "name"}
    assert named(allowance("Person", listed, "boss").readable) == {"id", "name", "pay"}


def test_allow_is_a_right_to_write_too() -> None:
    found = allowance("Person", ALL)
    assert found.updatable is not None
    assert "pay" not in found.updatable
    assert {"id", "name", "updatedAt"} <= found.updatable


# On a node


@asynccontextmanager
async def node_with(
    table: str, rights: Mapping[str, object]
) -> AsyncIterator[tuple[Node, Context]]:
    with tempfile.TemporaryDirectory() as folder:
        node = Node.open(Path(folder) / "data", SCHEMA)
        try:
            await define(node, table, rights)
            yield node, Context(Role("r"), "rest", user="ada")
        finally:
            await node.close()


async def define(node: Node, table: str, rights: Mapping[str, object]) -> None:
    await node.roles.put(read_role("r", {"data": {table: rights}}))
    node.tail.advance_to(node.engine.position)


def run(body: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(body())


async def write(
    node: Node,
    context: Context,
    operation: WriteOperation,
    path: str,
    value: object,
) -> LyreError | None:
    try:
        await node.database.write(
            Write(node.database.resolve(path, CONTEXT), operation, value), context
        )
    except LyreError as error:
        return error
    return None


def whole(node: Node, path: str) -> dict[str, object] | None:
    reading = node.database.get(node.database.resolve(path, CONTEXT), CONTEXT)
    return None if reading is None else reading.value()


SOME = ALL | {
    "attributes": may("a", read=True, insert=True, update=True)
    | may("b", read=True)
    | may("x", read=True, update=True)
}


@pytest.mark.parametrize(
    ("operation", "value", "refused"),
    [
        ("put", {"a": 2}, ""),
        ("put", {"a": 2, "b": 9}, ""),
        ("put", {"a": 2, "c": 9}, "r may not update Sealed.c"),
        ("patch", {"a": 2}, ""),
        ("patch", {"a": 2, "b": 9}, "r may not update Sealed.b"),
        ("patch", {"a": {"__op__": "add", "value": 1}}, ""),
        ("patch", {"c": {"__op__": "add", "value": 1}}, "r may not update Sealed.c"),
        ("put", {}, "a"),
    ],
)
def test_an_update_changes_what_it_may_and_keeps_the_rest(
    operation: WriteOperation, value: dict[str, object], refused: str
) -> None:
    """A put may carry back what it was shown, unchanged or not: that stays as it is."""

    async def body() -> None:
        async with node_with("Sealed", SOME) as (node, context):
            before = {"id": "1", "a": 1, "b": 2, "c": 3}
            assert await write(node, CONTEXT, "put", "Sealed/1", before) is None
            error = await write(node, context, operation, "Sealed/1", value)
            assert (refused in str(error)) if refused else error is None
            assert whole(node, "Sealed/1") == (before if refused else before | {"a": 2})

    run(body)


@pytest.mark.parametrize(
    ("operation", "value", "refused"),
    [
        ("put", {"a": 2}, ""),
        ("put", {"a": 2, "b": 9}, "r may not insert Sealed.b"),
        ("patch", {"a": 2}, ""),
        ("patch", {"a": 2, "b": 9}, "Sealed.b"),
        ("create", {"id": "1", "a": 2}, ""),
        ("create", {"id": "1", "a": 2, "b": 9}, "r may not insert Sealed.b"),
    ],
)
def test_a_new_record_is_given_what_may_be_given(
    operation: WriteOperation, value: dict[str, object], refused: str
) -> None:
    async def body() -> None:
        async with node_with("Sealed", SOME) as (node, context):
            path = "Sealed/" if operation == "create" else "Sealed/1"
            error = await write(node, context, operation, path, value)
            if refused:
                assert isinstance(error, NotAuthorised)
                assert refused in str(error)
            assert whole(node, "Sealed/1") == (None if refused else {"id": "1", "a": 2})

    run(body)


def test_what_is_missing_is_told_as_that_and_not_as_a_right() -> None:
    async def body() -> None:
        async with node_with("Sealed", SOME) as (node, context):
            assert isinstance(await write(node, context, "put", "Sealed/1", {}), InvalidRecord)
            assert await write(node, context, "create", "Sealed/", {"id": "1", "a": 1}) is None
            again = await write(node, context, "create", "Sealed/", {"id": "1", "a": 1})
            assert isinstance(again, RecordExists)

    run(body)


def test_undeclared_attributes_stay_too() -> None:
    """A put of an open table may take away only what it may change."""

    async def body() -> None:
        async with node_with("Open", SOME) as (node, context):
            before = {"id": "1", "a": 1, "x": 2, "y": 3}
            assert await write(node, CONTEXT, "put", "Open/1", before) is None
            assert await write(node, context, "put", "Open/1", {"a": 5}) is None
            assert whole(node, "Open/1") == {"id": "1", "a": 5, "y": 3}

    run(body)


def test_bytes_are_neither_read_nor_written_nor_replaced() -> None:
    """Nobody knows what they hold."""

    async def body() -> None:
        async with node_with("Open", SOME) as (node, context):
            target = node.database.resolve("Open/1", CONTEXT)
            bytes_ = Write(target, "put", payload=b"\xff", content_type="image/png")
            with pytest.raises(NotAuthorised, match="bytes that are no object"):
                await node.database.write(bytes_, context)
            await node.database.write(bytes_, CONTEXT)
            with pytest.raises(NotAuthorised, match="what is no object of Open"):
                node.database.get(target, context)
            assert isinstance(await write(node, context, "put", "Open/1", {"a": 1}), NotAuthorised)

    run(body)


def test_reading_shows_what_may_be_seen_and_names_what_may_not() -> None:
    async def body() -> None:
        async with node_with("Sealed", SOME) as (node, context):
            database = node.database
            await write(node, CONTEXT, "put", "Sealed/1", {"a": 1, "b": 2, "c": 3})
            reading = database.get(database.resolve("Sealed/1", context), context)
            assert reading is not None
            assert reading.value() == {"id": "1", "a": 1, "b": 2}
            assert reading.select(("c", "b")) == {"b": 2}
            for path in ("Sealed/1.c", "Sealed/2.c"):
                with pytest.raises(NotAuthorised, match=r"r may not read \w of Sealed"):
                    database.get(database.resolve(path, context), context)
            described = database.describe(database.resolve("Sealed", context), context)
            assert [one["name"] for one in described["attributes"]] == ["id", "a", "b"]  # type: ignore[attr-defined]  # a list of mappings

    run(body)


def found(node: Node, context: Context, table: str, query: Query) -> list[object]:
    database = node.database
    return [
        one
        for one in database.search(database.resolve(f"{table}/", context), query, context)
        if isinstance(one, dict)
    ]


def test_a_query_neither_shows_nor_asks_what_may_not_be_seen() -> None:
    async def body() -> None:
        async with node_with("Sealed", SOME) as (node, context):
            await write(node, CONTEXT, "put", "Sealed/1", {"a": 1, "b": 2, "c": 3})
            everything = Select((Selected(EVERYTHING), Selected("c")))
            for query in (Query(), Query(select=everything)):
                assert found(node, context, "Sealed", query) == [{"id": "1", "a": 1, "b": 2}]
            for query in (
                Query(where=Condition(("c",), value=3)),
                Query(where=~(Condition(("a",), value=9) & Condition(("c",), value=3))),
                Query(sort=(SortKey(("c",)),)),
            ):
                with pytest.raises(NotAuthorised):
                    found(node, context, "Sealed", query)

    run(body)


@pytest.mark.parametrize(("table", "path"), [("Team", "members"), ("Member", "group")])
def test_tables_are_not_joined_by_what_may_not_be_seen(table: str, path: str) -> None:
    """Who is joined to whom would tell it, in either direction."""

    async def body() -> None:
        async with node_with("*", ALL) as (node, context):
            await write(node, CONTEXT, "put", "Team/t", {"name": "x"})
            await write(node, CONTEXT, "put", "Member/m", {"name": "x", "team": "t"})
            query = Query(where=Condition((path, "name"), value="x"))
            assert len(found(node, CONTEXT, table, query)) == 1
            with pytest.raises(NotAuthorised):
                found(node, context, table, query)
            name = Select((Selected("name"),))
            selecting = Query(select=Select((Selected(path, name), Selected("id"))))
            try:
                told = found(node, context, table, selecting)
            except NotAuthorised:
                told = []
            assert all(path not in str(one) for one in told)

    run(body)


def test_a_long_answer_ends_when_less_may_be_seen() -> None:
    async def body() -> None:
        async with node_with("Sealed", SOME) as (node, context):
            for number in range(3):
                await write(node, CONTEXT, "put", f"Sealed/{number}", {"a": 1, "b": 2})
            target = node.database.resolve("Sealed/", context)
            answer = iter(node.database.search(target, Query(), context))
            next(answer)
            await define(node, "Sealed", ALL | {"attributes": may("a", read=True)})
            with pytest.raises(NotAuthorised):
                list(answer)

    run(body)


def test_a_change_of_a_role_holds_for_live_subscriptions_from_its_place_in_the_log() -> None:
    """What was committed before is told by the rights of before, what came after by the new."""

    async def body() -> None:
        async with node_with("Sealed", SOME) as (node, context):
            await write(node, CONTEXT, "put", "Sealed/1", {"a": 1, "b": 1, "c": 1})
            reader = Collector()
            node.database.subscribe("Sealed/#", reader, context, reader.options()).start()
            for number, names in enumerate((("a",), ("a", "c"), ("b",)), 2):
                await write(node, CONTEXT, "put", "Sealed/1", {"a": number, "b": 0, "c": 0})
                await node.roles.put(
                    read_role(
                        "r", {"data": {"Sealed": ALL | {"attributes": may(*names, read=True)}}}
                    )
                )
            await write(node, CONTEXT, "put", "Sealed/1", {"a": 9, "b": 9, "c": 9})
            node.tail.advance_to(node.engine.position)
            node.hub.flush()
            seen = [message.value() for message in reader.messages]
            assert seen == [
                {"id": "1", "a": 1, "b": 1},
                {"id": "1", "a": 2, "b": 0},
                {"id": "1", "a": 3},
                {"id": "1", "a": 4, "c": 0},
                {"id": "1", "b": 9},
            ]

    run(body)


def test_a_role_that_loses_all_attributes_is_told_nothing_more() -> None:
    async def body() -> None:
        async with node_with("Sealed", SOME) as (node, context):
            reader = Collector()
            node.database.subscribe("Sealed/#", reader, context, reader.options()).start()
            await define(node, "Sealed", ALL | {"attributes": may("a", insert=True)})
            assert isinstance(reader.closed, NotAuthorised)

    run(body)


def test_a_prepared_write_is_decided_again_by_attributes() -> None:
    """A will was admitted; when it is sent its user may change less."""

    async def body() -> None:
        async with node_with("Sealed", ALL) as (node, context):
            await write(node, CONTEXT, "put", "Sealed/1", {"a": 1, "c": 3})
            users = Users(node.engine, node.writer)
            await users.put(User("root", "hash"))
            await users.put(User("ada", "hash", "r"))
            target = node.database.resolve("Sealed/1", CONTEXT)
            one = node.database.prepare(Write(target, "put", {"a": 5}), context)
            two = node.database.prepare(Write(target, "put", {"a": 5, "c": 5}), context)
            await define(node, "Sealed", SOME)
            readmit = Readmission(node.engine, node.registry.tables)
            with pytest.raises(NotAuthorised, match=r"Sealed\.c"):
                readmit(two)
            await node.writer.commit((readmit(one),))
            assert whole(node, "Sealed/1") == {"id": "1", "a": 5, "c": 3}

    run(body)


names = st.sampled_from(["a", "b", "c"])
records = st.fixed_dictionaries(
    {"a": st.integers(0, 9)}, optional={"b": st.integers(0, 9), "c": st.integers(0, 9)}
)
attributes = st.dictionaries(
    names,
    st.fixed_dictionaries({one: st.booleans() for one in ("read", "insert", "update")}),
    min_size=1,
)
operations = st.sampled_from(["put", "patch"])


@settings(max_examples=40)
@given(attributes, st.none() | records, records, operations)
def test_no_write_changes_what_may_not_be_changed(
    listed: dict[str, dict[str, bool]],
    before: dict[str, object] | None,
    value: dict[str, object],
    operation: WriteOperation,
) -> None:
    """Whatever is listed, stored and sent: each attribute that has changed may be."""

    async def body() -> None:
        async with node_with("Sealed", ALL | {"attributes": listed}) as (node, context):
            if before is not None:
                await write(node, CONTEXT, "put", "Sealed/1", before)
            error = await write(node, context, operation, "Sealed/1", value)
            after = whole(node, "Sealed/1") or {}
            right = "insert" if before is None else "update"
            for name in ("a", "b", "c"):
                if after.get(name) != (before or {}).get(name):
                    assert error is None
                    assert listed.get(name, {}).get(right)
            if all(listed.get(name, {}).get(right) for name in ("a", "b", "c")):
                assert error is None

    run(body)


def test_a_mutation_of_another_kind_is_left_as_it_is() -> None:
    limit = allowance("Sealed", SOME).limit
    assert limit is not None
    for kind in (Kind.DELETE, Kind.MESSAGE, Kind.CHECK):
        mutation = Mutation(16, b"k", kind)
        assert limit.applied(mutation) is mutation


@pytest.mark.parametrize(("attribute", "refused"), [("a", ""), ("b", "r may not update Sealed.b")])
def test_an_upload_is_refused_before_its_content_is_asked_for(attribute: str, refused: str) -> None:
    """A gigabyte need not come to learn that it may not be kept."""

    async def body() -> None:
        async with node_with("Sealed", SOME) as (node, context):
            before = {"id": "1", "a": 1, "b": 2, "c": 3}
            assert await write(node, CONTEXT, "put", "Sealed/1", before) is None
            target = node.database.resolve(f"Sealed/1.{attribute}", context)
            assert target.kind == "property"
            if not refused:
                assert node.database.uploads.admit(target, context) > 0
                return
            with pytest.raises(NotAuthorised, match=refused):
                node.database.uploads.admit(target, context)

    run(body)
