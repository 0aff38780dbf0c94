"""Reading structure layouts out of BTF, on blobs made here in the format of Documentation/bpf/btf.rst."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.trace.btf import Btf, Field
from harness.trace.layout import Layout

INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, CONST, FUNC_PROTO = 1, 2, 3, 4, 5, 6, 8, 10, 13
BITFIELDS = 1 << 31


class Builder:
    """Types are numbered from 1 in the order in which they are added."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.strings = b"\0"
        self.count = 0

    def name(self, text: str) -> int:
        if not text:
            return 0
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, name: str, kind: int, size_or_type: int, *tail: int, vlen: int = 0, flag: int = 0) -> int:
        self.words += [self.name(name), flag | kind << 24 | vlen, size_or_type, *tail]
        self.count += 1
        return self.count

    def aggregate(self, name: str, size: int, *members: tuple[str, int, int], kind: int = STRUCT, flag: int = 0) -> int:
        """:param members: (name, type, bit offset)"""
        tail = [word for member, type_id, bits in members for word in (self.name(member), type_id, bits)]
        return self.add(name, kind, size, *tail, vlen=len(members), flag=flag)

    def blob(self) -> bytes:
        types = struct.pack(f"<{len(self.words)}I", *self.words)
        return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self.strings)) + types + self.strings


def test_a_member_has_its_offset_and_size() -> None:
    btf = Builder()
    u32 = btf.add("unsigned int", INT, 4, 32)
    pointer = btf.add("", PTR, 0)
    btf.aggregate("pair", 16, ("number", u32, 0), ("next", pointer, 64))
    assert Btf(btf.blob()).field("pair", "next") == Field(8, 8)
    assert Btf(btf.blob()).size("pair") == 16


def test_members_of_anonymous_unions_and_struct_groups_belong_to_the_outer_structure() -> None:
    btf = Builder()
    u32 = btf.add("unsigned int", INT, 4, 32)
    group = btf.aggregate("", 8, ("first", u32, 0), ("second", u32, 32))
    union = btf.aggregate("", 8, ("", group, 0), ("headers", group, 0), kind=UNION)
    btf.aggregate("sk_buff", 24, ("len", u32, 0), ("", union, 64))
    assert Btf(btf.blob()).field("sk_buff", "second") == Field(12, 4)


def test_a_path_goes_through_typedefs_and_qualifiers() -> None:
    btf = Builder()
    u32 = btf.add("unsigned int", INT, 4, 32)
    common = btf.aggregate("ns_common", 16, ("inum", u32, 96))
    constant = btf.add("", CONST, common)
    alias = btf.add("ns_t", TYPEDEF, constant)
    btf.aggregate("net", 64, ("ns", alias, 128))
    assert Btf(btf.blob()).field("net", "ns.inum") == Field(28, 4)


def test_an_array_has_the_size_of_all_its_elements() -> None:
    btf = Builder()
    char = btf.add("char", INT, 1, 8)
    name = btf.add("", ARRAY, 0, char, char, 16)
    btf.aggregate("net_device", 32, ("name", name, 128))
    assert Btf(btf.blob()).field("net_device", "name") == Field(16, 16)


def test_bit_fields_do_not_disturb_the_members_beside_them() -> None:
    btf = Builder()
    u32 = btf.add("unsigned int", INT, 4, 32)
    btf.aggregate("flags", 8, ("one_bit", u32, 1 << 24 | 3), ("whole", u32, 32), flag=BITFIELDS)
    assert Btf(btf.blob()).field("flags", "whole") == Field(4, 4)
    with pytest.raises(GuestError, match="no member one_bit"):
        Btf(btf.blob()).field("flags", "one_bit")


def test_a_structure_is_not_confused_with_a_member_or_type_of_its_name() -> None:
    btf = Builder()
    u32 = btf.add("net", INT, 4, 32)
    btf.aggregate("other", 8, ("net", u32, 0))
    btf.aggregate("net", 8, ("count", u32, 32))
    assert Btf(btf.blob()).field("net", "count") == Field(4, 4)


def test_enumerators_are_numbered() -> None:
    btf = Builder()
    names = [btf.name("SKB_NOT_DROPPED_YET"), 0, btf.name("SKB_DROP_REASON_NO_SOCKET"), 3]
    btf.add("skb_drop_reason", ENUM, 4, *names, vlen=2)
    assert Btf(btf.blob()).enumerators("skb_drop_reason") == {0: "SKB_NOT_DROPPED_YET", 3: "SKB_DROP_REASON_NO_SOCKET"}
    assert Btf(btf.blob()).enumerators("no_such_enum") == {}


def test_a_tracepoint_has_the_arguments_of_its_prototype_but_the_first() -> None:
    btf = Builder()
    pointer = btf.add("", PTR, 0)
    proto = btf.add("", FUNC_PROTO, 0, 0, pointer, 0, pointer, 0, pointer, vlen=3)
    btf.add("btf_trace_kfree_skb", TYPEDEF, btf.add("", PTR, proto))
    assert Btf(btf.blob()).tracepoint_arguments("kfree_skb") == 2
    assert Btf(btf.blob()).tracepoint_arguments("consume_skb") == 0


@pytest.mark.parametrize(("start", "replacement"), [(0, b"\x7fELF"), (24, b"\xff" * 12), (31, b"\x1f"), (28, b"\x05")],
                         ids=["an ELF file", "noise", "an unknown kind", "more members than there are"])
def test_what_cannot_be_read_is_refused(start: int, replacement: bytes) -> None:
    btf = Builder()
    btf.aggregate("pair", 8, ("first", 1, 0))
    blob = bytearray(btf.blob())
    blob[start:start + len(replacement)] = replacement
    with pytest.raises(GuestError):
        Btf(bytes(blob))


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(GuestError, match="empty"):
        Btf(b"")


def test_a_kernel_without_a_structure_is_refused_by_its_name() -> None:
    btf = Builder()
    btf.add("unsigned int", INT, 4, 32)
    with pytest.raises(GuestError, match="no struct nf_hook_state"):
        Layout.of(Btf(btf.blob()))


def test_a_kernel_without_btf_is_refused_with_the_hint(tmp_path: Path) -> None:
    with pytest.raises(GuestError) as refused:
        Btf.of_running_kernel(tmp_path / "vmlinux")
    assert "CONFIG_DEBUG_INFO_BTF" in (refused.value.hint or "")
