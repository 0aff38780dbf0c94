"""Which rule of nftables' decided: where ``nft_do_chain`` and what it calls are probed (``rules.bpf.c``), found in the running kernel."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import GuestError
from harness.trace.probes import after_prologue, code_of, indirect_calls, returns
from harness.trace.symbols import Symbols

__all__ = ("Rules", "rules_of")

_MODULE = "nf_tables"
_CHAIN, _IMMEDIATE = "nft_do_chain", "nft_immediate_eval"
_LOOKUP = "nft_lookup_eval"
#: May be called directly, and end in a call of what decides. Older kernels call them indirectly.
_OBJECTS = ("nft_objref_eval", "nft_objref_map_eval")
#: In the order of arming: what ends an evaluation before what begins it.
_EVENTS = ("rule_verdict", "rule_begin", "rule_immediate", "rule_other")

Places = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """Where expressions of rules are evaluated that give verdicts.

    :param places: of each of the events, as tracefs takes them
    """

    places: tuple[Places, ...]

    def events(self) -> dict[str, Places]:
        """kprobe event → its places."""
        return dict(zip(_EVENTS, self.places, strict=True))

    def programs(self) -> str:
        """The program of each event."""
        return "\n".join(f"int probe_{name}(struct pt_regs *ctx)\n{{\n\truns(RAN_{name.upper()});\n\treturn {name}(ctx);\n}}\n"
                         for name in _EVENTS)


def rules_of(symbols: Symbols) -> Rules:
    """Where the kernel's functions that evaluate rules can be probed.

    :raises GuestError: there is no nftables, or its rules' verdicts cannot be probed
    """
    if not symbols.named(_CHAIN):
        raise GuestError("nf_tables is not there", hint="modprobe nf_tables")
    owner = _MODULE if any(symbol.module == _MODULE for symbol in symbols.named(_CHAIN)) else None

    def code(function: str) -> tuple[int, bytes]:
        return code_of(symbols, function, owner)

    def places(function: str, *offsets: int) -> Places:
        return tuple((f"{owner}:{function}" if owner else function, offset) for offset in offsets)

    def entry(function: str) -> Places:
        return places(function, after_prologue(code(function)[1]))

    (address, chain), (at, lookup) = code(_CHAIN), code(_LOOKUP)
    objects = tuple(place for function in _OBJECTS if symbols.named(function) for place in entry(function))
    others = (*places(_CHAIN, *indirect_calls(chain, address, symbols.aliases)), *objects)
    return Rules((places(_LOOKUP, *returns(lookup, at, symbols.aliases, _LOOKUP)), entry(_LOOKUP), entry(_IMMEDIATE), others))
