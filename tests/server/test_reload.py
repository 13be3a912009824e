"""SIGHUP: what can change while the server runs does, the rest is named."""

from __future__ import annotations

import json
import os
import pty
import signal
from pathlib import Path

import httpx
import pytest

from lyredb.errors import SettingError
from lyredb.plugins.scope import Settings
from lyredb.plugins.settings import Setting
from lyredb.server.launch import prepare_launch
from lyredb.server.lifecycle import StopRequest
from lyredb.server.reload import Reload, changed
from lyredb.server.settings import SettingsInForce
from tests.server.process import Server, make_application
from tests.server.process_tree import children_of, eventually

ROWS = (
    Setting("a.live", 1, "integer", "May change.", live=True),
    Setting("a.fixed", 1, "integer", "May not."),
)
VARIABLES = {"LYREDB_ADMIN_PASSWORD": "pw"}


def in_force(live: int, fixed: int) -> SettingsInForce:
    return SettingsInForce({"a.live": live, "a.fixed": fixed})


def test_changes_are_told_apart_by_their_rows() -> None:
    assert changed(ROWS, in_force(1, 1), in_force(1, 1)) == ([], [])
    assert changed(ROWS, in_force(1, 1), in_force(2, 2)) == (["a.live"], ["a.fixed"])


def test_a_hook_that_fails_keeps_nobody_else_from_the_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reload = Reload()
    seen: list[int] = []

    def fail(settings: Settings) -> None:
        raise RuntimeError("broken hook")

    reload(fail)
    reload(lambda settings: seen.append(settings.integer("a.live")))
    reload.run(in_force(7, 1))
    assert seen == [7]
    assert "broken hook" in caplog.text


def test_without_a_terminal_a_hangup_reloads_all_processes(tmp_path: Path) -> None:
    app = make_application(tmp_path, config="logging.level: info\nhttp.maxBodySize: 2kB\n")
    with Server("run", app, variables=VARIABLES, start_new_session=True) as server:
        (app / "config.yaml").write_text("logging.level: debug\nhttp.maxBodySize: 3kB\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "a restart is needed" in server.log.read_text(), "the news")
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        told = [line["message"] for line in lines if line["process"] == "supervisor"]
        assert "reloaded; changed settings: logging.level" in told
        assert "a restart is needed for: http.maxBodySize" in told
        httpx.put(f"{server.http}/Sensor/a", json={"value": 1}, auth=("admin", "wrong"))
        code, _ = server.stop()
        assert code == 0


def test_a_file_that_comes_or_goes_counts_as_at_a_start(tmp_path: Path) -> None:
    """Whoever writes the first config.yaml beside a running server reloads for its sake."""
    app = make_application(tmp_path)
    launch = prepare_launch(app, mode="run", flags={}, config=None, environment={})

    def level() -> str:
        return launch.sources.read(launch.plugins).text("logging.level")

    assert level() == "info"
    (app / "config.yaml").write_text("logging.level: debug\n")
    assert level() == "debug"
    (app / "config.yaml").unlink()
    assert level() == "info"


def test_a_file_that_was_asked_for_has_to_stay(tmp_path: Path) -> None:
    config = tmp_path / "more.yaml"
    config.write_text("logging.level: debug\n")
    app = make_application(tmp_path)
    launch = prepare_launch(app, mode="run", flags={}, config=config, environment={})
    config.unlink()
    with pytest.raises(SettingError, match="cannot be read"):
        launch.sources.read(launch.plugins)


def test_a_file_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    app = make_application(tmp_path, config="logging.level: info\n")
    with Server("run", app, variables=VARIABLES, start_new_session=True) as server:
        before = children_of(server.process.pid)
        (app / "config.yaml").write_text("logging.level: loud\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "nothing is reloaded" in server.log.read_text(), "the news")
        assert "logging.level" in server.log.read_text()
        assert httpx.get(f"{server.http}/health").status_code == 200
        assert children_of(server.process.pid) == before


def test_what_was_reloaded_stays_when_a_process_is_started_again(tmp_path: Path) -> None:
    app = make_application(tmp_path, config="threads.maxSilence: 60s\n")
    with Server("run", app, variables=VARIABLES, start_new_session=True) as server:
        (app / "config.yaml").write_text("threads.maxSilence: 1s\nlogging.level: error\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "reloaded; changed" in server.log.read_text(), "the news")
        old = children_of(server.process.pid)["worker-1"]
        os.kill(old, signal.SIGSTOP)
        eventually(
            lambda: children_of(server.process.pid).get("worker-1", old) != old, "another worker"
        )
        assert httpx.get(f"{server.http}/health", timeout=20).status_code == 200


def test_with_a_terminal_a_hangup_is_its_end(tmp_path: Path) -> None:
    """What a closed terminal sends must end the server, as it does with every program."""
    app = make_application(tmp_path)
    leader, follower = pty.openpty()
    try:
        with Server("run", app, variables=VARIABLES, terminal=follower) as server:
            os.close(leader)  # the terminal is closed: the kernel sends SIGHUP
            leader = -1
            assert server.process.wait(10) == 0
            assert "reloaded" not in server.log.read_text()
    finally:
        os.close(follower)
        if leader >= 0:
            os.close(leader)


def test_reload_is_not_asked_for_once_the_end_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lyredb.server.lifecycle.has_terminal", lambda: False)
    reloads: list[int] = []
    exits: list[int] = []
    request = StopRequest(exits.append, reload=lambda: reloads.append(1))
    request.receive(signal.SIGHUP)
    request.receive(signal.SIGTERM)
    request.receive(signal.SIGHUP)
    assert (reloads, exits) == ([1], [])
