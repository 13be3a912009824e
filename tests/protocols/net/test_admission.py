"""Who is let in: totals, addresses, rates, and what is remembered of them."""

from __future__ import annotations

import logging

import pytest

from lyredb.protocols.net import admission as module
from lyredb.protocols.net.addresses import is_loopback, neighbourhood
from lyredb.protocols.net.admission import Admission, AdmissionLimits


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def an_admission(
    connections: int = 100, per_address: int = 100, per_second: int = 1_000
) -> tuple[Admission, Clock]:
    clock = Clock()
    return Admission(AdmissionLimits(connections, per_address, per_second), clock=clock), clock


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_counts_as_its_neighbourhood(host: str, place: str) -> None:
    assert neighbourhood(host) == place


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_told_in_each_form(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback("128.0.0.1")
    assert not is_loopback("")


def test_the_total_is_a_bound_on_everybody_loopback_too() -> None:
    admission, _ = an_admission(connections=2)
    assert admission.enter("192.0.2.1") == ""
    assert admission.enter("127.0.0.1") == ""
    assert admission.enter("127.0.0.1") == "full"
    admission.leave("192.0.2.1")
    assert admission.enter("127.0.0.1") == ""


def test_ports_that_look_after_the_server_have_places_that_others_cannot_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are bounded too."""
    monkeypatch.setattr(module, "RESERVED", 2)
    admission, _ = an_admission(connections=1)
    assert admission.enter("192.0.2.1") == ""
    assert admission.enter("127.0.0.1") == "full"
    reserved = [admission.enter("127.0.0.1", is_reserved=True) for _ in range(3)]
    assert reserved == ["", "", "full"]


def test_one_address_takes_no_more_than_its_share() -> None:
    admission, _ = an_admission(per_address=2)
    assert [admission.enter("192.0.2.1") for _ in range(3)] == ["", "", "address"]
    assert admission.enter("192.0.2.2") == ""
    admission.leave("192.0.2.1")
    assert admission.enter("192.0.2.1") == ""


def test_a_whole_network_of_ipv6_is_one_address() -> None:
    admission, _ = an_admission(per_address=2)
    hosts = [f"2001:db8::{number}" for number in range(1, 4)]
    assert [admission.enter(host) for host in hosts] == ["", "", "address"]
    assert admission.enter("2001:db8:0:1::1") == ""


def test_the_rate_gives_a_burst_and_then_its_pace() -> None:
    """Also to somebody who leaves at once: the bucket outlives the connection."""
    admission, clock = an_admission(per_second=2)
    for _ in range(20):
        assert admission.enter("192.0.2.1") == ""
        admission.leave("192.0.2.1")
    assert admission.enter("192.0.2.1") == "rate"
    clock.now += 0.5
    assert admission.enter("192.0.2.1") == ""
    assert admission.enter("192.0.2.1") == "rate"


def test_loopback_has_no_limit_of_its_own() -> None:
    admission, _ = an_admission(per_address=1, per_second=1)
    assert [admission.enter("127.0.0.1") for _ in range(50)] == [""] * 50


def test_what_is_remembered_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_IDLE", 10)
    admission, _ = an_admission()
    for number in range(100):
        admission.enter(f"192.0.2.{number}")
        admission.leave(f"192.0.2.{number}")
    assert admission.statistics().addresses == 10
    assert admission.statistics().open == 0


def test_refusals_are_counted_and_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    admission, clock = an_admission(per_address=1)
    with caplog.at_level(logging.WARNING, "lyredb.net"):
        admission.enter("192.0.2.1")
        for _ in range(5):
            admission.enter("192.0.2.1")
        assert len(caplog.records) == 1
        clock.now += 2.0
        admission.enter("192.0.2.1")
    assert "4 more" in caplog.records[1].getMessage()
    assert "192.0.2.1" in caplog.records[0].getMessage()
    assert admission.statistics().refused_address == 6


def test_workers_share_the_limits_of_the_server() -> None:
    shared = AdmissionLimits(1_000, 10, 3).shared_by(4)
    assert shared == AdmissionLimits(250, 3, 1)
