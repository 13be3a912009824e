"""No answer leaves the real server before its commit is on disk: the order of system calls.

A kill cannot show this, since the page cache survives it. A shim notes each call on the
data file after it has returned, and each answer before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from lyredb.server import worker
from tests.e2e.raw_http import raw_http, request
from tests.e2e.raw_mqtt import raw_mqtt
from tests.e2e.server_process import SCHEMA, ServerProcess, start_server
from tests.faults.shim import HERE, build_shim
from tests.faults.test_storage_faults import early_acknowledgements
from tests.protocols.mqtt import client_frames as frames

GOOD = ("-m", "lyredb")
BROKEN = (str(HERE / "early_server.py"),)
ROUNDS = 10
SOURCE = Path(worker.__file__).parents[2]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


@contextmanager
def watched(shim: Path, folder: Path, program: Sequence[str]) -> Iterator[ServerProcess]:
    """A server whose calls are noted in ``folder/calls``."""
    application = folder / "app"
    application.mkdir()
    (application / "schema.graphql").write_text(SCHEMA)
    server = start_server(
        application,
        folder / "data",
        program=program,
        environment={
            "LD_PRELOAD": str(shim),
            "SHIM_LOG": str(folder / "calls"),
            "SHIM_SOCKETS": "1",
            "PYTHONPATH": str(SOURCE),
        },
    )
    try:
        yield server
    finally:
        server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


def write_over_rest(server: ServerProcess) -> int:
    """Each kind of write, alone and pipelined; return the number of answers."""
    body = b'{"value":1,"site":"a"}'
    with raw_http(server) as client:
        for number in range(ROUNDS):
            for method, path, status in (
                ("PUT", f"/Sensor/{number}", 204),
                ("PATCH", f"/Sensor/{number}", 204),
                ("POST", "/Sensor/", 201),
                ("DELETE", f"/Sensor/{number}", 200),
            ):
                client.send(request(method, path, body=b"" if method == "DELETE" else body))
                assert client.reply().status == status
    return 4 * ROUNDS


def write_over_mqtt(server: ServerProcess) -> int:
    """Retained messages, alone and three at once; return the least number of sends."""
    for version in (4, 5):
        with raw_mqtt(server, version) as client:
            for number in range(ROUNDS):
                assert client.publish(f"Sensor/{number}", b'{"value":2}', 1, retain=True) == 0
                burst = (
                    frames.publish(
                        f"Sensor/{packet_id}",
                        b'{"value":3}',
                        version=version,
                        qos=1,
                        packet_id=packet_id,
                        retain=True,
                    )
                    for packet_id in (2, 3, 4)
                )
                client.send(b"".join(burst))
                assert [client.until(4).packet_id for _ in range(3)] == [2, 3, 4]
    return 2 * 2 * ROUNDS


WRITERS = {"REST": write_over_rest, "MQTT": write_over_mqtt}


def calls_of(shim: Path, folder: Path, program: Sequence[str], protocol: str) -> list[str]:
    """The calls from the first write on; each of the writes was answered."""
    with watched(shim, folder, program) as server:
        log = folder / "calls"
        before = log.stat().st_size  # what the start wrote
        least = WRITERS[protocol](server)
        calls = log.read_bytes()[before:].decode().splitlines()
    calls = calls[calls.index("begin plain 0") :]
    assert calls.count("ack plain 0") >= least, "the shim sees the answers"
    return calls


@pytest.mark.parametrize("protocol", WRITERS)
def test_no_answer_leaves_before_its_commit_is_on_disk(
    shim: Path, tmp_path: Path, protocol: str
) -> None:
    calls = calls_of(shim, tmp_path, GOOD, protocol)
    assert calls.count("fdatasync plain 0") >= calls.count("ack plain 0") // 2
    assert early_acknowledgements(calls) == 0


@pytest.mark.parametrize("protocol", WRITERS)
def test_server_that_answers_early_is_caught(shim: Path, tmp_path: Path, protocol: str) -> None:
    """The test above can fail: most answers of a broken server are seen to be early."""
    calls = calls_of(shim, tmp_path, BROKEN, protocol)
    assert early_acknowledgements(calls) > calls.count("ack plain 0") // 2
