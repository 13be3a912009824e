"""Two workers whose stream has failed: one of them ends, and its successor is joined anew."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from tests.e2e.server_process import PASSWORD, SCHEMA, USER, ServerProcess, start_server
from tests.server.process_tree import children_of, eventually

PROGRAM = (str(Path(__file__).parent / "damaging_server.py"),)
SOURCE = Path(__file__).parents[2] / "src"


def joined(server: ServerProcess) -> list[int]:
    """To how many others each worker is joined."""
    answer = httpx.get(f"{server.ready['operations']}/metrics", auth=(USER, PASSWORD))
    return [
        int(float(line.rpartition(" ")[2]))
        for line in answer.text.splitlines()
        if line.startswith("lyredb_peers{")
    ]


def test_a_damaged_stream_ends_the_worker_that_got_it_and_another_takes_its_place(
    tmp_path: Path,
) -> None:
    application = tmp_path / "app"
    application.mkdir()
    (application / "schema.graphql").write_text(SCHEMA)
    server = start_server(
        application,
        tmp_path / "data",
        "--workers",
        "2",
        program=PROGRAM,
        environment={"PYTHONPATH": f"{SOURCE}:{SOURCE.parent}"},
    )
    try:
        before = children_of(server.process.pid)
        os.kill(before["worker-1"], signal.SIGUSR1)
        eventually(
            lambda: (
                children_of(server.process.pid).get("worker-2", 0) not in (0, before["worker-2"])
            ),
            "another worker 2",
        )
        after = children_of(server.process.pid)
        assert (after["worker-1"], after["writer"]) == (before["worker-1"], before["writer"])
        eventually(lambda: joined(server) == [1, 1], "workers that are joined again")
        assert "what worker 1 sent failed" in server.errors()
    finally:
        server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()
