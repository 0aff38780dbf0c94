"""pytest takes a Ctrl-C that comes twice at once, from the terminal and from ``nfharness test``, for one. Loaded by ``-p``."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

__all__ = ()

#: Seconds in which a second SIGINT is taken for the first one.
_SAME_S = 2.0
_came = -_SAME_S


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """As Python does.

    :raises KeyboardInterrupt: unless it was raised a moment ago
    """
    global _came  # noqa: PLW0603
    now = time.monotonic()
    if now - _came > _SAME_S:
        _came = now
        raise KeyboardInterrupt


# A worker of xdist's has other handlers, and leaves it to the process that started it to end.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _interrupt)
