"""Sleeping sessions and many subscriptions: what is measured is what it says it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.load.client import LoadFailed, MqttLogin
from bench.load.packets import publish
from bench.peers.lyredb import lyredb_at
from bench.result import Figure, Report
from bench.scenarios.plan import Plan
from bench.sessions.churn import A_SECOND, churn
from bench.sessions.filling import disk_bytes, fill_night, filling, make_home, session_bytes
from bench.sessions.night import Case, Night, night_of
from bench.sessions.page import renew, section, write_part
from bench.sessions.sleeping import kept, sleepers
from bench.sessions.subscribing import subscribing
from bench.sessions.wakes import wakes
from bench.sessions.waking import LEVEL, wake


def test_each_session_has_as_many_messages_as_it_says() -> None:
    """Spread over the whole night, and no entry more than the log is to get."""
    night = night_of(entries=4_000, wakes=3, records=50)
    got = Counter(night.messages())
    assert sum(got.values()) == 4_000
    for case in night.cases:
        if case.kind == "topic":
            assert [got[record] for record in case.records()] == [case.waiting] * case.sessions
        else:
            assert sum(got[record] for record in case.records()) == case.waiting
    places = [place for place, _ in night.cases[4].messages(4_000)]
    assert places == sorted(places)
    assert places[-1] - places[0] > 3_000


def test_sessions_wake_with_what_waits_for_them(tmp_path: Path) -> None:
    """By a topic, a prefix and a wildcard inside; clients that get other things are trouble."""
    found = wakes(tmp_path, entries=8_000, count=2, records=50)
    assert [each.trouble for each in found] == [""] * 9
    assert not any(each.conditions.startswith("0 durable sessions") for each in found)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("waiting", "wrong"), [(1, "more messages"), (3, "do not get what waits")])
def test_a_wake_with_other_messages_is_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int, wrong: str
) -> None:
    """Neither a loss nor a double may look quick."""
    monkeypatch.setattr("bench.sessions.waking.STALL_S", 2.0)
    home = tmp_path / "night"
    fill_night(home, Night(100, 10, (Case("topic", 2, 1),)))
    with lyredb_at(home) as running:
        woken = wake(running.mqtt, _Pretended("topic", waiting, 1), 10.0)
    assert wrong in woken.trouble


class _Pretended(Case):
    """A case whose sessions are those of another one."""

    def client_id(self, number: int) -> str:
        return Case("topic", 2, 1).client_id(number)


def test_sleepers_are_made_as_clients_leave_them(tmp_path: Path) -> None:
    """One that was made is taken up, and its filter brings what comes."""
    home = tmp_path / "home"
    make_home(home)
    with filling(home):
        pass
    before = disk_bytes(home), session_bytes(home)
    with filling(home) as made:
        made.sleep(sleepers(1_200, 0, 2**31))
    assert disk_bytes(home) > before[0]
    assert session_bytes(home) > before[1]
    with lyredb_at(home) as running:
        login = MqttLogin(LEVEL, durable=True)
        client = login.resume(running.mqtt, "device-001199")
        client.socket.sendall(publish("Bench/device-001199/commands", b"go", level=LEVEL))
        assert b"go" in client.socket.recv(1_000)
        client.close()
        with pytest.raises(LoadFailed, match="should be there"):
            login.resume(running.mqtt, "device-001200")


@pytest.mark.timeout(180)  # it starts two servers
def test_what_sleepers_take_is_measured(tmp_path: Path) -> None:
    """Disk, history, memory and start."""
    found = kept(tmp_path / "kept", 40)
    assert [each.trouble for each in found] == [""] * 4
    assert all(each.subject for each in found[:2])


def test_subscriptions_are_measured() -> None:
    """Both ways, and every message that is published among them comes."""
    found = subscribing(200)
    assert [each.trouble for each in found] == [""] * 10


@pytest.mark.timeout(180)  # it starts a server and three loads
def test_subscribing_beside_traffic_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the rate that was reached, brought to the one that is told."""
    monkeypatch.setattr("bench.sessions.churn.ROUNDS", "AB")
    (found,) = churn(Plan(tmp_path, round_s=0.3, order="ABA", level=4, payload_bytes=64))
    assert found.trouble == ""
    assert f"here for {A_SECOND:,}" in found.conditions


def test_the_page_shows_each_part_with_its_own_conditions(tmp_path: Path) -> None:
    """A part that is measured anew replaces itself alone; what went wrong is shown."""
    file = tmp_path / "sessions.json"
    assert section(file) == ""
    for title, value, trouble in (("wakes", 1.5, ""), ("churn", 7.0, "lost"), ("wakes", 0.5, "")):
        figure = Figure(
            f"a {title}", "ms", "20 clients", value, {}, "at most 2", value < 2, trouble
        )
        write_part(file, title, Report(f"run with {value}", figures=[figure]))
    shown = section(file)
    assert "| a wakes | ms | 0.50 | at most 2 | yes |" in shown
    assert "| a churn | ms | 7.00 | at most 2 | NO |" in shown
    assert "Trouble in a churn: lost." in shown
    assert [f"run with {value}" in shown for value in (1.5, 7.0, 0.5)] == [False, True, True]
    page = tmp_path / "page.md"
    page.write_text("# Benchmarks\n")
    for _ in range(2):
        renew(page, file)
        assert page.read_text() == "# Benchmarks\n" + shown
