"""The two wheels: one for every Python, and one that is compiled for this one and serves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
INGREDIENTS = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
BUILD_S = 1_200
"""A minute and a half of one core; who shares the machine with many waits longer."""
SERVED = [
    "tests/packaging/test_backend.py::test_the_form_is_that_of_the_modules_in_use",
    "tests/e2e/test_mqtt_clients.py",
]
"""A server of its own and clients that others wrote, at QoS 0, 1 and 2, with wills."""


def wheel(folder: Path, form: str) -> Path:
    """Build a wheel as users do, except that nothing is optimised and nothing downloaded."""
    for name in INGREDIENTS:
        shutil.copy(ROOT / name, folder)
    without = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
    for name in ("src", "packaging"):
        shutil.copytree(ROOT / name, folder / name, ignore=without)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*build, "--wheel-dir", str(folder / "wheels"), "."],
        cwd=folder,
        env={**os.environ, "LYREDB_COMPILE": form, "MYPYC_OPT_LEVEL": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    (found,) = (folder / "wheels").iterdir()
    return found


def extensions(path: Path) -> set[str]:
    """The compiled modules of a wheel."""
    with ZipFile(path) as opened:
        names = opened.namelist()
    suffix = EXTENSION_SUFFIXES[0]
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}


@pytest.mark.timeout(BUILD_S)
def test_the_pure_wheel_is_for_every_python(tmp_path: Path) -> None:
    made = wheel(tmp_path, "0")
    assert made.name.endswith("-py3-none-any.whl")
    assert not extensions(made)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="the headers of this Python are missing (Debian: apt-get install python3-dev)",
)
@pytest.mark.timeout(2 * BUILD_S)
def test_the_compiled_wheel_is_for_this_python_and_serves(tmp_path: Path) -> None:
    """Its tags keep it from others, delivery and MQTT are in it, and clients are served by it."""
    made = wheel(tmp_path, "1")
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert f"-{python}-{python}-" in made.name
    assert {"lyredb/delivery/hub", "lyredb/protocols/mqtt/publishing"} <= extensions(made)
    assert "lyredb/delivery/admission" not in extensions(made)
    installed = tmp_path / "installed"
    ZipFile(made).extractall(installed)
    served = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "pythonpath=.", "-m", "not pure", *SERVED],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(installed),
            "TEST_FORM": "compiled",
            "PYTEST_ADDOPTS": "",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert served.returncode == 0, served.stdout[-4000:]
