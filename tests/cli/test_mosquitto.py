"""``lyredb mosquitto``, with files that mosquitto's own tools made."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lyredb.operations.mosquitto_config import _COUNTS, _FILES
from lyredb.server.composition import settings_table
from tests.cli.test_administration import data, lyredb

__all__ = ["data"]

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto_passwd") is None, reason="needs mosquitto_passwd"
)


def files(folder: Path) -> Path:
    for number, name in enumerate(("alice", "bob")):
        more = ["-c"] if not number else []
        command = ["mosquitto_passwd", *more, "-b", str(folder / "pw"), name, f"{name}'s"]
        subprocess.run(command, check=True, capture_output=True)
    (folder / "acl").write_text("user alice\ntopic alice/#\npattern read all/%u\n")
    (folder / "mosquitto.conf").write_text(
        "listener 1884\nallow_anonymous false\npassword_file pw\nacl_file acl\n"
    )
    return folder / "mosquitto.conf"


@needs_mosquitto
def test_users_and_roles_are_taken_over_once(data: Path, tmp_path: Path) -> None:
    """A second run leaves what was changed since, unless it is told to replace it."""
    source = files(tmp_path)
    told = lyredb("mosquitto", "import", "--from", source, "--data", data)
    assert told == "set 2 roles: mosquitto, mosquitto-alice\nmade 2 users\n"
    users = lyredb("user", "list", "--data", data)
    assert "alice  mosquitto-alice  yes" in users
    assert "bob    mosquitto        yes" in users
    assert lyredb("role", "show", "mosquitto-alice", "--data", data) == (
        "mosquitto-alice:\n  topics:\n    alice/#: both\n    all/%u: read\n"
    )
    assert "2 topic patterns" in lyredb("role", "list", "--data", data)
    lyredb("user", "deactivate", "bob", "--data", data)
    assert "left 2 users as before" in lyredb(
        "mosquitto", "import", "--from", source, "--data", data
    )
    assert "bob    mosquitto        no" in lyredb("user", "list", "--data", data)
    assert "made 1 user\nleft 1 user as before" in lyredb(
        "mosquitto", "import", "--from", source, "--replace", "--data", data
    )


@needs_mosquitto
def test_a_dry_run_writes_nothing(data: Path, tmp_path: Path) -> None:
    source = files(tmp_path)
    told = lyredb("mosquitto", "import", "--from", source, "--dry-run", "--data", data)
    assert told.startswith("mosquitto:\n  topics:\n    all/%u: read\n")
    assert lyredb("user", "list", "--data", data).count("\n") == 1


@needs_mosquitto
def test_settings_are_printed_as_yaml(tmp_path: Path) -> None:
    told = lyredb("mosquitto", "settings", files(tmp_path))
    assert told == (
        "mqtt.requireAuthentication: true\nnetwork.host: 0.0.0.0\nmqtt.network.port: 1884\n"
    )


def test_every_setting_that_an_option_becomes_is_one() -> None:
    """Else it would be printed as one that this version does not have."""
    known = {row.name for row in settings_table().rows}
    assert {*_COUNTS.values(), *_FILES.values(), "mqtt.maxSessionExpiry"} <= known


def test_an_import_of_nothing_is_an_error(data: Path) -> None:
    assert "name a file" in lyredb("mosquitto", "import", "--data", data, code=1)


def test_patterns_are_set_by_command(data: Path) -> None:
    lyredb(
        "role", "set", "device", "data.A=read", "--topic", "in/%u/#=write", "--topic", "a=b=both",
        "--data", data,
    )  # fmt: skip
    assert lyredb("role", "show", "device", "--data", data) == (
        "device:\n  topics:\n    in/%u/#: write\n    a=b: both\n  data:\n    A:\n      read: true\n"
    )
    told = lyredb("role", "set", "x", "--topic", "a", "--data", data, code=1)
    assert "PATTERN=RIGHT" in told
