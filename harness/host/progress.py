"""What is going on, for a person who waits: a bar on a terminal, lines elsewhere, nothing for anything that is quick."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from harness.host.terminal import Terminal

__all__ = ("Progress",)

#: Where there is no terminal: how often a step that takes long is told of.
_LINE_S = 300.0


class Progress:
    """Announces steps on standard error.

    :param quiet: say nothing at all
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Terminal(stderr=True, quiet=quiet)

    def note(self, text: str) -> None:
        """Print one line that needs no bar."""
        self.console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str, *, expected_s: float, detail: Callable[[], str] = str) -> Iterator[None]:
        """Something that takes seconds. The bar fills by the clock against *expected_s* and never claims to be done before it is.

        :param detail: what is done of it; asked once a second on a terminal, every five minutes elsewhere
        """
        start = time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"{text} …", markup=False, highlight=False, soft_wrap=True)

            def tell() -> None:
                if done := detail():
                    minutes = (time.monotonic() - start) / 60
                    self.console.print(f"{text}: {done}, after {minutes:.0f} min", markup=False, highlight=False, soft_wrap=True)

            with _repeated(_LINE_S, tell):
                yield
            self.console.print(f"{text}: done in {time.monotonic() - start:.1f} s", markup=False, highlight=False, soft_wrap=True)
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeElapsedColumn(),
                   TextColumn("{task.fields[detail]}", markup=False))  # fmt: skip
        with Bars(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(text, total=1.0, detail="")
            asked = start

            def advance() -> None:
                nonlocal asked
                now = time.monotonic()
                if now > asked + 1:
                    bars.update(task, detail=detail())
                    asked = now
                bars.update(task, completed=min(0.97, (now - start) / (now - start + expected_s / 3)))

            with _repeated(0.1, advance):
                yield
        self.note(f"{text}: {time.monotonic() - start:.1f} s")


@contextmanager
def _repeated(seconds: float, function: Callable[[], None]) -> Iterator[None]:
    """Call a function again and again while the block runs.

    :param seconds: before each call
    """
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(seconds):
            function()

    ticker = threading.Thread(target=repeat, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
