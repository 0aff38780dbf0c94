"""Numbers of the kernel's uapi that Python says again are those of its headers, where the host has them (Debian's linux-libc-dev).

``MNT_DETACH``, ``SOL_RAW`` and ``SOL_NETLINK`` are in no header of the uapi: the C library has them (libc6-dev). No installed header
says which bit of ``/proc/sys/kernel/tainted`` a letter has; what a warning sets is seen in guests only (``tests/kernel``).
"""

from __future__ import annotations

import re
import socket
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from harness import netfilter
from harness.guest import (
    bpf,
    churn,
    first,
    genetlink,
    health,
    inotify,
    inventory,
    module,
    netns,
    nfnetlink_hook,
    observe,
    privilege,
    queue,
    topology,
    traffic,
)
from harness.guest.steps import conntrack, link
from harness.netfilter import HOOK_POINTS, Family, VerdictKind
from harness.pytest_plugin.guest import orphans, settings
from harness.trace import bytecode, capture
from harness.walks import changes, framing
from tests.c_source import every_enumerator

HEADERS = Path("/usr/include/linux")

pytestmark = pytest.mark.skipif(not (HEADERS / "netfilter/nfnetlink_queue.h").exists(), reason="no headers: apt install linux-libc-dev")


def numbers(header: str) -> dict[str, int]:
    """Enumerators and plain ``#define`` numbers of a header."""
    text = next(path for path in (HEADERS / header, *HEADERS.parent.glob(f"*-linux-gnu/{header}")) if path.exists()).read_text()
    defined = {name: int(value, 0) for name, value in re.findall(r"^#define\s+(\w+)\s+(0x[0-9a-fA-F]+|\d+)\b", text, re.MULTILINE)}
    shifted = {name: 1 << int(bit) for name, bit in re.findall(r"^#define\s+(\w+)\s+\(1 << (\d+)\)", text, re.MULTILINE)}
    return {**every_enumerator(text), **defined, **shifted}


