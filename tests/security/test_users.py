"""User records and the first administrator, on a real engine."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from lyredb.errors import InvalidRecord, RecordExists, SettingError, StorageFailed
from lyredb.security.first_admin import PASSWORD_FILE, FirstAdmin, ensure_admin
from lyredb.security.passwords import Passwords
from lyredb.security.users import User, Users
from lyredb.storage.engine import Engine
from lyredb.storage.layout import ROLE_SLOT, SESSION_SLOT, USER_SLOT, TableLayout
from lyredb.storage.mutation import Kind
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ADA = User("ada", CHEAP.hash("s3cret"))


class Place:
    """A data directory with users in it."""

    def __init__(self, path: Path) -> None:
        loop = asyncio.get_running_loop()
        self.path = path
        self.engine = Engine.open(path, settings=StorageSettings(map_size=64 * 1024**2))
        for slot, name in ((USER_SLOT, "user"), (ROLE_SLOT, "role"), (SESSION_SLOT, "session")):
            if slot not in self.engine.layouts:
                self.engine.define_table(TableLayout(slot, f"system.{name}", "name"))

        def call_soon(call: Callable[[], None]) -> None:
            loop.call_soon(call)

        writer = Writer(self.engine, call_soon=call_soon)
        self.users = Users(self.engine, writer)
        self.passwords = Passwords(CHEAP)

    async def ensure(self, name: str = "", password: str = "") -> FirstAdmin | None:
        return await ensure_admin(
            self.users, self.passwords, self.path, name=name, password=password
        )

    async def accepts(self, name: str, password: str) -> bool:
        user = self.users.find(name)
        return user is not None and await self.passwords.matches(user.password, password)


def run(path: Path, body: Callable[[Place], Coroutine[None, None, None]]) -> None:
    async def whole() -> None:
        place = Place(path)
        try:
            await body(place)
        finally:
            place.passwords.close()
            place.engine.close()

    asyncio.run(whole())


def test_a_user_that_was_put_is_found_also_after_a_restart(tmp_path: Path) -> None:
    async def put(place: Place) -> None:
        assert place.users.is_empty()
        await place.users.put(ADA)
        assert place.users.find("ada") == ADA
        assert place.users.find("eve") is None
        assert not place.users.is_empty()

    async def find(place: Place) -> None:
        assert place.users.find("ada") == ADA

    run(tmp_path, put)
    run(tmp_path, find)


def test_a_deleted_user_is_not_found(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.users.put(ADA)
        await place.users.put(User("eve", "hash"))
        await place.users.delete("ada")
        await place.users.delete("never there")
        assert place.users.find("ada") is None
        assert [user.name for user in place.users.all()] == ["eve"]

    run(tmp_path, body)


def test_a_user_that_must_be_new_does_not_replace_one(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.users.put(ADA, must_be_new=True)
        with pytest.raises(RecordExists):
            await place.users.put(User("ada", "other"), must_be_new=True)
        assert place.users.find("ada") == ADA

    run(tmp_path, body)


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "a\x7f", "x" * 256, "\ud800"])
def test_a_name_that_cannot_be_sent_cannot_be_given(tmp_path: Path, name: str) -> None:
    """RFC 7617 §2: Basic credentials end the name at the first colon."""

    async def body(place: Place) -> None:
        with pytest.raises(InvalidRecord, match="user name"):
            await place.users.put(User(name, "hash"))
        assert place.users.find(name) is None

    run(tmp_path, body)


def test_each_change_of_a_user_is_told_by_the_log(tmp_path: Path) -> None:
    """Whoever remembers logins forgets them in the order of the log."""

    async def body(place: Place) -> None:
        told: list[tuple[str, str]] = []
        await place.users.put(ADA)
        await place.users.put(User("børge", "hash"))
        await place.users.put(User("børge", "other"))
        await place.users.update("ada", active=False)
        await place.users.delete("ada")
        with place.engine.snapshot() as snapshot:
            for entry in snapshot.entries(0, limit=1000):
                if entry.kind == Kind.ACCESS:
                    told.append((entry.key.decode(), entry.payload.decode()))
        assert told == [
            ("ada", ""),
            ("børge", ""),
            ("børge", "the user børge got another password"),
            ("ada", "the user ada was deactivated"),
            ("ada", ""),
        ]

    run(tmp_path, body)


def test_a_new_data_directory_gets_an_admin_whose_password_its_owner_alone_reads(
    tmp_path: Path,
) -> None:
    async def body(place: Place) -> None:
        made = await place.ensure()
        file = tmp_path / PASSWORD_FILE
        assert made == FirstAdmin("admin", file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        password = file.read_text().rstrip("\n")
        assert len(password) >= 20
        assert await place.accepts("admin", password)
        found = place.users.find("admin")
        assert found is not None
        assert found.principal.super_user

    run(tmp_path, body)
    assert list(tmp_path.glob(".admin*")) == []


def test_a_second_start_makes_no_second_admin_and_leaves_the_file(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.ensure()
        before = (tmp_path / PASSWORD_FILE).read_text()
        assert await place.ensure() is None
        assert (tmp_path / PASSWORD_FILE).read_text() == before

    run(tmp_path, body)


def test_a_start_that_died_before_the_user_was_written_is_made_good(tmp_path: Path) -> None:
    """The file came first; the next start replaces it and makes the user."""

    async def body(place: Place) -> None:
        (tmp_path / PASSWORD_FILE).write_text("stale\n")
        await place.ensure()
        password = (tmp_path / PASSWORD_FILE).read_text().strip()
        assert password != "stale"
        assert await place.accepts("admin", password)

    run(tmp_path, body)


def test_without_a_password_file_there_is_no_admin_either(tmp_path: Path) -> None:
    """A password that nobody can read would lock everybody out."""

    async def body(place: Place) -> None:
        place.path = tmp_path / "gone"
        with pytest.raises(StorageFailed, match="admin-password"):
            await place.ensure()
        assert place.users.is_empty()

    run(tmp_path, body)


def test_a_given_password_is_the_admins_and_stands_in_no_file(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        assert await place.ensure("root", "g1ven") == FirstAdmin("root", None)
        assert await place.accepts("root", "g1ven")
        assert not (tmp_path / PASSWORD_FILE).exists()

    run(tmp_path, body)


def test_a_given_password_does_not_change_that_of_a_user_that_exists(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says that it is ignored, as long as it is another one; neither is told."""

    async def body(place: Place) -> None:
        await place.ensure("root", "f1rst")
        assert await place.ensure("root", "f1rst") is None
        assert caplog.records == []
        assert await place.ensure("root", "second") is None
        assert await place.accepts("root", "f1rst")

    run(tmp_path, body)
    [line] = caplog.records
    assert line.levelno == logging.WARNING
    assert "admin.password is ignored: the user root exists" in line.getMessage()
    assert "f1rst" not in caplog.text
    assert "second" not in caplog.text


def test_a_second_admin_can_be_given_beside_other_users(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.ensure()
        assert await place.ensure("root", "g1ven") == FirstAdmin("root", None)
        assert await place.accepts("root", "g1ven")

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("name", "password", "key"),
    [("a:b", "g1ven", "admin.username"), ("a", "x" * 5000, "admin.password")],
)
def test_an_admin_that_cannot_be_is_an_error_of_its_setting(
    tmp_path: Path, name: str, password: str, key: str
) -> None:
    async def body(place: Place) -> None:
        with pytest.raises(SettingError) as caught:
            await place.ensure(name, password)
        assert caught.value.key == key

    run(tmp_path, body)
