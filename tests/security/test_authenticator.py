"""Logins: right pairs are remembered in bounds, changes of a user are felt at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

import pytest
from argon2 import PasswordHasher

from lyredb.errors import LoginFailed, TooManyAttempts
from lyredb.security.attempts import MAX_ATTEMPTS, MAX_REFUSED
from lyredb.security.authenticator import Account, Authenticator
from lyredb.security.passwords import Passwords
from lyredb.security.principals import ANONYMOUS, SUPER_USER, Role
from lyredb.security.users import User

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class CountedPasswords(Passwords):
    """Counts checks; a gate holds them while it is closed."""

    def __init__(self) -> None:
        super().__init__(CHEAP, threads=1)
        self.checks = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def matches(self, stored: str | None, password: str | bytes) -> bool:
        self.checks += 1
        self.begun.set()
        right = await super().matches(stored, password)
        await self.gate.wait()
        return right


class Place:
    """An authenticator over users in a dict, with a clock that is set by hand."""

    def __init__(self, *, max_remembered: int = 100) -> None:
        self.users: dict[str, User] = {}
        self.now_s = 1000.0
        self.passwords = CountedPasswords()
        self.authenticator = Authenticator(
            self,
            self.passwords,
            cache_ttl_s=30.0,
            max_remembered=max_remembered,
            now_s=lambda: self.now_s,
        )

    def find(self, name: str) -> User | None:
        return self.users.get(name)

    def add(self, name: str, password: str, *, role: str = "super_user") -> None:
        self.users[name] = User(name, CHEAP.hash(password), role)


def run(body: Callable[[Place], Coroutine[None, None, None]], *, max_remembered: int = 100) -> None:
    async def whole() -> None:
        place = Place(max_remembered=max_remembered)
        place.add("ada", "s3cret")
        try:
            await body(place)
        finally:
            await place.authenticator.close()

    asyncio.run(whole())


def test_a_right_pair_is_an_account_with_the_users_role() -> None:
    async def body(place: Place) -> None:
        place.add("bob", "pw", role="reader")
        assert await place.authenticator.verify("ada", "s3cret") == Account("ada", SUPER_USER)
        assert await place.authenticator.verify("bob", "pw") == Account("bob", Role("reader"))

    run(body)


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "wrong"), ("ada", ""), ("eve", "s3cret"), ("", ""), ("Ada", "s3cret")],
)
def test_a_wrong_pair_fails_with_one_sentence_whatever_is_wrong(name: str, password: str) -> None:
    async def body(place: Place) -> None:
        with pytest.raises(LoginFailed, match=r"^Login failed$"):
            await place.authenticator.verify(name, password)
        assert place.passwords.checks == 1
        assert place.authenticator.cached(name, password) is None

    run(body)


def test_an_inactive_user_is_told_so_only_with_the_right_password() -> None:
    async def body(place: Place) -> None:
        place.users["ada"] = replace(place.users["ada"], active=False)
        with pytest.raises(LoginFailed, match="User is inactive"):
            await place.authenticator.verify("ada", "s3cret")
        with pytest.raises(LoginFailed, match=r"^Login failed$"):
            await place.authenticator.verify("ada", "wrong")

    run(body)


def test_a_right_pair_is_answered_from_memory_until_its_time_is_over() -> None:
    async def body(place: Place) -> None:
        authenticator = place.authenticator
        assert authenticator.cached("ada", "s3cret") is None
        account = await authenticator.verify("ada", "s3cret")
        place.now_s += 29.9
        assert authenticator.cached("ada", b"s3cret") == account
        assert await authenticator.verify("ada", "s3cret") == account
        assert place.passwords.checks == 1
        place.now_s += 0.1
        assert authenticator.cached("ada", "s3cret") is None

    run(body)


def test_a_pair_is_not_mistaken_for_another_with_the_same_letters() -> None:
    """Name and password are told apart: ("a", "bc") is not ("ab", "c")."""

    async def body(place: Place) -> None:
        place.add("a:b", "c")
        place.add("a", "b:c")
        await place.authenticator.verify("a:b", "c")
        assert place.authenticator.cached("a", "b:c") is None
        assert place.authenticator.cached("a:b", "x") is None

    run(body)


def test_a_change_of_the_user_is_felt_at_the_next_login() -> None:
    async def body(place: Place) -> None:
        place.add("bob", "pw")
        await place.authenticator.verify("ada", "s3cret")
        await place.authenticator.verify("bob", "pw")
        place.add("ada", "changed")
        place.authenticator.forget("ada")
        assert place.authenticator.cached("ada", "s3cret") is None
        assert place.authenticator.cached("bob", "pw") is not None
        with pytest.raises(LoginFailed):
            await place.authenticator.verify("ada", "s3cret")

    run(body)


def test_a_change_during_a_check_voids_its_answer() -> None:
    """The old password was right when the check began; it must not log in any more."""

    async def body(place: Place) -> None:
        place.passwords.gate.clear()
        login = asyncio.create_task(place.authenticator.verify("ada", "s3cret"))
        await asyncio.wait_for(place.passwords.begun.wait(), 10)
        place.add("ada", "changed")
        place.authenticator.forget("ada")
        place.passwords.gate.set()
        with pytest.raises(LoginFailed):
            await login
        assert place.authenticator.cached("ada", "s3cret") is None

    run(body)


def test_the_same_pair_at_the_same_time_is_checked_once() -> None:
    """A hundred devices that come back after a break share one hash of 100 ms."""

    async def body(place: Place) -> None:
        logins = [place.authenticator.verify("ada", "s3cret") for _ in range(100)]
        accounts = await asyncio.gather(*logins)
        assert set(accounts) == {Account("ada", SUPER_USER)}
        assert place.passwords.checks == 1

    run(body)


def test_a_caller_that_leaves_does_not_take_the_others_check_with_it() -> None:
    async def body(place: Place) -> None:
        place.passwords.gate.clear()
        leaving = asyncio.create_task(place.authenticator.verify("ada", "s3cret"))
        staying = asyncio.create_task(place.authenticator.verify("ada", "s3cret"))
        await asyncio.wait_for(place.passwords.begun.wait(), 10)
        leaving.cancel()
        place.passwords.gate.set()
        assert (await staying).name == "ada"
        assert leaving.cancelled()

    run(body)


def test_noted_credentials_are_recalled_as_long_as_their_pair() -> None:
    """What a protocol carries is a second name of a remembered pair, never a longer life."""

    async def body(place: Place) -> None:
        authenticator = place.authenticator
        authenticator.note(b"carried", "ada", "s3cret")
        assert authenticator.recall(b"carried") is None, "the pair was never right"
        account = await authenticator.verify("ada", "s3cret")
        place.now_s += 20
        authenticator.note(b"carried", "ada", "s3cret")
        assert authenticator.recall(b"carried") == account
        assert authenticator.recall(b"Carried") is None
        place.now_s += 10
        assert authenticator.recall(b"carried") is None

    run(body)


def test_noted_credentials_are_forgotten_with_their_user() -> None:
    async def body(place: Place) -> None:
        await place.authenticator.verify("ada", "s3cret")
        place.authenticator.note(b"carried", "ada", "s3cret")
        place.authenticator.forget("ada")
        assert place.authenticator.recall(b"carried") is None

    run(body)


def test_noted_credentials_never_stand_for_a_pair() -> None:
    """Bytes that look like the inner form of a pair are not taken for it."""

    async def body(place: Place) -> None:
        await place.authenticator.verify("ada", "s3cret")
        assert place.authenticator.recall(b"3:ada:s3cret") is None

    run(body)


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    async def body(place: Place) -> None:
        for name in ("u1", "u2", "u3"):
            place.add(name, "pw")
            await place.authenticator.verify(name, "pw")
        assert place.authenticator.cached("u1", "pw") is None
        assert place.authenticator.cached("u2", "pw") is not None
        assert place.authenticator.statistics().remembered == 2

    run(body, max_remembered=2)


def test_statistics_count_what_happened() -> None:
    async def body(place: Place) -> None:
        await place.authenticator.verify("ada", "s3cret")
        place.authenticator.cached("ada", "s3cret")
        with pytest.raises(LoginFailed):
            await place.authenticator.verify("ada", "no")
        found = place.authenticator.statistics()
        assert (found.verified, found.remembered_hits, found.refused) == (1, 1, 1)

    run(body)


def test_nobody_has_no_rights_and_the_local_caller_all() -> None:
    assert Authenticator.anonymous == Account("", ANONYMOUS)
    assert not ANONYMOUS.super_user
    assert Authenticator.local.principal is SUPER_USER


def test_a_user_does_not_print_its_hash() -> None:
    assert "argon2" not in repr(User("ada", CHEAP.hash("s3cret")))


def test_after_failures_even_the_right_password_waits_and_a_remembered_one_does_not() -> None:
    async def body(place: Place) -> None:
        verify = place.authenticator.verify
        await verify("ada", "s3cret", address="192.0.2.1")
        for number in range(MAX_ATTEMPTS):
            with pytest.raises(LoginFailed):
                await verify("bob", f"wrong {number}", address="192.0.2.1")
        checks = place.passwords.checks
        with pytest.raises(TooManyAttempts):
            await verify("bob", "pw", address="192.0.2.1")
        assert place.passwords.checks == checks, "a guess must cost us nothing"
        assert (await verify("ada", "s3cret", address="192.0.2.1")).name == "ada"
        assert place.authenticator.statistics().delayed == 1

    run(body)


def test_guesses_that_are_sent_at_once_are_not_all_checked() -> None:
    """They were all let in before the first had failed; one thread checks here."""

    async def body(place: Place) -> None:
        verify = place.authenticator.verify
        guesses = [verify("ada", f"guess {n}", address="192.0.2.1") for n in range(40)]
        answers = await asyncio.gather(*guesses, return_exceptions=True)
        assert [type(one) for one in answers[:MAX_ATTEMPTS]] == [LoginFailed] * MAX_ATTEMPTS
        assert {type(one) for one in answers[MAX_ATTEMPTS:]} == {TooManyAttempts}
        assert place.passwords.checks == MAX_ATTEMPTS
        assert place.authenticator.statistics().delayed == 40 - MAX_ATTEMPTS

    run(body)


def test_a_guess_counts_when_its_sender_hangs_up() -> None:
    async def body(place: Place) -> None:
        for number in range(MAX_ATTEMPTS):
            guess = asyncio.create_task(place.authenticator.verify("ada", f"guess {number}"))
            await asyncio.sleep(0)
            check = next(iter(place.authenticator._checks.values()))
            guess.cancel()
            await asyncio.wait([guess, check])
        with pytest.raises(TooManyAttempts):
            await place.authenticator.verify("ada", "s3cret")

    run(body)


def test_who_shares_a_guess_from_elsewhere_is_not_made_to_wait_for_it() -> None:
    """The check was begun for an address that has to wait by now; the other has not."""

    async def body(place: Place) -> None:
        place.users["bob"] = replace(place.users["ada"], name="bob")
        place.passwords.gate.clear()
        verify = place.authenticator.verify
        guesses = [verify("nobody", f"guess {n}", address="192.0.2.1") for n in range(8)]
        tasks = [asyncio.create_task(guess) for guess in guesses]
        tasks += [
            asyncio.create_task(verify("bob", "s3cret", address=address))
            for address in ("192.0.2.1", "192.0.2.2")
        ]
        await asyncio.wait_for(place.passwords.begun.wait(), 10)
        place.passwords.gate.set()
        *_, beside, elsewhere = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(beside, TooManyAttempts)
        assert elsewhere == Account("bob", SUPER_USER)

    run(body)


def test_who_has_to_wait_cannot_guess_by_what_is_remembered_of_others() -> None:
    """Memory would say yes to the right password and nothing to a wrong one, at any speed."""

    async def body(place: Place) -> None:
        authenticator = place.authenticator
        await authenticator.verify("ada", "s3cret", address="192.0.2.1")
        authenticator.note(b"carried", "ada", "s3cret")
        for number in range(MAX_ATTEMPTS):
            with pytest.raises(LoginFailed):
                await authenticator.verify("ada", f"wrong {number}", address="192.0.2.2")
        with pytest.raises(TooManyAttempts):
            await authenticator.verify("ada", "s3cret", address="192.0.2.2")
        assert authenticator.cached("ada", "s3cret", "192.0.2.2") is None
        assert authenticator.recall(b"carried", "192.0.2.2") is None
        assert authenticator.recall(b"carried", "192.0.2.1") == Account("ada", SUPER_USER)

    run(body)


@pytest.mark.parametrize(("tries", "answered"), [(MAX_REFUSED - 1, True), (MAX_REFUSED, False)])
def test_where_the_user_works_memory_answers_until_somebody_hammers(
    tries: int, answered: bool
) -> None:
    """A program with an old password keeps nobody out; a guesser gets no oracle."""

    async def body(place: Place) -> None:
        verify = place.authenticator.verify
        await verify("ada", "s3cret", address="192.0.2.1")
        for number in range(MAX_ATTEMPTS):
            with pytest.raises(LoginFailed):
                await verify("ada", f"wrong {number}", address="192.0.2.1")
        for number in range(tries):
            with pytest.raises(TooManyAttempts):
                await verify("ada", f"guess {number}", address="192.0.2.1")
        found = place.authenticator.cached("ada", "s3cret", "192.0.2.1")
        assert (found is not None) is answered

    run(body)


def test_somebody_who_was_proven_otherwise_needs_no_password() -> None:
    async def body(place: Place) -> None:
        place.users["eve"] = User("eve", "hash", active=False)
        assert place.authenticator.by_name("ada") == Account("ada", SUPER_USER)
        assert place.authenticator.by_name("eve") is None
        assert place.authenticator.by_name("nobody") is None

    run(body)


def test_a_user_that_changes_between_the_check_and_its_use_is_checked_again() -> None:
    """Whoever waits for the check could not have watched for the change yet."""

    async def body(place: Place) -> None:
        place.passwords.gate.clear()
        login = asyncio.create_task(place.authenticator.verify("ada", "s3cret"))
        await place.passwords.begun.wait()
        place.passwords.gate.set()
        check = next(iter(place.authenticator._checks.values()))
        check.add_done_callback(lambda _: demote())

        def demote() -> None:
            place.users["ada"] = replace(place.users["ada"], role="reader", version=9)
            place.authenticator.forget("ada")

        assert await login == Account("ada", Role("reader"))

    run(body)
