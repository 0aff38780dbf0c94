"""The tracer's tables and programs in the kernel, made from the byte code that :mod:`harness.trace.compiler` writes.

``libbcc_bpf`` is libbcc without LLVM: what a capture needs of the kernel takes milliseconds to load, and no compiler stays in memory.
"""

from __future__ import annotations

import base64
import ctypes
import functools
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import GuestError

__all__ = ("Programs", "Table", "compiled", "compiler_files", "library")

#: ``enum bpf_prog_type``.
KPROBE, RAW_TRACEPOINT = 2, 17
_LIBRARY = "libbcc_bpf.so.0"
_HINT = "apt-get install python3-bpfcc"
#: ``struct bpf_insn``: code, registers (destination below, source above), offset, immediate value.
_INSN = struct.Struct("<BBhi")
#: Code of the instruction that loads 64 bits; with this source register they are a table, by its descriptor.
_LOAD_64, _OF_TABLE = 0x18, 1
_POSSIBLE = Path("/sys/devices/system/cpu/possible")
_WORD = 8


@functools.cache
def library() -> ctypes.CDLL:
    """libbcc's functions that ask the kernel.

    :raises GuestError: there are none
    """
    try:
        lib = ctypes.CDLL(_LIBRARY, use_errno=True)
    except OSError as error:
        raise GuestError(f"BCC is missing: {error}", hint=_HINT) from None
    number, text, place = ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
    lib.bcc_create_map.argtypes = [number, text, number, number, number, number]
    lib.bcc_prog_load.argtypes = [number, text, place, number, text, ctypes.c_uint, number, text, ctypes.c_uint]
    lib.bpf_attach_tracepoint.argtypes = [number, text, text]
    lib.bpf_attach_raw_tracepoint.argtypes = [number, text]
    for name, arguments in (("lookup", 2), ("delete", 1)):
        getattr(lib, f"bpf_{name}_elem").argtypes = [number, *[place] * arguments]
    lib.bpf_update_elem.argtypes = [number, place, place, ctypes.c_ulonglong]
    lib.bpf_get_next_key.argtypes = [number, place, place]
    return lib


def compiled(source: str) -> dict[str, Any]:
    """The byte code of some programs, compiled for the kernel that runs here.

    :raises GuestError: BCC is missing, or does not compile them
    """
    program = resources.files("harness.trace").joinpath("compiler.py").read_text()
    run = subprocess.run([sys.executable, "-I", "-c", program], input=source.encode(), capture_output=True, check=False)
    if run.returncode:
        said = run.stderr.decode(errors="replace").strip() or f"exit status {run.returncode}"
        raise GuestError(f"the BPF program does not compile: {said.splitlines()[-1]}", hint=f"{_HINT}; the compiler said:\n{said}")
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def compiler_files() -> list[list[str | int]]:
    """Path, size in bytes and time of change in nanoseconds of the libbcc that is here: another version has others.

    :raises GuestError: there is none
    """
    library()
    files = {Path(line.split(maxsplit=5)[5]) for line in Path("/proc/self/maps").read_text().splitlines() if "libbcc" in line}
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files) if file.exists()]


