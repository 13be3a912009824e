"""A server with other limits than the defaults, so that tests can reach them quickly."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.server_process import SCHEMA, ServerProcess, start_server


@contextmanager
def strict_server(
    config: str = "", *, web: Mapping[str, str] | None = None, command: str = "run"
) -> Iterator[ServerProcess]:
    """Run a new application; its ``config.yaml`` and files of ``web/`` are given."""
    with tempfile.TemporaryDirectory() as folder:
        application = Path(folder) / "app"
        application.mkdir()
        (application / "schema.graphql").write_text(SCHEMA)
        if config:
            (application / "config.yaml").write_text(config)
        for name, text in (web or {}).items():
            path = application / "web" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        server = start_server(application, Path(folder) / "data", command=command)
        try:
            yield server
        finally:
            server.kill()
            assert server.process.stdout is not None
            server.process.stdout.close()


def resident_bytes(server: ServerProcess) -> int:
    """What all processes of the server have in memory now, each of its own.

    Pages of the mapped data file are not counted: the kernel takes them back as it likes,
    and each process that looks at one would count it again.
    """
    return sum(map(_resident_bytes, server.pids))


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024
