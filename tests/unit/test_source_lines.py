"""Functions and offsets in a kernel's log become lines of its sources."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import HostError
from harness.images import kernel_tree
from harness.images.kernels import Kernel
from harness.images.source_lines import decoded

SOURCE = """int called;

__attribute__((noinline)) int inner(int one)
{
	called += one;
	return called;
}

int outer(int one)
{
	int more = inner(one);
	return more + 1;
}

int main(void)
{
	return outer(1);
}
"""
KERNEL = Kernel("6.99.0-own", "identity", "6.99", "tree", (), tree="/home/me/linux")

pytestmark = pytest.mark.skipif(not all(map(shutil.which, ("gcc", "nm", "addr2line", "objdump"))), reason="this host has no compiler")


@dataclass
class _Tree:
    build: Path
    source: Path
    identity: str = "identity"


@pytest.fixture
def vmlinux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands for a kernel."""
    (tmp_path / "core.c").write_text(SOURCE)
    subprocess.run(["gcc", "-g", "-O0", "-static", str(tmp_path / "core.c"), "-o", str(tmp_path / "vmlinux")], check=True)
    monkeypatch.setattr(kernel_tree, "read", lambda _directory: _Tree(tmp_path, tmp_path))
    return tmp_path / "vmlinux"


def _function(vmlinux: Path, name: str) -> tuple[int, int]:
    """Address and size of a function."""
    shown = subprocess.run(["nm", "-S", str(vmlinux)], capture_output=True, text=True, check=True).stdout
    address, size = next(line.split()[:2] for line in shown.splitlines() if line.endswith(f" T {name}"))
    return int(address, 16), int(size, 16)


def _after_the_call(vmlinux: Path) -> int:
    """Offset in ``outer`` of what follows its call."""
    shown = subprocess.run(["objdump", "-d", "--disassemble=outer", str(vmlinux)], capture_output=True, text=True, check=True).stdout
    lines = [line for line in shown.splitlines() if line.startswith(" ")]
    call = next(number for number, line in enumerate(lines) if "call" in line)
    return int(lines[call + 1].split(":")[0], 16) - _function(vmlinux, "outer")[0]


def test_a_return_address_is_the_line_of_its_call(vmlinux: Path) -> None:
    offset, (_, size) = _after_the_call(vmlinux), _function(vmlinux, "outer")
    place = f"outer+{offset:#x}/{size:#x}"
    assert decoded(f"Call Trace:\n {place}\n <TASK>", KERNEL) == f"Call Trace:\n {place} (core.c:11)\n <TASK>"


def test_the_instruction_that_failed_is_its_own_line(vmlinux: Path) -> None:
    place = f"inner+0x0/{_function(vmlinux, 'inner')[1]:#x}"
    assert decoded(f"RIP: 0010:{place} RSP", KERNEL) == f"RIP: 0010:{place} (core.c:4) RSP"


@pytest.mark.parametrize("text", ["inner+0x1/0x1f0", "nobody+0x1/0x2", "nothing of the kind", ""])
def test_what_cannot_be_told_stays(vmlinux: Path, text: str) -> None:
    assert decoded(text, KERNEL) == text


def test_a_function_of_a_module_is_not_taken_for_one_of_the_kernel(vmlinux: Path) -> None:
    text = f"inner+0x1/{_function(vmlinux, 'inner')[1]:#x} [nfharness]"
    assert decoded(text, KERNEL) == text


def test_a_kernel_that_was_rebuilt_or_whose_tree_is_gone_tells_nothing(vmlinux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"RIP: inner+0x0/{_function(vmlinux, 'inner')[1]:#x}"
    assert decoded(text, KERNEL) != text
    assert decoded(text, Kernel("6.12", "1", "6.12", "cloud", ())) == text
    monkeypatch.setattr(kernel_tree, "read", lambda _directory: _Tree(vmlinux.parent, vmlinux.parent, "another"))
    assert decoded(text, KERNEL) == text

    def gone(_directory: str) -> None:
        raise HostError("it is gone")

    monkeypatch.setattr(kernel_tree, "read", gone)
    assert decoded(text, KERNEL) == text
