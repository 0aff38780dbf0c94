"""Plain lines for a person. Tables, trees and colours are :class:`harness.host.terminal.Terminal`'s."""

from __future__ import annotations

import sys

from harness.printable import printable_line

__all__ = ("say",)


def say(*lines: str, error: bool = False) -> None:
    """Print lines; what they hold of a bundle, a kernel or a path cannot act on the terminal.

    :param error: on standard error
    """
    for line in lines:
        print(printable_line(line), file=sys.stderr if error else sys.stdout)
