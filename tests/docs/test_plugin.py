"""The plugin of the plugins page works: installed as the page says, it serves."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.docs.pages import blocks
from tests.server.process import Server, make_application

LOGIN = {"LYREDB_ADMIN_USERNAME": "admin", "LYREDB_ADMIN_PASSWORD": "correct horse"}


def install(folder: Path) -> None:
    """Put the page's module and its entry point where an installed package has them."""
    (module,) = (block for block in blocks("plugins.md") if block.language == "python")
    (project,) = (block for block in blocks("plugins.md") if block.language == "toml")
    header, line = project.code.strip().splitlines()
    assert header == '[project.entry-points."lyredb.protocols"]'
    name, target = line.replace('"', "").split(" = ")
    module_name = target.partition(":")[0]
    distribution = folder / "lyredb_lines-1.0.dist-info"
    distribution.mkdir(parents=True)
    (folder / f"{module_name}.py").write_text(module.code, encoding="utf-8")
    (distribution / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: lyredb-lines\nVersion: 1\n"
    )
    (distribution / "entry_points.txt").write_text(f"[lyredb.protocols]\n{name} = {target}\n")


def ask(port: int, *lines: str) -> list[str]:
    """Send all lines, and return the answers until the server ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall("".join(f"{line}\n" for line in lines).encode())
        client.shutdown(socket.SHUT_WR)
        with client.makefile() as answers:
            return answers.read().splitlines()


def test_plugin_of_the_page_writes_and_reads_records(tmp_path: Path) -> None:
    """It is found, listens, checks logins and schema, and its writes are records."""
    site = tmp_path / "site"
    install(site)
    variables = {"PYTHONPATH": str(site), "LYREDB_LINES_PORT": "0", **LOGIN}
    with Server("run", make_application(tmp_path), variables=variables) as server:
        port = server.port("lines")
        answers = ask(
            port,
            "admin correct horse",
            'Sensor/kitchen {"value": 21.5}',
            "Sensor/kitchen",
            "Sensor/attic",
            'Sensor/kitchen {"value": "warm"}',
            "Nothing/here",
        )
        assert answers[:3] == ["ok", '{"id":"kitchen","value":21.5}', "null"]
        assert answers[3].startswith("InvalidRecord: Property value must be a number")
        assert answers[4].startswith("UnknownTopic: ")
        assert ask(port, "admin wrong", "Sensor/kitchen") == ["Login failed"]
        code, _ = server.stop()
        assert code == 0
