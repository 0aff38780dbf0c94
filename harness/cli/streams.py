"""Our standard streams: open, and able to take any text whatever the terminal can show."""

from __future__ import annotations

import codecs
import io
import locale
import os
import sys
from contextlib import suppress
from typing import TextIO

from harness.cli.signals import hold

__all__ = ("degraded", "degrading", "discard_output", "in_utf8_mode", "make_ready")

#: What stands for a character that the terminal cannot show: as wide where a table or a tree is drawn with it.
_PLAIN = {"│": "|", "├": "+", "└": "`", "─": "-", "━": "-", "╸": "-", "╺": "-", "✓": "+", "✗": "x", "≠": "!", "…": "...", "→": "->",
          "≤": "<=", "≥": ">=", "↳": ">", "µ": "u"}  # fmt: skip


class _Ascii(io.TextIOWrapper):
    """A stream for ASCII that does not say so: click would write UTF-8 to one that does."""

    encoding = "nfharness-ascii"


def degraded(error: UnicodeError) -> tuple[str, int]:
    """The codec error handler: ASCII for what an encoding lacks, and an escape for what has no likeness there."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in lacking), error.end


codecs.register_error("nfharness", degraded)


def in_utf8_mode() -> None:
    """Start Python again in its UTF-8 mode if the locale has another encoding: files of ours are UTF-8, whatever a terminal shows."""
    if sys.flags.utf8_mode or codecs.lookup(locale.getencoding()).name == "utf-8":
        return
    streams = sys.stdout or sys.stderr
    shown = os.environ.get("PYTHONIOENCODING") or (streams.encoding if streams else "utf-8")
    os.environ.update(PYTHONUTF8="1", PYTHONIOENCODING=shown)
    hold()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


def make_ready() -> None:
    """Let no file or socket of ours take the place of a standard stream that is closed, and no character end a run."""
    opened = os.open(os.devnull, os.O_RDWR)
    while opened <= 2:
        os.set_inheritable(opened, True)
        opened = os.open(os.devnull, os.O_RDWR)
    os.close(opened)
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115
    sys.stdout = degrading(sys.stdout or open(1, "w"))  # noqa: SIM115
    sys.stderr = degrading(sys.stderr or open(2, "w"))  # noqa: SIM115


def degrading(stream: TextIO) -> TextIO:
    """The stream as one that takes any text."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if codecs.lookup(stream.encoding).name == "ascii":
        return _Ascii(stream.detach(), "ascii", "nfharness", line_buffering=stream.line_buffering, write_through=stream.write_through)
    stream.reconfigure(errors="nfharness")
    return stream


def discard_output() -> None:
    """What the streams still buffer cannot be written: do not try again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with suppress(OSError):
            os.dup2(null, descriptor)
    os.close(null)
