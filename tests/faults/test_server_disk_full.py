"""A disk that fills under the real server: writes say so, reads go on, space heals it.

The data directory is a small file system of its own, mounted in a mount namespace that
only the server has, so nothing is left behind whatever happens.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lyredb.storage.check import check
from lyredb.storage.engine import Engine
from lyredb.storage.settings import StorageSettings
from tests.e2e.bystander import DEADLINE_S
from tests.e2e.clients import rest, sse
from tests.e2e.raw_http import ask, assert_refused
from tests.e2e.raw_mqtt import raw_mqtt
from tests.e2e.server_process import SCHEMA, ServerProcess, start_server
from tests.protocols.mqtt import client_frames as frames
from tests.server.process_tree import eventually

DISK_BYTES = 64 * 1024 * 1024
QUOTA_EXCEEDED = 0x97
LARGE = b'{"site":"' + b"x" * 100_000 + b'"}'
"""Finds no place in the few pages that LMDB has left from earlier commits."""


def why_not() -> str:
    """Why no file system can be mounted here, ``""`` when one can."""
    if os.geteuid() != 0:
        return "mounting a small file system needs root"
    if shutil.which("unshare") is None:
        return "unshare (util-linux) is not installed"
    done = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    return "" if done.returncode == 0 else f"no mount is possible here: {done.stderr.strip()}"


REASON = why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "mounts are possible")


@dataclass(frozen=True)
class SmallDisk:
    """The server, and its data directory as seen from outside of its namespace."""

    server: ServerProcess
    data: Path

    @property
    def ballast(self) -> Path:
        return self.data / "ballast"

    def fill(self, leave: int) -> None:
        """Take all space but so many bytes, or less if the server is faster."""
        with self.ballast.open("wb") as file:
            taken = 0
            while (more := self._free_bytes() - leave) > 0:
                try:
                    os.posix_fallocate(file.fileno(), taken, more)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                else:
                    taken += more

    def _free_bytes(self) -> int:
        status = os.statvfs(self.data)
        return status.f_bavail * status.f_frsize

    def free(self) -> None:
        self.ballast.unlink()


@contextmanager
def small_disk(folder: Path, config: str, *arguments: str) -> Iterator[SmallDisk]:
    """Serve from a small file system, with a ``config.yaml`` and more arguments."""
    application, data = folder / "app", folder / "data"
    application.mkdir()
    data.mkdir()
    (application / "schema.graphql").write_text(SCHEMA)
    (application / "config.yaml").write_text(config)
    mount = f'mount -t tmpfs -o size={DISK_BYTES},mode=700 tmpfs "{data}" && exec "$@"'
    prefix = ("unshare", "-m", "sh", "-c", mount, "sh")
    server = start_server(application, data, *arguments, prefix=prefix)
    try:
        yield SmallDisk(server, Path(f"/proc/{server.process.pid}/root{data}"))
    finally:
        server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


@pytest.fixture(params=["4MB", "0"], ids=["below the minimum", "no space at all"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """Once refused before the disk is really full, once by the system call itself."""
    with small_disk(tmp_path, f"storage: {{minFree: {request.param}}}\n") as small:
        yield small


def fill_until_refused(disk: SmallDisk) -> list[str]:
    """Fill the disk, then write until that is refused; return what was acknowledged."""
    disk.fill(leave=16 * 4_096)
    written: list[str] = []
    with rest(disk.server) as client:
        for number in range(500):
            reply = client.put(f"/Sensor/last/{number}", json={"site": "x" * 4_000})
            if reply.status_code != 204:
                assert reply.status_code == 503, reply.text
                return written
            written.append(f"/Sensor/last/{number}")
    raise AssertionError("a full disk took 2 MB")


def test_full_disk_is_said_in_every_protocol_and_ends_with_it(disk: SmallDisk) -> None:
    """REST 503, MQTT 5 0x97, 3.1.1 closed without PUBACK; then all work without a restart."""
    server = disk.server
    assert ask(server, "PUT", "/Sensor/before", body=b'{"value":1}').status == 204
    with sse(server, "/Sensor/") as stream, raw_mqtt(server, 5) as v5, raw_mqtt(server, 4) as v4:
        stream.until_ready()
        acknowledged = fill_until_refused(disk)
        for method, path in (("PUT", "/before"), ("PATCH", "/before"), ("POST", "/")):
            reply = ask(server, method, "/Sensor" + path, body=LARGE)
            assert_refused(reply, 503, "DiskFull", "nothing was written")
            assert "retry-after" in reply.headers

        v5.send(frames.publish("Sensor/before", LARGE, version=5, qos=1, retain=True))
        answer = v5.until(4)
        assert answer.reason == QUOTA_EXCEEDED
        assert answer.properties[:1] == b"\x1f", "a reason string"
        v4.send(frames.publish("Sensor/before", LARGE, qos=1, retain=True))
        assert v4.to_the_end() == [], "it may send it again, so it must not be acknowledged"

        # The writer says so at its next sign of life, not in the same moment.
        degraded = (200, {"status": "degraded", "reason": "disk full", "worker": 1})
        eventually(lambda: health(server) == degraded, "a health that says so", 5.0)
        assert ask(server, "GET", "/Sensor/before").body == b'{"id":"before","value":1}'
        assert all(ask(server, "GET", path).status == 200 for path in acknowledged)
        for path in acknowledged:
            assert stream.next().envelope["id"] == path.removeprefix("/Sensor/")
        assert v5.publish("Sensor/before/direct", b"x", 7) == 0, "what needs no disk goes on"
        assert stream.next().envelope["id"] == "before/direct"

        disk.free()
        assert ask(server, "PUT", "/Sensor/before", body=b'{"value":3}').status == 204
        ok = (200, {"status": "ok", "worker": 1})
        eventually(lambda: health(server) == ok, "a health that says so", 5.0)
        assert stream.next().envelope["value"] == {"id": "before", "value": 3}
        assert v5.publish("Sensor/before", b'{"value":4}', 8, retain=True) == 0
        with raw_mqtt(server, 4) as again:
            assert again.publish("Sensor/before", b'{"value":5}', 9, retain=True) == 0
    assert ask(server, "GET", "/Sensor/before").body == b'{"id":"before","value":5}'
    assert "Traceback" not in server.errors()
    assert_sound_on_disk(disk)


def health(server: ServerProcess) -> tuple[int, object]:
    reply = ask(server, "GET", "/health")
    return reply.status, json.loads(reply.body)


def test_records_can_be_deleted_below_the_minimum(tmp_path: Path) -> None:
    """That is how somebody makes room without being root on the machine."""
    with small_disk(tmp_path, "storage: {minFree: 4MB}\n") as disk:
        assert ask(disk.server, "PUT", "/Sensor/before", body=b'{"value":1}').status == 204
        disk.fill(leave=1_000_000)
        assert_refused(
            ask(disk.server, "PUT", "/Sensor/more", body=b'{"value":1}'), 503, "nearly full"
        )
        assert ask(disk.server, "DELETE", "/Sensor/before").status == 200
        assert ask(disk.server, "GET", "/Sensor/before").status == 404


def copy_of(disk: SmallDisk) -> Path:
    """Copy the data file, while nobody writes; return the folder."""
    copy = disk.server.data.parent / "copy"
    copy.mkdir()
    shutil.copy(disk.data / "data.mdb", copy)
    return copy


def assert_sound_on_disk(disk: SmallDisk) -> None:
    """A copy of the data file has no problem."""
    engine = Engine.open(copy_of(disk), settings=StorageSettings())
    try:
        assert check(engine) == []
    finally:
        engine.close()