class Table:
    """A table of the kernel's. Keys, and values that are set, are numbers.

    :raises GuestError: the kernel does not make it
    """

    def __init__(self, name: str, *, kind: int, key_bytes: int, value_bytes: int, entries: int, flags: int) -> None:
        self._key_bytes, self._value_bytes = key_bytes, value_bytes
        self.map_fd = library().bcc_create_map(kind, name.encode(), key_bytes, value_bytes, entries, flags)
        if self.map_fd < 0:
            raise GuestError(f"the kernel does not make the BPF table {name}: {_reason()}", hint="needs root and CONFIG_BPF_SYSCALL=y")

    def __setitem__(self, key: int, value: int) -> None:
        self._done(library().bpf_update_elem(self.map_fd, self._key(key), value.to_bytes(self._value_bytes, sys.byteorder), 0))

    def __delitem__(self, key: int) -> None:
        self._done(library().bpf_delete_elem(self.map_fd, self._key(key)))

    def __iter__(self) -> Iterator[int]:
        """The keys that are there. Others who write meanwhile may make it say one twice, or none."""
        key, following = None, ctypes.create_string_buffer(self._key_bytes)
        while not library().bpf_get_next_key(self.map_fd, key, following):
            yield int.from_bytes(following.raw, sys.byteorder)
            key = self._key(int.from_bytes(following.raw, sys.byteorder))

    def clear(self) -> None:
        """Delete all entries."""
        key = ctypes.create_string_buffer(self._key_bytes)
        while not library().bpf_get_next_key(self.map_fd, None, key):
            library().bpf_delete_elem(self.map_fd, key)

    def per_processor(self, key: int) -> list[tuple[int, ...]]:
        """The value of each processor that the kernel may have, as 64-bit words."""
        words = -(-self._value_bytes // _WORD)
        values = (ctypes.c_ulonglong * (words * _possible()))()
        self._done(library().bpf_lookup_elem(self.map_fd, self._key(key), values))
        return [tuple(values[first : first + words]) for first in range(0, len(values), words)]

    def close(self) -> None:
        """Let go of it."""
        os.close(self.map_fd)

    def _key(self, key: int) -> bytes:
        return key.to_bytes(self._key_bytes, sys.byteorder)

    @staticmethod
    def _done(status: int) -> None:
        if status:
            raise GuestError(f"the kernel refuses a BPF table's entry: {_reason()}")


class Programs:
    """Programs with their tables. The tables are in the kernel, and a program once it is loaded.

    :param code: as :func:`compiled` returns it
    """

    def __init__(self, code: dict[str, Any]) -> None:
        self._license = code["license"].encode()
        self._code = {name: base64.b64decode(text) for name, text in code["programs"].items()}
        self._tables: dict[str, Table] = {}
        self._descriptors: dict[int, int] = {}
        self._loaded: list[int] = []
        for name, table in code["tables"].items():
            self._tables[name] = Table(name, **{field: number for field, number in table.items() if field != "mark"})
            self._descriptors[table["mark"]] = self._tables[name].map_fd

    def __getitem__(self, name: str) -> Table:
        return self._tables[name]

    def load(self, name: str, kind: int) -> int:
        """Have the kernel verify a program.

        :param kind: :data:`KPROBE` or :data:`RAW_TRACEPOINT`
        :returns: its descriptor
        :raises GuestError: it is refused; what the verifier says is on standard error
        """
        code = relocated(self._code[name], self._descriptors)
        descriptor = library().bcc_prog_load(kind, name.encode(), code, len(code), self._license, 0, 0, None, 0)
        if descriptor < 0:
            raise GuestError(f"the kernel refuses the BPF program {name}: {_reason()}", hint="needs root, CONFIG_BPF_SYSCALL=y and "
                             "CONFIG_BPF_EVENTS=y")
        self._loaded.append(descriptor)
        return int(descriptor)

    def close(self) -> None:
        """Let go of all of them."""
        for descriptor in self._loaded:
            os.close(descriptor)
        for table in self._tables.values():
            table.close()


def relocated(code: bytes, descriptors: dict[int, int]) -> bytes:
    """Byte code with other descriptors of tables.

    :param descriptors: as they are in *code* → as they are to be
    :raises KeyError: it has another one
    """
    found = bytearray(code)
    second = False  # of the two that make a load of 64 bits
    for place in range(0, len(code), _INSN.size):
        operation, registers, offset, value = _INSN.unpack_from(code, place)
        if not second and operation == _LOAD_64 and registers >> 4 == _OF_TABLE:
            _INSN.pack_into(found, place, operation, registers, offset, descriptors[value])
        second = not second and operation == _LOAD_64
    return bytes(found)


@functools.cache
def _possible() -> int:
    """How many processors the kernel may have: so many values an entry of a per-CPU table has."""
    ranges = [part.split("-") for part in _POSSIBLE.read_text().strip().split(",")]
    return sum(int(numbers[-1]) - int(numbers[0]) + 1 for numbers in ranges)


def _reason() -> str:
    return os.strerror(ctypes.get_errno())
