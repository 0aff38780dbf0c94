"""``nfharness image export`` and ``import``: a kernel's guests as one file, on a machine that has nothing and no network."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.host.process import in_namespace
from harness.vm.qemu import BINARY
from tests.e2e.conftest import CommandLine

pytestmark = pytest.mark.slow

_SMALL = 'mount -t tmpfs -o size=64M tmpfs "$0"; exec "$@"'


@pytest.fixture(scope="module")
def file(ready: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the default kernel's guests need."""
    directory = tmp_path_factory.mktemp("export")
    done = CommandLine({})("image", "export", str(directory))
    assert done.status == 0, done
    (found,) = directory.iterdir()
    assert done.out.decode().startswith(f"{found} (")
    return found


@pytest.fixture
def cache(elsewhere: CommandLine) -> Path:
    return Path(elsewhere.env["NFHARNESS_CACHE"])


def entries(cache: Path) -> list[str]:
    return sorted(path.parent.name for path in cache.glob("*/[!.]*") if path.is_dir())


def test_a_guest_starts_where_there_was_nothing_and_a_second_import_has_nothing_to_do(elsewhere: CommandLine, cache: Path,
                                                                                      file: Path) -> None:
    first, second = (elsewhere("image", "import", str(file)) for _ in range(2))
    assert (first.status, second.status) == (0, 0), (first, second)
    assert entries(cache) == ["kernels", "modules", "templates", "userland"]
    assert second.out.endswith(b"all of it was here already\n")
    done = elsewhere("exec", "--", "echo", "fine")
    assert (done.status, done.out) == (0, b"fine\n"), done
    assert "template" not in done.err
    assert elsewhere("doctor", "--deep").err == ""


def test_two_imports_at_once_leave_each_entry_once(elsewhere: CommandLine, cache: Path, file: Path) -> None:
    both = [elsewhere.start("image", "import", str(file)) for _ in range(2)]
    ends = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert entries(cache) == ["kernels", "modules", "templates", "userland"]


def test_an_import_that_is_interrupted_leaves_nothing_and_can_begin_again(elsewhere: CommandLine, cache: Path, file: Path,
                                                                          eventually: Callable[..., None]) -> None:
    process = elsewhere.start("image", "import", str(file))
    eventually(lambda: list(cache.glob("imports/.*.new/userland")), "it unpacks", by=process)
    process.send_signal(signal.SIGINT)
    assert process.wait(600) == 130
    assert entries(cache) == []
    assert list(cache.glob("imports/.*.new")) == []


def test_a_disk_that_fills_up_is_told_and_left_empty(elsewhere: CommandLine, cache: Path, file: Path) -> None:
    cache.mkdir()
    done = elsewhere("image", "import", str(file), before=tuple(in_namespace(["sh", "-ec", _SMALL, str(cache)])))
    assert done.status == 125
    assert "the disk is full" in done.error[0], done
    place = file.parent / "full"
    place.mkdir()
    full = CommandLine({})("image", "export", str(place), before=tuple(in_namespace(["sh", "-ec", _SMALL, str(place)])))
    assert (full.status, "the disk is full" in full.error[0]) == (125, True), full


def test_a_file_that_is_not_what_its_name_says_is_refused(elsewhere: CommandLine, cache: Path, file: Path, tmp_path: Path) -> None:
    damaged = tmp_path / file.name
    shutil.copy(file, damaged)
    with damaged.open("r+b") as opened:
        opened.seek(damaged.stat().st_size // 2)
        opened.write(b"otherwise")
    done = elsewhere("image", "import", str(damaged))
    assert (done.status, f"{damaged} is damaged: its content has the digest" in done.error[0]) == (2, True), done
    renamed = tmp_path / "guests.tar.zst"
    renamed.symlink_to(file)
    assert "has not got the name" in elsewhere("image", "import", str(renamed)).error[0]
    assert entries(cache) == []


def test_another_qemu_is_refused_before_anything_is_unpacked(elsewhere: CommandLine, cache: Path, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "bin" / BINARY
    other.parent.mkdir()
    other.write_text(f'#!/bin/sh\nexec {shutil.which(BINARY)} "$@"\n')
    other.chmod(0o755)
    there = CommandLine({**elsewhere.env, "PATH": f"{other.parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})
    done = there("image", "import", str(file))
    assert (done.status, entries(cache)) == (2, []), done
    assert "was saved by QEMU" in done.error[0]
    assert "this host has another build of the same version" in done.error[0]
