"""Roles: records that change in order, and never leave the server without a super user."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from lyredb.errors import InvalidRecord, LastSuperUser, LyreError, RecordNotFound, RoleInUse
from lyredb.security.principals import SUPER_USER
from lyredb.security.rights import NO_RIGHTS, RoleDefinition, TableRights
from lyredb.security.roles import Roles
from lyredb.security.users import User, Users
from lyredb.storage.body import pack_body
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import ROLE_SLOT
from lyredb.storage.mutation import Kind, Mutation
from tests.security.store import Place, run

READ = TableRights(read=True)
READER = RoleDefinition("reader", databases={"data": {"T": READ}})
ROOT = RoleDefinition("root", super_user=True)
ADA = User("ada", "hash")


def test_a_role_is_found_as_it_was_put_also_after_a_restart(tmp_path: Path) -> None:
    async def put(place: Place) -> None:
        await place.roles.put(READER)

    async def find(place: Place) -> None:
        assert place.roles.find("reader") == READER
        assert [role.name for role in place.roles.all()] == ["super_user", "reader"]
        assert place.roles.find("none") is None
        assert place.roles.rights("reader", "data.T") == READ
        assert place.roles.rights("none", "data.T") == NO_RIGHTS

    run(tmp_path, put)
    run(tmp_path, find)


def test_the_built_in_role_is_there_and_stays(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        assert place.roles.is_super_user(SUPER_USER.name)
        for change in (
            place.roles.put(RoleDefinition("super_user")),
            place.roles.delete("super_user"),
        ):
            with pytest.raises(InvalidRecord, match="built in"):
                await change

    run(tmp_path, body)


def test_rights_change_by_the_log_and_not_by_a_look_into_the_table(tmp_path: Path) -> None:
    """A right that begins early would let older entries through to who may not see them."""

    async def body(place: Place) -> None:
        await place.roles.put(RoleDefinition("reader"))
        assert place.roles.rights("reader", "data.T") == NO_RIGHTS
        await place.roles.put(READER)
        assert place.roles.rights("reader", "data.T") == NO_RIGHTS
        entry = place.access_entries()[-1]
        place.roles.heed(entry.key.decode(), entry.payload)
        assert place.roles.rights("reader", "data.T") == READ
        await place.roles.delete("reader")
        entry = place.access_entries()[-1]
        place.roles.heed(entry.key.decode(), entry.payload)
        assert place.roles.rights("reader", "data.T") == NO_RIGHTS

    run(tmp_path, body)


def test_the_position_of_the_last_change_covers_its_notice(tmp_path: Path) -> None:
    """A tail that stands there has told the change."""

    async def body(place: Place) -> None:
        assert place.roles.changed_at() == 0
        position = await place.roles.put(READER)
        assert place.roles.changed_at() == position > place.access_entries()[-1].seq

    run(tmp_path, body)


def test_a_definition_that_is_no_news_writes_nothing(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        position = await place.roles.put(READER)
        assert await place.roles.put(READER) == position == place.engine.position

    run(tmp_path, body)


def test_a_role_that_users_have_is_not_deleted(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.roles.put(READER)
        await place.users.put(User("bob", "hash", "reader"))
        with pytest.raises(RoleInUse, match="1 user has"):
            await place.roles.delete("reader")
        await place.users.delete("bob")
        await place.roles.delete("reader")
        assert place.roles.find("reader") is None
        with pytest.raises(RecordNotFound):
            await place.roles.delete("reader")

    run(tmp_path, body)


@pytest.mark.parametrize("repetition", range(5))
def test_a_role_and_its_first_user_cannot_miss_each_other(tmp_path: Path, repetition: int) -> None:
    """Decided at the commit: of the two one is refused, whoever comes first."""

    async def body(place: Place) -> None:
        await place.roles.put(READER)
        results = await asyncio.gather(
            place.users.put(User("bob", "hash", "reader")),
            place.roles.delete("reader"),
            return_exceptions=True,
        )
        assert sum(isinstance(one, LyreError) for one in results) == 1
        held = {user.role for user in place.users.all()}
        assert held <= {role.name for role in place.roles.all()}

    run(tmp_path, body)


def test_a_user_cannot_have_a_role_that_is_not_defined(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        with pytest.raises(InvalidRecord, match="no role 'reader'; roles are super_user"):
            await place.users.put(User("bob", "hash", "reader"))

    run(tmp_path, body)


def test_the_last_super_user_stays(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.roles.put(READER)
        await place.users.put(ADA)
        await place.users.put(User("eve", "hash", active=False))
        for change in (
            place.users.delete("ada"),
            place.users.update("ada", active=False),
            place.users.update("ada", role="reader"),
        ):
            with pytest.raises(LastSuperUser):
                await change
        await place.users.update("eve", active=True)
        await place.users.delete("ada")
        assert [user.name for user in place.users.all()] == ["eve"]

    run(tmp_path, body)


def test_a_role_whose_users_are_the_last_super_users_stays_one(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.roles.put(ROOT)
        await place.users.put(User("ada", "hash", "root"))
        with pytest.raises(LastSuperUser):
            await place.roles.put(RoleDefinition("root"))
        await place.users.put(User("eve", "hash"))
        await place.roles.put(RoleDefinition("root"))
        with pytest.raises(LastSuperUser):
            await place.users.delete("eve")

    run(tmp_path, body)


def test_two_who_remove_each_other_at_the_same_time_do_not_both_succeed(tmp_path: Path) -> None:
    """Each sees the other when it decides; at the commit the second one sees the first."""

    async def body(place: Place) -> None:
        names = [f"user{number}" for number in range(8)]
        await place.roles.put(ROOT)
        for number, name in enumerate(names):
            await place.users.put(User(name, "hash", "root" if number % 2 else "super_user"))
        elsewhere = Users(place.engine, place.writer)
        roles = Roles(place.engine, place.writer)
        results = await asyncio.gather(
            *(place.users.delete(name) for name in names[:4]),
            *(elsewhere.update(name, active=False) for name in names[4:]),
            roles.put(RoleDefinition("root")),
            return_exceptions=True,
        )
        assert any(isinstance(one, LastSuperUser) for one in results)
        left = [user for user in place.users.all() if user.active]
        roots = {role.name for role in place.roles.all() if role.super_user}
        assert sum(user.role in roots for user in left) == 1

    run(tmp_path, body)


def test_a_record_that_cannot_be_read_gives_no_rights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A later version may have written it; the rights of before must not stay."""

    async def body(place: Place) -> None:
        strange = pack_body({"data": {"T": {"read": True, "fly": True}}})
        key = encode_key("reader")
        await place.writer.commit((Mutation(ROLE_SLOT, key, Kind.PUT, strange),))
        assert place.roles.rights("reader", "data.T") == NO_RIGHTS
        place.roles.heed("reader", strange)
        assert place.roles.rights("reader", "data.T") == NO_RIGHTS

    with caplog.at_level(logging.ERROR):
        run(tmp_path, body)
    assert "the role reader has no rights" in caplog.text
