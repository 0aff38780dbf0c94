"""Developers' kernel trees for tests: as a build leaves them, but empty of kernel."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

from harness.images import config

__all__ = ("BZIMAGE", "RELEASE", "built", "elf", "in_tree", "options", "out_of_tree", "snapshot")

RELEASE = "6.99.0-own"
BZIMAGE = "arch/x86/boot/bzImage"
_X86_64, _ET_EXEC, _PT_LOAD, _PT_NOTE = 62, 2, 1, 4
_SOURCES = {
    "Makefile": "VERSION = 6\nPATCHLEVEL = 99\n",
    "arch/x86/Makefile": "# x86\n",
    "arch/x86/Makefile_32.cpu": "# i386\n",
    "arch/x86/include/asm/page.h": "// page\n",
    "include/linux/netfilter.h": "// netfilter\n",
    "include/net/netfilter/nf_queue.h": "// queue\n",
    "net/netfilter/core.c": "// core\n",
    "scripts/Makefile.build": "# build\n",
    "scripts/kconfig/merge_config.sh": "#!/bin/sh\n",
}
_OBJECTS = {
    "include/generated/autoconf.h": "#define CONFIG_NETFILTER 1\n",
    "include/generated/utsrelease.h": f'#define UTS_RELEASE "{RELEASE}"\n',
    "include/config/kernel.release": f"{RELEASE}\n",
    "arch/x86/include/generated/asm/unistd_64.h": "// unistd\n",
    "scripts/basic/fixdep": "fixdep",
    "scripts/mod/modpost": "modpost",
    "scripts/mod/modpost.o": "object",
    "scripts/module.lds": "SECTIONS {}\n",
    "tools/objtool/objtool": "objtool",
    "vmlinux.symvers": "0x1\tnf_hook_slow\tvmlinux\tEXPORT_SYMBOL\t\n",
    "Module.symvers": "0x0\tnf_hook_slow\tvmlinux\tEXPORT_SYMBOL\t\n0x2\tnf_ct_get\tnet/netfilter/nf_conntrack\tEXPORT_SYMBOL\t\n",
    "modules.order": "net/netfilter/nf_conntrack.o\ndrivers/net/veth.o\ndrivers/gpu/drm/drm.o\n",
    "modules.builtin": "kernel/fs/ext4/ext4.ko\n",
    "net/netfilter/nf_conntrack.ko": "conntrack",
    "drivers/net/veth.ko": "veth",
}


def _note(owner: bytes, kind: int, content: bytes) -> bytes:
    owner += b"\0"
    parts = [part + bytes(-len(part) % 4) for part in (owner, content)]
    return struct.pack("<III", len(owner), len(content), kind) + b"".join(parts)


def elf(build_id: bytes | None = b"\x01" * 20, *, pvh: bool = True, machine: int = _X86_64, loads: bool = True) -> bytes:
    """A vmlinux with nothing but what is looked at."""
    notes = (_note(b"GNU", 3, build_id) if build_id else b"") + (_note(b"Xen", 18, bytes(8)) if pvh else b"")
    segments = [(_PT_NOTE, len(notes)), *([(_PT_LOAD, 0)] if loads else [])]
    start = 64 + 56 * len(segments)
    identity = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = identity + struct.pack("<HHIQQQIHHHHHH", _ET_EXEC, machine, 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    table = b"".join(struct.pack("<IIQQQQQQ", kind, 4, start, 0, 0, size, size, 4) for kind, size in segments)
    return header + table + notes


def options(changed: Mapping[str, str | None] | None = None) -> str:
    """A ``.config`` with all that a guest and every rule need.

    :param changed: other values; ``None``: not set
    """
    found = {name: "y" for names in config.NEEDED.values() for name in names} | dict.fromkeys(config.WISHED, "y")
    found |= {"X86_64": "y", "OBJTOOL": "y", "RETPOLINE": "y", "VETH": "m", "NF_CONNTRACK": "m",
              "CC_VERSION_TEXT": '"gcc-99 (None 99.1.0-1) 99.1.0"'}
    found |= changed or {}  # type: ignore[arg-type]
    lines = [f"CONFIG_{name}={value}" if value else f"# CONFIG_{name} is not set" for name, value in found.items()]
    return "\n".join(["#", "# Linux/x86 6.99.0 Kernel Configuration", *lines]) + "\n"


def _write(directory: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def built(directory: Path, vmlinux: bytes | None = None, **changed: str | None) -> None:
    """What a build leaves in a directory.

    :param changed: options
    """
    text = options(changed)
    _write(directory, {".config": text, "include/config/auto.conf": text.replace('"', ""), "include/config/NETFILTER": ""})
    _write(directory, {"vmlinux": elf() if vmlinux is None else vmlinux, BZIMAGE: "HdrS", **_OBJECTS})


def in_tree(directory: Path, vmlinux: bytes | None = None, **changed: str | None) -> Path:
    """A tree that was built where its sources are."""
    _write(directory, _SOURCES)
    built(directory, vmlinux, **changed)
    return directory


def out_of_tree(directory: Path, **changed: str | None) -> Path:
    """A directory that ``O=`` named, beside its sources."""
    source, build = directory / "linux", directory / "out"
    _write(source, _SOURCES)
    built(build, None, **changed)
    _write(build, {"Makefile": f"# Automatically generated\ninclude {source}/Makefile\n"})
    (build / "source").symlink_to(source)
    return build


def snapshot(directory: Path) -> dict[str, tuple[int, int, int, int]]:
    """Everything in a directory, such that nothing can be written there without changing it."""
    found = {}
    for place, directories, files in os.walk(directory):
        for path in [Path(place), *(Path(place, name) for name in [*directories, *files])]:
            now = path.lstat()
            found[str(path)] = (now.st_mode, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    return found
