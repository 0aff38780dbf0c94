"""What a hanging guest's registers and stacks are read as."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import HostError, KernelDied
from harness.guest.symbolise import functions
from harness.trace.symbols import Symbols
from harness.vm.channel import Channel
from harness.vm.stuck import addresses, stacks

LOOPS = "RAX=0000000000000001\nRIP=ffffffff81000104 RFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\nRSP=ffffc90000003f00\n"
HALTED = LOOPS.replace("HLT=0", "HLT=1")
IN_A_PROGRAM = LOOPS.replace("ffffffff81000104", "00007f0000001234")
MEMORY = """ffffc90000003f00: 0x0000000000000007 0xffffffff81000230
ffffc90000003f10: 0xffffffff81000200 0xffffffffc0000310
"""
WORDS = [7, 0xFFFFFFFF81000230, 0xFFFFFFFF81000200, 0xFFFFFFFFC0000310]
IN_AN_INTERRUPT = LOOPS.replace("ffffc90000003f00", "ffffc90000001fe8")
INTERRUPT_S = """ffffc90000001fe0: 0xffffffff81000333 0xffffffff81000110
ffffc90000001ff0: 0x0000000000000001 0xffffc90000003f00
ffffc90000002000: Cannot access memory
"""
KALLSYMS = """ffffffff81000000 T _stext
ffffffff81000100 T nf_hook_slow
ffffffff81000200 T ip_rcv
ffffffff81000400 T _etext
ffffffff82000000 D init_task
ffffffffc0000300 t nfharness_hook\t[nfharness]
"""


class Monitor:
    """QEMU's, of a guest with two processors."""

    machine = SimpleNamespace(processors=2)

    def __init__(self, *registers: str) -> None:
        self.registers = registers
        self.stopped = False

    async def execute(self, command: str, *, command_line: str = "", cpu_index: int = 0) -> str:
        if not self.registers:
            raise HostError("it is gone")
        if command in ("stop", "cont"):
            self.stopped = command == "stop"
            return ""
        assert self.stopped
        if command_line == "info registers":
            return self.registers[cpu_index]
        return {"x /2048gx 0xffffc90000003f00": MEMORY, "x /2048gx 0xffffc90000001fe0": INTERRUPT_S}[command_line]


def of(*registers: str) -> dict[int, list[int]]:
    monitor = Monitor(*registers)
    found = asyncio.run(stacks(cast(Any, monitor)))
    assert not monitor.stopped
    return found


def test_a_processor_that_loops_in_the_kernel_has_its_place_and_its_stack() -> None:
    assert of(HALTED, LOOPS) == {1: [0xFFFFFFFF81000104, 0xFFFFFFFF81000230, 0xFFFFFFFF81000200, 0xFFFFFFFFC0000310]}
    assert of(IN_A_PROGRAM, HALTED) == {}
    assert of() == {}


def test_an_interrupt_does_not_hide_what_it_interrupted() -> None:
    interrupted = [0xFFFFFFFF81000230, 0xFFFFFFFF81000200, 0xFFFFFFFFC0000310]
    assert of(HALTED, IN_AN_INTERRUPT) == {1: [0xFFFFFFFF81000104, 0xFFFFFFFF81000110, *interrupted]}


def test_the_words_of_a_stack_are_those_of_the_kernel_s_code() -> None:
    assert addresses(WORDS) == [0xFFFFFFFF81000230, 0xFFFFFFFF81000200, 0xFFFFFFFFC0000310]


def test_a_guest_that_says_nothing_while_it_is_prepared_hangs() -> None:
    async def prepared() -> None:
        ours, _theirs = socket.socketpair()
        await Channel(ours, asyncio.get_running_loop().create_future()).answer(0.01, "preparing the guest")

    with pytest.raises(KernelDied, match="did not answer"):
        asyncio.run(prepared())


def test_addresses_have_the_names_of_their_functions_and_data_s_have_none(tmp_path: Path) -> None:
    kallsyms = tmp_path / "kallsyms"
    kallsyms.write_text(KALLSYMS)
    found = functions(Symbols(kallsyms), [0xFFFFFFFF81000104, *addresses(WORDS), 0xFFFFFFFF82000010])
    assert list(found) == ["nf_hook_slow+0x4", "? ip_rcv+0x30", "? nfharness_hook+0x10 [nfharness]"]
