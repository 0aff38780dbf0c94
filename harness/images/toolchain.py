"""The compiler that a developer's tree was built with, if this host has it: a module is best built with the same."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.errors import HostError
from harness.host import process

__all__ = ("Toolchain", "gcov", "host_toolchain")

_LLVM = {"AR": "llvm-ar", "NM": "llvm-nm", "STRIP": "llvm-strip", "OBJCOPY": "llvm-objcopy", "OBJDUMP": "llvm-objdump",
         "READELF": "llvm-readelf"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The compiler and the tools that a module is built with.

    :param compiler: its program
    :param arguments: for make's command line
    :param strip: the program that drops debug information
    """

    compiler: str
    arguments: tuple[str, ...]
    strip: str


def host_toolchain(options: Mapping[str, str]) -> Toolchain | None:
    """The toolchain of a configuration; ``None`` if this host lacks it and any gcc will do instead.

    :raises HostError: it is lacking, and no other will do
    """
    wanted = options.get("CC_VERSION_TEXT", "")
    compiler = next((name for name in _candidates(wanted) if _says(name) == wanted), None) if shutil.which("make") else None
    if options.get("CC_IS_CLANG") == "y":
        found = _llvm(compiler, options) if compiler else None
        if found is None:
            raise HostError(f"this host lacks make or {wanted or 'clang'}, which the kernel was built with",
                            hint=f"apt-get install make clang-{_major(wanted)} lld-{_major(wanted)} llvm-{_major(wanted)}")  # fmt: skip
        return found
    if compiler and shutil.which("strip"):
        return Toolchain(compiler, (f"CC={compiler}",), "strip")
    if options.get("GCC_PLUGINS") == "y":
        hint = f"apt-get install make gcc-{_major(wanted)}, or build the kernel without CONFIG_GCC_PLUGINS"
        raise HostError(f"this host lacks make, binutils or {wanted}, which the kernel's gcc plugins were built for", hint=hint)
    return None


def _major(text: str) -> str:
    """``19`` of "Debian clang version 19.1.7 (3+b1)", ``12`` of "gcc (Debian 12.2.0-14) 12.2.0"."""
    found = re.search(r"\s(\d+)\.\d+\.\d+\S*(\s\(\S*\))?$", text)
    return found[1] if found else "?"


def _candidates(text: str) -> Iterator[str]:
    first = text.split(" ", maxsplit=1)[0]
    if re.fullmatch(r"\S*(gcc|clang)\S*", first):
        yield first
    name = "clang" if "clang version" in text else "gcc"
    yield from (name, f"{name}-{_major(text)}")


def _says(program: str) -> str | None:
    """The first line of its version, as kbuild keeps it in ``CC_VERSION_TEXT``."""
    try:
        done = process.captured([program, "--version"], 30)
    except OSError:
        return None
    if done.returncode:
        return None
    return done.stdout.split("\n")[0].replace("#", "").strip()


def _llvm(compiler: str, options: Mapping[str, str]) -> Toolchain | None:
    suffix = compiler.removeprefix("clang")
    if options.get("LD_IS_LLD") != "y":
        assembler = () if options.get("AS_IS_LLVM") == "y" else ("LLVM_IAS=0",)
        return Toolchain(compiler, (f"CC={compiler}", *assembler), "strip") if shutil.which("strip") else None
    tools = {"LD": f"ld.lld{suffix}"} | {name: f"{program}{suffix}" for name, program in _LLVM.items()}
    if not all(map(shutil.which, tools.values())):
        return None
    return Toolchain(compiler, ("LLVM=1", f"CC={compiler}", *(f"{name}={program}" for name, program in tools.items())), tools["STRIP"])


def gcov(options: Mapping[str, str]) -> str:
    """The ``gcov`` of the gcc that built a configuration; another version's does not read its counters.

    :raises HostError: this host lacks it, or another compiler built it
    """
    wanted = options.get("CC_VERSION_TEXT", "")
    if options.get("CC_IS_CLANG") == "y":
        raise HostError(f"the kernel was built by {wanted or 'clang'}, whose counters gcc's gcov does not read", hint="build it with gcc")
    compiler = next((name for name in _candidates(wanted) if _says(name) == wanted), None)
    program = re.sub(r"gcc(?=(-[\d.]+)?$)", "gcov", compiler) if compiler else ""
    if not program or not shutil.which(program):
        raise HostError(f"this host lacks the gcov of {wanted or 'the compiler that built the kernel'}",
                        hint=f"apt-get install gcc-{_major(wanted)}, or build the kernel with the gcc that is here")
    return program
