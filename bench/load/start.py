"""Run a load in a process of its own, so that its CPU is not the bench's or the server's."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from typing import Any

from bench.load.faults import Faults
from bench.load.spec import Bounds, Hold, HoldResult, LoadResult, Shape, Target
from bench.peers.process import END_WITHIN_S, environment, python

AROUND_S = 60.0
"""Connecting, warming up, reading back: a load that takes longer is ended."""


def run_load(target: Target, shape: Shape, bounds: Bounds) -> LoadResult:
    """Run one load to its end and return what it counted; failures stand in the result."""
    job = {"target": asdict(target), "shape": asdict(shape), "bounds": asdict(bounds)}
    counted, failure = _run(job, bounds.wall_s + AROUND_S)
    if failure:
        return LoadResult(failure=failure)
    return LoadResult(**{**counted, "faults": Faults(**counted["faults"])})


def run_hold(target: Target, hold: Hold) -> HoldResult:
    """Hold connections and return what that showed; failures stand in the result."""
    counted, failure = _run({"target": asdict(target), "hold": asdict(hold)}, AROUND_S)
    return HoldResult(failure=failure) if failure else HoldResult(**counted)


def _run(job: dict[str, Any], timeout_s: float) -> tuple[dict[str, Any], str]:
    """Return what the load counted, or why it did not."""
    process = subprocess.Popen(
        python("-m", "bench.load"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    try:
        output, words = process.communicate(json.dumps(job), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return {}, "the load did not end in time"
    finally:
        _end(process)
    if process.returncode:
        return {}, f"the load ended with {process.returncode}: {words[-500:]}"
    return json.loads(output), ""


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
