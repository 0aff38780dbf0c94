"""What is said of a guest that this host took away from pytest."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.pytest_plugin.host.gateway import Gateway
from harness.pytest_plugin.live import BEGINS, Live

#: In the place of ``python -m harness exec … --``: a Python on the host; what it was given stands beside it.
_EXEC = """#!/bin/sh
echo "$@" >"$0.given"
while [ "$1" != -- ]; do shift; done
shift
exec {python} "$@"
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "exec"
    made.write_text(_EXEC.format(python=shlex.quote(sys.executable)))
    made.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(made))
    return made


@pytest.fixture
def gateway(script: Path) -> Iterator[Gateway]:
    made = Gateway("6.12", "qemu")
    yield made
    made.close()


@pytest.mark.parametrize(("backend", "chosen"), [("qemu", "--kernel=6.12 "), ("vagrant", "--kernel=6.12 "), ("local", ""),
                                                 ("ssh=box:/opt/python", "")])
def test_a_machine_that_has_its_kernel_is_asked_for_no_other(script: Path, backend: str, chosen: str) -> None:
    Gateway("6.12", backend).close()
    given = Path(f"{script}.given").read_text()
    assert f"-m harness exec {chosen}--backend={backend} --record" in given


def test_a_session_on_a_machine_has_time_to_undo_what_it_did(script: Path) -> None:
    gateway = Gateway("6.12", "local")
    gateway.close()
    assert gateway._process.returncode == 0


@pytest.mark.parametrize(("number", "taken"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)])
def test_a_command_that_is_killed_is_this_hosts_doing(gateway: Gateway, number: signal.Signals, taken: bool) -> None:
    os.kill(gateway._process.pid, number)
    lost = gateway._lost("it died")
    assert lost.taken == taken
    assert ("not the kernel's" in lost.reason) == taken


@pytest.mark.parametrize(("ending", "taken"), [({"taken": "QEMU was killed by SIGKILL"}, True), ({"died": "Kernel panic"}, False)])
def test_how_the_guest_ended_is_what_its_command_recorded(gateway: Gateway, ending: dict[str, str], taken: bool) -> None:
    gateway._record.write_text(json.dumps(ending))
    os.kill(gateway._process.pid, signal.SIGTERM)
    lost = gateway._lost("it died")
    assert (lost.reason, lost.taken) == (*ending.values(), taken)


def test_what_its_command_tells_of_a_panic_is_not_told_again_but_what_tests_wrote_is(gateway: Gateway) -> None:
    gateway._record.write_text(json.dumps({"died": "Kernel panic", "console": "[ 1.0] Kernel panic"}))
    os.kill(gateway._process.pid, signal.SIGTERM)
    gateway._live.join(10)
    gateway._stderr.write_text("  | of a test\nsaid\n  | [ 1.0] Kernel panic\n  | Call Trace\n"
                               "nfharness: error: Kernel panic\n  hint: see it\n")
    assert gateway._lost("it died").said == "| of a test\nsaid"


def test_a_command_that_is_slow_to_see_signals_gets_more_of_them(gateway: Gateway) -> None:
    channel = gateway._gateway.remote_exec("""
import os, signal, time
seen = []
signal.signal(signal.SIGQUIT, lambda *_: seen.append(1) or len(seen) == 5 and os._exit(7))
channel.send("ready")
while True:
    time.sleep(1)
""")
    assert channel.receive(30) == "ready"
    gateway._give_up()
    assert gateway._process.poll() == 7


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[tuple[Live, int, list[bytes]]]:
    shown: list[bytes] = []
    live = Live(tmp_path / "fifo", tmp_path / "kept", shown.append)
    yield live, os.open(tmp_path / "fifo", os.O_WRONLY), shown
    live.join(10)


def test_what_is_kept_for_a_failure_is_of_the_last_test_and_what_is_shown_is_of_all(
        fifo: tuple[Live, int, list[bytes]], tmp_path: Path) -> None:
    live, writer, shown = fifo
    for piece in (b"first\n" + BEGINS[:1], BEGINS[1:9], BEGINS[9:] + b"second\n", b"more\0", b"\0nf of a test" + BEGINS[:3]):
        os.write(writer, piece)
    os.close(writer)
    live.join(10)
    assert (tmp_path / "kept").read_bytes() == b"second\nmore\0\0nf of a test" + BEGINS[:3]
    assert (b"".join(shown), shown[-1]) == (b"first\nsecond\nmore\0\0nf of a test" + BEGINS[:3], b"")
    assert b"" not in shown[:-1]
