"""The commands; thin: each parses, calls a room, prints, and says with its exit code what it found."""

from __future__ import annotations

import errno
import os
import sys

from harness.errors import ExitCode, KernelDied, NfharnessError

__all__ = ("main",)

_ELSEWHERE = "point NFHARNESS_CACHE and NFHARNESS_STATE at directories that you can write"
#: What puts the commonest failures of system calls right.
_MENDS = {
    errno.ENOSPC: "make room there, run 'nfharness image prune', or point NFHARNESS_CACHE and NFHARNESS_STATE at a larger disk",
    errno.EDQUOT: "make room there, run 'nfharness image prune', or point NFHARNESS_CACHE and NFHARNESS_STATE at a larger disk",
    errno.EMFILE: "raise the limit on open files: ulimit -n 4096",
    errno.ENOMEM: "end something that takes much memory, then try again",
    errno.EAGAIN: "raise the limit on processes: ulimit -u",
}


def main() -> None:
    """Entry point of ``nfharness`` and ``python3 -m harness``."""
    from harness.cli.signals import Interrupted, interruptible  # noqa: PLC0415 - once Ctrl-C is taken care of all else may be imported

    _open_standard_streams()
    try:
        interruptible()
        status = _main()
    except NfharnessError as error:
        report(error)
        status = error.exit_code
    except Interrupted as interrupted:
        print(f"nfharness: {interrupted}", file=sys.stderr)
        status = interrupted.exit_code
    except BrokenPipeError:
        # Whoever read our output has had enough; as for any other program that SIGPIPE ends.
        _discard_output()
        status = 141
    except OSError as error:
        _say_error(f"{error.filename or 'writing'}: {error.strerror or error}", _MENDS.get(error.errno or 0, _ELSEWHERE))
        _discard_output()
        status = ExitCode.CANNOT
    sys.exit(status)


def _main() -> int:
    """Run the command line; its exit status."""
    import click  # noqa: PLC0415

    from harness.cli.commands import nfharness  # noqa: PLC0415 - so that an error while importing is reported as one

    if "_NFHARNESS_COMPLETE" in os.environ:
        nfharness.main(prog_name="nfharness")
    try:
        # Not click's main(), which has exit codes and messages of its own for Ctrl-C and for a closed pipe.
        with nfharness.make_context("nfharness", sys.argv[1:]) as context:
            nfharness.invoke(context)
        sys.stdout.flush()
        return ExitCode.CONFORMANT
    except click.exceptions.Exit as early:
        return early.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "nfharness"
        _say_error(_one_line(error.format_message()), f"see '{path} --help'")
    except click.ClickException as error:
        _say_error(_one_line(error.format_message()), "see 'nfharness --help'")
    return ExitCode.USER_ERROR


def report(error: NfharnessError) -> None:
    """One line for what happened and one for the mend, on standard error."""
    if isinstance(error, KernelDied) and error.console_tail:
        print("\n".join(f"  | {line}" for line in error.console_tail.splitlines()), file=sys.stderr)
    _say_error(error.message, error.mend)


def _say_error(message: str, mend: str | None) -> None:
    print(f"nfharness: error: {message}", file=sys.stderr)
    if mend:
        print(f"  mend: {mend}", file=sys.stderr)


def _one_line(text: str) -> str:
    text = " ".join(text.split()).removesuffix(".")
    return text[:1].lower() + text[1:]


def _open_standard_streams() -> None:
    """Let no file or socket of ours take the place of a standard stream that is closed."""
    opened = os.open(os.devnull, os.O_RDWR)
    while opened <= 2:
        os.set_inheritable(opened, True)
        opened = os.open(os.devnull, os.O_RDWR)
    os.close(opened)
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115


def _discard_output() -> None:
    """What standard output still buffers cannot be written: do not try again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
