"""What a running kernel's hook core was found to do where kernels legitimately differ: probed, never told by a version number."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.netfilter import Family

__all__ = ("VARIABLE", "KernelProfile")

#: In the environment of a guest's warm Python: its kernel's profile, as JSON.
VARIABLE = "NFHARNESS_PROFILE"
#: Fields that hold names: lists in JSON.
_NAMES = ("conntrack_builtin", "unprobed")


def _probed(default: Any, means: str, how: str, *options: str) -> Any:
    """A field.

    :param means: what it says, and since when it is so
    :param how: it is found out
    :param options: of the kernel's configuration, without ``CONFIG_``, that give the kernel this; ``NAME=m`` where only a module does
    """
    return field(default=default, metadata={"means": means, "how": how, "options": options})


@dataclass(frozen=True, slots=True)
class KernelProfile:
    """The model's parameter. The defaults are those of a current kernel; each field says what it means and how it is probed."""

    release: str = _probed("", "uname -r, for a reader only", "uname()")
    families: tuple[Family, ...] = _probed(
        tuple(Family),
        "families that the kernel has hook points for (ARP and BRIDGE are options of its configuration)",
        "a hook is registered and unregistered at INPUT of each, at INGRESS of NETDEV",
    )
    stolen_errno: bool = _probed(
        True,
        "nf_hook_slow returns the errno that STOLEN carries; 0 before 6.7 and the stable branches that took it",
        "a hook at OUTPUT steals a packet with an errno: whether sendto() fails",
    )
    inet_ingress: bool = _probed(
        True, "INET hooks may sit at a device's INGRESS (5.10)", "one is registered at the loopback device", "NETFILTER_INGRESS")
    netdev_egress: bool = _probed(
        True, "devices have EGRESS (5.16, CONFIG_NETFILTER_EGRESS)", "a hook is registered at the loopback device",
        "NETFILTER_EGRESS",
    )
    netdev_egress_errno: int = _probed(
        errno.EINVAL,
        "answer to a registration at EGRESS without it: EINVAL from a kernel that does not know it, EOPNOTSUPP from one built without",
        "as netdev_egress",
    )
    unknown_verdict_warns: bool = _probed(
        True,
        "nf_hook_slow warns of a verdict that it has no case for, REPEAT and STOP among them (as stolen_errno)",
        "nf_hook_slow runs over a private array whose one hook answers REPEAT: whether the kernel's log has a warning",
    )
    failing_allocations: bool = _probed(
        True,
        "nfharness.ko can make core's allocations fail (probes on the kernel's kvmalloc and on procfs's mkdir)",
        "a hook is registered while its one allocation fails: whether core refuses it; the other probe is put there",
    )
    reinject_warns: str = _probed(
        "",
        "source file in which nf_reinject warns of a packet whose slot is gone, as the last hook's is that goes while it waits; "
        "empty: it does not (6.10)",
        "a hook goes whose packet waits for a listener: whether the kernel's log has a warning, and where it is",
    )
    hook_list: bool = _probed(
        True,
        "nfnetlink_hook lists what is in the arrays (5.14, CONFIG_NETFILTER_NETLINK_HOOK)",
        "it is asked for the hooks at INPUT",
        "NETFILTER_NETLINK_HOOK",
    )
    bpf_link: bool = _probed(
        True, "BPF programs can be hooks (6.4, CONFIG_NETFILTER_BPF_LINK)", "one is linked to INPUT",
        "NETFILTER_BPF_LINK",
    )
    static_keys: bool = _probed(
        True, "nf_hooks_needed counts the hooks at each point (CONFIG_JUMP_LABEL)", "nfharness.ko is asked for it",
        "JUMP_LABEL",
    )
    hooks_validated: bool = _probed(
        True,
        "an array whose priorities do not ascend is warned of when it is made (CONFIG_DEBUG_MISC)",
        "a hook is put into a private array of which one is out of order: whether the kernel's log has a warning",
        "DEBUG_MISC",
    )
    orphans_warn: bool = _probed(
        True,
        "nf_conntrack_destroy warns where no hook is there to destroy a connection; before, it was a BUG()",
        "what the kernel's bug table says of it: it is not tried",
    )
    bridge: bool = _probed(True, "bridge devices can be made", "one is made", "BRIDGE")
    vlan: bool = _probed(True, "VLAN devices can be made", "one is made on a veth device", "VLAN_8021Q")
    br_netfilter: bool = _probed(
        True, "the module is there that hands what bridges forward to the hook points of IP and ARP", "it is loaded",
        "BRIDGE_NETFILTER",
    )
    veth_gro: bool = _probed(
        True,
        "a veth device can receive by NAPI with GRO, and so in lists (5.13)",
        "whether a new veth device has GRO off: before, it was on and meant nothing",
    )
    veth_udp_gso: bool = _probed(
        True,
        "segments of UDP go through a veth device in one piece (5.11); before, it takes them apart",
        "a datagram of two segments is sent: whether a hook at PREROUTING of the other end sees one packet",
    )
    conntrack_module: bool = _probed(
        True,
        "nf_conntrack is a module, which may be there or not, and so are nf_nat and nf_conntrack_netlink",
        "modinfo says where each is",
        "NF_CONNTRACK=m", "NF_NAT=m", "NF_CT_NETLINK=m",
    )
    conntrack_builtin: tuple[str, ...] = _probed(
        (), "those of nf_conntrack, nf_conntrack_netlink and nf_nat that are built in and never go", "modinfo says where each is")
    ip_ct_attach: bool = _probed(
        False, "core has its own pointer for attach (until 5.17); later struct nf_ct_hook has it", "the kernel's symbols have the name"
    )
    conntrack_glue: bool = _probed(
        True,
        "nfnetlink_queue can ask nf_conntrack_netlink about a queued packet's connection (CONFIG_NETFILTER_NETLINK_GLUE_CT)",
        "nf_conntrack_netlink is loaded: whether core's nfnl_ct_hook leads anywhere then",
        "NF_CT_NETLINK", "NETFILTER_NETLINK_GLUE_CT",
    )
    drop_reasons: bool = _probed(
        True, "core says why it frees a packet: NETFILTER_DROP (5.18)", "the kernel's BTF has it in enum skb_drop_reason"
    )
    ct_closing: bool = _probed(
        True, "core closes the connection of a packet that a reset answers (nf_ct_set_closing, 6.6 and stable 6.1)",
        "the kernel's symbols have the name",
    )
    redirect: bool = _probed(
        True, "nft can redirect connections to another port", "modinfo knows nft_redir and nft_chain_nat", "NFT_NAT", "NFT_REDIR")
    tee: bool = _probed(True, "nft can duplicate IPv4 packets", "modinfo knows nft_dup_ipv4", "NF_TABLES_IPV4", "NFT_DUP_IPV4")
    duplicated_per_cpu: bool = _probed(
        False,
        "that a copy is being sent is a mark of the processor (until 6.16); later of the task",
        "the kernel's symbols have nf_skb_duplicated",
    )

    unprobed: tuple[str, ...] = _probed(
        (), "fields that could not be probed, each with what the probe met: a current kernel's are assumed", "the probes that failed")

    def to_json(self) -> dict[str, Any]:
        """The profile as plain data: families by their names, tuples as lists."""
        names = {"families": [family.name for family in self.families]}
        return asdict(self) | names | {name: list(getattr(self, name)) for name in _NAMES}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> KernelProfile:
        """The profile that a JSON document describes.

        :raises KeyError: an unknown family
        :raises TypeError: an unknown key
        """
        families = {"families": tuple(Family[name] for name in document["families"])} if "families" in document else {}
        return cls(**{**document, **families, **{name: tuple(document.get(name, ())) for name in _NAMES}})
