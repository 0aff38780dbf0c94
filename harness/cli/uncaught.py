"""An exception that no code expected: a line for a person, and a file with all that is known of it."""

from __future__ import annotations

import errno
import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import harness
from harness.errors import NfharnessError

__all__ = ("kept", "line", "named")

_KEPT = 20
_HOST = "this host"


def named(error: BaseException) -> BaseException:
    """What is told of an exception: the first of a group of which each is one that we can name, one of ours if there is one; or itself."""
    found = list(_all(error))
    ours = [one for one in found if isinstance(one, NfharnessError)]
    return (ours or found)[0] if all(isinstance(one, (NfharnessError, OSError)) for one in found) else error


def _all(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield _lack(error) or error
        return
    for one in error.exceptions:
        yield from _all(one)


def _lack(error: BaseException) -> OSError | None:
    """The host's error that Python tells by another exception: no memory, no further thread; ``None`` of other exceptions."""
    if isinstance(error, MemoryError):
        return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), _HOST)
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return OSError(errno.EAGAIN, str(error), _HOST)
    return None


def line(error: BaseException) -> str:
    """The exception in one line; of a group the first that it holds."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:300]}" if said else type(error).__name__


def kept(error: BaseException) -> Path | None:
    """The file that the traceback was written to; ``None`` if none can be written."""
    said = "".join(traceback.format_exception(error))
    text = f"nfharness {harness.__version__}, Python {sys.version.split()[0]}, {platform.platform()}\n{shlex.join(sys.argv)}\n\n{said}"
    for directory in (_state(), Path(tempfile.gettempdir())):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _forget_older(directory)
            handle, name = tempfile.mkstemp(prefix=time.strftime("traceback-%Y%m%d-%H%M%S-"), suffix=".txt", dir=directory)
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError:
            continue
        return Path(name)
    return None


def _state() -> Path:
    try:
        from harness.host.paths import run_dir  # noqa: PLC0415 - an installation that lacks a package has none

        return run_dir() / "failed"
    except (ImportError, NfharnessError):  # the latter: NFHARNESS_STATE can be no directory
        return Path(tempfile.gettempdir())


def _forget_older(directory: Path) -> None:
    for old in sorted(directory.glob("traceback-*.txt"))[: 1 - _KEPT]:
        old.unlink(missing_ok=True)
