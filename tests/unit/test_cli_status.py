"""The exit status is the run's: whatever a terminal can show, read or unread, and whatever goes wrong in our own code."""

from __future__ import annotations

import ast
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.cli.streams import degrading
from harness.host.terminal import Terminal
from harness.model import predict
from harness.outcome import KernelProfile
from harness.outcome.diff import compare
from harness.scenario import builtin
from harness.walks.render import render_run

ROOT = Path(harness.__file__).parent
#: Runs ``main`` with a command that is the first argument, an expression.
_MAIN = "import os, sys, harness.cli as cli; run = sys.argv.pop(1); cli._main = lambda: eval(run); cli.main()"
_TEXT = "│ ├─ └─ ✓ ✗ … ≠ µ é 日本 \U0001f600 \\udcff \\ud800"


def nfharness(expression: str, *, env: dict[str, str] | None = None, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run the entry point; its command is *expression*, whose value is the status."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, "-c", _MAIN, expression]
    return subprocess.run(command, env={**os.environ, **(env or {})}, cwd=ROOT.parent, check=False, **streams)  # type: ignore[call-overload,no-any-return]


def closed_pipe() -> int:
    """The end to write to of a pipe that nothing reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "koi8-r", "shift_jis", "cp037", "utf-16", "utf-7", "utf-8"])
def test_a_walk_can_be_shown_in_any_encoding(encoding: str) -> None:
    scenario = builtin.load("local-in")
    predicted = predict(scenario, KernelProfile())
    raw = io.BytesIO()
    stream = degrading(io.TextIOWrapper(raw, encoding))
    render_run(Terminal(file=stream, width=120), "title ✗", compare(predicted, predicted))
    stream.write("\udcff \ud800")
    stream.flush()
    shown = raw.getvalue().decode(encoding)
    assert "INPUT" in shown
    assert "conformant" in shown
    assert encoding == "utf-7" or "\\udcff \\ud800" in shown
    assert ("✓" in shown) == encoding.startswith("utf")


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize("env", [
    {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii:strict"}, {"PYTHONIOENCODING": "utf-8:strict"},
    {"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "LANG": "C"},
], ids=str)
def test_the_status_is_the_runs_in_any_locale(env: dict[str, str], status: int) -> None:
    done = nfharness(f"print('{_TEXT}') or print('{_TEXT}', file=sys.stderr) or {status}", env=env)
    assert (done.returncode, b"Traceback" in done.stderr) == (status, False), done
    if env.get("PYTHONIOENCODING") != "utf-8:strict":
        done.stdout.decode("utf-8" if env.get("LC_ALL") else "latin-1")


def test_our_files_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("é", encoding="utf-8")
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = nfharness(f"print(ascii(open('{tmp_path / 'file'}').read()), sys.stdout.encoding) or 0", env=env)
    assert (done.returncode, done.stdout) == (0, b"'\\xe9' nfharness-ascii\n")


@pytest.mark.parametrize("status", [0, 1])
def test_standard_output_may_be_closed(status: int) -> None:
    command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-c", _MAIN, f"print('{_TEXT}') or {status}"]
    assert subprocess.run(command, cwd=ROOT.parent, check=False).returncode == status


@pytest.mark.parametrize("ends", ["1", "sys.exit(1)", "(_ for _ in ()).throw(cli.NfharnessError('it cannot'))"])
@pytest.mark.parametrize("prints", [
    "print('x' * 100)", "print('x' * 100000)", "print('x', flush=True)",
    "__import__('harness.host.terminal').host.terminal.Terminal.wide(80).print('x ' * 2000)",
], ids=["a little", "much", "at once", "a table"])
def test_a_reader_that_has_gone_is_141_at_every_moment(prints: str, ends: str) -> None:
    writer = closed_pipe()
    done = nfharness(f"{prints} or {ends}", stdout=writer)
    os.close(writer)
    assert done.returncode == 141
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr


def test_a_reader_of_the_progress_that_has_gone_is_141_too() -> None:
    writer = closed_pipe()
    done = nfharness("__import__('harness.host.progress').host.progress.Progress().note('building') or 0", stderr=writer)
    os.close(writer)
    assert done.returncode == 141


def test_pytests_reader_that_has_gone_is_141() -> None:
    writer = closed_pipe()
    done = nfharness("__import__('harness.cli.test').cli.test.run_pytest(['--version', '--version'])", stdout=writer)
    os.close(writer)
    assert done.returncode == 141


def test_a_broken_pipe_that_is_not_our_output_is_an_error() -> None:
    done = nfharness("os.write(__import__('tests.unit.test_cli_status').unit.test_cli_status.closed_pipe(), b'x')")
    assert (done.returncode, done.stderr.splitlines()[0]) == (125, b"nfharness: error: writing: Broken pipe")


def test_a_full_disk_behind_standard_output_is_no_difference() -> None:
    with Path("/dev/full").open("wb") as full:
        done = nfharness("print('x') or 1", stdout=full)
    error, hint = done.stderr.splitlines()
    assert (done.returncode, error) == (125, b"nfharness: error: writing: No space left on device")
    assert b"make room where the output goes" in hint


_OSERROR = "OSError(24, 'Too many open files', '/state')"


@pytest.mark.parametrize(("group", "status", "said"), [
    (_OSERROR, 125, ["/state: Too many open files", "raise the limit on open files: ulimit -n 4096"]),
    (f"ExceptionGroup('inner', [{_OSERROR}]), OSError('another')", 125,
     ["/state: Too many open files", "raise the limit on open files: ulimit -n 4096"]),
    (f"{_OSERROR}, cli.NfharnessError('it cannot', hint='put it right')", 125, ["it cannot", "put it right"]),
    ("__import__('harness.errors').errors.UserError('not that', hint='this')", 2, ["not that", "this"]),
])
def test_a_group_of_errors_that_have_names_is_told_as_one_of_them(group: str, status: int, said: list[str]) -> None:
    done = nfharness(f"(_ for _ in ()).throw(ExceptionGroup('unhandled errors in a TaskGroup', [{group}]))")
    assert done.stderr.decode().splitlines() == [f"nfharness: error: {said[0]}", f"  hint: {said[1]}"]
    assert done.returncode == status


@pytest.mark.parametrize(("expression", "said", "hint"), [
    ("'x' * (1 << 62)", "Cannot allocate memory", "end something that takes much memory, then try again"),
    ("(_ for _ in ()).throw(ExceptionGroup('two', [MemoryError(), MemoryError()]))", "Cannot allocate memory",
     "end something that takes much memory, then try again"),
    ("(_ for _ in ()).throw(RuntimeError(\"can't start new thread\"))", "can't start new thread",
     "raise the limit on processes: ulimit -u"),
])
def test_what_the_host_lacks_is_no_fault_of_ours(tmp_path: Path, expression: str, said: str, hint: str) -> None:
    done = nfharness(expression, env={"NFHARNESS_STATE": str(tmp_path)})
    assert done.stderr.decode().splitlines() == [f"nfharness: error: this host: {said}", f"  hint: {hint}"]
    assert (done.returncode, [*tmp_path.iterdir()]) == (125, [])


@pytest.mark.parametrize(("expression", "said"), [
    ("1 / 0", "ZeroDivisionError: division by zero"),
    ("[][1]", "IndexError: list index out of range"),
    ("(_ for _ in ()).throw(ExceptionGroup('two', [KeyError('a\\nb'), ValueError()]))", "KeyError: 'a\\nb'"),
    (f"(_ for _ in ()).throw(ExceptionGroup('two', [KeyError('a'), {_OSERROR}]))", "KeyError: 'a'"),
    ("(_ for _ in ()).throw(ValueError('one\\n  two'))", "ValueError: one two"),
    ("'é'.encode('ascii')", "UnicodeEncodeError: 'ascii' codec can't encode character '\\xe9' in position 0: ordinal not in range(128)"),
    ("__import__('harness.nowhere')", "ModuleNotFoundError: No module named 'harness.nowhere'"),
    ("(_ for _ in ()).throw(AssertionError)", "AssertionError"),
])
def test_an_uncaught_exception_is_125_a_line_and_a_file(tmp_path: Path, expression: str, said: str) -> None:
    done = nfharness(expression, env={"NFHARNESS_STATE": str(tmp_path)})
    (file,) = (tmp_path / "failed").glob("traceback-*.txt")
    assert done.returncode == 125
    told = [f"nfharness: error: {said} (a fault of nfharness itself)", f"  hint: report it with {file}"]
    assert done.stderr.decode().splitlines() == told
    assert "Traceback (most recent call last)" in file.read_text()


def test_no_line_of_a_hint_begins_as_one_of_ours() -> None:
    done = nfharness("(_ for _ in ()).throw(__import__('harness.errors').errors.UserError('no', hint='see /x\\nconformant\\n    ^'))")
    assert done.stderr.decode().splitlines() == ["nfharness: error: no", "  hint: see /x", "    conformant", "    ^"]


def test_an_interrupt_that_python_raises_itself_is_told_as_ours() -> None:
    done = nfharness("(_ for _ in ()).throw(KeyboardInterrupt)")
    assert (done.returncode, done.stderr) == (130, b"nfharness: interrupted\n")


def test_an_uncaught_exception_is_125_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env = {"NFHARNESS_STATE": str(tmp_path / "file"), "PYTHONPATH": str(ROOT.parent)}
    hidden = "__import__('tempfile').__dict__.update(tempdir='/proc/nowhere')"
    done = nfharness(f"{hidden} or 1 / 0", env=env)
    assert done.returncode == 125
    assert b"report it with this traceback:\nTraceback (most recent call last)" in done.stderr


def test_what_fails_before_the_packages_are_there_is_125(tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "requirements.lock").touch()
    (tmp_path / "harness/requirements.py").write_text("1 / 0")
    command = [sys._base_executable, "-m", "harness", "doctor"]  # type: ignore[attr-defined]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert done.stderr.startswith("nfharness: error: ZeroDivisionError: division by zero (a fault of nfharness itself)")


def calls(name: str) -> list[str]:
    """Where the package calls a function of this name, but for what writes to a file that it names."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if getattr(called, "id", getattr(called, "attr", "")) == name and not any(
                word.arg == "file" for word in getattr(node, "keywords", ())
            ):
                found.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}")
    return found


@pytest.mark.parametrize("name", ["Console", "echo"])
def test_no_other_way_to_our_output_is_used(name: str) -> None:
    """rich's own console ends the program with 1 when its reader has gone, and click's echo writes UTF-8 to an ASCII terminal."""
    assert not [place for place in calls(name) if not place.startswith("pytest_plugin/")]


def test_of_two_kernels_none_is_the_one_to_run() -> None:
    command = [sys.executable, "-m", "harness", "run", "--kernel", "6.12", "--kernel", "5.10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "one kernel, and 6.12, 5.10 are 2" in done.stderr) == (2, True)
