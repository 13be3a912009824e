"""The examples of the pages do what the pages say.

A page is followed as a reader follows it: its commands run in order, in one folder, against
one fresh `lyredb dev examples/sensor`, or the `lyredb run` that it starts, with two workers.
A `text` block below an example is what it prints; an
example without one prints nothing. Blank lines do not count, and `…` stands for anything.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer.main

from lyredb.cli.main import app
from lyredb.tables.source import load_schema
from tests.docs.pages import DOCS, ROOT, Block, all_blocks, blocks, matches, pairs
from tests.server.process import Server, environment

DEADLINE_S = 60
STARTS = re.compile(r"^(?:(?:\.venv/bin/)?lyredb (?:dev|run)|make)\b", re.MULTILINE)
"""Commands that serve until they are ended, or have tests of their own."""
SHELL = """
set -euo pipefail
curl() {
  local code=0
  command curl -sS -w '\\n' --max-time 3 "$@" || code=$?
  if [ "$code" = 28 ] && [[ " $* " == *" -N "* ]]; then return 0; fi
  return "$code"
}
mosquitto_pub() { command mosquitto_pub -p MQTT_PORT "$@"; }
mosquitto_sub() {
  local code=0
  command mosquitto_sub -p MQTT_PORT -W 2 "$@" || code=$?
  if [ "$code" = 27 ]; then return 0; fi
  return "$code"
}
"""
USES_SERVER = re.compile(r"127\.0\.0\.1:9926|mosquitto_|^lyredb (?:user|role|status|backup)", re.M)
DATA = "LYREDB_STORAGE_PATH"
"""Readers stand in the application's folder, where commands find the data; we do not."""


def runnable(page: str) -> list[Block]:
    return [
        block
        for block in blocks(page)
        if block.language == "python" or (block.language == "sh" and not STARTS.search(block.code))
    ]


def pages_to_run() -> Iterator[object]:
    for path in sorted(DOCS.rglob("*.md")):
        page = str(path.relative_to(DOCS))
        found = runnable(page)
        if not found:
            continue
        needs_mosquitto = any("mosquitto_" in block.code for block in found)
        yield pytest.param(page, marks=pytest.mark.mosquitto if needs_mosquitto else (), id=page)


def without_blank_lines(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip())


def run(block: Block, folder: Path, ports: dict[str, str]) -> str:
    """Run one block and return what it printed; fails when it fails."""
    code = block.code
    shell = SHELL
    for written, real in ports.items():
        code = code.replace(written, real)
        shell = shell.replace(written, real)
    if block.language == "python":
        command = [sys.executable, "-W", "error", "-c", code]
        folder = folder / f"line-{block.line}"
        folder.mkdir()
        (folder / "examples").symlink_to(ROOT / "examples")
    else:
        command = ["bash", "-c", shell + code]
    variables = {"PATH": f"{Path(sys.executable).parent}:{environment()['PATH']}"}
    if DATA in ports:
        variables[DATA] = ports[DATA]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=environment(variables),
    )
    assert done.returncode == 0, f"docs/{block}: {done.stderr}{done.stdout}"
    return done.stdout


def follow(page: str, folder: Path, ports: dict[str, str]) -> None:
    for block in runnable(page):
        printed = without_blank_lines(run(block, folder, ports))
        expected = without_blank_lines(block.output or "")
        assert matches(printed, expected), f"docs/{block} printed\n{printed}\nnot\n{expected}"


@contextmanager
def serving_sensor(folder: Path) -> Iterator[dict[str, str]]:
    """A server as the pages start it; gives what pages write and what is meant by it."""
    application = copied("examples/sensor", folder)
    with Server("dev", application) as server:
        yield ports_of(server) | {DATA: str(application / ".lyredb")}


def copied(application: str, folder: Path) -> Path:
    """An application of ours in a folder of its own, so that nothing is written here."""
    return shutil.copytree(
        ROOT / application,
        folder / Path(application).name,
        ignore=shutil.ignore_patterns(".*"),
        dirs_exist_ok=True,
    )


def ports_of(server: Server) -> dict[str, str]:
    return {
        "127.0.0.1:9926": server.http.removeprefix("http://"),
        "MQTT_PORT": str(server.port("mqtt")),
    }


