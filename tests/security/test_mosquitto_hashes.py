"""Hashes of mosquitto's password files are checked as they are, and replaced at a login."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from argon2 import PasswordHasher

from lyredb.errors import InvalidRecord, LoginFailed, StorageFailed
from lyredb.security.authenticator import Authenticator
from lyredb.security.mosquitto_hashes import (
    MAX_ITERATIONS,
    is_mosquitto_hash,
    matches_mosquitto_hash,
)
from lyredb.security.passwords import Passwords, is_known_hash
from lyredb.security.rights import RoleDefinition
from lyredb.security.users import User
from tests.security.store import Place, run

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PBKDF2 = (
    "$7$101$KIhVA2M+9Y9pDJME$Lz0QXLuKg/4q1EL1D6TZ7o4zP6EbOlkvJd5Uc0jUDh2PUX4WpcLlNYsontv7D0"
    "egeWihMpfbpkptL3GcfAYSPA=="
)
SHA512 = (
    "$6$zJY4h9Y56Jn2YK65$deLUC7LqdB3/ssZG8gu1q/Z0vt579im7qsDVnZvgRwcT1eYbGlmyesgQ1XXTU1ufwF"
    "J47Z+rYOXR3EnoziLZuQ=="
)


@pytest.mark.parametrize(("stored", "password"), [(PBKDF2, b"secret"), (SHA512, b"secret6")])
def test_hashes_that_mosquitto_passwd_made_are_checked(stored: str, password: bytes) -> None:
    """Made by mosquitto_passwd 2.0.11."""
    assert is_known_hash(stored)
    assert matches_mosquitto_hash(stored, password)
    assert not matches_mosquitto_hash(stored, password + b"x")
    assert not matches_mosquitto_hash(stored, b"")


@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="needs mosquitto_passwd")
@pytest.mark.parametrize("kind", ["sha512", "sha512-pbkdf2"])
def test_files_of_the_installed_mosquitto_passwd_are_read(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    command = ["mosquitto_passwd", "-H", kind, "-c", "-b", str(file), "eve", "pä ss:$1"]
    subprocess.run(command, check=True, capture_output=True)
    _, _, stored = file.read_text().strip().partition(":")
    assert matches_mosquitto_hash(stored, "pä ss:$1".encode())


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "$5$a$b",
        PBKDF2.replace("$101$", "$0$"),
        PBKDF2.replace("$101$", f"${MAX_ITERATIONS + 1}$"),
        PBKDF2.replace("$101$", "$-1$"),
        PBKDF2.replace("$101$", "$²$"),
        PBKDF2[:-6],
        SHA512.replace("zJY4", "zJ*4"),
        "$6$$" + SHA512.rpartition("$")[2],
        "$6$zJY4h9Y56Jn2YK65$",
    ],
)
def test_other_texts_are_no_hashes_and_match_nothing(stored: str) -> None:
    assert not is_mosquitto_hash(stored)
    assert not is_known_hash(stored)
    assert not matches_mosquitto_hash(stored, b"")


class Counting(PasswordHasher):
    """Counts the checks that take long."""

    checks = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.checks += 1
        return super().verify(hash, password)


def test_a_wrong_password_takes_as_long_as_for_everybody() -> None:
    """Else the speed of a refusal would tell who was imported."""

    async def body() -> None:
        hasher = Counting(time_cost=1, memory_cost=8, parallelism=1)
        passwords = Passwords(hasher)
        assert not await passwords.matches(PBKDF2, "wrong")
        assert hasher.checks == 1
        passwords.close()

    asyncio.run(body())


async def imported(place: Place) -> Authenticator:
    await place.roles.put(RoleDefinition("r"))
    await place.users.put(User("eve", PBKDF2, "r"))
    return Authenticator(place.users, Passwords(CHEAP), rehash=place.users.rehash)


def test_the_first_login_gives_the_password_a_hash_of_ours(tmp_path: Path) -> None:
    """The login itself and what it issues hold: nothing is told to be void."""

    async def body(place: Place) -> None:
        authenticator = await imported(place)
        with pytest.raises(LoginFailed):
            await authenticator.verify("eve", "wrong")
        known = place.users.find("eve")
        assert known is not None
        assert known.password == PBKDF2
        account = await authenticator.verify("eve", "secret")
        assert account.name == "eve"
        renewed = place.users.find("eve")
        assert renewed is not None
        assert renewed.password.startswith("$argon2id$")
        assert CHEAP.verify(renewed.password, "secret")
        assert [entry.payload for entry in place.access_entries()][-1] == b""
        authenticator.forget("eve")
        assert (await authenticator.verify("eve", "secret")).name == "eve"
        assert place.users.find("eve") == renewed
        await authenticator.close()

    run(tmp_path, body)


def test_a_login_does_not_depend_on_the_new_hash(tmp_path: Path) -> None:
    """A full disk keeps nobody out."""

    async def body(place: Place) -> None:
        await imported(place)

        async def failing(name: str, before: str, after: str) -> None:
            raise StorageFailed("no")

        authenticator = Authenticator(place.users, Passwords(CHEAP), rehash=failing)
        assert (await authenticator.verify("eve", "secret")).name == "eve"
        await authenticator.close()

    run(tmp_path, body)


def test_a_hash_that_changed_meanwhile_stays(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await imported(place)
        await place.users.update("eve", password="other")
        await place.users.rehash("eve", PBKDF2, "mine")
        user = place.users.find("eve")
        assert user is not None
        assert user.password == "other"

    run(tmp_path, body)


def test_adding_all_leaves_who_is_there_and_never_touches_who_administers(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await imported(place)
        await place.users.put(User("boss", "h"))
        users = [User("eve", "h1", "r"), User("boss", "h2", "r"), User("new", "h3", "r")]
        _, written = await place.users.add_all(users, replacing=False)
        assert written == ["new"]
        _, written = await place.users.add_all(users, replacing=True)
        assert written == ["eve"]
        boss = place.users.find("boss")
        assert boss is not None
        assert (boss.password, boss.role) == ("h", "super_user")

    run(tmp_path, body)


def test_adding_all_writes_nothing_when_one_is_wrong(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await imported(place)
        for wrong in (User("a:b", "h", "r"), User("b", "h", "nothing")):
            with pytest.raises(InvalidRecord):
                await place.users.add_all([User("a", "h", "r"), wrong], replacing=False)
        assert place.users.find("a") is None

    run(tmp_path, body)
