"""Which function an address belonged to, when it was seen."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.trace.modules import GONE, Module, ModuleReader, Modules
from harness.trace.symbols import Symbols
from harness.walks.events import Call, Came, End, Entry, Exit, How, Turn
from harness.walks.sightings import numbered
from harness.walks.symbol import Symbol

KALLSYMS = "ffffffff81000000 T _stext\nffffffff81000100 T ip_rcv_finish\nffffffff82000000 B _end\n"
AREA = 0xFFFFFFFFC0000000


def module(name: str, start: int, *functions: tuple[str, int]) -> Module:
    """A module of 4 KiB with functions at offsets."""
    strtab, symtab = b"\0", b""
    for function, offset in functions:
        symtab += struct.pack("<IBBHQQ", len(strtab), 2, 0, 1, start + offset, 16)
        strtab += function.encode() + b"\0"
    return Module(name, range(start, start + 4096), symtab, strtab)


class Kernel(ModuleReader):
    """The modules that are there, by the address of their ``struct module``."""

    def __init__(self, listed: Path) -> None:
        self.there: dict[int, Module] = {}
        self.listed = listed
        self.write()

    def write(self) -> None:
        self.listed.write_text("".join(f"{each.name} 1 0 - Live {each.text.start:#x}\n" for each in self.there.values()))

    def addresses(self) -> Iterator[int]:
        return iter(self.there)

    def read(self, address: int) -> Module:
        if address not in self.there:
            raise GuestError("not there")
        return self.there[address]


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path / "modules")


@pytest.fixture
def modules(tmp_path: Path, kernel: Kernel) -> Modules:
    (tmp_path / "kallsyms").write_text(KALLSYMS)
    kernel.there[1] = module("nf_tables", AREA, ("nft_do_chain_ipv4", 0), ("nft_do_chain_inet", 64))
    kernel.write()
    found = Modules(Symbols(tmp_path / "kallsyms"), kernel, kernel.listed)
    found.look(0)
    return found


def record(address: int, time: int, name: str, *, gone: bool) -> bytes:
    return struct.pack("<QQI4x56s", address, time, gone, name.encode())


def named(modules: Modules, address: int, time: int) -> str | None:
    """The name of the function that a call at that time is told to be one of."""
    event, = numbered([Call(1, 0, address, 0, None, 0, 1, 0, time)], modules.frees)
    assert isinstance(event, Call)
    symbol = modules.function(event.function)
    return symbol.name if symbol else None


def test_functions_of_vmlinux_and_of_modules_have_their_names(modules: Modules) -> None:
    assert modules.function(AREA + 70) == Symbol(AREA + 64, "nft_do_chain_inet", "nf_tables")
    assert modules.function(0xFFFFFFFF81000104) == Symbol(0xFFFFFFFF81000100, "ip_rcv_finish", None)
    assert modules.function(0x3000) is None


def test_a_module_that_came_and_went_is_remembered_though_another_one_lies_where_it_was(modules: Modules, kernel: Kernel) -> None:
    kernel.there[2] = module("ip_tables", AREA + 8192, ("ipt_do_table", 32))
    modules.changed([record(2, 10, "ip_tables", gone=False)])
    assert named(modules, AREA + 8192 + 32, 15) == "ipt_do_table"
    modules.changed([record(2, 20, "ip_tables", gone=True)])
    kernel.there[2] = module("vxlan", AREA + 8192, ("vxlan_udp_encap_recv", 0), ("vxlan_xmit", 512))
    modules.changed([record(2, 30, "vxlan", gone=False)])
    address = AREA + 8192 + 32
    assert (named(modules, address, 15), named(modules, address, 35)) == ("ipt_do_table", "vxlan_udp_encap_recv")


def test_a_module_that_went_sooner_than_it_was_read_is_unknown_and_nobody_else_is_blamed(modules: Modules) -> None:
    modules.changed([record(2, 10, "ip_tables", gone=False), record(2, 20, "ip_tables", gone=True)])
    assert named(modules, AREA + 8192 + 32, 15) == GONE


def test_what_came_and_went_between_two_captures_is_noticed(modules: Modules, kernel: Kernel) -> None:
    kernel.there = {3: module("nf_nat", AREA, ("nf_nat_inet_fn", 0))}
    kernel.write()
    modules.look(50)
    assert (named(modules, AREA, 40), named(modules, AREA, 60)) == ("nft_do_chain_ipv4", "nf_nat_inet_fn")
    assert modules.one("nf_nat_inet_fn", "nf_nat").address == AREA
    with pytest.raises(GuestError, match="no symbol nft_do_chain_ipv4"):
        modules.one("nft_do_chain_ipv4", "nf_tables")


def test_every_code_address_of_an_event_gets_its_number() -> None:
    entry = Entry(1, 2, 30, 2, 1, 7, "", "", 0, 1, 0x0800, 84, b"", b"", okfn=5, caller=0)
    sent = Turn(2, Came.XMIT, 35, 0xE1, "gn0", driver=6)
    events = (entry, End(2, How.FREED, 0, 6, 10), sent, Exit(1, 1, 40))
    assert numbered(events, [20]) == [entry._replace(okfn=5 | 1 << 64), events[1], sent._replace(driver=6 | 1 << 64), events[3]]