def started_by(page: str) -> list[str]:
    """The application and options of the ``lyredb run`` that the page has its reader start."""
    code = "\n".join(block.code for block in blocks(page) if block.language == "sh")
    found = re.search(r"^lyredb run (.*)$", code, re.MULTILINE)
    return found[1].split() if found else []


@contextmanager
def serving_run(page: str, folder: Path, work: Path) -> Iterator[dict[str, str]]:
    """The ``lyredb run`` of a page, with two workers and its data below ``work``."""
    application, option, data = started_by(page)
    folder.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    options = (option, str(work / data), "--workers", "2")
    with Server("run", copied(application, folder), *options) as server:
        yield ports_of(server)


@pytest.mark.parametrize("page", list(pages_to_run()))
def test_examples_of_a_page_print_what_it_says(page: str, tmp_path: Path) -> None:
    """Whoever follows the page sees what stands in it, in the order of the page."""
    work = tmp_path / "work"
    work.mkdir()
    if started_by(page):
        with serving_run(page, tmp_path / "server", work) as ports:
            follow(page, work, ports)
        return
    if not any(USES_SERVER.search(block.code) for block in runnable(page)):
        follow(page, work, {})
        return
    with serving_sensor(tmp_path) as ports:
        follow(page, work, ports)


@pytest.mark.mosquitto
def test_commands_of_the_readme_end_with_the_record_that_it_shows(tmp_path: Path) -> None:
    """Run one after the other they work, and the last of each block prints its comment."""
    page = "../README.md"
    tried, served = (one for one in runnable(page) if USES_SERVER.search(one.code))
    with serving_sensor(tmp_path) as ports:
        assert_ends_as_promised(tried, tmp_path, ports)
    with serving_run(page, tmp_path, tmp_path / "served") as ports:
        assert_ends_as_promised(served, tmp_path / "served", ports)


def assert_ends_as_promised(block: Block, folder: Path, ports: dict[str, str]) -> None:
    promised = block.code.strip().rpartition("# ")[2]
    assert without_blank_lines(run(block, folder, ports)).splitlines()[-1] == promised


@pytest.mark.parametrize("pair", pairs("graphql", "python"), ids=str)
def test_both_notations_side_by_side_declare_the_same(
    pair: tuple[Block, Block], tmp_path: Path
) -> None:
    """The SDL and the classes below it make equal schemas."""
    sdl, classes = pair
    module = tmp_path / "tables.py"
    module.write_text(classes.code, encoding="utf-8")
    assert load_schema(sdl.code) == load_schema(module)


def test_schema_page_shows_both_notations_side_by_side() -> None:
    """The check above has something to check."""
    assert "schema.md" in {sdl.page for sdl, _ in pairs("graphql", "python")}


@pytest.mark.parametrize("block", all_blocks("json"), ids=str)
def test_json_of_a_page_can_be_read(block: Block) -> None:
    """What is shown as JSON is JSON."""
    json.loads(block.code)


@pytest.mark.parametrize("block", all_blocks("sh"), ids=str)
def test_shell_of_a_page_can_be_parsed(block: Block) -> None:
    """Also commands that no test runs are at least shell."""
    done = subprocess.run(["bash", "-n", "-c", block.code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_commands_of_pages_have_the_options_that_they_are_given() -> None:
    """Each ``lyredb COMMAND --option`` in a page exists."""
    group = typer.main.get_command(app)
    used = 0
    for block in all_blocks("sh"):
        for line in re.findall(r"^(?:\.venv/bin/)?lyredb (.*)$", block.code, re.M):
            command, words = group, line.split()
            while commands := getattr(command, "commands", {}):  # click's: a group, or its part
                assert words[0] in commands, f"docs/{block}"
                command, words = commands[words[0]], words[1:]
            rest = " ".join(words)
            options = {option for one in command.params for option in one.opts}
            given = set(re.findall(r"(?<!\S)--[a-z-]+", rest))
            assert given <= options, f"docs/{block}: {given - options}"
            used += 1
    assert used >= 4, "the pages show how to use the command"
