"""What ``vmlinux`` says of itself, as an ELF file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

__all__ = ("NotElf", "Vmlinux", "read_vmlinux")

#: XEN_ELFNOTE_PHYS32_ENTRY (include/xen/interface/elfnote.h): where a PVH boot enters.
_PHYS32_ENTRY = 18


class NotElf(ValueError):
    """The file is no vmlinux."""


@dataclass(frozen=True, slots=True)
class Vmlinux:
    """What a vmlinux says of itself.

    :param build_id: the linker's hash of it, hexadecimal; of the whole file where there is none
    :param pvh: whether it boots by itself (``CONFIG_PVH``)
    """

    build_id: str
    pvh: bool


def read_vmlinux(path: Path) -> Vmlinux:
    """Read what a vmlinux says of itself.

    :raises NotElf: no ELF file, of another architecture, or of type information alone as in Debian's headers
    """
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 - most commands are about no kernel tree
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415
    from elftools.elf.segments import NoteSegment  # noqa: PLC0415

    with path.open("rb") as file:
        try:
            elf = ELFFile(file)
            if elf.get_machine_arch() != "x64":
                raise NotElf(f"is for {elf.get_machine_arch()}; nfharness runs amd64 kernels")
            loads = any(segment["p_type"] == "PT_LOAD" for segment in elf.iter_segments())
            notes = [note for segment in elf.iter_segments("PT_NOTE") if isinstance(segment, NoteSegment) for note in segment.iter_notes()]
        except (ELFError, UnicodeDecodeError, ValueError) as error:
            if isinstance(error, NotElf):
                raise
            raise NotElf("is no ELF file, or cut short") from None
        if not loads:
            raise NotElf("holds no code, just type information, as that of Debian's headers does")
        build_id = next((note["n_desc"] for note in notes if note["n_type"] == "NT_GNU_BUILD_ID"), None)
        pvh = any(note["n_name"] == "Xen" and cast(object, note["n_type"]) == _PHYS32_ENTRY for note in notes)
        if build_id is None:
            file.seek(0)
            build_id = hashlib.file_digest(file, "sha256").hexdigest()
    return Vmlinux(str(build_id), pvh)
