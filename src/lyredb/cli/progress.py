"""A bar for what takes long, on standard error and only where somebody looks at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PLAIN_S: Final = 10.0
"""Between two lines where there is no terminal."""


@contextmanager
def progress(name: str, *, bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show how far something is; gives a function of what is done, and of how much.

    Args:
        name: What is being done.
        bytes: The numbers are sizes.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    count = DownloadColumn() if bytes else MofNCompleteColumn()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        count,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:
        task = shown.add_task(name, total=None)

        def note(done: int, of: int) -> None:
            shown.update(task, completed=done, total=of)

        yield note


@contextmanager
def rate_progress(name: str, size: int, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how far a file is, how many rows a second, and how long it will take.

    Where nobody looks a line is printed now and then. Gives a function of the rows done and
    the bytes of the file done.

    Args:
        name: What is being done.
        size: Bytes of the file, 0 when they are not known.
        quiet: Show nothing.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    began = last = time.monotonic()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as shown:
        task = shown.add_task(name, total=size or None, rows=0, rate=0.0)
        first: int | None = None

        def note(rows: int, done_bytes: int) -> None:
            nonlocal last, first
            now = time.monotonic()
            first = rows if first is None else first
            rate = (rows - first) / max(now - began, 0.001)
            shown.update(task, completed=done_bytes, rows=rows, rate=rate)
            if not quiet and not console.is_terminal and now - last > PLAIN_S:
                last = now
                console.print(f"{name}: {rows:,} rows, {rate:,.0f}/s", highlight=False)

        yield note
