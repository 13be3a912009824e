"""Tables change while a server runs: at SIGHUP with ``run``, with its files in ``dev``."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from lyredb.server.schema_files import stamp_of
from tests.server.process import Server, make_application
from tests.server.process_tree import children_of, eventually

VARIABLES = {"LYREDB_ADMIN_PASSWORD": "pw"}
ADMIN = ("admin", "pw")
FIRST = "type Plant @table @export { id: ID @primaryKey site: String n: Int }"
INDEXED = FIRST.replace("site: String", "site: String @indexed")


def application(tmp_path: Path, tables: str = FIRST) -> Path:
    app = make_application(tmp_path)
    (app / "more.graphql").write_text(tables)
    return app


def running(app: Path) -> Server:
    """Two workers, of a session without a terminal."""
    return Server("run", app, "--workers", "2", variables=VARIABLES, start_new_session=True)


def change(server: Server, app: Path, tables: str) -> None:
    """Write other tables, and have them read."""
    (app / "more.graphql").write_text(tables)
    server.process.send_signal(signal.SIGHUP)


def status_of(server: Server, path: str) -> int:
    return httpx.get(f"{server.http}{path}", auth=ADMIN).status_code


def test_tables_change_at_a_hangup_and_nobody_is_cut_off(tmp_path: Path) -> None:
    """No process is replaced, connections stay, and each worker serves what is new."""
    app = application(tmp_path)
    with (
        running(app) as server,
        httpx.Client(base_url=server.http, auth=ADMIN) as client,
    ):
        before = children_of(server.process.pid)
        for number in range(50):
            client.put(f"/Plant/k{number}", json={"site": "a" if number % 5 else "b", "n": 1})
        assert client.get("/Tree/").status_code == 404
        change(server, app, INDEXED + " type Tree @table @export { id: ID @primaryKey }")
        eventually(lambda: client.get("/Tree/").status_code == 200, "the new table")
        eventually(
            lambda: all(status_of(server, "/Tree/") == 200 for _ in range(20)), "on each worker"
        )
        assert "reloaded; changed tables: data.Plant, data.Tree" in server.log.read_text()
        assert client.put("/Tree/x", json={"a": 1}).status_code < 300
        eventually(lambda: client.get("/Plant/?site=b").status_code == 200, "the index")
        assert len(client.get("/Plant/?site=b").json()) == 10
        assert children_of(server.process.pid) == before
        change(server, app, FIRST)
        eventually(lambda: client.get("/Tree/").status_code == 404, "exported no more")
        assert len(client.get("/Plant/?site=b").json()) == 10
        assert server.stop()[0] == 0


def test_a_worker_that_is_started_again_has_the_tables_of_the_reload(tmp_path: Path) -> None:
    """And so has a writer."""
    app = application(tmp_path)
    with running(app) as server:
        change(server, app, FIRST + " type Tree @table @export { id: ID @primaryKey }")
        eventually(lambda: status_of(server, "/Tree/") == 200, "the new table")
        for name in ("worker-1", "worker-2", "writer"):
            old = children_of(server.process.pid)[name]
            os.kill(old, signal.SIGKILL)
            eventually(
                lambda name=name, old=old: (  # type: ignore[misc]  # bound now
                    children_of(server.process.pid).get(name, old) != old
                ),
                "another one",
            )
        eventually(
            lambda: all(status_of(server, "/Tree/") == 200 for _ in range(20)), "on each worker"
        )
        put = httpx.put(f"{server.http}/Tree/x", json={}, auth=ADMIN, timeout=30)
        assert put.status_code < 300


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        ("type Plant @table @export { id: Strin", "more.graphql"),
        (FIRST.replace("id: ID", "id: Int"), "its key cannot change"),
        (FIRST + ' type Other @table @export(name: "Plant") { id: ID }', "Plant"),
    ],
)
def test_what_cannot_be_is_said_and_the_tables_stay(
    tmp_path: Path, tables: str, reason: str
) -> None:
    """Nothing of a change that is refused is done, and a later one is."""
    app = application(tmp_path)
    with running(app) as server:
        httpx.put(f"{server.http}/Plant/a", json={"n": 1}, auth=ADMIN)
        change(server, app, tables + " type Tree @table @export { id: ID @primaryKey }")
        eventually(lambda: "the tables stay as they were" in server.log.read_text(), "the news")
        assert reason in server.log.read_text()
        assert status_of(server, "/Tree/") == 404
        assert status_of(server, "/Plant/a") == 200
        change(server, app, FIRST + " type Tree @table @export { id: ID @primaryKey }")
        eventually(lambda: status_of(server, "/Tree/") == 200, "the new table")


def test_dev_follows_the_files(tmp_path: Path) -> None:
    """Within a second of the change, and a file that is wrong changes nothing."""
    app = application(tmp_path)
    with Server("dev", app) as server:
        (app / "more.graphql").write_text("type Plant @table {")
        eventually(lambda: "the tables stay as they were" in server.log.read_text(), "the news")
        assert httpx.get(f"{server.http}/Plant/").status_code == 200
        (app / "more.graphql").write_text(FIRST + " type Tree @table @export { id: ID }")
        eventually(lambda: httpx.get(f"{server.http}/Tree/").status_code == 200, "the new table")
        assert httpx.put(f"{server.http}/Tree/x", json={"a": 1}).status_code < 300


def test_each_file_that_may_declare_tables_is_watched(tmp_path: Path) -> None:
    """Changed, added or removed; those of other kinds are not."""
    stamps = [stamp_of(tmp_path)]
    (tmp_path / "a.graphql").write_text("type A @table { id: ID }")
    stamps.append(stamp_of(tmp_path))
    (tmp_path / "a.graphql").write_text("type A @table { id: ID! }")
    stamps.append(stamp_of(tmp_path))
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "__init__.py").write_text("")
    stamps.append(stamp_of(tmp_path))
    (tmp_path / "a.graphql").unlink()
    stamps.append(stamp_of(tmp_path))
    assert len(set(stamps)) == 5
    (tmp_path / "config.yaml").write_text("")
    assert stamp_of(tmp_path) == stamps[-1]
