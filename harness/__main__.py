"""``python3 -m harness``, and the installed ``nfharness``."""

import signal

# Whatever comes while Python imports waits until it can be told as what it is.
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
# A parent may have ignored it (trap '' CHLD): the kernel then keeps no exit status of a child for us.
signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def main() -> None:
    """Entry point of the installed command: nothing but this file is imported before signals are held back."""
    from harness.cli import main as cli  # noqa: PLC0415

    cli()


if __name__ == "__main__":
    from harness.bootstrap import run

    run()
