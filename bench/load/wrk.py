"""HTTP load by wrk, whose own cost is small beside that of a Python server."""

from __future__ import annotations

import base64
import json
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load.spec import Target
from bench.peers.cpu import cpu_s, tree
from bench.peers.process import END_WITHIN_S

SCRIPT = Path(__file__).with_name("requests.lua")
AROUND_S = 20
"""wrk's start and its last responses: a run that takes longer is ended."""


@dataclass(frozen=True, slots=True)
class HttpShape:
    """The form of an HTTP load: keep-alive connections, one request at a time on each."""

    method: str
    connections: int
    records: int
    text: str


@dataclass(frozen=True, slots=True)
class HttpResult:
    """What wrk counted and what the server used meanwhile.

    ``errors`` are socket errors, timeouts and statuses of 400 and above.
    """

    requests: int = 0
    errors: int = 0
    wall_s: float = 0.0
    server_cpu_s: float = 0.0
    load_cpu_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    failure: str = ""


def basic(target: Target) -> str:
    """Return the Authorization header for ``target``."""
    pair = f"{target.username}:{target.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def run_wrk(target: Target, shape: HttpShape, seconds: int) -> HttpResult:
    """Load ``target`` for so many seconds; failures stand in the result."""
    told = (shape.method, str(shape.records), basic(target), shape.text)
    return run_script(target, SCRIPT, told, connections=shape.connections, seconds=seconds)


def run_script(
    target: Target,
    script: Path,
    arguments: Sequence[str],
    *,
    connections: int,
    seconds: int,
    timeout_s: float = 2.0,
) -> HttpResult:
    """Have wrk make the requests of a script, which has to end with a line ``RESULT``.

    Args:
        target: The server.
        script: In Lua.
        arguments: Of its ``init``.
        connections: Keep-alive, one request at a time on each.
        seconds: How long.
        timeout_s: An answer that takes longer counts as an error.
    """
    program = shutil.which("wrk")
    if program is None:
        return HttpResult(failure="wrk is not installed (Debian: apt-get install wrk)")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script)]
    command += ["--timeout", f"{timeout_s:g}s"]
    command += [f"http://{target.host}:{target.port}", "--", *arguments]
    cpu, load = cpu_s(tree(target.pid)), _children_s()
    try:
        ran = _bounded(command, seconds + timeout_s + AROUND_S)
    except subprocess.TimeoutExpired:
        return HttpResult(failure="wrk did not end in time")
    line = next((line for line in ran.splitlines() if line.startswith("RESULT ")), "")
    if not line:
        return HttpResult(failure=f"wrk: {ran[-300:].strip()}")
    counted = json.loads(line.removeprefix("RESULT "))
    return HttpResult(
        requests=counted["requests"],
        errors=sum(counted[kind] for kind in ("status", "connect", "read", "write", "timeout")),
        wall_s=counted["duration_us"] / 1e6,
        server_cpu_s=cpu_s(tree(target.pid)) - cpu,
        load_cpu_s=_children_s() - load,
        p50_ms=counted["p50_us"] / 1000,
        p99_ms=counted["p99_us"] / 1000,
    )


def _bounded(command: list[str], timeout_s: float) -> str:
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=timeout_s)[0]
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _children_s() -> float:
    """CPU seconds of our children that have ended: wrk, since nothing else ends meanwhile."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
