"""Verdict loops besides ``nf_hook_slow``: those that a compiler puts into the function that calls them (``inlined.bpf.c``)."""

from __future__ import annotations

from dataclasses import dataclass

from harness.trace.btf import Btf
from harness.trace.probes import Placement, code_of, place
from harness.trace.symbols import Symbols

__all__ = ("LOOPS", "Inlined", "Loop", "located")


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop without an address of its own.

    :param name: of the C function that holds it in the source
    :param function: that the compiler put it into; :param module: its owner, if it is not built in
    :param okfn: that the function calls once every hook has accepted
    :param heads: member of ``struct net`` with the heads of its family's hook points
    """

    name: str
    function: str
    module: str
    okfn: str
    heads: str


@dataclass(frozen=True, slots=True)
class Inlined:
    """A loop found in the running kernel. :param symbol: as tracefs takes it; :param heads: byte offset in ``struct net``"""

    loop: Loop
    symbol: str
    placement: Placement
    heads: int

    def events(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """kprobe event → its places, in the order of arming: what ends a run before what begins one."""
        places = {"return": self.placement.exits, "okfn": self.placement.okfns, "call": (self.placement.after_call,),
                  "before": (self.placement.call,)}
        return {f"{self.loop.name}_{what}": tuple((self.symbol, offset) for offset in offsets) for what, offsets in places.items()}

    def programs(self, number: int) -> str:
        """The program of each event. :param number: of the loop, in the records"""
        key = f"PT_REGS_SP(ctx) + {self.placement.depth}"
        bodies = {"return": "inlined_end(PT_REGS_SP(ctx), 0)", "okfn": f"inlined_end({key}, 1)", "call": f"inlined_call(ctx, {key})",
                  "before": f"inlined_before(ctx, {key}, {number}, {self.heads})"}
        return "\n".join(f"int probe_{self.loop.name}_{what}(struct pt_regs *ctx)\n"
                         f"{{\n\truns(RAN_{self.loop.name.upper()}_{what.upper()});\n\treturn {body};\n}}\n"
                         for what, body in bodies.items())


LOOPS = (Loop("nf_hook_bridge_pre", "br_handle_frame", "bridge", "br_handle_frame_finish", "nf.hooks_bridge"),)


def located(loop: Loop, symbols: Symbols, btf: Btf) -> Inlined:
    """:raises GuestError: the kernel does not have the loop, or it cannot be probed"""
    owner = loop.module if any(symbol.module == loop.module for symbol in symbols.named(loop.function)) else None
    address, code = code_of(symbols, loop.function, owner)
    placement = place(code, address, symbols.aliases, loop.function, okfn=loop.okfn)
    symbol = f"{owner}:{loop.function}" if owner else loop.function
    return Inlined(loop, symbol, placement, btf.field("net", loop.heads).offset)
