"""A bar for what takes long, on standard error and only where somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
