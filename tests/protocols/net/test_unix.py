"""Unix sockets: what is replaced, and what is left alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lyredb.errors import SettingError
from lyredb.protocols.net.addresses import UNIX, is_loopback
from lyredb.protocols.net.unix import bind_unix


def test_the_file_has_the_permissions_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_unix(str(path), "600", "here"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_socket_that_nobody_serves_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    bind_unix(path, "660", "here").close()
    bind_unix(path, "660", "here").close()


def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with bind_unix(path, "660", "here"), pytest.raises(SettingError, match="in use by another"):
        bind_unix(path, "660", "here")


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("data")
    with pytest.raises(SettingError, match="is no socket"):
        bind_unix(str(path), "660", "here")
    assert path.read_text() == "data"


@pytest.mark.parametrize("mode", ["", "rw", "688", "-660"])
def test_permissions_are_octal(tmp_path: Path, mode: str) -> None:
    with pytest.raises(SettingError, match="octal"):
        bind_unix(str(tmp_path / "s"), mode, "here")


def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="here"):
        bind_unix(str(tmp_path / ("s" * 120)), "660", "here")


def test_whoever_comes_by_it_is_on_this_machine() -> None:
    assert is_loopback(UNIX)
