"""Which compiler builds the module for a developer's kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HostError
from harness.images.toolchain import Toolchain, host_toolchain

GCC = "gcc-12 (Debian 12.2.0-14) 12.2.0"
CLANG = "Debian clang version 19.1.7 (3+b1)"
_LLVM = ("ld.lld-19", "llvm-ar-19", "llvm-nm-19", "llvm-strip-19", "llvm-objcopy-19", "llvm-objdump-19", "llvm-readelf-19")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A host that has these programs and no other. :param: program → the first line of its version"""

    def having(**programs: str) -> None:
        for name, version in programs.items():
            path = tmp_path / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\necho '{version}'\necho more\n")
            path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return having


def test_the_compiler_that_built_the_kernel(host: Callable[..., None]) -> None:
    host(make="GNU Make", strip="GNU strip", gcc="gcc (Debian 13.1.0-1) 13.1.0", **{"gcc-12": GCC})
    assert host_toolchain({"CC_VERSION_TEXT": GCC}) == Toolchain("gcc-12", ("CC=gcc-12",), "strip")


@pytest.mark.parametrize("text", [GCC, "gcc (Ubuntu 12.2.0-3ubuntu1~22.04) 12.2.0"])
def test_another_gcc_than_this_host_has_is_left_to_the_userland(host: Callable[..., None], text: str) -> None:
    host(make="GNU Make", strip="GNU strip", gcc="gcc (Debian 13.1.0-1) 13.1.0")
    assert host_toolchain({"CC_VERSION_TEXT": text}) is None


def test_a_host_without_make_is_left_to_the_userland(host: Callable[..., None]) -> None:
    host(strip="GNU strip", **{"gcc-12": GCC})
    assert host_toolchain({"CC_VERSION_TEXT": GCC}) is None


def test_plugins_need_the_very_compiler(host: Callable[..., None]) -> None:
    host(make="GNU Make")
    with pytest.raises(HostError, match="which the kernel's gcc plugins were built for") as caught:
        host_toolchain({"CC_VERSION_TEXT": GCC, "GCC_PLUGINS": "y"})
    assert "apt-get install make gcc-12" in (caught.value.hint or "")


def test_clang_with_its_linker(host: Callable[..., None]) -> None:
    host(make="GNU Make", **{"clang-19": CLANG}, **dict.fromkeys(_LLVM, "LLVM"))
    found = host_toolchain({"CC_VERSION_TEXT": CLANG, "CC_IS_CLANG": "y", "LD_IS_LLD": "y", "AS_IS_LLVM": "y"})
    assert found is not None
    assert (found.compiler, found.strip) == ("clang-19", "llvm-strip-19")
    assert {"LLVM=1", "CC=clang-19", "LD=ld.lld-19", "NM=llvm-nm-19"} <= set(found.arguments)


def test_clang_with_gnu_binutils(host: Callable[..., None]) -> None:
    host(make="GNU Make", strip="GNU strip", clang=CLANG)
    assert host_toolchain({"CC_VERSION_TEXT": CLANG, "CC_IS_CLANG": "y", "AS_IS_GNU": "y"}) == Toolchain(
        "clang", ("CC=clang", "LLVM_IAS=0"), "strip")


def test_no_gcc_stands_in_for_clang(host: Callable[..., None]) -> None:
    host(make="GNU Make", strip="GNU strip", gcc=GCC)
    with pytest.raises(HostError, match=r"lacks make or Debian clang version 19\.1\.7") as caught:
        host_toolchain({"CC_VERSION_TEXT": CLANG, "CC_IS_CLANG": "y"})
    assert "clang-19 lld-19" in (caught.value.hint or "")
