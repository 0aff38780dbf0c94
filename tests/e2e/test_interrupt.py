"""Ctrl-C, SIGTERM and SIGKILL leave nothing: no process, no mount, and no half-built directory that stays."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.host.paths import cache_dir
from tests.e2e.conftest import DEADLINE_S, CommandLine

pytestmark = pytest.mark.slow

_SAID = {
    signal.SIGINT: (130, ["nfharness: interrupted"]),
    signal.SIGTERM: (143, ["nfharness: ended by SIGTERM"]),
    signal.SIGKILL: (-9, []),
}
_signals = pytest.mark.parametrize("number", _SAID)


def _stop(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    process.send_signal(number)
    _, err = process.communicate(timeout=DEADLINE_S)
    status, said = _SAID[number]
    assert process.returncode == status
    assert [line for line in err.decode().splitlines() if not line.endswith("…") and "done in" not in line] == said


@contextmanager
def _asking(command_line: CommandLine) -> Iterator[subprocess.Popen[bytes]]:
    """A command that waits for an archive, which takes its connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command_line.env = {**command_line.env, "NFHARNESS_MIRROR": f"http://127.0.0.1:{silent.getsockname()[1]}/debian"}
        process = command_line.start("exec", "--", "true")
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            yield process


@_signals
def test_while_it_asks_the_archive(elsewhere: CommandLine, number: signal.Signals, eventually: Callable[..., None]) -> None:
    with _asking(elsewhere) as process:
        _stop(process, number)
        eventually(lambda: elsewhere.processes() == [], "apt has ended")


@_signals
def test_while_it_builds_the_userland(without_templates: CommandLine, number: signal.Signals, eventually: Callable[..., None]) -> None:
    cache = Path(without_templates.env["NFHARNESS_CACHE"])
    (cache / "userland").unlink()
    with _asking(without_templates) as process:
        _stop(process, number)
        eventually(lambda: without_templates.processes() == [], "mmdebstrap has ended")
    remains = [path.name for path in (cache / "userland").iterdir() if path.is_dir()]
    assert len(remains) == (1 if number == signal.SIGKILL else 0)


@_signals
def test_while_a_template_boots(without_templates: CommandLine, number: signal.Signals, eventually: Callable[..., None]) -> None:
    templates = Path(without_templates.env["NFHARNESS_CACHE"], "templates")
    process = without_templates.start("exec", "--", "true")
    eventually(lambda: any("-initrd" in line for line in without_templates.processes()), "the guest boots", by=process)
    _stop(process, number)
    eventually(lambda: without_templates.processes() == [], "QEMU has ended")
    remains = list(templates.glob(".*.new"))
    assert len(remains) == (1 if number == signal.SIGKILL else 0)
    if remains:
        result = without_templates("image", "prune")
        assert f"deleted template unfinished {remains[0].name[1:].removesuffix('.new')}" in result.out.decode()
        assert not remains[0].exists()


@_signals
def test_while_it_packs_a_vagrant_box(without_templates: CommandLine, number: signal.Signals, eventually: Callable[..., None]) -> None:
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is not installed")
    built = CommandLine({})("vagrant", "box")
    assert built.status == 0, built
    cache = Path(without_templates.env["NFHARNESS_CACHE"])
    (cache / "box-layers").symlink_to(cache_dir() / "box-layers")
    process = without_templates.start("vagrant", "box")
    eventually(lambda: any(line.startswith("qemu-img convert") for line in without_templates.processes()), "the box is packed", by=process)
    _stop(process, number)
    eventually(lambda: without_templates.processes() == [], "qemu-img has ended")
    remains = list((cache / "boxes").glob(".*.new"))
    assert len(remains) == (1 if number == signal.SIGKILL else 0)
    if remains:
        assert "deleted box unfinished" in without_templates("image", "prune").out.decode()
        assert not remains[0].exists()


