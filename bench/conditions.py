"""Under what circumstances the figures arose: without them no figure may be quoted."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.peers import mosquitto, nats
from bench.peers.process import ROOT, StartFailed
from bench.scenarios.plan import Plan

SYNCS = 50
QUICK = (
    "A QUICK LOOK, NOT A MEASUREMENT: CPU comes in ticks of 10 ms, a few of them in a short"
    " round, and fewer connections are held than a name says"
)


def conditions(plan: Plan) -> str:
    """Return one line about machine, versions, disk and method."""
    started = os.getloadavg()[0]
    return "; ".join(
        (
            time.strftime("%Y-%m-%d", time.gmtime()),
            f"{_processor()}, {os.cpu_count()} cores, load {started:.1f} at the start",
            f"Linux {platform.release()}, Python {platform.python_version()}",
            f"LyreDB {_version('lyredb')} ({_revision()}) with one worker,"
            f" mosquitto {_said(mosquitto.version)}, nats-server {_said(nats.version)},"
            f" uvicorn {_version('uvicorn')}",
            f"disk: {_sync_ms(plan.folder):.2f} ms a fdatasync of 4 kB",
            f"MQTT {'5' if plan.level == 5 else '3.1.1'} on loopback",
            f"rounds {'/'.join(plan.order)} (A = LyreDB, B = each peer) of {plan.round_s:g} s,"
            " all processes of a server counted",
            *((QUICK,) if plan.order == "AB" else ()),
        )
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _said(version_of: Callable[[], str]) -> str:
    try:
        return version_of()
    except StartFailed:
        return "not installed"


def _revision() -> str:
    """Return the commit, or what stands for it outside a git tree."""
    try:
        ran = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "no git revision"
    return ran.stdout.strip()


def _sync_ms(folder: Path) -> float:
    """Return the median duration of a small durable write in ``folder``."""
    durations = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            durations.append(time.perf_counter() - begin)
    return sorted(durations)[SYNCS // 2] * 1000
