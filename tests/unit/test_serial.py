"""A guest's console: nobody sweeps it while the guest lives, and its end is known whatever becomes of the file."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.vm.serial import Serial, keep_latest

_GUEST = "from harness.vm.serial import Serial; one = Serial(); print(one.file, flush=True); input()"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NFHARNESS_STATE", str(tmp_path))
    return tmp_path


def console_of(*pieces: bytes, file: Path | None = None, meanwhile: Callable[[Serial], object] = lambda _: None) -> Serial:
    """A console to which a guest that is gone has written these."""
    async def run() -> Serial:
        one = Serial(file)
        with one.connect() as theirs:
            for piece in pieces:
                await asyncio.get_running_loop().sock_sendall(theirs, piece)
                await asyncio.sleep(0)
                meanwhile(one)
        one.close()
        return one

    return asyncio.run(run())


def test_what_a_guest_writes_is_in_the_file_and_in_memory() -> None:
    one = console_of(b"\x1b[0mone\r\n", b"Kernel panic\r\n")
    assert one.file is not None
    assert one.file.read_bytes() == b"\x1b[0mone\r\nKernel panic\r\n"
    assert (one.text(), one.see) == ("one\nKernel panic\n", f"see {one.file}")


def test_last_words_that_nobody_has_read_yet_when_the_guest_is_gone_are_read() -> None:
    async def run() -> str:
        one = Serial()
        with one.connect() as theirs:
            theirs.sendall(b"Kernel panic")
        return one.text()

    assert asyncio.run(run()) == "Kernel panic"


def test_a_console_is_known_when_its_file_was_deleted() -> None:
    def sweep(one: Serial) -> None:
        assert one.file is not None
        one.file.unlink(missing_ok=True)

    one = console_of(b"one\n", b"Kernel panic\n", meanwhile=sweep)
    assert one.text() == "one\nKernel panic\n"


def test_a_console_is_known_when_the_disk_is_full() -> None:
    one = console_of(b"Kernel panic\n", file=Path("/dev/full"))
    assert one.text() == "Kernel panic\n"
    assert one.see == "make room for all of the console: the disk was full under NFHARNESS_STATE"


def test_a_console_is_known_when_the_disk_has_no_room_for_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(tempfile, "mkstemp", full)
    one = console_of(b"Kernel panic\n")
    assert (one.file, one.text()) == (None, "Kernel panic\n")
    assert "the disk was full" in one.see


def test_memory_keeps_the_end_of_a_long_console_and_the_file_all_of_it() -> None:
    one = console_of(*[b"x" * 65536] * 8, b"end")
    assert one.file is not None
    assert one.file.stat().st_size == 8 * 65536 + 3
    assert len(one.text()) == 1 << 18
    assert one.text().endswith("xend")


def test_the_console_of_a_guest_that_lives_is_nobodys_to_sweep(state: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _GUEST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs, ours, ended = Path(other.stdout.readline().strip()), Serial(), Serial()
        ended.close()
        assert ours.file is not None and ended.file is not None
        for number in range(3):
            (state / f"consoles/9-{number}.log").touch()
        keep_latest(1)
        left = set((state / "consoles").iterdir())
        other.communicate("")
    assert left == {theirs, ours.file, state / "consoles/9-2.log"}
    ours.close()
    keep_latest(1)
    assert list((state / "consoles").iterdir()) == [state / "consoles/9-2.log"]
