"""What a browser finds at ``/`` of a new application: tables, and commands that work."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.server.process import Server, make_application

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_every_command_that_it_shows_works(tmp_path: Path) -> None:
    """Copied into a shell as they stand, but for the streams that do not end."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with Server("dev", make_application(tmp_path)) as server:
        shown = httpx.get(f"{server.http}/").json()
        for command in shown["try"]:
            program = command.split()[0]
            if " -N " in command or program == "mosquitto_sub" or shutil.which(program) is None:
                continue
            failing = command.replace("curl ", "curl --fail-with-body -sS ", 1)
            done = subprocess.run(failing, shell=True, capture_output=True, text=True, timeout=20)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        [table] = shown["tables"]
        assert (table["path"], shown["application"]) == ("Sensor", "app")
        assert httpx.get(table["url"]).json() == [{"id": "example", "value": 21.5}]


def test_a_browser_gets_a_page_with_links_to_the_tables(tmp_path: Path) -> None:
    with Server("dev", make_application(tmp_path)) as server:
        page = httpx.get(f"{server.http}/", headers=BROWSER)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert '<a href="/Sensor/">Sensor</a>' in page.text
        assert f"curl -X PUT {server.http}/Sensor/example" in page.text
        assert httpx.head(f"{server.http}/", headers=BROWSER).status_code == 200
        assert httpx.post(f"{server.http}/").status_code == 405


def test_a_page_of_the_application_wins_as_soon_as_it_is_there(tmp_path: Path) -> None:
    app = make_application(tmp_path)
    (app / "web").mkdir()
    with Server("dev", app) as server:
        assert "LyreDB" in httpx.get(f"{server.http}/", headers=BROWSER).text
        (app / "web" / "index.html").write_text("mine")
        assert httpx.get(f"{server.http}/", headers=BROWSER).text == "mine"


def test_it_is_there_without_a_table_too(tmp_path: Path) -> None:
    """The root is no open topic."""
    app = tmp_path / "empty"
    app.mkdir()
    with Server("dev", app) as server:
        shown = httpx.get(f"{server.http}/").json()
        assert shown["tables"] == []
        assert f"{server.http}/hello/world" in shown["try"][0]


@pytest.mark.parametrize(
    "header", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}], ids=["host", "origin"]
)
def test_pages_of_others_learn_no_table(tmp_path: Path, header: dict[str, str]) -> None:
    with Server("dev", make_application(tmp_path)) as server:
        refused = httpx.get(f"{server.http}/", headers={**BROWSER, **header})
        assert refused.status_code == 401
        assert "Sensor" not in refused.text


def test_run_has_no_such_page(tmp_path: Path) -> None:
    with Server("run", make_application(tmp_path)) as server:
        refused = httpx.get(f"{server.http}/", headers=BROWSER)
        assert refused.status_code == 404
        assert "Sensor" not in refused.text
