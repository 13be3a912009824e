"""Large blobs through a real server: worker, writer process, files, and their memory."""

from __future__ import annotations

import hashlib
import http.client
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from lyredb.operations.check import check_directory
from tests.e2e.server_process import PASSWORD, USER, ServerProcess, running_server

SIZE_MB = int(os.environ.get("TEST_BLOB_MB", "200"))
"""``TEST_BLOB_MB=1000`` for the size that is promised; the memory is the same."""
MOST_MB = 60
"""That a process may need more than before, however large the blob is."""
SCHEMA = "type Photo @table @export { id: ID @primaryKey title: String picture: Blob }"
_MB = 1_000_000
_LOGIN = {"authorization": "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()}


def content() -> Iterator[bytes]:
    """As many megabytes, no two alike."""
    for number in range(SIZE_MB):
        yield hashlib.shake_128(number.to_bytes(4, "big")).digest(_MB // 100) * 100


def digest(parts: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def connected(server: ServerProcess) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=120))


def put(server: ServerProcess, path: str, kind: str, body: Iterator[bytes], size: int) -> int:
    headers = {**_LOGIN, "content-type": kind, "content-length": str(size)}
    with connected(server) as connection:
        connection.request("PUT", path, body=body, headers=headers)
        return connection.getresponse().status


def download(server: ServerProcess) -> tuple[str, str]:
    with connected(server) as connection:
        connection.request("GET", "/Photo/a.picture", headers=_LOGIN)
        reply = connection.getresponse()
        assert reply.status == 200
        kind = reply.headers["content-type"]
        return digest(iter(lambda: reply.read(_MB), b"")), kind


def test_a_large_blob_passes_both_ways_in_bounded_memory() -> None:
    """Neither worker nor writer ever holds much of it; it is whole, and check finds all of it."""
    wanted = digest(content())
    with running_server(SCHEMA) as server:
        assert put(server, "/Photo/a", "application/json", iter([b"{}"]), 2) == 204
        before = {pid: peak_mb(pid) for pid in server.pids}
        size = SIZE_MB * _MB
        assert put(server, "/Photo/a.picture", "video/mp4", content(), size) == 204
        assert download(server) == (wanted, "video/mp4")
        grown = {pid: peak_mb(pid) - before[pid] for pid in server.pids}
        assert max(grown.values()) < MOST_MB, grown
        assert check_directory(server.data).problems == ()
