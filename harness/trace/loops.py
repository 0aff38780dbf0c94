"""Verdict loops besides ``nf_hook_slow``: those that a compiler puts into the function that calls them (``inlined.bpf.c``),
``nf_reinject`` (``reinject.bpf.c``), and NAT's own (``nat.bpf.c``).

No other function of the kernel walks an array of hooks: ``nf_hook_slow_list``, ingress and egress call ``nf_hook_slow``, ``br_netfilter``
too. Whether the compiler left the first one such a call is looked at (:func:`listed`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.errors import GuestError
from harness.outcome.types import NF_HOOK_SLOW, NF_HOOK_SLOW_LIST, NF_NAT_INET_FN, NF_REINJECT
from harness.trace.btf import Btf
from harness.trace.probes import Placement, calls, code_of, place, place_all
from harness.trace.symbols import Symbols

__all__ = ("LOCATORS", "Inlined", "Located", "Loop", "Nat", "Reinject", "listed")


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop without its own address.

    :param name: of the C function that holds it in the source
    :param function: that the compiler put it into
    :param module: its owner, if it is not built in
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
    """A loop found in the running kernel.

    The function may call others indirectly besides hooks: each call is probed before and after, and told by its arguments.

    :param symbol: as tracefs takes it
    :param heads: byte offset in ``struct net``
    """

    loop: Loop
    symbol: str
    placement: Placement
    heads: int

    def events(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """kprobe event → its places, in the order of arming: what ends a run before what begins one."""
        places = {"return": self.placement.exits, "okfn": self.placement.okfns, "call": tuple(after for _, after in self.placement.calls),
                  "before": tuple(call for call, _ in self.placement.calls)}
        return {f"{self.loop.name}_{what}": tuple((self.symbol, offset) for offset in offsets) for what, offsets in places.items()}

    def programs(self, number: int) -> str:
        """The program of each event.

        :param number: of the loop, in the records
        """
        key = f"PT_REGS_SP(ctx) + {self.placement.depth}"
        sole = int(len(self.placement.calls) == 1)
        bodies = {"return": "inlined_end(PT_REGS_SP(ctx), 0)", "okfn": f"inlined_end({key}, 1)",
                  "call": f"inlined_call(ctx, {key}, {sole})",
                  "before": f"inlined_before(ctx, {key}, {number}, {self.heads})"}
        return _programs(self.loop.name, bodies)


@dataclass(frozen=True, slots=True)
class Reinject:
    """``nf_reinject`` with the ``nf_iterate`` in it, found in the running kernel.

    Several indirect calls: hooks in two places, okfn, and what is neither. Each is probed before and after, and told by its arguments.

    :param symbol: as tracefs takes it
    :param offsets: of what the program reads of ``struct nf_queue_entry`` and ``struct net``
    """

    symbol: str
    placement: Placement
    offsets: Mapping[str, int]

    def events(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """What :meth:`Inlined.events` returns, for this loop."""
        return _whole(NF_REINJECT, self.symbol, self.placement)

    def programs(self, number: int) -> str:
        """What :meth:`Inlined.programs` returns, for this loop."""
        key = f"PT_REGS_SP(ctx) + {self.placement.depth}"
        struct = ", ".join(str(self.offsets[name]) for name in _QUEUE_ENTRY)
        heads = ", ".join(str(self.offsets[name]) for name in _HEADS)
        bodies = {"return": "reinject_end(PT_REGS_SP(ctx))", "call": f"reinject_call(ctx, {key})", "before": f"reinject_before(ctx, {key})",
                  "begin": f"reinject_begin(ctx, {number}, {struct}, {heads})"}
        return _programs(NF_REINJECT, bodies)


@dataclass(frozen=True, slots=True)
class Nat:
    """``nf_nat_inet_fn``, found in the running kernel.

    :param symbol: as tracefs takes it
    """

    symbol: str
    placement: Placement

    def events(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """What :meth:`Inlined.events` returns, for this loop."""
        return _whole(NF_NAT_INET_FN, self.symbol, self.placement)

    def programs(self, number: int) -> str:
        """What :meth:`Inlined.programs` returns, for this loop."""
        key = f"PT_REGS_SP(ctx) + {self.placement.depth}"
        bodies = {"return": "nat_end(PT_REGS_SP(ctx))", "call": f"nat_call(ctx, {key})", "before": f"nat_before(ctx, {key}, {number})",
                  "begin": "nat_begin(ctx)"}
        return _programs(NF_NAT_INET_FN, bodies)


Located = Inlined | Reinject | Nat

_QUEUE_ENTRY = ("skb", "state", "hook_index")
_HEADS = ("nf.hooks_ipv4", "nf.hooks_ipv6", "nf.hooks_bridge")


def _whole(loop: str, symbol: str, placement: Placement) -> dict[str, tuple[tuple[str, int], ...]]:
    """The events of a loop that is a function, probed before and after each indirect call."""
    places = {"return": placement.exits, "call": tuple(after for _, after in placement.calls),
              "before": tuple(call for call, _ in placement.calls), "begin": (placement.entry,)}
    return {f"{loop}_{what}": tuple((symbol, offset) for offset in offsets) for what, offsets in places.items()}


def _programs(loop: str, bodies: Mapping[str, str]) -> str:
    return "\n".join(f"int probe_{loop}_{what}(struct pt_regs *ctx)\n"
                     f"{{\n\truns(RAN_{loop.upper()}_{what.upper()});\n\treturn {body};\n}}\n"
                     for what, body in bodies.items())


_BRIDGE_PRE = Loop("nf_hook_bridge_pre", "br_handle_frame", "bridge", "br_handle_frame_finish", "nf.hooks_bridge")


def _inlined(loop: Loop, symbols: Symbols, btf: Btf) -> Inlined:
    owner, symbol = _owner(symbols, loop.function, loop.module)
    address, code = code_of(symbols, loop.function, owner)
    placement = place(code, address, symbols.aliases, loop.function, okfn=loop.okfn)
    return Inlined(loop, symbol, placement, btf.field("net", loop.heads).offset)


def _reinject(symbols: Symbols, btf: Btf) -> Reinject:
    """Up to 6.8 a function of vmlinux, then static in nfnetlink_queue and put into the one function that calls it (3f8019688894
    "netfilter: move nf_reinject into nfnetlink_queue modules"), with the same arguments.
    """
    function = next((name for name in (NF_REINJECT, "nfqnl_reinject") if symbols.named(name)), None)
    if function is None:
        raise GuestError("nfnetlink_queue is not there", hint="modprobe nfnetlink_queue, on a kernel with CONFIG_NETFILTER_NETLINK_QUEUE")
    owner, symbol = _owner(symbols, function, "nfnetlink_queue")
    address, code = code_of(symbols, function, owner)
    offsets = {name: btf.field("nf_queue_entry", name).offset for name in _QUEUE_ENTRY}
    for name in _HEADS:
        try:
            offsets[name] = btf.field("net", name).offset
        except GuestError:  # a family that the kernel is built without: nobody queues there
            offsets[name] = 0
    return Reinject(symbol, place_all(code, address, symbols.aliases, function), offsets)


def _nat(symbols: Symbols, _btf: Btf) -> Nat:
    if not symbols.named(NF_NAT_INET_FN):
        raise GuestError("nf_nat is not there", hint="modprobe nf_nat, on a kernel with CONFIG_NF_NAT")
    owner, symbol = _owner(symbols, NF_NAT_INET_FN, "nf_nat")
    address, code = code_of(symbols, NF_NAT_INET_FN, owner)
    return Nat(symbol, place_all(code, address, symbols.aliases, NF_NAT_INET_FN))


def listed(symbols: Symbols) -> str | None:
    """Why the hooks that ``nf_hook_slow_list`` calls are not seen; ``None`` where it calls ``nf_hook_slow``, as in the source."""
    address, code = code_of(symbols, NF_HOOK_SLOW_LIST)
    return None if symbols.one(NF_HOOK_SLOW).address in calls(code, address) else f"the compiler put {NF_HOOK_SLOW} into it"


def _owner(symbols: Symbols, function: str, module: str) -> tuple[str | None, str]:
    """A function's module, ``None`` if it is built in; and its name as tracefs takes it."""
    owner = module if any(symbol.module == module for symbol in symbols.named(function)) else None
    return owner, f"{owner}:{function}" if owner else function


#: By the loop's name; raises ``GuestError`` where the kernel does not have the loop, or it cannot be probed.
LOCATORS: dict[str, Callable[[Symbols, Btf], Located]] = {
    _BRIDGE_PRE.name: lambda symbols, btf: _inlined(_BRIDGE_PRE, symbols, btf),
    NF_REINJECT: _reinject,
    NF_NAT_INET_FN: _nat,
}
