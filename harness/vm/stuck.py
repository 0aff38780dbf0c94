"""Where the processors of a guest that hangs are: their registers and stacks, read from outside through QEMU's monitor."""

from __future__ import annotations

import re
from contextlib import suppress

from harness.errors import NfharnessError
from harness.vm.qemu import Qemu

__all__ = ("addresses", "stacks")

_WORDS = 192
"""Of each stack, from where it is now."""
_STACK = 2048
"""Words of a whole stack; behind it is a page that cannot be read."""
_KERNEL = 0xFFFFFFFF80000000
"""Where the kernel's code begins, its modules' included."""
_DATA = 0xFFFF800000000000
"""Where its data begin, stacks among them."""


async def stacks(qemu: Qemu) -> dict[int, list[int]]:
    """Processor → addresses of code: where it is, then those that lie on its stack, return addresses among them; none of a halted one."""
    found: dict[int, list[int]] = {}
    with suppress(NfharnessError):  # it has ended meanwhile
        await qemu.execute("stop")  # a stack goes with the registers that were read before it
        for number in range(qemu.machine.processors):
            registers = await _monitor(qemu, "info registers", number)
            position, top = _register(registers, "RIP"), _register(registers, "RSP")
            if "HLT=1" in registers or position < _KERNEL:
                continue
            found[number] = [position, *await _on_the_stack(qemu, number, top)]
        await qemu.execute("cont")
    return found


async def _on_the_stack(qemu: Qemu, processor: int, top: int) -> list[int]:
    """The addresses of code on a stack, then, if it is an interrupt's, those on the stack of what was interrupted.

    An interrupt's stack keeps in its last word where the other one is (``call_on_stack()`` of arch/x86/include/asm/irq_stack.h).
    """
    words = await _words(qemu, processor, top)
    code = addresses(words[:_WORDS])
    if 0 < len(words) < _STACK and _DATA <= words[-1] < _KERNEL and words[-1] % 8 == 0:
        code += addresses((await _words(qemu, processor, words[-1]))[:_WORDS])
    return code


async def _words(qemu: Qemu, processor: int, begin: int) -> list[int]:
    """The words from an address to the end of its stack. The monitor reads two at once, and none of two if it cannot read one."""
    shown = await _monitor(qemu, f"x /{_STACK}gx {begin & ~0xF:#x}", processor)
    words = [int(word, 16) for line in shown.splitlines() for word in re.findall(r"0x([0-9a-f]{16})", line.partition(":")[2])]
    return words[1:] if begin & 0xF else words


async def _monitor(qemu: Qemu, command: str, processor: int) -> str:
    return str(await qemu.execute("human-monitor-command", command_line=command, cpu_index=processor))


def _register(registers: str, name: str) -> int:
    value = re.search(rf"{name}=([0-9a-f]+)", registers)
    return int(value[1], 16) if value else 0


def addresses(words: list[int]) -> list[int]:
    """The words that may be addresses of the kernel's code."""
    return [word for word in words if word >= _KERNEL]