#: Module → header → the module's names for the header's numbers.
MIRRORS: dict[Any, dict[str, dict[str, str]]] = {
    bpf: {
        "bpf.h": {"_PROG_LOAD": "BPF_PROG_LOAD", "_LINK_CREATE": "BPF_LINK_CREATE", "_PROG_TYPE_NETFILTER": "BPF_PROG_TYPE_NETFILTER",
                  "_ATTACH_NETFILTER": "BPF_NETFILTER"},
        "asm/unistd_64.h": {"_SYSCALL": "__NR_bpf"},
    },
    churn: {"../asm-generic/socket.h": {"_SO_RCVBUFFORCE": "SO_RCVBUFFORCE"}},
    first: {"if.h": {"_IFF_UP": "IFF_UP"}},
    bytecode: {"bpf.h": {"KPROBE": "BPF_PROG_TYPE_KPROBE", "RAW_TRACEPOINT": "BPF_PROG_TYPE_RAW_TRACEPOINT",
                         "_OF_TABLE": "BPF_PSEUDO_MAP_FD"}},
    capture: {"asm/unistd_64.h": {"_SYS_MEMBARRIER": "__NR_membarrier"},
              "membarrier.h": {"_MEMBARRIER_CMD_GLOBAL": "MEMBARRIER_CMD_GLOBAL"}},
    framing: {"bpf.h": {"HEADER": "BPF_RINGBUF_HDR_SZ", "BUSY": "BPF_RINGBUF_BUSY_BIT", "DISCARD": "BPF_RINGBUF_DISCARD_BIT"}},
    genetlink: {
        "netlink.h": {"_NETLINK_GENERIC": "NETLINK_GENERIC", "_NETLINK_CAP_ACK": "NETLINK_CAP_ACK", "_NETLINK_EXT_ACK": "NETLINK_EXT_ACK",
                      "_REQUEST": "NLM_F_REQUEST", "_ACK": "NLM_F_ACK", "_DUMP_INTR": "NLM_F_DUMP_INTR", "_CAPPED": "NLM_F_CAPPED",
                      "_ACK_TLVS": "NLM_F_ACK_TLVS", "_ERROR": "NLMSG_ERROR", "_DONE": "NLMSG_DONE", "_EXTACK_TEXT": "NLMSGERR_ATTR_MSG",
                      "_EXTACK_OFFSET": "NLMSGERR_ATTR_OFFS"},
        "genetlink.h": {"_CTRL_GETFAMILY": "CTRL_CMD_GETFAMILY", "_CTRL_FAMILY_ID": "CTRL_ATTR_FAMILY_ID",
                        "_CTRL_FAMILY_NAME": "CTRL_ATTR_FAMILY_NAME"},
    },
    inventory: {
        "netlink.h": {"_NETLINK_ROUTE": "NETLINK_ROUTE", "_NETLINK_XFRM": "NETLINK_XFRM"},
        "if_link.h": {"_IFLA_IFNAME": "IFLA_IFNAME", "_IFLA_XDP": "IFLA_XDP", "_IFLA_XDP_ATTACHED": "IFLA_XDP_ATTACHED"},
        "rtnetlink.h": {"_RTM_F_CLONED": "RTM_F_CLONED"},
        "if_addr.h": {"_IFA_F_PERMANENT": "IFA_F_PERMANENT"},
        "neighbour.h": {"_NUD_PERMANENT": "NUD_PERMANENT"},
    },
    link: {"neighbour.h": {"_NTF_USE": "NTF_USE", "_NUD_NONE": "NUD_NONE"}, "sockios.h": {"_SIOCGIFHWADDR": "SIOCGIFHWADDR"}},
    module: {"netlink.h": {"_NESTED": "NLA_F_NESTED"}},
    netns: {"sched.h": {"_CLONE_NEWNET": "CLONE_NEWNET"}, "mount.h": {"_MS_BIND": "MS_BIND"}},
    netfilter: {"netfilter.h": {"_MASK": "NF_VERDICT_MASK", "_QBITS": "NF_VERDICT_QBITS", "_BYPASS": "NF_VERDICT_FLAG_QUEUE_BYPASS"}},
    nfnetlink_hook: {"netlink.h": {"_NETLINK_NETFILTER": "NETLINK_NETFILTER"}},
    inotify: {"inotify.h": {"MODIFY": "IN_MODIFY", "MOVED_TO": "IN_MOVED_TO", "CREATE": "IN_CREATE", "DELETE": "IN_DELETE",
                            "Q_OVERFLOW": "IN_Q_OVERFLOW"}},
    observe: {
        "if.h": {"_IFF_UP": "IFF_UP"},
        "sockios.h": {"_SIOCGIFFLAGS": "SIOCGIFFLAGS", "_SIOCSIFFLAGS": "SIOCSIFFLAGS"},
    },
    settings: {"mount.h": {"_OPEN_TREE_CLONE": "OPEN_TREE_CLONE"}},
    orphans: {"wait.h": {"_WALL": "__WALL"}},
    privilege: {"capability.h": {"_CAP_NET_ADMIN": "CAP_NET_ADMIN"}},
    queue: {"netlink.h": {"_NETLINK_NETFILTER": "NETLINK_NETFILTER", "_REQUEST": "NLM_F_REQUEST", "_ACK": "NLM_F_ACK",
                          "_ERROR": "NLMSG_ERROR"},
            "../asm-generic/socket.h": {"_SO_RCVBUFFORCE": "SO_RCVBUFFORCE"}},
    topology: {
        "if_addr.h": {"_IFA_F_NODAD": "IFA_F_NODAD", "_IFA_F_TENTATIVE": "IFA_F_TENTATIVE"},
        "sockios.h": {"_SIOCGIFFLAGS": "SIOCGIFFLAGS", "_SIOCETHTOOL": "SIOCETHTOOL"},
        "ethtool.h": {"_ETHTOOL_GGRO": "ETHTOOL_GGRO", "_ETHTOOL_SGRO": "ETHTOOL_SGRO", "_ETHTOOL_STSO": "ETHTOOL_STSO"},
        "neighbour.h": {"_NTF_MASTER": "NTF_MASTER", "_NUD_NOARP": "NUD_NOARP"},
    },
    traffic: {"icmp.h": {"_ICMP_FILTER": "ICMP_FILTER"},
              "icmpv6.h": {"_ICMPV6_FILTER": "ICMPV6_FILTER"}, "udp.h": {"_UDP_SEGMENT": "UDP_SEGMENT"},
              "in.h": {"_IP_TRANSPARENT": "IP_TRANSPARENT"}, "in6.h": {"_IPV6_TRANSPARENT": "IPV6_TRANSPARENT"},
              "sock_diag.h": {"_MEMINFO_DROPS": "SK_MEMINFO_DROPS"},
              "../asm-generic/socket.h": {"_SO_RCVBUFFORCE": "SO_RCVBUFFORCE", "_SO_MEMINFO": "SO_MEMINFO"}},
}
_LATER = {"BPF_PROG_TYPE_NETFILTER", "BPF_NETFILTER"}
"""Since 6.4, while headers of 6.1 may be those of the host; ``tests/kernel/test_enums.py`` compares them with a kernel."""


