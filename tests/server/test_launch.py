"""What is started: where its data is, and what a mode refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyredb.errors import SettingError
from lyredb.server.launch import Launch, Mode, prepare_launch


def launch(folder: Path, mode: Mode, **settings: object) -> Launch:
    return prepare_launch(folder, mode=mode, flags=settings, config=None, environment={})


def test_what_was_tried_without_credentials_is_not_served_with_them(tmp_path: Path) -> None:
    """Two folders below the application: dev data never becomes that of a server."""
    assert launch(tmp_path, "dev").data_dir == tmp_path / ".lyredb"
    assert launch(tmp_path, "run").data_dir == tmp_path / "data"


@pytest.mark.parametrize("mode", ["dev", "run"])
def test_the_data_is_where_one_says(tmp_path: Path, mode: Mode) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert launch(tmp_path, mode, **{"storage.path": str(elsewhere)}).data_dir == elsewhere


def test_only_dev_lets_this_machine_in_without_credentials(tmp_path: Path) -> None:
    assert launch(tmp_path, "dev").authorize_local
    assert not launch(tmp_path, "run").authorize_local


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_dev_listens_on_loopback(tmp_path: Path, host: str) -> None:
    launch(tmp_path, "dev", **{"network.host": host})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_dev_listens_nowhere_else(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingError, match="lyredb run"):
        launch(tmp_path, "dev", **{"network.host": host})
    launch(tmp_path, "run", **{"network.host": host})


def test_a_server_without_any_http_port_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"http\.port"):
        launch(tmp_path, "run", **{"http.port": "off"})


@pytest.mark.parametrize("wanted", ["true", "required"])
def test_certificates_that_nobody_is_asked_for_are_refused(tmp_path: Path, wanted: str) -> None:
    """The plain port would be open to all, to whom a certificate was thought to be needed."""
    with pytest.raises(SettingError, match=r"http\.securePort is off"):
        launch(tmp_path, "run", **{"http.mtls": wanted})
    launch(tmp_path, "run", **{"http.mtls": wanted, "http.securePort": 0})


@pytest.mark.parametrize("mode", ["dev", "run"])
def test_an_empty_host_is_not_every_interface(tmp_path: Path, mode: Mode) -> None:
    """The system takes it for 0.0.0.0; an empty variable must not open a server."""
    with pytest.raises(SettingError) as caught:
        launch(tmp_path, mode, **{"network.host": ""})
    assert caught.value.key == "network.host"


def test_a_log_larger_than_the_data_file_is_refused(tmp_path: Path) -> None:
    sizes: dict[str, object] = {"storage.mapSize": "64MiB", "storage.logSize": "65MiB"}
    with pytest.raises(SettingError, match=r"storage\.logSize.*storage\.mapSize"):
        launch(tmp_path, "run", **sizes)
    launch(tmp_path, "run", **{**sizes, "storage.logSize": "64MiB"})


def test_a_small_data_file_alone_is_fine(tmp_path: Path) -> None:
    """The log's default size is for the usual data file; the store takes less of a small one."""
    launch(tmp_path, "run", **{"storage.mapSize": "64MiB"})


def test_auto_is_a_number_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lyredb.server.launch.usable_processors", lambda: 7)
    assert launch(tmp_path, "run").workers == 7
    assert launch(tmp_path, "run", **{"threads.count": 3}).workers == 3
    # One process has one, whatever the application's file says for `lyredb run`.
    assert launch(tmp_path, "dev", **{"threads.count": 3}).workers == 1


def test_elsewhere_than_on_linux_there_is_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert launch(tmp_path, "run").workers == 1
    with pytest.raises(SettingError, match="needs Linux"):
        launch(tmp_path, "run", **{"threads.count": 2})
