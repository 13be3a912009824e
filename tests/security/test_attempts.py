"""Guessing is slow, memory is bounded, and nobody can lock somebody else out."""

from __future__ import annotations

import pytest

from lyredb.errors import TooManyAttempts
from lyredb.security.attempts import Attempts, network_of

ADDRESS = "192.0.2.1"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def wait_of(attempts: Attempts, name: str, address: str) -> int:
    try:
        attempts.admit(name, address)
    except TooManyAttempts as error:
        return error.retry_after_s
    return 0


def test_waits_double_after_the_allowed_failures_up_to_the_longest() -> None:
    clock = Clock()
    attempts = Attempts(max_attempts=3, first_wait_s=1, max_wait_s=10, now_s=clock)
    waits = []
    for _ in range(8):
        attempts.failed("ada", ADDRESS)
        waits.append(wait_of(attempts, "ada", ADDRESS))
        clock.now_s += waits[-1]
        assert wait_of(attempts, "ada", ADDRESS) == 0
    assert waits == [0, 0, 1, 2, 4, 8, 10, 10]


def test_an_address_that_tries_many_names_waits() -> None:
    attempts = Attempts(max_attempts=3, now_s=Clock())
    for number in range(3):
        attempts.failed(f"user{number}", ADDRESS)
    assert wait_of(attempts, "another", ADDRESS) == 1
    assert wait_of(attempts, "another", "192.0.2.2") == 0


def test_a_name_that_is_tried_from_many_addresses_waits() -> None:
    attempts = Attempts(max_attempts=3, now_s=Clock())
    for number in range(3):
        attempts.failed("ada", f"192.0.2.{number}")
    assert wait_of(attempts, "ada", "192.0.2.9") == 1


def test_a_user_is_not_locked_out_by_failures_from_elsewhere() -> None:
    attempts = Attempts(max_attempts=3, now_s=Clock())
    attempts.succeeded("ada", "192.0.2.9")
    for _ in range(20):
        attempts.failed("ada", ADDRESS)
    assert wait_of(attempts, "ada", ADDRESS) > 0
    assert wait_of(attempts, "ada", "192.0.2.9") == 0


def test_a_user_is_not_locked_out_by_others_at_the_same_address() -> None:
    """Behind one proxy, or in one house, somebody guesses at other names all the time."""
    clock = Clock()
    attempts = Attempts(max_attempts=3, now_s=clock)
    attempts.succeeded("ada", ADDRESS)
    for number in range(20):
        attempts.failed(f"user{number}", ADDRESS)
    assert wait_of(attempts, "eve", ADDRESS) > 0
    assert wait_of(attempts, "ada", ADDRESS) == 0
    clock.now_s += 1000
    attempts.failed("eve", ADDRESS)
    attempts.failed("eve", ADDRESS)
    attempts.failed("eve", ADDRESS)
    assert wait_of(attempts, "ada", ADDRESS) > 0, "she has not logged in there for long"


def test_who_guesses_where_the_user_works_waits_whatever_the_user_does() -> None:
    attempts = Attempts(max_attempts=3, now_s=Clock())
    attempts.succeeded("ada", ADDRESS)
    for _ in range(3):
        assert wait_of(attempts, "ada", ADDRESS) == 0
        attempts.failed("ada", ADDRESS)
    attempts.succeeded("ada", ADDRESS)
    assert wait_of(attempts, "ada", ADDRESS) == 1


def test_a_success_does_not_clear_the_address() -> None:
    """Who has one account could otherwise guess at others in between."""
    attempts = Attempts(max_attempts=3, now_s=Clock())
    for number in range(3):
        attempts.failed(f"user{number}", ADDRESS)
    attempts.succeeded("mine", ADDRESS)
    assert wait_of(attempts, "user9", ADDRESS) == 1


def test_old_failures_are_forgotten() -> None:
    clock = Clock()
    attempts = Attempts(max_attempts=2, now_s=clock)
    attempts.failed("ada", ADDRESS)
    clock.now_s += 1000
    attempts.failed("ada", ADDRESS)
    assert wait_of(attempts, "ada", ADDRESS) == 0


def test_memory_is_bounded_and_keeps_who_failed_last() -> None:
    attempts = Attempts(max_attempts=1, max_remembered=10, now_s=Clock())
    for number in range(1000):
        attempts.failed(f"user{number}", f"2001:db8:0:{number:x}::1")
    assert len(attempts._by_name) == len(attempts._by_address) == 10
    assert wait_of(attempts, "user999", "") == 1
    assert wait_of(attempts, "user0", "") == 0


def test_no_limit_refuses_nobody() -> None:
    attempts = Attempts(max_attempts=0, now_s=Clock())
    for _ in range(100):
        attempts.failed("ada", ADDRESS)
    assert wait_of(attempts, "ada", ADDRESS) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_everybody_of_one_network_counts_as_one(address: str, network: str) -> None:
    assert network_of(address) == network
