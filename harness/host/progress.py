"""What is going on, for a person who waits: a bar on a terminal, one line per step elsewhere, nothing for anything that is quick."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from harness.host.terminal import Terminal

__all__ = ("Progress",)


class Progress:
    """Announces steps on standard error.

    :param quiet: say nothing at all
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Terminal(stderr=True, quiet=quiet)

    def note(self, text: str) -> None:
        """One line that needs no bar."""
        self.console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str, *, expected_s: float, detail: Callable[[], str] = str) -> Iterator[None]:
        """Something that takes seconds. The bar fills by the clock against *expected_s* and never claims to be done before it is.

        :param detail: what is done of it, for a terminal; asked once a second
        """
        start = time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"{text} …", markup=False, highlight=False, soft_wrap=True)
            yield
            self.console.print(f"{text}: done in {time.monotonic() - start:.1f} s", markup=False, highlight=False, soft_wrap=True)
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeElapsedColumn(),
                   TextColumn("{task.fields[detail]}", markup=False))  # fmt: skip
        with Bars(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(text, total=1.0, detail="")
            done = threading.Event()

            def advance() -> None:
                asked = start
                while not done.wait(0.1):
                    now = time.monotonic()
                    if now > asked + 1:
                        bars.update(task, detail=detail())
                        asked = now
                    bars.update(task, completed=min(0.97, (now - start) / (now - start + expected_s / 3)))

            ticker = threading.Thread(target=advance, daemon=True)
            ticker.start()
            try:
                yield
            finally:
                done.set()
                ticker.join()
        self.note(f"{text}: {time.monotonic() - start:.1f} s")
