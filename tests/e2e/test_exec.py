"""``nfharness exec`` is transparent: what a command reads, writes and ends with is as if it ran here."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import DEADLINE_S, CommandLine

_SHELL = ("exec", "--", "sh", "-c")
_WAITING = "while :; do wait; done"


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("exit 200", 200), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_exit_status_is_the_commands(nfharness: CommandLine, script: str, status: int) -> None:
    assert nfharness(*_SHELL, script).status == status


@pytest.mark.parametrize(("end", "status", "said"), [("", 0, ""), ("3", 3, ""), ("'why'", 1, "why\n")])
def test_a_python_program_ends_as_it_does_with_python(nfharness: CommandLine, end: str, status: int, said: str) -> None:
    result = nfharness("exec", "--python", "--", "-c", f"import sys; sys.exit({end})")
    assert (result.status, result.err) == (status, said)


def test_standard_output_and_error_stay_apart(nfharness: CommandLine) -> None:
    result = nfharness(*_SHELL, "echo out; echo err >&2")
    assert (result.out, result.err) == (b"out\n", "err\n")


def test_streams_are_binary_safe_and_of_any_length(nfharness: CommandLine) -> None:
    data = os.urandom(8 << 20)
    result = nfharness("exec", "--", "tee", "/dev/stderr", stdin=data)
    assert result.status == 0
    assert hashlib.sha256(result.out).digest() == hashlib.sha256(data).digest()


def test_arguments_are_bytes(nfharness: CommandLine) -> None:
    assert nfharness("exec", "--", "printf", "%s|", b"\xff\xfe", "ä", "", "a\nb", "--help").out == b"\xff\xfe|\xc3\xa4||a\nb|--help|"


def test_there_may_be_very_many_arguments(nfharness: CommandLine) -> None:
    assert nfharness(*_SHELL, "echo $#", "sh", *map(str, range(30000))).out == b"30000\n"


def test_our_environment_stays_here(nfharness: CommandLine) -> None:
    result = CommandLine({"SECRET": "x"})("exec", "--", "env")
    assert b"SECRET" not in result.out
    assert b"HOME=/root\n" in result.out


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_standard_stream_is_an_empty_one(nfharness: CommandLine, closed: int) -> None:
    process = nfharness.start(*_SHELL, "cat; echo out; echo err >&2; exit 3", preexec_fn=lambda: os.close(closed))
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 3
    assert out == (b"" if closed == 1 else b"out\n")
    assert err == (b"" if closed == 2 else b"err\n")


def test_a_full_standard_output_is_an_error(nfharness: CommandLine) -> None:
    with Path("/dev/full").open("wb") as full:
        result = nfharness(*_SHELL, "echo out; sleep 60", stdout=full)
    assert result.status == 125
    assert result.error == ["nfharness: error: standard output: No space left on device", "  hint: send it somewhere that takes it"]


def test_a_reader_that_leaves_ends_the_writer(nfharness: CommandLine) -> None:
    process = nfharness.start("exec", "--", "yes")
    assert process.stdout is not None
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    assert process.wait(DEADLINE_S) == 128 + signal.SIGPIPE


def test_a_reader_that_does_not_read_does_not_keep_us(nfharness: CommandLine) -> None:
    process = nfharness.start("exec", "--", "yes")
    assert process.stdout is not None
    assert process.stdout.read(2) == b"y\n"
    end = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < end:
        process.send_signal(signal.SIGINT)  # two that come before it has looked at the first are one; three must come within two seconds
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.3)
    assert process.poll() == 130


def test_input_that_never_ends_does_not_keep_us(nfharness: CommandLine) -> None:
    with Path("/dev/zero").open("rb") as endless:
        assert nfharness.start("exec", "--", "true", stdin=endless).wait(DEADLINE_S) == 0


@pytest.mark.parametrize("left", ["sleep 600 & echo out", "yes >/dev/null & echo out", "(while :; do echo more; done) & echo out; sleep 1"])
def test_what_a_command_leaves_in_the_background_is_not_waited_for(nfharness: CommandLine, left: str) -> None:
    result = nfharness(*_SHELL, f"{left}; exit 4")
    assert result.status == 4
    assert b"out\n" in result.out


def test_a_command_may_close_its_output_early(nfharness: CommandLine) -> None:
    result = nfharness(*_SHELL, "echo out; exec >&-; sleep 1; echo err >&2; exit 5")
    assert (result.status, result.out, result.err) == (5, b"out\n", "err\n")


@pytest.mark.parametrize(
    ("name", "status", "why"), [("no-such-command", 127, "No such file or directory"), ("/etc/passwd", 126, "Permission denied"),
                                ("--no-option", 127, "No such file or directory"), ("", 127, "No such file or directory")]
)
def test_a_command_that_cannot_be_run(nfharness: CommandLine, name: str, status: int, why: str) -> None:
    result = nfharness("exec", "--", name)
    assert result.status == status
    assert result.error[0] == "nfharness: error: {}: {} (in the guest)".format(name or "''", why)
    assert result.error[1].startswith("  hint: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
def test_signals_reach_the_command(nfharness: CommandLine, number: signal.Signals) -> None:
    # Debian's dash loses a signal that comes while it starts a program: it does so before it says that it is up.
    script = f"trap 'echo got; exit 9' {number.name.removeprefix('SIG')}; sleep 600 >/dev/null 2>&1 & echo up; {_WAITING}"
    process = nfharness.start(*_SHELL, script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(number)
    assert process.communicate(timeout=DEADLINE_S)[0] == b"got\n"
    assert process.returncode == 9


def test_the_same_signal_three_times_ends_a_command_that_does_not_heed_it(nfharness: CommandLine) -> None:
    process = nfharness.start(*_SHELL, f"trap 'echo got >&2' INT; sleep 600 & echo up; {_WAITING}")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    _interrupt_three_times(process)
    assert process.communicate(timeout=DEADLINE_S)[1] == b"nfharness: interrupted\n"
    assert process.returncode == 130


def _interrupt_three_times(process: subprocess.Popen[bytes]) -> None:
    """One after the other: signals that come at once are one."""
    assert process.stderr is not None
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == b"got\n"
    process.send_signal(signal.SIGINT)


def test_a_kernel_that_panics_is_told_from_a_command_that_fails(nfharness: CommandLine) -> None:
    result = nfharness(*_SHELL, "echo before; echo c > /proc/sysrq-trigger; sleep 60")
    assert result.status == 125
    assert result.error[0] == "nfharness: error: the guest died: Kernel panic - not syncing: sysrq triggered crash"
    assert result.error[1].startswith("  hint: see /")
    assert "  | " in result.err
    assert "sysrq_handle_crash" in result.err


def test_two_guests_at_once_know_nothing_of_each_other(nfharness: CommandLine) -> None:
    both = [nfharness.start(*_SHELL, f"echo {name} > /x; sleep 1; cat /x /proc/sys/kernel/random/uuid") for name in ("a", "b")]
    answers = [process.communicate(timeout=DEADLINE_S)[0].split() for process in both]
    assert [answer[0] for answer in answers] == [b"a", b"b"]
    assert answers[0][1] != answers[1][1]
    assert [process.returncode for process in both] == [0, 0]