@pytest.mark.parametrize(("mirror", "header", "names"), [
    pytest.param(mirror, header, names, id=f"{mirror.__name__.rpartition('.')[2]}-{header}")
    for mirror, headers in MIRRORS.items() for header, names in headers.items()
])
def test_a_number_is_the_headers(mirror: Any, header: str, names: dict[str, str]) -> None:
    defined = numbers(header)
    known = {name: c for name, c in names.items() if c in defined or c not in _LATER}
    assert known
    assert {name: getattr(mirror, name) for name in known} == {name: defined[c] for name, c in known.items()}


@pytest.mark.parametrize(("mirror", "header", "names"), [
    (genetlink, "bits/socket.h", {"_SOL_NETLINK": "SOL_NETLINK"}), (traffic, "bits/socket.h", {"_SOL_RAW": "SOL_RAW"}),
    (netns, "sys/mount.h", {"_MNT_DETACH": "MNT_DETACH"}),
])
def test_a_number_is_the_c_librarys(mirror: Any, header: str, names: dict[str, str]) -> None:
    if not list(HEADERS.parent.glob("*-linux-gnu/sys/mount.h")):
        pytest.skip("no headers: apt install libc6-dev")
    defined = numbers(header)
    assert {name: getattr(mirror, name) for name in names} == {name: defined[c] for name, c in names.items()}


def test_what_is_put_together_has_the_headers_numbers() -> None:
    netlink, instructions, icmp, icmpv6 = numbers("netlink.h"), numbers("bpf.h"), numbers("icmp.h"), numbers("icmpv6.h")
    instructions |= numbers("bpf_common.h")
    assert netlink["NLMSG_MIN_TYPE"] == genetlink._GENL_ID_CTRL
    assert netlink["NLM_F_ROOT"] | netlink["NLM_F_MATCH"] == genetlink._DUMP
    assert netlink["NLA_F_NESTED"] | netlink["NLA_F_NET_BYTEORDER"] == 0xFFFF & ~genetlink._TYPE_MASK
    assert instructions["BPF_ALU64"] | instructions["BPF_MOV"] | instructions["BPF_K"] == bpf._MOV64_R0
    assert instructions["BPF_JMP"] | instructions["BPF_EXIT"] == bpf._EXIT
    assert {socket.AF_INET: (icmp["ICMP_ECHO"], icmp["ICMP_ECHOREPLY"]),
            socket.AF_INET6: (icmpv6["ICMPV6_ECHO_REQUEST"], icmpv6["ICMPV6_ECHO_REPLY"])} == traffic._ECHO_TYPES


