"""What administrators ask is done to the records, and answered when it is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from lyredb.errors import (
    InvalidInput,
    InvalidRecord,
    LastSuperUser,
    LyreError,
    RecordExists,
    RecordNotFound,
    UnsupportedOperation,
)
from lyredb.operations.administration import Administration, Answer
from lyredb.operations.broker_requests import BrokerRequest
from lyredb.operations.requests import (
    AddUser,
    Administrative,
    Changed,
    ChangeUser,
    GetStatus,
    ImportRequest,
    ListRoles,
    ListUsers,
    PutRoles,
    RemoveRole,
    RemoveUser,
    RoleEntry,
    UserEntry,
    decode_request,
    encode_request,
)
from lyredb.operations.roles_file import apply_roles_file, read_roles, write_roles
from lyredb.security.passwords import Passwords
from lyredb.security.roles import Roles
from lyredb.security.users import Users
from lyredb.storage.engine import Engine
from lyredb.storage.writer import Writer
from lyredb.tables.builtin import builtin_tables
from tests.storage.store import ROOMY

READER = {"data": {"Sensor": {"read": True}}}


def _sent(request: Administrative) -> Administrative:
    """A request as it arrives."""
    received = decode_request(encode_request(request))
    assert not isinstance(received, ImportRequest | BrokerRequest)
    return received


class Office:
    """An administration of a data directory of its own."""

    def __init__(self, path: Path) -> None:
        loop = asyncio.get_running_loop()
        self.engine = Engine.open(path, settings=ROOMY)
        for table in builtin_tables():
            if table.slot not in self.engine.layouts:
                self.engine.define_table(table.layout)
        self.writer = Writer(self.engine, call_soon=lambda call: loop.call_soon(call))
        self.passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.users = Users(self.engine, self.writer)
        self.roles = Roles(self.engine, self.writer)
        self.passed: list[int] = []
        self.desk = Administration(self.users, self.roles, self.passwords, passed=self._note_passed)

    async def _note_passed(self, position: int) -> None:
        self.passed.append(position)

    async def ask(self, *requests: Administrative) -> list[Answer]:
        """Do things in order; each goes through its form on the wire."""
        return [await self.desk.perform(_sent(one)) for one in requests]

    async def refused(self, request: Administrative) -> LyreError:
        try:
            await self.ask(request)
        except LyreError as error:
            return error
        raise AssertionError(f"{request} was not refused")

    def close(self) -> None:
        self.passwords.close()
        self.writer.close()
        self.engine.close()


def in_office(path: Path, body: Callable[[Office], Awaitable[None]]) -> None:
    async def run() -> None:
        office = Office(path)
        try:
            await body(office)
        finally:
            office.close()

    asyncio.run(run())


def test_users_are_made_changed_listed_and_removed(tmp_path: Path) -> None:
    async def body(office: Office) -> None:
        *_, listed = await office.ask(
            AddUser("ada", "one", "super_user"),
            AddUser("bob", "two", "super_user", active=False),
            ChangeUser("bob", active=True),
            AddUser("eve", "three", "super_user"),
            RemoveUser("eve"),
            ListUsers(),
        )
        assert listed == [
            UserEntry("ada", "super_user", True),
            UserEntry("bob", "super_user", True),
        ]

    in_office(tmp_path, body)


def test_a_new_password_is_the_password(tmp_path: Path) -> None:
    async def body(office: Office) -> None:
        await office.ask(AddUser("ada", "one", "super_user"), ChangeUser("ada", password="two"))
        user = office.users.find("ada")
        assert user is not None
        assert not await office.passwords.matches(user.password, "one")
        assert await office.passwords.matches(user.password, "two")

    in_office(tmp_path, body)


def test_a_change_is_answered_after_everybody_has_passed_it(tmp_path: Path) -> None:
    """A script that takes a right away relies on it in its next line."""

    async def body(office: Office) -> None:
        asked, gate = asyncio.Event(), asyncio.Event()

        async def passed(position: int) -> None:
            office.passed.append(position)
            asked.set()
            await gate.wait()

        desk = Administration(office.users, office.roles, office.passwords, passed=passed)
        asking = asyncio.create_task(desk.perform(AddUser("ada", "one", "super_user")))
        await asked.wait()
        assert office.users.find("ada") is not None
        assert not asking.done()
        gate.set()
        assert await asking == Changed(office.engine.position) == Changed(office.passed[0])

    in_office(tmp_path, body)


def test_what_may_not_be_is_refused(tmp_path: Path) -> None:
    async def body(office: Office) -> None:
        await office.ask(AddUser("ada", "one", "super_user"), PutRoles({"reader": READER}))
        await office.ask(AddUser("bob", "two", "reader"))
        for request, error in (
            (AddUser("ada", "x", "reader"), RecordExists),
            (AddUser("eve", "", "reader"), InvalidInput),
            (AddUser("eve", "x", "nobody"), InvalidRecord),
            (RemoveUser("eve"), RecordNotFound),
            (ChangeUser("eve", active=False), RecordNotFound),
            (RemoveUser("ada"), LastSuperUser),
            (ChangeUser("ada", role="reader"), LastSuperUser),
            (RemoveRole("reader"), LyreError),
            (GetStatus(), UnsupportedOperation),
        ):
            assert isinstance(await office.refused(request), error), request

    in_office(tmp_path, body)


def test_roles_are_checked_together_before_the_first_is_written(tmp_path: Path) -> None:
    async def body(office: Office) -> None:
        request = PutRoles({"good": READER, "bad": {"data": {"T": {"fly": True}}}, "worse": 7})
        error = await office.refused(request)
        assert "'bad'" in str(error)
        assert "'worse'" in str(error)
        assert office.roles.find("good") is None

    in_office(tmp_path, body)


def test_a_file_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "roles.yaml"
    file.write_text(
        "reader:\n  permission:\n    data:\n      tables:\n        Sensor: {read: true}\n"
    )

    async def body(office: Office) -> None:
        await office.ask(PutRoles({"other": READER, "reader": {}}))
        first = await apply_roles_file(office.roles, file)
        again = await apply_roles_file(office.roles, file)
        assert first == again == office.engine.position, "what is so already is not written"
        [listed] = await office.ask(ListRoles())
        assert isinstance(listed, list)
        names = [role.name for role in listed]
        assert names == ["super_user", "other", "reader"]
        reader = office.roles.find("reader")
        assert reader is not None
        assert reader.rights("data", "Sensor").read

    in_office(tmp_path / "data", body)


def test_what_is_written_reads_as_the_same(tmp_path: Path) -> None:
    definition = {"data": {"*": {"read": True, "delete": True}, "T": {"insert": True}}}
    entries = [RoleEntry("a: b", False, definition), RoleEntry("all", True, {"super_user": True})]
    file = tmp_path / "roles.yaml"
    file.write_text(write_roles(entries))
    assert read_roles(file) == {"a: b": definition, "all": {"super_user": True}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n", "must be a mapping"),
        ("1: {}\n", "quotes"),
        ("a: {}\na: {}\n", "set twice"),
        ("a: [\n", "roles.yaml"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "roles.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=problem):
        read_roles(file)
