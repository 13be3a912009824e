"""The unit for systemd, checked by systemd's own tool where there is one."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "packaging" / "systemd" / "lyredb.service"
PROGRAM = "/opt/lyredb/bin/lyredb"


def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # case counts
    parser.read(UNIT)
    return parser["Service"]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """A misspelt option is a warning there, and would be ignored at run time."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, sys.executable))
    ran = analyze("verify", str(unit))
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_the_unit_exposes_little() -> None:
    """systemd's own judgement, 0 to 10: a unit without options has 9.6."""
    ran = analyze("security", "--offline=true", "--threshold=20", str(UNIT))
    if "unrecognized option" in ran.stderr:
        pytest.skip("systemd-analyze is too old to judge a file")
    assert ran.returncode == 0, ran.stdout[-300:]


def test_start_reload_and_end_are_told_as_the_server_expects() -> None:
    """It answers SIGHUP with a reload, SIGTERM with an end in order."""
    found = service()
    assert found["Type"] == "notify"
    assert found["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert (found["KillMode"], found["Restart"]) == ("mixed", "on-failure")


def test_the_data_is_where_systemd_makes_a_directory_for_it() -> None:
    found = service()
    assert f"--data /var/lib/{found['StateDirectory']}" in found["ExecStart"]
    assert found["StateDirectoryMode"] == "0700"


def test_there_are_descriptors_for_many_connections() -> None:
    assert int(service()["LimitNOFILE"]) >= 100_000
