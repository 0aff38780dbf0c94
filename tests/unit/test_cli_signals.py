"""An interruption is told once, wherever Python was when the signal came."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import harness

PREPARED = """
import asyncio, gc, os, signal, sys, time
from harness.cli.signals import Interrupted, interruptible
interruptible()
def interrupt():
    os.kill(os.getpid(), signal.SIGTERM)
"""
#: The signal comes in a task that nobody awaits.
FORGOTTEN_TASK = """
async def interrupted():
    interrupt()
async def main():
    task = asyncio.create_task(interrupted())
    await asyncio.sleep(60)
try:
    asyncio.run(main())
except Interrupted as error:
    print(error)
gc.collect()
"""
FINALIZER = """
class Closed:
    def __del__(self):
        interrupt()
        time.sleep(60)
try:
    Closed()
    time.sleep(60)
except Interrupted as error:
    print(error)
"""
OTHER_FINALIZER = """
class Closed:
    def __del__(self):
        raise ValueError("not ours")
try:
    interrupt()
except Interrupted as error:
    Closed()
"""
#: The signal comes before asyncio has connected to a pipe of the process that it has started.
STARTS = """
import subprocess
from harness.host import process
ends = process.end
async def ended(running):
    await ends(running)
    print(running.returncode)
process.end = ended
async def main():
    loop = asyncio.get_running_loop()
    connect = loop.connect_read_pipe
    async def interrupted(*arguments):
        interrupt()
        return await connect(*arguments)
    loop.connect_read_pipe = interrupted
    await process.start(["sleep", "60"], stderr=subprocess.PIPE)
try:
    asyncio.run(main())
except Interrupted as error:
    print(error)
"""


def outcome(script: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", PREPARED + script], capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_task_that_nobody_awaits_says_nothing_of_the_signal() -> None:
    assert outcome(FORGOTTEN_TASK) == (0, "ended by SIGTERM\n", "")


def test_a_signal_that_comes_in_a_finalizer_is_heeded_after_it() -> None:
    assert outcome(FINALIZER) == (0, "ended by SIGTERM\n", "")


def test_what_else_a_finalizer_raises_is_told() -> None:
    status, out, err = outcome(OTHER_FINALIZER)
    assert (status, out) == (0, "")
    assert "ValueError: not ours" in err


def test_a_signal_that_comes_while_a_process_is_started_is_heeded_after_it() -> None:
    assert outcome(STARTS) == (0, "-9\nended by SIGTERM\n", "")


def test_the_installed_command_holds_signals_back_before_it_imports_anything_else() -> None:
    project = tomllib.loads(Path(harness.__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
    entry, _, function = project["scripts"]["nfharness"].partition(":")
    program = (f"import signal, sys, {entry} as entry; print(sorted(name for name in sys.modules if name.startswith('harness')), "
               f"callable(entry.{function}), sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{['harness', entry]} True [1, 2, 15]\n"
    first = ast.parse(Path(harness.__file__).read_text()).body
    assert not [one for one in first if isinstance(one, (ast.Import, ast.ImportFrom)) and getattr(one, "module", "") != "__future__"]


def ignore() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def test_children_have_an_exit_status_although_a_parent_ignores_sigchld() -> None:
    program = "import subprocess, harness.__main__; print(subprocess.run(['false'], check=False).returncode)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, preexec_fn=ignore)
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize("workers", ["0", "1"])
def test_they_have_one_in_pytest_too(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_it.py").write_text("import subprocess\ndef test_it(): assert subprocess.run(['false']).returncode == 1\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", workers, "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, preexec_fn=ignore)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr
