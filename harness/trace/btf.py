"""The kernel's own type information (``/sys/kernel/btf/vmlinux``), read just far enough for structure layouts.

The format is documented in the kernel's ``Documentation/bpf/btf.rst``. A pass over the type section finds where each type
begins; members are decoded only for the structures that are asked for, so that 5 MB of BTF cost a fraction of a second even in
an emulated guest.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import GuestError

__all__ = ("Btf", "Field")

VMLINUX = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC_PROTO, _TYPE_TAG, _ENUM64 = (
    2, 3, 4, 5, 6, 8, 9, 10, 11, 13, 18, 19)
_MODIFIERS = frozenset({_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
_AGGREGATES = frozenset({_STRUCT, _UNION})
#: ``kind`` → (32-bit words after ``struct btf_type``, words for each of its ``vlen`` elements)
_TAIL = {0: (0, 0), 1: (1, 0), 2: (0, 0), 3: (3, 0), 4: (0, 3), 5: (0, 3), 6: (0, 2), 7: (0, 0), 8: (0, 0), 9: (0, 0), 10: (0, 0),
         11: (0, 0), 12: (0, 0), 13: (0, 2), 14: (1, 0), 15: (0, 3), 16: (0, 0), 17: (1, 0), 18: (0, 0), 19: (0, 3)}
_HINT = "this kernel's BTF is newer than nfharness or damaged: try `bpftool btf dump file /sys/kernel/btf/vmlinux`"


@dataclass(frozen=True, slots=True)
class Field:
    """The place of a member in a structure.

    :param offset: bytes from the start of the outermost structure
    :param size: bytes
    """

    offset: int
    size: int


class Btf:
    """One BTF blob.

    :param blob: the whole of ``/sys/kernel/btf/vmlinux``
    :raises GuestError: it is not BTF, or has a kind of type that is not known here
    """

    def __init__(self, blob: bytes) -> None:
        if len(blob) < _HEADER.size or sys.byteorder != "little":
            raise GuestError("the kernel's BTF is empty or of another byte order", hint=_HINT)
        magic, _version, _flags, header_len, type_off, type_len, str_off, str_len = _HEADER.unpack_from(blob)
        if magic != _MAGIC:
            raise GuestError(f"the kernel's BTF has magic {magic:#x}", hint=_HINT)
        types, strings = header_len + type_off, header_len + str_off
        self._words = array("I", blob[types:types + type_len])
        self._strings = blob[strings:strings + str_len]
        self._starts = self._index()
        #: Of each type the offset of its name, by type id: searched by C, and not type by type.
        self._names = array("I", map(self._words.__getitem__, self._starts))

    @classmethod
    def of_running_kernel(cls, path: Path = VMLINUX) -> Btf:
        """The type information of the kernel that runs.

        :raises GuestError: the kernel exports no BTF
        """
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise GuestError(f"no type information in this kernel: {error}",
                             hint="boot a kernel with CONFIG_DEBUG_INFO_BTF=y (every Debian kernel since 5.10 has it)") from error

    def _index(self) -> array[int]:
        """Word offset of each type, by type id (id 0 is void)."""
        words, starts, at = self._words, array("I", [0]), 0
        push, end, tail = starts.append, len(self._words), _TAIL
        try:
            while at < end:
                push(at)
                info = words[at + 1]
                fixed, each = tail[info >> 24 & 0x1F]
                at += 3 + fixed + each * (info & 0xFFFF)
        except KeyError as error:
            raise GuestError(f"the kernel's BTF has a type of unknown kind {error}", hint=_HINT) from None
        if at != end:
            raise GuestError("the kernel's BTF ends in the middle of a type", hint=_HINT)
        return starts

    def _name(self, offset: int) -> str:
        return self._strings[offset:self._strings.index(b"\0", offset)].decode()

    def _kind(self, type_id: int) -> int:
        return self._words[self._starts[type_id] + 1] >> 24 & 0x1F if type_id else 0

    def _vlen(self, type_id: int) -> int:
        return self._words[self._starts[type_id] + 1] & 0xFFFF

    def _named(self, name: str, kinds: frozenset[int]) -> int | None:
        """Id of the first type of that name and kind."""
        encoded, at = name.encode(), -1
        while (at := self._strings.find(b"\0" + encoded + b"\0", at + 1)) >= 0:
            type_id = 0
            with suppress(ValueError):  # no type has that name any more
                while True:
                    type_id = self._names.index(at + 1, type_id + 1)
                    if self._kind(type_id) in kinds:
                        return type_id
        return None

    def _resolve(self, type_id: int) -> int:
        while self._kind(type_id) in _MODIFIERS:
            type_id = self._words[self._starts[type_id] + 2]
        return type_id

    def _size(self, type_id: int) -> int:
        type_id = self._resolve(type_id)
        start, kind = self._starts[type_id], self._kind(type_id)
        if kind == _PTR:
            return 8
        if kind == _ARRAY:
            return self._size(self._words[start + 3]) * self._words[start + 5]
        return self._words[start + 2]

    def _members(self, type_id: int) -> Iterator[tuple[int, int, int]]:
        """(name offset, type id, bit offset) of each member, bit fields left out."""
        start = self._starts[type_id]
        bitfields = self._words[start + 1] >> 31
        for at in range(start + 3, start + 3 + 3 * self._vlen(type_id), 3):
            name, member, offset = self._words[at:at + 3]
            if bitfields and offset >> 24:
                continue
            yield name, member, offset & 0xFFFFFF if bitfields else offset

    def _find(self, type_id: int, name: str) -> tuple[int, int] | None:
        """(type id, byte offset) of a member, looked for inside anonymous structures and unions too."""
        for name_offset, member, bits in self._members(type_id):
            if name_offset and self._name(name_offset) == name:
                return member, bits // 8
            # A struct_group() is an anonymous union of an anonymous and a named structure with the same members.
            inner = self._resolve(member)
            if not name_offset and self._kind(inner) in _AGGREGATES and (found := self._find(inner, name)):
                return found[0], bits // 8 + found[1]
        return None

    def _struct(self, name: str) -> int:
        type_id = self._named(name, frozenset({_STRUCT}))
        if type_id is None:
            raise GuestError(f"this kernel's BTF has no struct {name}", hint=_HINT)
        return type_id

    def has(self, struct_name: str, member: str | None = None) -> bool:
        """Whether the kernel has a ``struct NAME``, with that member if one is named."""
        type_id = self._named(struct_name, frozenset({_STRUCT}))
        return type_id is not None and (member is None or self._find(type_id, member) is not None)

    def size(self, struct_name: str) -> int:
        """``sizeof(struct NAME)``.

        :raises GuestError: no such structure
        """
        return self._size(self._struct(struct_name))

    def field(self, struct_name: str, path: str) -> Field:
        """The place of the member ``path`` (``"ns.inum"``) in ``struct NAME``.

        :raises GuestError: no such structure or member
        """
        type_id, offset = self._struct(struct_name), 0
        for name in path.split("."):
            found = self._find(self._resolve(type_id), name)
            if found is None:
                raise GuestError(f"this kernel's struct {struct_name} has no member {path}", hint=_HINT)
            type_id, offset = found[0], offset + found[1]
        return Field(offset, self._size(type_id))

    def unexpected(self, struct_name: str, path: str, field: Field) -> GuestError:
        """The error for a member whose type changed."""
        return GuestError(f"struct {struct_name}: member {path} has {field.size} bytes, which is new", hint=_HINT)

    def enumerators(self, name: str) -> dict[int, str]:
        """Value → name of ``enum NAME``; empty where the kernel has no such enum."""
        type_id = self._named(name, frozenset({_ENUM, _ENUM64}))
        if type_id is None:
            return {}
        step, start = (2 if self._kind(type_id) == _ENUM else 3), self._starts[type_id]
        ats = range(start + 3, start + 3 + step * self._vlen(type_id), step)
        return {self._words[at + 1]: self._name(self._words[at]) for at in ats}

    def tracepoint_arguments(self, name: str) -> int:
        """How many arguments a raw tracepoint passes; 0 where the kernel has no such tracepoint."""
        type_id = self._named(f"btf_trace_{name}", frozenset({_TYPEDEF}))
        if type_id is None:
            return 0
        proto = self._resolve(type_id)
        if self._kind(proto) == _PTR:
            proto = self._words[self._starts[proto] + 2]
        # The first parameter of the probe's prototype is its private data.
        return self._vlen(proto) - 1 if self._kind(proto) == _FUNC_PROTO else 0
