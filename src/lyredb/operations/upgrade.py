"""From one format of the data directory to the next.

Each step rewrites what its format changed in one transaction with the new number, so an
interrupted upgrade goes on where it was. `STEPS` is empty while there is one format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lyredb.errors import FormatMismatch
from lyredb.storage import meta
from lyredb.storage.format import Change, change_format, read_format
from lyredb.storage.settings import StorageSettings

Number = tuple[int, int]
"""Major and minor."""

CURRENT: Final[Number] = (meta.FORMAT_MAJOR, meta.FORMAT_MINOR)


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        before: The format that it takes.
        after: The format that it makes.
        sentence: What it does, for people.
        change: Does it.
    """

    before: Number
    after: Number
    sentence: str
    change: Change


STEPS: Final[tuple[Step, ...]] = ()
"""Every step there ever was, oldest first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an upgrade would do; without steps there is nothing to do."""

    found: Number
    steps: tuple[Step, ...]


def plan_upgrade(
    data_dir: Path, *, steps: Sequence[Step] = STEPS, current: Number = CURRENT
) -> Plan:
    """Look what format a data directory has, and what is to be done; changes nothing.

    Works beside a running server.

    Raises:
        FormatMismatch: A later version wrote it, or no step leads from there.
        StorageFailed: There is no database, or it cannot be read.
    """
    form = read_format(data_dir, map_size=StorageSettings().map_size)
    found = (form.major, form.minor)
    if found > current or form.incompatible & ~meta.KNOWN_INCOMPATIBLE:
        raise FormatMismatch(
            f"the data directory has format {text_of(found)}, which a later version of LyreDB "
            f"wrote; this one knows formats up to {text_of(current)} and leaves it as it is"
        )
    chosen = []
    at = found
    for step in steps:
        if step.before == at:
            chosen.append(step)
            at = step.after
    if at != current:
        raise FormatMismatch(
            f"the data directory has format {text_of(found)}, and this version knows no way "
            f"from {text_of(at)} to {text_of(current)}"
        )
    return Plan(found, tuple(chosen))


def upgrade(
    data_dir: Path,
    *,
    steps: Sequence[Step] = STEPS,
    current: Number = CURRENT,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Plan:
    """Bring a data directory to the present format and return what was done.

    Args:
        data_dir: Must not be in use, unless there is nothing to do.
        steps: All there are.
        current: Where to.
        on_step: Called before each step.

    Raises:
        DataDirectoryInUse: A server has it open.
        StorageError: A step failed; those before it are done, it is not.
    """
    plan = plan_upgrade(data_dir, steps=steps, current=current)
    for step in plan.steps:
        on_step(step)
        major, minor = step.after
        change_format(
            data_dir, step.change, major=major, minor=minor, map_size=StorageSettings().map_size
        )
    return plan


def text_of(number: Number) -> str:
    """Return ``major.minor``."""
    return f"{number[0]}.{number[1]}"
