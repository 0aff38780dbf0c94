"""Structure layouts of the running kernel, as the constants that the BPF program is compiled with."""

from __future__ import annotations

from dataclasses import dataclass

from harness.trace.btf import Btf

__all__ = ("Layout",)

#: Constant → (structure, member). Every one of them is required.
_OFFSETS = {
    "STATE_HOOK": ("nf_hook_state", "hook"),
    "STATE_PF": ("nf_hook_state", "pf"),
    "STATE_IN": ("nf_hook_state", "in"),
    "STATE_OUT": ("nf_hook_state", "out"),
    "STATE_NET": ("nf_hook_state", "net"),
    "NET_INUM": ("net", "ns.inum"),
    "DEV_NAME": ("net_device", "name"),
    "ENTRIES_NUM": ("nf_hook_entries", "num_hook_entries"),
    "ENTRIES_HOOKS": ("nf_hook_entries", "hooks"),
    "ENTRY_HOOK": ("nf_hook_entry", "hook"),
    "ENTRY_PRIV": ("nf_hook_entry", "priv"),
    "OPS_PRIORITY": ("nf_hook_ops", "priority"),
    "SKB_LEN": ("sk_buff", "len"),
    "SKB_DATA_LEN": ("sk_buff", "data_len"),
    "SKB_PROTOCOL": ("sk_buff", "protocol"),
    "SKB_NETWORK_HEADER": ("sk_buff", "network_header"),
    "SKB_HEAD": ("sk_buff", "head"),
    "SKB_DATA": ("sk_buff", "data"),
}
#: The program reads these members with a fixed width.
_WIDTHS = {"STATE_HOOK": {1, 4}, "STATE_PF": {1}, "ENTRIES_NUM": {2}, "OPS_PRIORITY": {4}, "NET_INUM": {4}, "SKB_LEN": {4},
           "SKB_DATA_LEN": {4}, "SKB_PROTOCOL": {2}, "SKB_NETWORK_HEADER": {2}, "DEV_NAME": {16}}


@dataclass(frozen=True, slots=True)
class Layout:
    """What the tracer needs to know of the running kernel's structures.

    :param defines: name → value, to be prepended to the BPF program as ``#define``
    :param drop_reasons: ``enum skb_drop_reason`` without its prefix; empty before 5.17
    """

    defines: dict[str, int]
    drop_reasons: dict[int, str]

    @classmethod
    def of(cls, btf: Btf) -> Layout:
        """:raises GuestError: a structure or a member is missing or has another width than the program reads"""
        defines: dict[str, int] = {}
        for constant, (structure, member) in _OFFSETS.items():
            field = btf.field(structure, member)
            if field.size not in _WIDTHS.get(constant, {field.size}):
                raise btf.unexpected(structure, member, field)
            defines[constant] = field.offset
        defines["ENTRY_SIZE"] = btf.size("nf_hook_entry")
        defines["KFREE_HAS_REASON"] = int(btf.tracepoint_arguments("kfree_skb") >= 3)
        defines["CONSUME_HAS_LOCATION"] = int(btf.tracepoint_arguments("consume_skb") >= 2)
        reasons = {value: name.removeprefix("SKB_DROP_REASON_") for value, name in btf.enumerators("skb_drop_reason").items()}
        return cls(defines, reasons)

    def preamble(self) -> str:
        """The ``#define`` lines."""
        return "".join(f"#define {name} {value}\n" for name, value in sorted(self.defines.items()))
