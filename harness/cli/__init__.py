"""The command line: a command a file, its view beside it. Thin: each parses, calls a room, prints, and says with its exit code what it
found.

The life of a command: ``commands`` finds its file by name and imports it alone, so that ``--help`` and completion stay quick; ``options``
are those that several share; the command imports what it needs once the options are known to be right. ``say`` and
:mod:`harness.host.terminal` print; ``streams`` and ``signals`` keep standard streams and Ctrl-C in order; an error becomes one line, a
hint and an exit status here, in :func:`status_of`; an exception that no code expected is ``uncaught``'s.

Read ``commands``, ``run``, then ``check`` with ``rules``, ``html`` and ``reports`` (its other views); ``pages`` makes pages for a browser
of ``templates``, ``session_page`` that of ``trace``. ``relay`` joins a guest's process to our streams, for ``exec`` and ``shell``;
``guest_files`` carries ``--file`` there. ``sessions`` is what ``trace`` has seen, ``session_files`` the files that it writes, ``recorded``
reads one again, ``explained`` shows the rules that a packet met, ``examples`` are those of ``--example``. ``diff_page``, ``mutate_page``
and ``results_page`` are the pages of their commands, ``annotated`` shows ``check`` on GitHub, ``suites`` is shared by ``kselftest`` and
``suite``.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback

from harness.cli.say import say
from harness.errors import ExitCode, KernelDied, NfharnessError

__all__ = ("GONE", "main", "report", "status_of")

#: What a shell says of a program that SIGPIPE ends: what reads our output has gone.
GONE = 141
_ELSEWHERE = "point NFHARNESS_CACHE and NFHARNESS_STATE at directories that you can write"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ROOM = "run 'nfharness image prune', or point NFHARNESS_CACHE and NFHARNESS_STATE at a larger disk"
#: What puts the commonest failures of system calls right.
_HINTS = {
    **dict.fromkeys(_FULL, f"make room there, {_ROOM}"),
    errno.EMFILE: "raise the limit on open files: ulimit -n 4096",
    errno.ENOMEM: "end something that takes much memory, then try again",
    errno.EAGAIN: "raise the limit on processes: ulimit -u",
}


def main() -> None:
    """Entry point of ``nfharness`` and ``python3 -m harness``: however it ends, the exit status says whose it is."""
    try:
        status = _status()
    except KeyboardInterrupt as late:  # while another end was told; no further one comes
        status = status_of(late)
    sys.exit(status)


def _status() -> int:
    from harness.cli.signals import make_deaf  # noqa: PLC0415 - light, and needed whatever fails

    try:
        from harness.cli import streams  # noqa: PLC0415 - what cannot be imported is told as an error, too
        from harness.cli.signals import interruptible  # noqa: PLC0415 - once Ctrl-C is taken care of all else may be imported

        streams.in_utf8_mode()
        streams.make_ready()
        interruptible()
        status = _main()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:
        make_deaf()
        return status_of(error)
    make_deaf()
    return status


def _main() -> int:
    """Run the command line; its exit status."""
    import click  # noqa: PLC0415

    from harness.cli.commands import nfharness  # noqa: PLC0415 - so that an error while importing is reported as one

    try:
        if "_NFHARNESS_COMPLETE" in os.environ:
            nfharness.main(prog_name="nfharness")
        # Not click's main(), which has its own exit codes and messages for Ctrl-C and for a closed pipe.
        with nfharness.make_context("nfharness", sys.argv[1:]) as context:
            nfharness.invoke(context)
        return ExitCode.CONFORMANT
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.CONFORMANT
    except click.exceptions.Exit as early:
        return early.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        say(*error.format_message().split("\n"), error=True)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "nfharness"
        _say_error(_one_line(error.format_message()), f"see '{path} --help'")
    except click.ClickException as error:
        _say_error(_one_line(error.format_message()), "see 'nfharness --help'")
    return ExitCode.USER_ERROR


def status_of(error: BaseException) -> int:
    """The exit status that an exception ends us with, once it is told on standard error."""
    from harness.cli.streams import discard_output  # noqa: PLC0415
    from harness.cli.uncaught import named  # noqa: PLC0415

    error = named(error)
    try:
        status = _told(error)
        sys.stdout.flush()
    except OSError as unwritten:
        status = GONE if isinstance(unwritten, BrokenPipeError) else getattr(error, "exit_code", ExitCode.CANNOT)
        discard_output()
    return status


def _told(error: BaseException) -> int:
    from harness.cli.uncaught import kept, line  # noqa: PLC0415

    if isinstance(error, NfharnessError):
        report(error)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        say(f"nfharness: {str(error) or 'interrupted'}", error=True)
        return getattr(error, "exit_code", 130)
    if isinstance(error, BrokenPipeError) and _reader_has_gone():
        raise error
    if isinstance(error, OSError):
        _say_error(f"{error.filename or 'writing'}: {error.strerror or error}", _hint(error))
        return ExitCode.CANNOT
    file = kept(error)
    _say_error(f"{line(error)} (a fault of nfharness itself)", f"report it with {file or 'this traceback:'}")
    if file is None:
        traceback.print_exception(error)
    return ExitCode.CANNOT


def _hint(error: OSError) -> str:
    if error.filename is None and error.errno in _FULL:
        return f"make room where the output goes; if it is the cache that is full, {_ROOM}"
    return _HINTS.get(error.errno or 0, _ELSEWHERE)


def _reader_has_gone() -> bool:
    from harness.host.terminal import reader_has_gone  # noqa: PLC0415

    return reader_has_gone(1, 2)


def report(error: NfharnessError) -> None:
    """Print a line for what happened and one for the hint, on standard error."""
    if isinstance(error, KernelDied) and error.console_tail:
        say(*(f"  | {line}" for line in error.console_tail.splitlines()), error=True)
    _say_error(error.message, error.hint)


def _say_error(message: str, hint: str | None) -> None:
    say(f"nfharness: error: {message}", error=True)
    if hint:
        first, *more = hint.split("\n")
        # No line may begin as one of ours does: a hint can name what a file has.
        say(f"  hint: {first}", *(f"    {line.removeprefix('    ')}" for line in more), error=True)


def _one_line(text: str) -> str:
    text = " ".join(text.split()).removesuffix(".")
    return text[:1].lower() + text[1:]
