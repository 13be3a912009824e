"""The numbers of all normative statements, by section: what the table has to have.

Kept apart from the table, so that a statement that is left out is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_3_1_1: Final = """
1.5.3:3 2.2.2:2 2.3.1:7
3.1.0:2 3.1.2:24 3.1.3:11 3.1.4:5 3.2.0:1 3.2.2:6
3.3.1:12 3.3.2:3 3.3.4:1 3.3.5:2 3.6.1:1
3.8.1:1 3.8.3:4 3.8.4:6 3.9.3:2 3.10.1:1 3.10.3:2 3.10.4:6
3.12.4:1 3.14.1:1 3.14.4:3
4.1.0:2 4.3.1:1 4.3.2:2 4.3.3:2 4.4.0:1 4.5.0:2 4.6.0:6
4.7.1:3 4.7.2:1 4.7.3:4 4.8.0:2
6.0.0:4 7.0.0:2 7.1.1:1 7.1.2:1
"""
"""``section:highest``; 3.1.1 leaves no number out."""

_5: Final = """
1.5.4:3 1.5.5:1 1.5.7:1 2.1.3:1 2.2.1:6 2.2.2:1
3.1.0:2 3.1.2:30 3.1.3:12 3.1.4:6 3.2.0:2 3.2.2:22
3.3.1:13 3.3.2:20 3.3.4:10 3.4.2:3 3.5.2:3 3.6.1:1 3.6.2:3 3.7.2:3
3.8.1:1 3.8.3:5 3.8.4:8 3.9.2:2 3.9.3:2
3.10.1:1 3.10.3:2 3.10.4:6 3.11.2:2 3.11.3:2
3.12.4:1 3.14.0:1 3.14.1:1 3.14.2:4 3.14.4:3 3.15.1:1 3.15.2:3
4.1.0:2 4.2:1 4.3.1:1 4.3.2:5 4.3.3:13 4.4.0:2 4.5.0:2 4.6.0:6
4.7.0:1 4.7.1:2 4.7.2:1 4.7.3:4 4.8.2:6 4.9.0:3
4.12.0:7 4.12.1:2 4.13.1:1 4.13.2:1
6.0.0:4
"""

_NOT_IN_5: Final = {"2.2.1-1"}
"""Numbers that the standard does not give."""


def numbers(version: str) -> list[str]:
    """All of ``"3.1.1"`` or ``"5.0"``, in order."""
    table = _3_1_1 if version == "3.1.1" else _5
    missing = set() if version == "3.1.1" else _NOT_IN_5
    return [number for number in _expand(table) if number not in missing]


def _expand(table: str) -> Iterator[str]:
    for entry in table.split():
        section, _, highest = entry.partition(":")
        for number in range(1, int(highest) + 1):
            yield f"{section}-{number}"
