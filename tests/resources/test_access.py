"""Decisions by rights, and writes whose right is known at their commit only."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import pytest

from lyredb.delivery.admission import ALL
from lyredb.errors import NotAuthorised, PreconditionFailed, RecordExists
from lyredb.plugins.context import Context
from lyredb.resources.access import Access, Decision
from lyredb.resources.readmission import Readmission
from lyredb.resources.requests import Write, WriteOperation
from lyredb.security.principals import ANONYMOUS, SUPER_USER, Role
from lyredb.security.rights import RIGHTS, RoleDefinition, TableRights
from lyredb.security.users import User, Users
from lyredb.server.node import Node
from lyredb.storage.mutation import Kind, Precondition
from lyredb.tables.builtin import builtin_tables
from tests.resources.fixed_roles import NO_ROLES, FixedRoles, rights_of
from tests.resources.node_under_test import CONTEXT, open_node, write_of
from tests.resources.test_registry import registry_of

REGISTRY = registry_of(open_topics=True)
NEEDED: dict[Decision, frozenset[str]] = {
    "describe": frozenset(RIGHTS),
    "read": frozenset(("read",)),
    "subscribe": frozenset(("read",)),
    "insert": frozenset(("insert",)),
    "save": frozenset(("insert", "update")),
    "delete": frozenset(("delete",)),
    "publish": frozenset(("insert",)),
}
"""One of these rights is needed, and suffices."""


def with_right(right: str) -> TableRights:
    return rights_of(**{right: True})


@pytest.mark.parametrize("right", RIGHTS)
@pytest.mark.parametrize("decision", get_args(Decision))
def test_each_decision_needs_its_right_and_no_other(decision: Decision, right: str) -> None:
    roles = FixedRoles(RoleDefinition("r", databases={"data": {"*": with_right(right)}}))
    access = Access(REGISTRY, roles)
    for table in REGISTRY.tables.values():
        allowed = right in NEEDED[decision] and table.schema.database != "system"
        view = access.decide(Role("r"), decision, table)
        assert view is (ALL if allowed else None), table.name


@pytest.mark.parametrize("decision", get_args(Decision))
def test_without_a_definition_nobody_but_the_super_user_may_do_anything(
    decision: Decision,
) -> None:
    access = Access(REGISTRY, NO_ROLES)
    for table in (*builtin_tables(), *REGISTRY.tables.values()):
        assert access.decide(SUPER_USER, decision, table) is ALL
        for nobody in (ANONYMOUS, Role("r"), Role("super_user"), Stranger()):
            assert access.decide(nobody, decision, table) is None


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        ("read", "r may not read Sensor"),
        ("delete", "r may not delete Sensor"),
        ("save", "r may not insert or update Sensor"),
        ("publish", "r may not publish to Sensor"),
    ],
)
def test_a_refusal_says_what_is_missing_in_the_words_of_roles(
    decision: Decision, told: str
) -> None:
    """Whoever reads it looks for that word in the role."""
    [table] = [one for one in REGISTRY.tables.values() if one.name == "data.Sensor"]
    with pytest.raises(NotAuthorised, match=f"^{told}$"):
        Access(REGISTRY, NO_ROLES).require(Role("r"), decision, table)


class Stranger:
    """A decision class that no role stands for."""

    name = "super_user"
    key = "stranger"
    super_user = True


def test_a_super_user_by_definition_may_see_the_servers_own_tables() -> None:
    access = Access(REGISTRY, FixedRoles(RoleDefinition("root", super_user=True)))
    for table in builtin_tables():
        assert access.decide(Role("root"), "read", table) is ALL
    assert access.is_super_user(Role("root"))
    assert not access.is_super_user(ANONYMOUS)


@asynccontextmanager
async def node_with(**rights: bool) -> AsyncIterator[tuple[Node, Context]]:
    """A node, and somebody who has these rights on its table."""
    with tempfile.TemporaryDirectory() as folder:
        node = open_node(Path(folder) / "data")
        try:
            tables = {"Sensor": rights_of(**rights)}
            await node.roles.put(RoleDefinition("r", databases={"data": tables}))
            await node.database.write(write_of(node, "old", 1), CONTEXT)
            yield node, Context(Role("r"), "rest", user="ada")
        finally:
            await node.close()


def run(body: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(body())


def write(
    node: Node,
    operation: WriteOperation,
    record_id: str,
    precondition: Precondition | None = None,
) -> Write:
    target = node.database.resolve(
        "Sensor/" if operation == "create" else f"Sensor/{record_id}", CONTEXT
    )
    value: dict[str, object] | None = None if operation == "delete" else {"value": 2}
    if operation == "create":
        value = {"id": record_id, "value": 2}
    return Write(target, operation, value, precondition=precondition)


async def outcome(node: Node, context: Context, one: Write) -> type[Exception] | None:
    try:
        await node.database.write(one, context)
    except Exception as error:
        return type(error)
    return None


@pytest.mark.parametrize("operation", ["put", "patch"])
def test_who_may_insert_only_makes_records_and_replaces_none(operation: WriteOperation) -> None:
    async def body() -> None:
        async with node_with(insert=True) as (node, context):
            assert await outcome(node, context, write(node, operation, "new")) is None
            for _ in range(2):
                again = write(node, operation, "new")
                assert await outcome(node, context, again) is NotAuthorised
            assert await outcome(node, context, write(node, operation, "old")) is NotAuthorised
            reading = node.database.get(write(node, "put", "old").target, CONTEXT)
            assert reading is not None
            assert reading.value()["value"] == 1

    run(body)


@pytest.mark.parametrize("operation", ["put", "patch"])
def test_who_may_update_only_replaces_records_and_makes_none(operation: WriteOperation) -> None:
    async def body() -> None:
        async with node_with(update=True) as (node, context):
            assert await outcome(node, context, write(node, operation, "old")) is None
            assert await outcome(node, context, write(node, operation, "new")) is NotAuthorised
            assert node.database.get(write(node, "put", "new").target, CONTEXT) is None

    run(body)


def test_the_commit_decides_which_of_the_two_a_save_is() -> None:
    """Both are sent before either is on disk, so no look at the store could tell."""

    async def body() -> None:
        async with node_with(insert=True) as (node, context):
            one = write(node, "put", "new")
            outcomes = tuple(
                await asyncio.gather(outcome(node, context, one), outcome(node, context, one))
            )
            assert outcomes == (None, NotAuthorised)

    run(body)


@pytest.mark.parametrize(
    ("rights", "operation", "record_id", "expected"),
    [
        ({"insert": True}, "create", "new", None),
        ({"insert": True}, "create", "old", RecordExists),
        ({"update": True}, "create", "new", NotAuthorised),
        ({"delete": True}, "delete", "old", None),
        ({"delete": True}, "delete", "new", None),
        ({"insert": True, "update": True}, "delete", "old", NotAuthorised),
        ({"read": True, "delete": True}, "put", "old", NotAuthorised),
    ],
)
def test_creating_and_deleting_have_rights_of_their_own(
    rights: dict[str, bool],
    operation: WriteOperation,
    record_id: str,
    expected: type[Exception] | None,
) -> None:
    async def body() -> None:
        async with node_with(**rights) as (node, context):
            assert await outcome(node, context, write(node, operation, record_id)) is expected

    run(body)


@pytest.mark.parametrize(
    ("rights", "record_id", "asked"),
    [
        ({"insert": True}, "old", Precondition(must_be_absent=True)),
        ({"update": True}, "new", Precondition(any_of=frozenset((1,)))),
        ({"update": True}, "new", Precondition(must_exist=True)),
        ({"update": True}, "old", Precondition(any_of=frozenset((1,)))),
        ({"update": True}, "old", Precondition(unmodified_since_ms=1)),
        ({"update": True}, "old", Precondition(must_be_absent=True)),
    ],
)
def test_a_condition_of_the_client_that_does_not_hold_is_told_as_that(
    rights: dict[str, bool], record_id: str, asked: Precondition
) -> None:
    async def body() -> None:
        async with node_with(**rights) as (node, context):
            one = write(node, "put", record_id, precondition=asked)
            found = await outcome(node, context, one)
            assert found is not None
            assert issubclass(found, PreconditionFailed)

    run(body)


def test_a_write_that_was_prepared_for_later_carries_its_limit() -> None:
    """A will is sent by the process of the writer: the condition goes with it."""

    async def body() -> None:
        async with node_with(insert=True) as (node, context):
            mutation = node.database.prepare(write(node, "put", "old"), context)
            with pytest.raises(RecordExists):
                await node.writer.commit((mutation,))

    run(body)


@pytest.mark.parametrize(
    ("before", "after", "kind", "allowed"),
    [
        ({"insert": True, "update": True}, {"insert": True, "update": True}, Kind.PUT, True),
        ({"insert": True, "update": True}, {"insert": True}, Kind.PUT, False),
        ({"update": True}, {"update": True}, Kind.PUT, True),
        ({"update": True}, {"read": True}, Kind.PUT, False),
        ({"delete": True}, {}, Kind.DELETE, False),
        ({"insert": True}, {"update": True}, Kind.MESSAGE, False),
        ({"insert": True}, {"insert": True}, Kind.MESSAGE, True),
    ],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_a_prepared_write_is_decided_again_by_the_rights_of_its_sending(
    before: dict[str, bool], after: dict[str, bool], kind: Kind, allowed: bool, is_there: bool
) -> None:
    """The record is there, so the right to make one only does not replace it."""

    async def body() -> None:
        async with node_with(**before) as (node, context):
            users = Users(node.engine, node.writer)
            await users.put(User("root", "hash"))
            await users.put(User("ada", "hash", "r"))
            if kind is Kind.MESSAGE:
                mutation = node.database.prepare_message(b"Sensor/old", b"1", context)
            else:
                operation: WriteOperation = "put" if kind is Kind.PUT else "delete"
                mutation = node.database.prepare(write(node, operation, "old"), context)
            definition = RoleDefinition("r", databases={"data": {"Sensor": rights_of(**after)}})
            await node.roles.put(definition)
            if not is_there:
                await users.delete("ada")
            readmit = Readmission(node.engine, node.registry.tables)
            try:
                await node.writer.commit((readmit(mutation),))
            except (NotAuthorised, RecordExists):
                assert not (allowed and is_there)
            else:
                assert allowed
                assert is_there

    run(body)
