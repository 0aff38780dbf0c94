"""``python3 -m harness``."""

import signal

if __name__ == "__main__":
    # Whatever comes while Python imports waits until it can be told as what it is.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    from harness.bootstrap import run

    run()
