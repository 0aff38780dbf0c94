"""Structure layouts of the running kernel, as the constants that the BPF program is compiled with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import GuestError
from harness.trace.btf import Btf

__all__ = ("Layout",)

#: Constant → (structure, member). Every one of them is required.
_OFFSETS = {
    "STATE_HOOK": ("nf_hook_state", "hook"),
    "STATE_PF": ("nf_hook_state", "pf"),
    "STATE_IN": ("nf_hook_state", "in"),
    "STATE_OUT": ("nf_hook_state", "out"),
    "STATE_NET": ("nf_hook_state", "net"),
    "STATE_OKFN": ("nf_hook_state", "okfn"),
    "NET_INUM": ("net", "ns.inum"),
    "NET_LIST": ("net", "list"),
    "NET_HOOKS_IPV4": ("net", "nf.hooks_ipv4"),
    "DEV_NAME": ("net_device", "name"),
    "DEV_DRIVER": ("net_device", "netdev_ops"),
    "DRIVER_XMIT": ("net_device_ops", "ndo_start_xmit"),
    "ICMP_SKB": ("icmp_bxm", "skb"),
    "ENTRIES_NUM": ("nf_hook_entries", "num_hook_entries"),
    "ENTRIES_HOOKS": ("nf_hook_entries", "hooks"),
    "ENTRY_HOOK": ("nf_hook_entry", "hook"),
    "ENTRY_PRIV": ("nf_hook_entry", "priv"),
    "OPS_PRIORITY": ("nf_hook_ops", "priority"),
    "OPS_HOOK": ("nf_hook_ops", "hook"),
    "OPS_PRIV": ("nf_hook_ops", "priv"),
    "OPS_DEV": ("nf_hook_ops", "dev"),
    "OPS_PF": ("nf_hook_ops", "pf"),
    "OPS_HOOKNUM": ("nf_hook_ops", "hooknum"),
    "SKB_DEV": ("sk_buff", "dev"),
    "SKB_USERS": ("sk_buff", "users"),
    "SKB_LEN": ("sk_buff", "len"),
    "SKB_DATA_LEN": ("sk_buff", "data_len"),
    "SKB_PROTOCOL": ("sk_buff", "protocol"),
    "SKB_NETWORK_HEADER": ("sk_buff", "network_header"),
    "SKB_HEAD": ("sk_buff", "head"),
    "SKB_DATA": ("sk_buff", "data"),
    "SKB_MARK": ("sk_buff", "mark"),
    "SKB_NEXT": ("sk_buff", "next"),
    "SKB_SK": ("sk_buff", "sk"),
    "SKB_CB": ("sk_buff", "cb"),
    "ERROR_ORIGIN": ("sock_exterr_skb", "ee.ee_origin"),
    "SKB_END": ("sk_buff", "end"),
    "SHARED_NR_FRAGS": ("skb_shared_info", "nr_frags"),
    "SHARED_FRAG_LIST": ("skb_shared_info", "frag_list"),
    "SHARED_FRAGS": ("skb_shared_info", "frags"),
}
#: Of a connection's entry; nf_conntrack is a module, and its structures are there as what vmlinux knows of them.
_CONNECTION = {
    "CONN_STATUS": ("nf_conn", "status"),
    "CONN_NET": ("nf_conn", "ct_net"),
    "CONN_MASTER": ("nf_conn", "master"),
    "CONN_TUPLE": ("nf_conn", "tuplehash"),
}
#: CONFIG_NF_CONNTRACK_ZONES
_ZONE = {"CONN_ZONE": ("nf_conn", "zone.id")}
#: Of a BPF program that is a hook, and of the link that holds it there, since 6.4 (84601d6ee68a "bpf: add bpf_link support for
#: BPF_NETFILTER programs").
_PROGRAM = {
    "PROG_AUX": ("bpf_prog", "aux"),
    "AUX_ID": ("bpf_prog_aux", "id"),
    "AUX_NAME": ("bpf_prog_aux", "name"),
    "LINK_OPS": ("bpf_nf_link", "hook_ops"),
    "LINK_ID": ("bpf_link", "id"),
}
#: CONFIG_IPV6
_ICMPV6 = {"ICMPV6_SKB": ("icmpv6_msg", "skb")}
#: What a fragment of an skb is: its own structure since 6.10 (21d2e6737c97 "net: add netmem to skb_frag_t"), a bio_vec before.
_FRAGMENT = (("skb_frag", ("netmem", "len", "offset")), ("bio_vec", ("bv_page", "bv_len", "bv_offset")))
#: The program reads these members with a fixed width.
_WIDTHS = {"STATE_HOOK": {1, 4}, "STATE_PF": {1}, "ENTRIES_NUM": {2}, "OPS_PRIORITY": {4}, "NET_INUM": {4}, "SKB_LEN": {4},
           "SKB_DATA_LEN": {4}, "SKB_MARK": {4}, "SKB_PROTOCOL": {2}, "SKB_NETWORK_HEADER": {2}, "DEV_NAME": {16}, "SKB_END": {4},
           "SHARED_NR_FRAGS": {1}, "ERROR_ORIGIN": {1}}


_WORD = 8
#: Members of an skb that are read at one go.
_GLIMPSED = ("SKB_LEN", "SKB_DATA_LEN", "SKB_PROTOCOL", "SKB_NETWORK_HEADER", "SKB_MARK", "SKB_END", "SKB_HEAD", "SKB_DATA", "SKB_CT")


def _glimpsed(defines: Mapping[str, int]) -> tuple[int, int]:
    """First and last offset, in whole words, of what the programs read of an skb at one go."""
    offsets = [defines[name] for name in _GLIMPSED if name != "SKB_CT" or defines["HAS_CT"]]
    return min(offsets) // _WORD * _WORD, max(offsets) // _WORD * _WORD + _WORD


def _optional(btf: Btf, has: str, members: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """Offsets of members that not every kernel has; with *has*, whether they are all there."""
    try:
        return {has: 1, **{constant: btf.field(*member).offset for constant, member in members.items()}}
    except GuestError:
        return {has: 0, **dict.fromkeys(members, 0)}


def _of_connection(btf: Btf) -> dict[str, int]:
    """Where a connection's entry holds its status, its zone and what its id is a hash of."""
    found = _optional(btf, "HAS_CONN", _CONNECTION)
    if found["HAS_CONN"]:
        found["CONN_TUPLE"] += btf.field("nf_conntrack_tuple_hash", "tuple").offset
    return found | _optional(btf, "HAS_ZONE", _ZONE)


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
        """The layouts that a kernel's type information describes.

        :raises GuestError: a structure or a member is missing or has another width than the program reads
        """
        defines: dict[str, int] = {}
        for constant, (structure, member) in _OFFSETS.items():
            field = btf.field(structure, member)
            if field.size not in _WIDTHS.get(constant, {field.size}):
                raise btf.unexpected(structure, member, field)
            defines[constant] = field.offset
        defines |= _of_connection(btf) | _optional(btf, "HAS_PROGRAMS", _PROGRAM) | _optional(btf, "HAS_ICMPV6", _ICMPV6)
        # A family has NF_MAX_HOOKS static keys (netfilter_defs.h), which is NF_INET_NUMHOOKS, the highest number of that enum's.
        defines["KEYS_HOOKS"] = max(btf.enumerators("nf_inet_hooks"), default=0)
        defines["KEY_ENABLED"], defines["KEY_BYTES"] = btf.field("static_key", "enabled").offset, btf.size("static_key")
        defines["ENTRY_SIZE"] = btf.size("nf_hook_entry")
        defines["STATE_BYTES"] = btf.size("nf_hook_state")
        structure, members = next(known for known in _FRAGMENT if btf.has(known[0]))
        for constant, member in zip(("FRAG_PAGE", "FRAG_LEN", "FRAG_OFFSET"), members, strict=True):
            defines[constant] = btf.field(structure, member).offset
        defines["FRAG_SIZE"] = btf.size(structure)
        defines["HAS_CT"] = int(btf.has("sk_buff", "_nfct"))
        defines["SKB_CT"] = btf.field("sk_buff", "_nfct").offset if defines["HAS_CT"] else 0
        first, end = _glimpsed(defines)
        defines["SKB_FIRST"], defines["SKB_WORDS"] = first, (end - first) // _WORD
        defines["PAGE_STRUCT"] = btf.size("page")
        # CONFIG_MODULES=n: the structure is there, and empty.
        name = btf.field("module", "name") if btf.has("module", "name") else None
        defines["MODULE_NAME"], defines["MODULE_NAME_BYTES"] = (name.offset, name.size) if name else (0, 56)
        defines["KFREE_HAS_REASON"] = int(btf.tracepoint_arguments("kfree_skb") >= 3)
        defines["CONSUME_HAS_LOCATION"] = int(btf.tracepoint_arguments("consume_skb") >= 2)
        reasons = {value: name.removeprefix("SKB_DROP_REASON_") for value, name in btf.enumerators("skb_drop_reason").items()}
        return cls(defines, reasons)

    def preamble(self) -> str:
        """The ``#define`` lines."""
        return "".join(f"#define {name} {value}\n" for name, value in sorted(self.defines.items()))
