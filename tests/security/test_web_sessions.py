"""Sessions of browsers: known by a secret that is not stored, void with their user."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyredb.errors import LoginFailed
from lyredb.security.authenticator import Account
from lyredb.security.principals import SUPER_USER
from lyredb.security.rights import RoleDefinition
from lyredb.security.users import User
from lyredb.storage.layout import SESSION_SLOT
from tests.security.store import Place, run

ADA = User("ada", "hash")
BOB = User("bob", "hash")


def rows(place: Place) -> int:
    with place.engine.snapshot() as snapshot:
        return sum(1 for _ in snapshot.scan_stored(SESSION_SLOT))


def test_a_session_is_found_by_its_secret_until_it_is_removed(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.users.put(ADA)
        new = await place.sessions.create("ada")
        assert new.secret not in repr(new)
        assert place.sessions.find(new.secret) == Account("ada", SUPER_USER)
        for other in ("", "x", new.secret[:-1], "x" * 10_000):
            assert place.sessions.find(other) is None
        await place.sessions.remove(new.secret)
        assert place.sessions.find(new.secret) is None
        assert rows(place) == 0

    run(tmp_path, body)


def test_the_secret_stands_neither_in_the_store_nor_in_the_log(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.users.put(ADA)
        new = await place.sessions.create("ada")
        with place.engine.snapshot() as snapshot:
            written = [key + stored for key, stored in snapshot.scan(SESSION_SLOT)]
            written += [entry.key + entry.image for entry in snapshot.entries(0, limit=1000)]
        assert not any(new.secret.encode() in one for one in written)

    run(tmp_path, body)


def test_a_session_ends_with_its_time_and_a_later_login_sweeps_it(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.users.put(ADA)
        new = await place.sessions.create("ada")
        place.now_s += 999
        assert place.sessions.find(new.secret) is not None
        place.now_s += 1
        assert place.sessions.find(new.secret) is None
        place.now_s += 3600
        await place.sessions.create("ada")
        assert rows(place) == 1

    run(tmp_path, body)


@pytest.mark.parametrize("how", ["deleted", "deactivated", "password", "role"])
def test_a_change_of_the_user_ends_its_sessions_and_no_others(tmp_path: Path, how: str) -> None:
    async def body(place: Place) -> None:
        await place.users.put(ADA)
        await place.users.put(BOB)
        await place.roles.put(RoleDefinition("reader"))
        hers = [(await place.sessions.create("ada")).secret for _ in range(3)]
        his = (await place.sessions.create("bob")).secret
        match how:
            case "deleted":
                await place.users.delete("ada")
            case "deactivated":
                await place.users.update("ada", active=False)
            case "password":
                await place.users.update("ada", password="other")
            case _:
                await place.users.update("ada", role="reader")
        assert [place.sessions.find(secret) for secret in hers] == [None] * 3
        assert place.sessions.find(his) is not None
        assert rows(place) == 1

    run(tmp_path, body)


def test_nobody_gets_a_session_who_cannot_log_in(tmp_path: Path) -> None:
    async def body(place: Place) -> None:
        await place.users.put(ADA)
        await place.users.put(User("eve", "hash", active=False))
        for name in ("eve", "nobody"):
            with pytest.raises(LoginFailed):
                await place.sessions.create(name)

    run(tmp_path, body)
