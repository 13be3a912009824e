"""Rows for people, in columns: plain text that looks the same in a pipe."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence


def columns(*rows: Sequence[str]) -> Iterator[str]:
    """Yield lines whose cells begin below each other; the first row is the heading."""
    rows = tuple([printable(cell) for cell in row] for row in rows)
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def printable(text: str) -> str:
    """Return a text whose control characters are escapes.

    Clients choose their identifiers and topics: what comes to a terminal unread could make
    it do things, or look like a row of somebody else's.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def more_text(after: str) -> str:
    """Return how to ask for what is behind the last entry of a list."""
    return f"lyredb: there are more; go on with --after {printable(shlex.quote(after))}"


def size_text(size_bytes: int) -> str:
    """Return a size as people say it: ``12.3 MB``."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