def test_the_head_of_an_inotify_event_is_the_headers() -> None:
    body = re.search(r"struct inotify_event \{(.*?)\};", (HEADERS / "inotify.h").read_text(), re.DOTALL)
    assert body
    fields = re.findall(r"^\s*(__[su]32)\s+(\w+);", body[1], re.MULTILINE)
    assert [name for _, name in fields] == ["wd", "mask", "cookie", "len"]
    assert "".join({"__s32": "i", "__u32": "I"}[c_type] for c_type, _ in fields) == inotify._HEAD.format


def test_a_kernel_that_has_warned_has_the_bit_of_the_letter_w() -> None:
    """``Documentation/admin-guide/tainted-kernels.rst``: W, *kernel issued warning*."""
    assert 1 << health._TAINT_LETTERS.index("W") == health.WARNED


@pytest.mark.parametrize(("mirror", "prefix"), [(queue._Attribute, "NFQA_"), (queue._Setting, "NFQA_CFG_")])
def test_attributes_of_a_queue_have_the_headers_numbers(mirror: type[IntEnum], prefix: str) -> None:
    header = numbers("netfilter/nfnetlink_queue.h")
    assert {one.name: one.value for one in mirror} == {one.name: header[prefix + one.name] for one in mirror}


def test_messages_and_modes_of_a_queue_have_the_headers_numbers() -> None:
    header, subsystem = numbers("netfilter/nfnetlink_queue.h"), numbers("netfilter/nfnetlink.h")["NFNL_SUBSYS_QUEUE"]
    messages = [subsystem << 8 | header[f"NFQNL_MSG_{name}"] for name in ("PACKET", "VERDICT", "CONFIG")]
    assert messages == [queue._PACKET, queue._VERDICT, queue._CONFIG]
    assert {name: header[f"NFQNL_COPY_{name.upper()}"] for name in queue._COPY_MODES} == queue._COPY_MODES
    assert (header["NFQNL_CFG_CMD_BIND"], header["NFQA_CFG_F_FAIL_OPEN"]) == (queue._BIND, queue._FAIL_OPEN)


def test_attributes_of_the_list_of_hooks_have_the_headers_numbers() -> None:
    header = numbers("netfilter/nfnetlink_hook.h")
    mirror = {"HOOKNUM": nfnetlink_hook._HOOKNUM, "PRIORITY": nfnetlink_hook._PRIORITY, "DEV": nfnetlink_hook._DEVICE,
              "FUNCTION_NAME": nfnetlink_hook._FUNCTION, "MODULE_NAME": nfnetlink_hook._MODULE}
    assert mirror == {name: header[f"NFNLA_HOOK_{name}"] for name in mirror}
    assert header["NFNL_MSG_HOOK_GET"] == nfnetlink_hook._NFNL_MSG_HOOK_GET
    assert numbers("netfilter/nfnetlink.h")["NFNL_SUBSYS_HOOK"] == nfnetlink_hook._NFNL_SUBSYS_HOOK


@pytest.mark.parametrize(("mirror", "prefix"), [(Family, "NFPROTO_"), (VerdictKind, "NF_")])
def test_families_and_verdicts_have_the_headers_numbers(mirror: type[IntEnum], prefix: str) -> None:
    header = numbers("netfilter.h")
    assert {name: one.value for name, one in mirror.__members__.items()} == {name: header[prefix + name] for name in mirror.__members__}


def test_hook_points_have_the_headers_numbers() -> None:
    inet, arp, bridge = numbers("netfilter.h"), numbers("netfilter_arp.h"), numbers("netfilter_bridge.h")
    of_inet = {name: inet[f"NF_INET_{c}"] for name, c in C_NAMES.items()}
    assert {
        Family.INET: {**of_inet, "INGRESS": inet["NF_INET_INGRESS"]}, Family.IPV4: of_inet, Family.IPV6: of_inet,
        Family.ARP: {"INPUT": arp["NF_ARP_IN"], "OUTPUT": arp["NF_ARP_OUT"], "FORWARD": arp["NF_ARP_FORWARD"]},
        Family.NETDEV: {name: inet[f"NF_NETDEV_{name}"] for name in ("INGRESS", "EGRESS")},
        Family.BRIDGE: {**{name: bridge[f"NF_BR_{c}"] for name, c in C_NAMES.items()}, "BROUTING": bridge["NF_BR_BROUTING"]},
    } == HOOK_POINTS


