from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lyredb.storage.check import check
from lyredb.storage.keys import encode_key
from tests.faults.killing import SETTINGS
from tests.faults.shim import HERE, build_shim, python_environment, run_under_shim
from tests.storage.store import SLOT, Store, body_of


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


def calls_of(shim: Path, folder: Path, *arguments: str) -> list[str]:
    """Run the acknowledging child and return the calls from its first commit on."""
    log = folder / "calls"
    read, write = os.pipe()
    os.dup2(write, 33)
    os.set_inheritable(33, True)
    script = HERE / "commit_and_acknowledge.py"
    command = (
        f'exec 3>&33; exec "{sys.executable}" "{script}" "{folder}/data" {" ".join(arguments)}'
    )
    try:
        done = subprocess.run(
            ["bash", "-c", command],
            env=python_environment(LD_PRELOAD=str(shim), SHIM_LOG=str(log), SHIM_ACK="3"),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            pass_fds=(33,),
        )
    finally:
        os.close(33)
        os.close(write)
        os.close(read)
    assert done.returncode == 0, done.stderr
    return log.read_text().splitlines()


def early_acknowledgements(calls: list[str]) -> int:
    """Count the acknowledgements that do not follow a whole commit.

    A commit is: pages written, fdatasync returned, then a write on the O_DSYNC
    descriptor returned (the meta page). Acknowledgements of a group may follow only
    when all of that has happened since the group began.
    """
    early, is_synced, is_committed = 0, False, False
    for call in calls:
        name, mode, result = call.split()
        if name == "begin":
            is_synced = is_committed = False
        elif name == "ack":
            early += not is_committed
        elif name == "fdatasync":
            is_synced = result == "0"
        elif mode == "sync":
            is_committed = is_synced and int(result) > 0
        else:
            is_synced = is_committed = False
    return early


def test_no_reply_leaves_before_the_meta_page_is_written(shim: Path, tmp_path: Path) -> None:
    """A kill cannot show this: the page cache survives it. The order of calls can."""
    calls = calls_of(shim, tmp_path)
    assert sum(call.startswith("ack") for call in calls) == 24
    assert sum(call.startswith("fdatasync") for call in calls) >= 12
    assert early_acknowledgements(calls) == 0


def test_an_early_reply_is_caught(shim: Path, tmp_path: Path) -> None:
    """The test above can fail: a writer that replies first is seen."""
    calls = calls_of(shim, tmp_path, "early")
    assert sum(call.startswith("ack") for call in calls) == 24
    assert early_acknowledgements(calls) == 24


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_any_failing_call_is_a_typed_error_without_acknowledgement(
    shim: Path, tmp_path: Path, error: int
) -> None:
    """Whichever call fails: no acknowledged write is lost, and all agrees after reopening."""
    done = run_under_shim(shim, HERE / "fail_nth_call.py", str(tmp_path / "data"), str(error))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("WRONG")] == []
    assert lines[-1].startswith("DONE")
    assert int(lines[-1].split()[1]) > 60, "the run must have had calls to fail"


@pytest.mark.timeout(55)
def test_twenty_kills_lose_no_acknowledged_write(tmp_path: Path) -> None:
    """After each the records, the indexes and the log agree."""
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(20):
        last = kill_after(tmp_path / "data", acknowledged, chance.randint(1, 200))
        assert last > acknowledged
        acknowledged = verify_after_kill(tmp_path / "data", last)


def kill_after(folder: Path, begin: int, lines: int) -> int:
    """Start the child, read so many acknowledgements, kill it; return the last of all."""
    child = subprocess.Popen(
        [sys.executable, str(HERE / "write_until_killed.py"), str(folder), str(begin)],
        env=python_environment(),
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    with child, child.stdout as stream:
        for _ in range(lines):
            if not stream.readline():
                break
        child.kill()
        rest = stream.read()
    assert child.returncode == -9
    whole = rest[: rest.rfind(b"\n") + 1].split()
    return int(whole[-1]) if whole else begin + lines


def verify_after_kill(folder: Path, acknowledged: int) -> int:
    """Check everything, and return the number of the last write that is there."""
    store = Store(folder, settings=SETTINGS)
    assert check(store.engine) == []
    with store.engine.snapshot() as snapshot:
        stored = snapshot.get(SLOT, encode_key("sum"))
        assert stored is not None
        applied = body_of(stored)["value"]
        assert isinstance(applied, int)
        assert applied >= acknowledged, "an acknowledged write is lost"
        for number in range(1, applied + 1):
            assert snapshot.get(SLOT, encode_key(f"k{number}")) is not None, number
        assert snapshot.get(SLOT, encode_key(f"k{applied + 1}")) is None
    store.close()
    return applied
