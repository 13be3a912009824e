"""Adds compiled modules when `LYREDB_COMPILE=1`; all else stands in pyproject.toml.

Delivery and MQTT are compiled by mypyc as one unit, so that calls between them are calls
of C functions. Not compiled are modules without a hot path, where compiling is no gain:
values, settings, and what only protocols or the server compose.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import setup

ROOMS = ("src/lyredb/delivery", "src/lyredb/protocols/mqtt")
INTERPRETED = frozenset(
    (
        # `Destination.id` is declared as `object`, which mypyc cannot make a dataclass of.
        "src/lyredb/delivery/admission.py",
        # Its time is LMDB's, and its tests set its limits, which compiled code has inlined.
        "src/lyredb/delivery/finding.py",
        # msgspec makes its structs of what an interpreted class body leaves behind.
        "src/lyredb/protocols/mqtt/bridge_file.py",
        # Protocols that `isinstance` asks for are none any more when they are compiled.
        "src/lyredb/protocols/mqtt/openers.py",
    )
)


def compiled_sources() -> list[str]:
    """The sources of the compiled unit, relative to this file."""
    found = (path.as_posix() for room in ROOMS for path in sorted(Path(room).rglob("*.py")))
    return [path for path in found if not path.endswith("/__init__.py") and path not in INTERPRETED]


def extensions() -> list[object]:
    """The extension modules to build; none for the pure form."""
    if os.environ.get("LYREDB_COMPILE") != "1":
        return []
    from mypyc.build import mypycify

    sources = compiled_sources()
    return list(
        mypycify(
            ["--python-executable", sys.executable, *sources],
            only_compile_paths=sources,
            group_name="lyredb",
            opt_level=os.environ.get("MYPYC_OPT_LEVEL", "3"),
            debug_level="0",
        )
    )


setup(ext_modules=extensions())
