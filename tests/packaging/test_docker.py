"""The Dockerfile, read as Docker reads it: nothing here can build an image."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lyredb.server.composition import settings_table

ROOT = Path(__file__).parents[2]
HEALTHY = ROOT / "packaging" / "docker" / "healthy.py"


def instructions() -> list[tuple[str, str]]:
    """Return (name, arguments) of each instruction; comments out, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, rest.strip()) for name, _, rest in pairs]


def of(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    start = max(number for number, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def test_every_instruction_is_one_of_dockers() -> None:
    """A continued line without its backslash would become one that is none."""
    known = {
        *("FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE"),
        *("STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"),
    }
    assert {name for name, _ in instructions()} <= known


def test_the_server_runs_as_nobody_in_particular() -> None:
    """By number, so that Kubernetes' runAsNonRoot can tell; nothing after it needs root."""
    stage = last_stage()
    user = [number for number, (name, _) in enumerate(stage) if name == "USER"]
    assert len(user) == 1
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", stage[user[0]][1])
    assert not {name for name, _ in stage[user[0] :]} & {"RUN", "COPY"}


def test_the_server_itself_is_process_1() -> None:
    """In the JSON form: a shell in between would not pass SIGTERM on."""
    [entry] = of("ENTRYPOINT")
    assert json.loads(entry) == ["lyredb", "run", "/app"]
    assert of("STOPSIGNAL") == ["SIGTERM"]


def test_every_variable_is_a_setting() -> None:
    """A misspelt one would end the server at its start."""
    variables = re.findall(r"(LYREDB_\w+)=(\S+)", " ".join(of("ENV")))
    table = settings_table()
    by_variable = {row.variable: row for row in table.rows}
    health = "LYREDB_OPERATIONS_API_NETWORK_PORT"  # else a config.yaml could part it from its check
    assert {name for name, _ in variables} == {
        "LYREDB_STORAGE_PATH", "LYREDB_NETWORK_HOST", health,
    }  # fmt: skip
    assert dict(variables)[health] == str(table.row("operationsApi.network.port").default)
    for name, value in variables:
        by_variable[name].parse(value)


def test_the_data_directory_is_the_volume() -> None:
    assert of("VOLUME") == ["/data"]
    assert "LYREDB_STORAGE_PATH=/data" in " ".join(of("ENV"))


def test_the_default_ports_are_named() -> None:
    """Those that are on by default, and the usual ones over TLS."""
    table = settings_table()
    names = ("http.port", "operationsApi.network.port", "mqtt.network.port")
    wanted = {str(table.row(name).default) for name in names} | {"9943", "8883"}
    assert set(" ".join(of("EXPOSE")).split()) == wanted


def test_what_is_copied_exists_and_is_sent_to_docker() -> None:
    """`.dockerignore` shuts everything out that it does not name."""
    admitted = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for line in of("COPY"):
        if line.startswith("--from"):
            continue
        for source in line.split()[:-1]:
            path = source.removeprefix("./")
            assert (ROOT / path).exists(), path
            assert any(
                fnmatch.fnmatch(path, each) or path.startswith(f"{each}/") for each in admitted
            ), path


def test_the_health_check_runs_a_file_of_the_image() -> None:
    """In the JSON form: the image need not have a shell."""
    [check] = of("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert f"COPY packaging/docker/healthy.py {command[-1]}".partition(" ")[2] in of("COPY")
    assert re.search(r"--timeout=(\d+)s", check)


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server on whose port everything has this status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(10)


def check_health(port: int) -> int:
    variable = settings_table().row("operationsApi.network.port").variable
    command = [sys.executable, "-I", "-S", str(HEALTHY)]
    return subprocess.run(
        command, env={variable: str(port)}, capture_output=True, timeout=20
    ).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_health_is_what_the_operations_port_says(status: int, code: int) -> None:
    """The port's setting is read from its variable, as the server does."""
    with answering(status) as port:
        assert check_health(port) == code


def test_a_server_that_does_not_answer_is_not_healthy() -> None:
    with answering(200) as port:
        pass
    assert check_health(port) == 1
