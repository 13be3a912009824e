"""kill -9 under QoS 1 and 2, with clients that drop and come back whenever they like.

What was acknowledged to a publisher comes to each reader in order, of QoS 2 once. A few
kills by default; ``make kills`` has fifty of each kind.
"""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.worker_clients import kill
from tests.faults.durable_load import DurableSpeaker, lasting
from tests.faults.load import running
from tests.faults.trial import WORKERS, Trial

KILLS = int(os.environ.get("TEST_KILLS", "4"))
A_LIFE = 5
"""Kills per server: each further restart of the same process waits longer."""
LIMIT_S = 120 + 20 * KILLS


def kill_one(trial: Trial, name: str, loses: tuple[int, ...], least: int) -> None:
    """A round in which one process dies."""
    old = trial.pid_of(name)
    trial.round(
        partial(kill, trial.server, name),
        loses=loses,
        least=least,
        until=partial(trial.has_another, name, old),
    )


def kill_all(trial: Trial, least: int) -> None:
    """A round in which all processes die, and others start on what they leave."""

    def happening() -> None:
        trial.kill_all()
        trial.assert_free(2.0)
        trial.start()

    trial.round(happening, loses=WORKERS, least=least)


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("victim", ["writer", "worker", "all"])
def test_lasting_clients_lose_and_double_nothing(tmp_path: Path, victim: str) -> None:
    """The clients of a worker that lives keep their connections, also when the writer dies."""
    chance = random.Random(f"{victim} {KILLS}")
    with running(tmp_path, clients=lasting) as trial:
        for turn in range(KILLS):
            if turn and turn % A_LIFE == 0 and victim != "all":
                trial.round(trial.restart, loses=WORKERS)
            least = chance.randint(10, 200)
            if victim == "all":
                kill_all(trial, least)
            elif victim == "writer":
                kill_one(trial, "writer", (), least)
            else:
                worker = WORKERS[turn % 2]
                kill_one(trial, f"worker-{worker}", (worker,), least)
        assert "Traceback" not in trial.server.errors()
        speakers = [one for one in trial.writers if isinstance(one, DurableSpeaker)]
        said = [len(one.session.acknowledged) for one in speakers]
        assert min(said) > 10 * KILLS, said
