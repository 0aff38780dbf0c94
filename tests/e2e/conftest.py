"""The command line as a person has it: a process, its streams, its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.host.paths import cache_dir, run_dir
from tests.e2e import leftovers

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
#: Only what hangs takes as long, however busy the machine is.
DEADLINE_S = 600
#: The file whose tests take longest together: a worker that began with it last would be the only one with work for minutes.
_LONGEST = "test_vagrant.py"
#: Long files that need no guest: one worker builds the first template where nothing is cached, and the others would wait for it.
_MEANWHILE = ("test_explore_makers.py", "test_mutants.py", "test_facts.py")
_ODD = """a, cache: "it's" [mine] $HOME \\ü%&#"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the file first that takes longest, then another with guests, then those without; the others stay as they are."""
    second = next((item.path.name for item in items if item.path.parent == HERE and item.path.name != _LONGEST), "")
    order = {name: number for number, name in enumerate((_LONGEST, second, *_MEANWHILE))}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell that has started us in the background, or nohup, ignores these for us; what we start heeds them all the same."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class CommandLine:
    """Starts ``nfharness`` in the checkout.

    :param env: variables beside our own
    """

    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env

    def start(self, *arguments: str | bytes, before: tuple[str, ...] = (), python: str = sys.executable,
              **options: Any) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start it in its own session, so that signals for it are not for us."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [*before, python, "-m", "harness", *arguments]
        options = {**streams, **options}
        # A pytest that is started is none of a worker's.
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
        self.started.append(subprocess.Popen(command, cwd=CHECKOUT, env={**ours, **self.env}, start_new_session=True, **options))
        return self.started[-1]

    def __call__(
        self, *arguments: str | bytes, stdin: bytes = b"", before: tuple[str, ...] = (), deadline_s: float = DEADLINE_S, **options: Any
    ) -> Result:
        """Run it to its end."""
        process = self.start(*arguments, before=before, **{"stdin": subprocess.PIPE, **options})
        try:
            out, err = process.communicate(stdin, deadline_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Result(process.returncode, out or b"", (err or b"").decode(errors="replace"))

    def processes(self) -> list[str]:
        """Command lines of all processes that have our environment."""
        mark = {f"{name}={value}".encode() for name, value in self.env.items()}
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if mark and mark <= set((directory / "environ").read_bytes().split(b"\0")):
                    found.append((directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        return [line for line in found if line]


class Result:
    """What a command did."""

    def __init__(self, status: int, out: bytes, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def error(self) -> list[str]:
        """Standard error without progress and console lines."""
        return [line for line in self.err.splitlines() if line.startswith(("nfharness: ", "  hint: ", "Traceback"))]

    def __repr__(self) -> str:
        return f"status {self.status}, {len(self.out)} bytes {self.out[:200]!r}, standard error:\n{self.err}"


@pytest.fixture(scope="session")
def ready() -> None:
    """The default kernel's template is there."""
    done = subprocess.run([sys.executable, "-m", "harness", "image", "build"], cwd=CHECKOUT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def nfharness(ready: None) -> CommandLine:
    """The command line with a warm cache."""
    return CommandLine({})


@pytest.fixture
def elsewhere(tmp_path: Path) -> CommandLine:
    """The command line with an empty cache and no network; the names of its places have what QEMU, mount, apt, shells and rich part at."""
    (tmp_path / f"{_ODD} tmp").mkdir()
    return CommandLine({"NFHARNESS_CACHE": str(tmp_path / _ODD), "NFHARNESS_STATE": str(tmp_path / f"{_ODD} state"),
                        "TMPDIR": str(tmp_path / f"{_ODD} tmp"), "NFHARNESS_MIRROR": "http://127.0.0.1:1/debian"})  # fmt: skip


@pytest.fixture
def without_templates(ready: None, elsewhere: CommandLine) -> CommandLine:
    """The command line with a cache that lacks only templates, and no network."""
    cache = Path(elsewhere.env["NFHARNESS_CACHE"])
    cache.mkdir()
    for name in ("apt", "userland", "kernels", "modules", "acceleration.json"):
        (cache / name).symlink_to(cache_dir() / name)
    return elsewhere


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until something holds, as long as a loaded machine may need, but no longer than what is to bring it about lives (``by``)."""

    def wait(holds: Callable[[], object], what: str, every_s: float = 0.02, by: subprocess.Popen[bytes] | None = None) -> None:
        end = time.monotonic() + DEADLINE_S
        while not holds():
            if by and by.poll() is not None and not holds():
                pytest.fail(f"{what}: not before the end, with {by.returncode}: {by.communicate()}")
            assert time.monotonic() < end, f"{what}: not within {DEADLINE_S} s"
            time.sleep(every_s)

    return wait


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    """What a test that failed has left running ends with it."""
    yield
    while CommandLine.started:
        process = CommandLine.started.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(autouse=True)
def nothing_mounted(tmp_path: Path) -> Iterator[None]:
    """No test leaves a mount or a loop device on what is its own or ours; what other programs mount meanwhile is theirs."""
    places = (tmp_path, cache_dir(), run_dir())
    before = leftovers.mounts(*places)
    yield
    assert leftovers.mounts(*places) - before == set()
