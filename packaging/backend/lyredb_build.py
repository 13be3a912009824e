"""How LyreDB is built: setuptools, and mypyc when `LYREDB_COMPILE=1`.

Compiling needs mypy and what the sources import, since mypy reads the types of both; who
builds the pure form needs neither.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401  # hooks that stay as they are
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
)

COMPILER = ["mypy[mypyc]>=2.4,<3", "types-PyYAML>=6.0,<7"]


def wants_compiled() -> bool:
    """Tell whether the compiled form is asked for.

    Raises:
        SystemExit: `LYREDB_COMPILE` is neither 0 nor 1.
    """
    asked = os.environ.get("LYREDB_COMPILE", "0")
    if asked not in ("0", "1", ""):
        raise SystemExit(f"LYREDB_COMPILE may be 0 or 1, not {asked!r}")
    return asked == "1"


@contextmanager
def pure() -> Iterator[None]:
    """Have setup.py compile nothing: it runs for questions about the package too."""
    before = os.environ.get("LYREDB_COMPILE", "0")
    os.environ["LYREDB_COMPILE"] = "0"
    try:
        yield
    finally:
        os.environ["LYREDB_COMPILE"] = before


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    """What a wheel needs to be built."""
    is_compiled = wants_compiled()
    with pure():
        found = list(build_meta.get_requires_for_build_wheel(config_settings))
    if not is_compiled:
        return found
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    return [*found, *COMPILER, *project["dependencies"]]


def prepare_metadata_for_build_wheel(directory: str, config_settings: object = None) -> str:
    """Write the metadata, which is the same for both forms."""
    with pure():
        return str(build_meta.prepare_metadata_for_build_wheel(directory, config_settings))


def get_requires_for_build_editable(config_settings: object = None) -> list[str]:
    """What an editable installation needs; refused when it would be a compiled one.

    Raises:
        SystemExit: Edits of a compiled module would have no effect.
    """
    if wants_compiled():
        raise SystemExit(
            "LYREDB_COMPILE=1 does not go with an editable installation: the compiled modules "
            "would stand before the sources that you edit. Use `pip install .`"
        )
    return list(build_meta.get_requires_for_build_editable(config_settings))


build_editable = build_meta.build_editable
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable
