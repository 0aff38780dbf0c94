"""The commands; thin: each parses, calls a room, prints, and says with its exit code what it found."""

from __future__ import annotations

import sys

from harness.errors import ExitCode, KernelDied, NfharnessError

__all__ = ("main",)


def main() -> None:
    """Entry point of ``nfharness`` and ``python3 -m harness``."""
    from harness.cli.commands import nfharness  # noqa: PLC0415 - so that an error while importing is reported as one

    try:
        nfharness.main(prog_name="nfharness", standalone_mode=True)
    except NfharnessError as error:
        report(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("nfharness: interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        print(f"nfharness: error: {error}", file=sys.stderr)
        sys.exit(ExitCode.CANNOT)


def report(error: NfharnessError) -> None:
    """One line for what happened and one for the mend, on standard error."""
    if isinstance(error, KernelDied) and error.console_tail:
        print("\n".join(f"  | {line}" for line in error.console_tail.splitlines()), file=sys.stderr)
    print(f"nfharness: error: {error.message}", file=sys.stderr)
    if error.mend:
        print(f"  mend: {error.mend}", file=sys.stderr)
