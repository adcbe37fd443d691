"""A sign of life from long work: a bar on a terminal, and nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")


class Count(Protocol):
    """Passes items through, and counts each as done when the next one is asked for."""

    def __call__(self, items: Iterable[T], /) -> Iterator[T]: ...


@contextmanager
def progress(what: str, total: int, *, ticking: bool = True) -> Iterator[Count]:
    """If stderr is a terminal, show there how much of `total` is done, and wipe the bar at the end.

    A thread draws the spinner and the clock. Start worker processes before the bar: a fork does not copy the thread,
    but it does copy the locks that the thread holds. A measurement should have no thread beside it. Without `ticking`
    there is none, and the bar is drawn only between two items.
    """
    if not sys.stderr.isatty():
        yield iter
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    bar = Progress(
        SpinnerColumn("line"),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=ticking,
        refresh_per_second=4,
        redirect_stdout=sys.stdout.isatty(),  # what is printed goes above the bar; a file or a pipe is left alone
    )
    with bar:
        task = bar.add_task(what, total=total)

        def count(items: Iterable[T], /) -> Iterator[T]:
            for item in items:
                yield item
                bar.update(task, advance=1, refresh=not ticking)

        yield count
