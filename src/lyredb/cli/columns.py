"""Rows for people, in columns: plain text that looks the same in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def columns(*rows: Sequence[str]) -> Iterator[str]:
    """Yield lines whose cells begin below each other; the first row is the heading."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def size_text(size_bytes: int) -> str:
    """Return a size as people say it: ``12.3 MB``."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
