"""``nfharness shell`` is a terminal like any other, and puts ours back however it ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import DEADLINE_S, CommandLine
from tests.e2e.terminal import Terminal


@pytest.fixture
def terminal(nfharness: CommandLine) -> Iterator[Terminal]:
    opened = Terminal(nfharness, "shell")
    opened.until(b"# ")
    yield opened
    opened.close()


def test_it_is_a_terminal(terminal: Terminal) -> None:
    terminal.type(b"stty size; tty\n")
    assert b"33 101" in terminal.until(b"/dev/pts/")
    terminal.until(b"# ")
    terminal.resize(40, 120)
    terminal.type(b"until stty size | grep '40 120'; do sleep 0.1; done\n")
    terminal.until(b"\r40 120")
    terminal.until(b"# ")
    terminal.type(b"sh -c 'echo star\"\"ted; exec sleep 600'\n")
    terminal.until(b"started\r\n")
    terminal.type(b"\x03")
    terminal.until(b"# ")
    terminal.type(b"echo sta''tus $?\n")
    terminal.until(b"status 130")
    terminal.until(b"# ")
    terminal.type(b"\x04")
    assert terminal.process.wait(DEADLINE_S) == 0
    assert terminal.settings() == terminal.before


def test_exit_status_is_the_shells(terminal: Terminal) -> None:
    terminal.type(b"exit 9\n")
    assert terminal.process.wait(DEADLINE_S) == 9
    assert terminal.settings() == terminal.before


def test_a_guest_that_dies_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.type(b"echo c > /proc/sysrq-trigger\n")
    terminal.until(b"nfharness: error: the guest died: Kernel panic - not syncing: sysrq triggered crash")
    terminal.until(b"  hint: ")
    assert terminal.process.wait(DEADLINE_S) == 125
    assert terminal.settings() == terminal.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(terminal: Terminal, number: signal.Signals) -> None:
    terminal.process.send_signal(number)
    assert terminal.process.wait(DEADLINE_S) == 128 + number
    assert terminal.settings() == terminal.before
