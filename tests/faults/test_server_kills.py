"""Processes of a server of two workers are killed under load of every kind, twenty times each.

After each death: what was acknowledged is there once, what was refused is not, and what was
not answered is there once or not; records, indexes and log agree; every subscriber has heard
every change once and in order, without reconnecting when its worker lives.
"""

from __future__ import annotations

import random
import time
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.worker_clients import kill
from tests.faults.load import running
from tests.faults.shim import HERE
from tests.faults.trial import WORKERS, Trial
from tests.server.process_tree import eventually

KILLS = 20
A_LIFE = 5
"""Kills per server: each further restart of the same process waits longer."""
FAULTY = (str(HERE / "faulty_server.py"),)


def a_moment(chance: random.Random) -> int:
    """Wait up to 20 ms, and return after how many acknowledgements to kill next."""
    time.sleep(chance.uniform(0.0, 0.02))
    return chance.randint(10, 200)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_of_the_writer_under_load(tmp_path: Path) -> None:
    """Nobody loses a connection, and each request in flight gets a true answer."""
    chance = random.Random(1)
    with running(tmp_path) as trial:
        for turn in range(KILLS):
            if turn and turn % A_LIFE == 0:
                trial.round(trial.restart, loses=WORKERS)
            old = trial.pid_of("writer")
            trial.round(
                lambda: kill(trial.server, "writer"),
                least=a_moment(chance),
                until=partial(trial.has_another, "writer", old),
            )
        assert_both_worked(trial)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_of_workers_under_load(tmp_path: Path) -> None:
    """Each in its turn: the clients of the other never notice, its own come back and resume."""
    chance = random.Random(2)
    with running(tmp_path) as trial:
        for turn in range(KILLS):
            if turn and turn % (2 * A_LIFE) == 0:
                trial.round(trial.restart, loses=WORKERS)
            worker = WORKERS[turn % 2]
            name = f"worker-{worker}"
            old = trial.pid_of(name)
            trial.round(
                partial(kill, trial.server, name),
                loses=(worker,),
                least=a_moment(chance),
                until=partial(trial.has_another, name, old),
            )
        assert_both_worked(trial)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_of_all_processes_under_load(tmp_path: Path) -> None:
    """What is left in the directory is whole before anything is started on it."""
    chance = random.Random(3)

    def kill_and_start() -> None:
        trial.kill_all()
        trial.assert_free(2.0)
        trial.start()

    with running(tmp_path) as trial:
        for _ in range(KILLS):
            trial.round(kill_and_start, loses=WORKERS, least=a_moment(chance))
        assert_both_worked(trial)


def assert_both_worked(trial: Trial) -> None:
    """The load was on both workers, and no process has failed by itself."""
    done = {number: 0 for number in WORKERS}
    for writer in trial.writers:
        done[writer.worker] += writer.done
    assert min(done.values()) * 10 > sum(done.values()), done
    assert len(trial.log.changes) > 10 * KILLS
    assert "Traceback" not in trial.server.errors()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_requests_that_a_dying_writer_has_just_committed_are_acknowledged(tmp_path: Path) -> None:
    """It dies each time between a commit and its replies; the next one knows of them.

    That some clients had requests in that very commit is what the faulty twin below shows.
    """
    with running(tmp_path, program=FAULTY, environment=fault("none", tmp_path)) as trial:
        for _ in range(A_LIFE):
            trial.round(lambda: die_in_commit(trial, tmp_path), least=10)


def fault(name: str, folder: Path) -> dict[str, str]:
    """The variables of a faulty server."""
    return {"FAULT": name, "DEATH": str(folder / "death")}


def die_in_commit(trial: Trial, folder: Path) -> None:
    """Have the writer die in a commit, and wait for another."""
    old = trial.pid_of("writer")
    (folder / "death").touch()
    eventually(lambda: trial.has_another("writer", old), "another writer")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("early", "acknowledged after"),
        ("forgetful", "the log has"),
        ("twice", "times in the log"),
        ("deaf", r"Listener-\d: "),
    ],
)
def test_a_fault_is_seen(tmp_path: Path, name: str, sign: str) -> None:
    """The tests above can fail: each fault breaks one promise, which is then in the report."""

    def body() -> None:
        variables = fault(name, tmp_path)
        with running(tmp_path, program=FAULTY, environment=variables, patience_s=5.0) as trial:
            for _ in range(A_LIFE):
                trial.round(lambda: die_in_commit(trial, tmp_path), least=10)

    with pytest.raises(AssertionError, match=sign):
        body()
