"""Builds the shim on the system calls, and starts processes under it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lyredb.storage import meta

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCE = Path(meta.__file__).parents[2]


def build_shim(folder: Path) -> Path:
    """Compile the shim into a folder and return the library."""
    library = folder / "shim.so"
    subprocess.run(
        ["gcc", "-O1", "-shared", "-fPIC", "-o", library, HERE / "shim.c", "-ldl"], check=True
    )
    return library


def python_environment(**more: str) -> dict[str, str]:
    """Return an environment in which a child finds the package and the tests."""
    return {**os.environ, "PYTHONPATH": f"{SOURCE}:{ROOT}", **more}


def run_under_shim(
    library: Path, script: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script under the shim; its output is captured, its end awaited."""
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env=python_environment(LD_PRELOAD=str(library), **environment),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
