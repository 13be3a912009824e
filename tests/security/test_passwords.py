"""Passwords are argon2id, checked beside the loop and in bounds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, Type, extract_parameters

from lyredb.errors import Overloaded
from lyredb.security.passwords import MAX_PASSWORD_BYTES, Passwords

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(CHEAP)
    yield made
    made.close()


class HeldHasher(PasswordHasher):
    """Counts what it is asked and waits until it is let go."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.go = threading.Event()
        self.begun = threading.Event()
        self.asked: list[str | bytes] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # narrower on purpose
        self.asked.append(hash)
        self.begun.set()
        assert self.go.wait(10)
        return super().verify(hash, password)


def test_a_hash_is_argon2id_with_the_costs_of_rfc_9106() -> None:
    """RFC 9106 §4, second recommended option; each hash has a salt of its own."""

    async def body() -> None:
        passwords = Passwords()
        first = await passwords.hash("s3cret")
        second = await passwords.hash("s3cret")
        found = extract_parameters(first)
        assert (found.type, found.time_cost, found.memory_cost) == (Type.ID, 3, 65536)
        assert first != second
        passwords.close()

    asyncio.run(body())


@pytest.mark.parametrize("password", ["s3cret", b"\xff\x00binary", "ünï ✓", "\ud800"])
def test_a_password_matches_its_own_hash_only(passwords: Passwords, password: str | bytes) -> None:
    async def body() -> None:
        stored = await passwords.hash(password)
        assert await passwords.matches(stored, password)
        assert not await passwords.matches(stored, b"other")
        assert not await passwords.matches(stored, b"")

    asyncio.run(body())


@pytest.mark.parametrize("password", ["", b"", "x" * (MAX_PASSWORD_BYTES + 1)])
def test_an_empty_or_endless_password_cannot_be_set(passwords: Passwords, password: str) -> None:
    with pytest.raises(ValueError, match="1 to 4096 bytes"):
        asyncio.run(passwords.hash(password))


def test_an_endless_password_does_not_match_its_beginning(passwords: Passwords) -> None:
    async def body() -> None:
        longest = b"x" * MAX_PASSWORD_BYTES
        stored = await passwords.hash(longest)
        assert await passwords.matches(stored, longest)
        assert not await passwords.matches(stored, longest + b"x")

    asyncio.run(body())


@pytest.mark.parametrize("stored", ["", "no hash", "$argon2id$v=19$m=8,t=1,p=1$AA$AA"])
def test_a_damaged_hash_matches_nothing(passwords: Passwords, stored: str) -> None:
    assert not asyncio.run(passwords.matches(stored, "s3cret"))


def test_an_unknown_user_costs_a_whole_check_with_the_same_parameters() -> None:
    """Else the time of an answer tells which user names exist."""
    hasher = HeldHasher()
    hasher.go.set()
    passwords = Passwords(hasher)
    assert not asyncio.run(passwords.matches(None, "s3cret"))
    passwords.close()
    [against] = hasher.asked
    assert isinstance(against, str)
    assert extract_parameters(against) == extract_parameters(hasher.hash("x"))


def test_beyond_the_bound_a_check_is_turned_away_and_the_loop_goes_on() -> None:
    async def body() -> None:
        hasher = HeldHasher()
        passwords = Passwords(hasher, threads=1, max_waiting=2)
        stored = hasher.hash("s3cret")
        held = [asyncio.create_task(passwords.matches(stored, "s3cret")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await passwords.matches(stored, "s3cret")
        hasher.go.set()
        assert await asyncio.gather(*held) == [True, True]
        assert await passwords.matches(stored, "s3cret")
        passwords.close()

    asyncio.run(body())


def test_who_waits_for_a_turn_is_bounded_and_gives_it_back() -> None:
    async def body() -> None:
        passwords = Passwords(CHEAP, threads=1, max_waiting=2)
        async with passwords.turn():
            waiting = asyncio.create_task(passwords.turn().__aenter__())
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await passwords.turn().__aenter__()
            assert not waiting.done()
            waiting.cancel()
            await asyncio.wait([waiting])
        async with passwords.turn():
            pass
        passwords.close()

    asyncio.run(body())


def test_a_caller_that_gives_up_still_counts_until_its_check_ends() -> None:
    """Else a client could start one check after the other by hanging up."""

    async def body() -> None:
        hasher = HeldHasher()
        passwords = Passwords(hasher, threads=1, max_waiting=1)
        stored = hasher.hash("s3cret")
        leaving = asyncio.create_task(passwords.matches(stored, "s3cret"))
        assert await asyncio.to_thread(hasher.begun.wait, 10)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        with pytest.raises(Overloaded):
            await passwords.matches(stored, "s3cret")
        hasher.go.set()
        passwords.close()

    asyncio.run(body())