@_signals
def test_while_a_command_runs(nfharness: CommandLine, number: signal.Signals, eventually: Callable[..., None]) -> None:
    nfharness.env = {"NFHARNESS_TEST_MARK": f"{number.name}"}
    # Of one process: Debian's dash loses a SIGINT that comes while it forks, and would wait for its sleep ever after.
    process = nfharness.start("exec", "--", "sh", "-c", "echo up; exec sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(number)
    assert process.wait(DEADLINE_S) == _SAID[number][0]
    eventually(lambda: nfharness.processes() == [], "QEMU has ended")


@pytest.mark.parametrize(("number", "send"), [(signal.SIGINT, os.killpg), (signal.SIGINT, os.kill), (signal.SIGTERM, os.kill),
                                              (signal.SIGTERM, os.killpg)], ids=["a terminal", "a program", "to end", "timeout"])
def test_pytest_says_what_it_has_tested_until_then(nfharness: CommandLine, number: signal.Signals, send: Callable[[int, int], None],
                                                   tmp_path: Path, eventually: Callable[..., None]) -> None:  # fmt: skip
    file = tmp_path / "test_two.py"
    file.write_text(f"def test_short(): pass\ndef test_long(): open('{tmp_path}/up', 'w'); __import__('time').sleep(600)\n")
    process = nfharness.start("test", "-n1", "-v", str(file))
    assert process.stdout is not None
    assert any(b"PASSED" in line for line in process.stdout)  # by the worker, and heard of
    eventually((tmp_path / "up").exists, "the second test runs", by=process)
    send(process.pid, number)
    out, err = process.communicate(timeout=DEADLINE_S)
    status, said = _SAID[number]
    assert (process.returncode, err.decode().splitlines()[-1:]) == (status, said)
    assert "KeyboardInterrupt" in out.decode()
    assert "1 passed" in out.decode().splitlines()[-1]


def test_whoever_ignores_ctrl_c_is_not_interrupted(nfharness: CommandLine) -> None:
    process = nfharness.start("exec", "--", "sh", "-c", "echo up; sleep 1", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 0


def test_of_two_cold_starts_one_builds_and_the_other_waits(without_templates: CommandLine) -> None:
    Path(without_templates.env["NFHARNESS_CACHE"], "modules").unlink()
    both = [without_templates.start("exec", "--", "echo", "up") for _ in range(2)]
    answers = [process.communicate(timeout=DEADLINE_S) for process in both]
    assert [out for out, _ in answers] == [b"up\n", b"up\n"], answers
    said = sorted(err.decode() for _, err in answers)
    assert sum("template: booting" in text for text in said) == 1
    assert sum("waiting for another template" in text for text in said) == 1


#: Run by every Python that starts with it in its path: the one of .venv says that it starts, or ends, and stays there until it may go on.
_LINGERING = """
import os, sys, time
def linger(moment, exists=os.path.exists, sleep=time.sleep, place={place!r}, opened=open):
    opened(place + "/" + moment, "w").close()
    while not exists(place + "/go"):
        sleep(0.01)
class Last:
    def __del__(self, linger=linger):
        linger("ends")
if {moment!r} == "ends":
    sys.modules["last"] = type(sys)("last")
    sys.modules["last"].it = Last()
elif sys.prefix != sys.base_prefix:
    linger("starts")
"""


@pytest.mark.parametrize(
    ("moment", "python", "ends"),
    [("starts", str(getattr(sys, "_base_executable", "")), (130, ["nfharness: interrupted"])), ("ends", sys.executable, (0, []))],
)
def test_while_python_itself(
    moment: str, python: str, ends: tuple[int, list[str]], tmp_path: Path, eventually: Callable[..., None]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_LINGERING.format(place=str(tmp_path), moment=moment))
    process = CommandLine({"PYTHONPATH": str(tmp_path)}).start("--version", python=python)
    eventually((tmp_path / moment).exists, f"Python {moment}", by=process)
    process.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err.decode().splitlines()) == ends
