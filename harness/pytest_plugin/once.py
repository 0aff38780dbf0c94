"""pytest ends in order when it is to end, as with Ctrl-C, and takes signals that come at once for one. Loaded by ``-p``.

A terminal, or ``timeout``, sends a signal to all of a group: to ``nfharness test``, which hands one on, to pytest, and to xdist's workers.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

__all__ = ()

#: Seconds in which a second signal is taken for the first one.
_SAME_S = 2.0
_came = -_SAME_S


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Raise what Python raises for SIGINT.

    :raises KeyboardInterrupt: unless it was raised a moment ago
    """
    global _came  # noqa: PLW0603
    now = time.monotonic()
    if now - _came > _SAME_S:
        _came = now
        raise KeyboardInterrupt


if threading.current_thread() is threading.main_thread():
    for _each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(_each) in (signal.default_int_handler, signal.SIG_DFL):  # not ignored, as by nohup
            signal.signal(_each, _interrupt)
