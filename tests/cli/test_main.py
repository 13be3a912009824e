"""The command line: quick help, one sentence for a mistake, files that it makes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SLOW_TO_IMPORT = ("uvicorn", "lmdb", "graphql", "argon2", "yaml", "websockets", "structlog")


def lyredb(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lyredb", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)


def assert_one_sentence(done: subprocess.CompletedProcess[str], *phrases: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("lyredb: ")
    for phrase in phrases:
        assert phrase in line


def test_help_answers_without_loading_a_server() -> None:
    """``lyredb --help`` is typed by people who wait for it."""
    code = (
        "import sys\nimport lyredb.cli.main\n"
        f"print([name for name in {SLOW_TO_IMPORT!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("arguments", [("--help",), ("help",), ()])
def test_help_lists_every_command(arguments: tuple[str, ...]) -> None:
    text = lyredb(*arguments)
    for command in (
        *("dev", "run", "init", "types", "version", "help"),
        *("user", "role", "status", "backup", "restore", "check", "upgrade"),
    ):
        assert f"  {command} " in text.stdout + text.stderr


def test_help_of_a_command_is_its_own_help() -> None:
    assert (
        lyredb("help", "init").stdout.split("\n", 1)[1]
        == (lyredb("init", "--help").stdout.split("\n", 1)[1])
    )


def test_help_of_an_unknown_command_lists_the_known_ones() -> None:
    done = lyredb("help", "serve")
    assert done.returncode == 2
    assert (
        "no command serve; there are dev, run, status, backup, restore, check, upgrade, "
        in done.stderr
    )


@pytest.mark.parametrize("command", ["dev", "run"])
def test_options_say_what_the_settings_table_says(command: str) -> None:
    """Sentence, default and variable of an option come from its row."""
    text = " ".join(lyredb(command, "--help").stdout.split())
    assert "The operations port." in text
    assert "[9925; LYREDB_OPERATIONS_API_NETWORK_PORT]" in text
    assert "LYREDB_MQTT_NETWORK_PORT" in text
    assert "LYREDB_HTTP_PORT" in text


def test_version_is_one_line() -> None:
    done = lyredb("version")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert re.fullmatch(r"\d+\.\d+\.\d+ \((compiled|pure Python)\)\n", done.stdout)


def test_an_unknown_option_is_a_usage_error() -> None:
    assert lyredb("run", "--prot", "1").returncode == 2


def test_a_missing_application_is_one_sentence(tmp_path: Path) -> None:
    assert_one_sentence(lyredb("run", "none", folder=tmp_path), "no such application folder")


def test_a_wrong_port_is_one_sentence_with_what_is_allowed(tmp_path: Path) -> None:
    done = lyredb("run", ".", "--http-port", "99999", folder=tmp_path)
    assert_one_sentence(done, "http.port", "'99999' in --http-port", "0 to 65535")
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_workers_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for wrong in ("-1", "65", "many"):
        done = lyredb("run", ".", "--workers", wrong, folder=tmp_path)
        assert done.returncode == 1
        assert "threads.count" in done.stderr
        assert "auto (0), or an integer from 1 to 64" in done.stderr


def test_dev_is_for_this_machine_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("network.host: 0.0.0.0\n")
    done = lyredb("dev", ".", folder=tmp_path)
    assert_one_sentence(done, "network.host", "lyredb run")
    assert lyredb("dev", ".", "--host", "0.0.0.0", folder=tmp_path).returncode == 2


def test_a_wrong_schema_is_one_sentence_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "schema.graphql").write_text("type A @table {\n  id: Nothing\n}\n")
    assert_one_sentence(lyredb("dev", ".", folder=tmp_path), "schema.graphql:2:")


def test_init_makes_an_application_that_loads(tmp_path: Path) -> None:
    from lyredb.applications.application import load_application

    assert lyredb("init", "weather", folder=tmp_path).returncode == 0
    found = load_application(tmp_path / "weather")
    assert [table.full_name for table in found.schema.tables] == ["data.Sensor"]
    assert found.web is not None
    assert "<title>weather</title>" in (found.web / "index.html").read_text()
    assert "{{" not in (found.folder / "README.md").read_text()


def test_init_leaves_a_folder_that_has_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "weather").mkdir()
    mine = tmp_path / "weather" / "tables.py"
    mine.write_text("mine")
    assert_one_sentence(lyredb("init", "weather", folder=tmp_path), "exists")
    assert mine.read_text() == "mine"