#: A hook point's name → its name in C, without the family's prefix.
C_NAMES = {"PREROUTING": "PRE_ROUTING", "INPUT": "LOCAL_IN", "FORWARD": "FORWARD", "OUTPUT": "LOCAL_OUT", "POSTROUTING": "POST_ROUTING"}


def test_a_connections_state_has_the_headers_numbers() -> None:
    header = numbers("netfilter/nf_conntrack_common.h")
    known = {number: name for number, name in conntrack._INFO.items() if name != "UNTRACKED"}  # the kernel's own: no exported header has it
    assert {header[f"IP_CT_{name}"]: name for name in known.values()} == known
    assert header["IP_CT_IS_REPLY"] == changes._IS_REPLY
    connected = {number & changes._INFO: name for number, name in changes.CONNECTIONS.items() if number & changes._CONNECTED}
    assert connected == {number: name.lower().replace("_", ", ") for number, name in conntrack._INFO.items()}
    exported = {"NAT_CLASH": "UNTRACKED"}  # one bit: the older name is the exported one
    assert [header[f"IPS_{exported.get(name, name)}_BIT"] for name in changes.STATUS] == list(range(len(changes.STATUS)))


def test_requests_of_an_inventory_have_the_headers_numbers() -> None:
    route, xfrm = numbers("rtnetlink.h"), numbers("xfrm.h")
    assert {name: getattr(inventory, f"_GET{name}") for name in ("LINK", "ADDR", "ROUTE", "NEIGH", "RULE", "QDISC", "NEXTHOP")} == {
        name: route[f"RTM_GET{name}"] for name in ("LINK", "ADDR", "ROUTE", "NEIGH", "RULE", "QDISC", "NEXTHOP")}
    groups = ("LINK", "NEIGH", "TC", "IPV4_IFADDR", "IPV4_ROUTE", "IPV4_RULE", "IPV6_IFADDR", "IPV6_ROUTE", "IPV6_RULE", "NEXTHOP")
    assert tuple(route[f"RTNLGRP_{name}"] for name in groups) == inventory._ROUTE_GROUPS
    nfnetlink, tables = (numbers(f"netfilter/{header}.h") for header in ("nfnetlink", "nf_tables"))
    assert (nfnetlink["NFNLGRP_NFTABLES"],) == inventory._NFTABLES_GROUPS
    assert (nfnetlink["NFNL_SUBSYS_NFTABLES"], tables["NFT_MSG_GETTABLE"]) == (inventory._NFTABLES, inventory._GETTABLE)
    assert (xfrm["XFRMNLGRP_SA"], xfrm["XFRMNLGRP_POLICY"]) == inventory._XFRM_GROUPS
    assert {kind: name.strip() for kind, name in inventory._TYPES.items()} == {
        route[f"RTN_{name.strip().upper()}"]: name.strip() for name in inventory._TYPES.values()}
    rules = numbers("fib_rules.h")
    names = {"lookup": "TO_TBL"}
    assert {name: rules[f"FR_ACT_{names.get(name, name.upper())}"] for name in inventory._ACTIONS.values()} == {
        name: number for number, name in inventory._ACTIONS.items()}
    assert tuple(route[f"RTPROT_{name}"] for name in ("REDIRECT", "KERNEL", "RA", "DHCP")) == inventory._TRANSIENT
    assert (xfrm["XFRM_MSG_GETSA"], xfrm["XFRM_MSG_GETPOLICY"]) == (inventory._XFRM_GETSA, inventory._XFRM_GETPOLICY)
