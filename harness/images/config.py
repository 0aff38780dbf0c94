"""A kernel's configuration: what a guest needs of it, what some rules need, and what must not be set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ("AS_MODULES", "FLAVOURS", "HINDERING", "NEEDED", "WISHED", "fragment", "is_on", "options", "unmet", "wished")

#: What cannot be done without → options, each built in or a module.
NEEDED = {
    "boots and runs programs": (
        "PRINTK", "TTY", "UNIX98_PTYS", "SERIAL_8250_CONSOLE", "BLK_DEV_INITRD", "BINFMT_ELF", "BINFMT_SCRIPT", "DEVTMPFS", "TMPFS",
        "SHMEM", "PROC_FS", "SYSCTL", "SYSFS", "MULTIUSER", "FUTEX", "EPOLL", "POSIX_TIMERS", "FILE_LOCKING", "UNIX",
    ),
    "finds its disks and its host": ("PCI", "VIRTIO_PCI", "VIRTIO_BLK", "VIRTIO_CONSOLE", "EXT4_FS", "OVERLAY_FS"),
    "takes nfharness.ko": ("MODULES", "MODULE_UNLOAD", "NETFILTER"),
    "is traced": (
        "KALLSYMS", "KALLSYMS_ALL", "KPROBES", "KPROBE_EVENTS", "PERF_EVENTS", "BPF_SYSCALL", "BPF_EVENTS", "DEBUG_INFO_BTF", "PROC_KCORE",
    ),
    "says that it warns, and where": ("BUG", "DEBUG_BUGVERBOSE"),
    "has networks of namespaces": ("INET", "IPV6", "PACKET", "NET_NS", "VETH", "DUMMY"),
    "has what scenarios set up": ("NF_CONNTRACK", "NF_TABLES", "NF_TABLES_INET", "NFT_CT", "NETFILTER_NETLINK_QUEUE"),
}  # fmt: skip
#: Option → what is not checked without it.
WISHED = {
    "NETFILTER_INGRESS": "a device's ingress",
    "NETFILTER_EGRESS": "a device's egress",
    "NF_TABLES_ARP": "ARP's points",
    "NF_TABLES_BRIDGE": "a bridge's points",
    "BRIDGE": "packets that cross a bridge",
    "BRIDGE_NETFILTER": "packets that cross a bridge and IP's points",
    "NETFILTER_NETLINK_HOOK": "what nfnetlink_hook lists",
    "NETFILTER_BPF_LINK": "BPF programs as hooks",
    "JUMP_LABEL": "the static keys of hook points",
    "NF_NAT": "NAT's hook",
    "NFT_NAT": "NAT's chains",
    "NFT_REDIR": "NAT's chains",
    "NF_CT_NETLINK": "the hook of conntrack's netlink",
    "NETFILTER_NETLINK_GLUE_CT": "the hook of conntrack's netlink",
    "NFT_DUP_IPV4": "duplicated packets",
    "VLAN_8021Q": "packets with a VLAN tag",
    "DEBUG_MISC": "core.c's own check of each array (hooks_validate)",
    "DEBUG_FS": "warnings that come once a boot",
    "TMPFS_XATTR": "programs that replace directories of the guest's root",
}
#: Of those above: modules, for what core does while they are not there, and as they come and go.
AS_MODULES = ("NF_CONNTRACK", "NFT_CT", "NF_NAT", "NFT_NAT", "NFT_REDIR", "NF_CT_NETLINK", "NFT_DUP_IPV4")
#: Option that must be off → why.
HINDERING = {
    "MODULE_SIG_FORCE": "it refuses nfharness.ko, which nobody has signed",
    "TRIM_UNUSED_KSYMS": "it drops the symbols that nfharness.ko calls",
    "LOCK_DOWN_KERNEL_FORCE_INTEGRITY": "it forbids kprobes and /proc/kcore",
    "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY": "it forbids kprobes and /proc/kcore",
}
#: To choose: flavour of a kernel that nfharness builds → what only such a kernel can tell, and its options. KASAN and KCSAN exclude each
#: other.
FLAVOURS = {
    "debug": ("a lock that is not held, readers outside of RCU, sleep where there must be none, memory that nobody frees",
              ("PROVE_LOCKING", "PROVE_RCU", "DEBUG_ATOMIC_SLEEP", "DEBUG_KMEMLEAK", "SLUB_DEBUG", "KFENCE")),
    "kasan": ("memory that is used after it was freed", ("KASAN", "KASAN_GENERIC", "KASAN_INLINE")),
    "kcsan": ("data races", ("KCSAN",)),
    "gcov": ("which lines and branches were reached", ("GCOV_KERNEL", "DEBUG_FS")),
    "fault": ("what becomes of failing allocations and functions",
              ("FAULT_INJECTION", "FAULT_INJECTION_DEBUG_FS", "FAILSLAB", "FUNCTION_ERROR_INJECTION", "FAIL_FUNCTION", "DEBUG_FS")),
}  # fmt: skip
#: Its name since 6.9, and before.
_RETPOLINES = ("MITIGATION_RETPOLINE", "RETPOLINE")
#: What the others depend on, or are asked for by. DEBUG_INFO is set by its choice since 5.18, and by itself before.
_GROUND = (
    "64BIT", "SMP", "BLOCK", "BLK_DEV", "NET", "NETDEVICES", "NET_CORE", "NAMESPACES", "VIRTIO_MENU", "SERIAL_8250", "ACPI", "PCI_MSI",
    "HYPERVISOR_GUEST", "PARAVIRT", "PVH", "HIGH_RES_TIMERS", "ADVISE_SYSCALLS", "EVENTFD", "TIMERFD", "SIGNALFD", "MEMBARRIER", "RSEQ",
    "SYSVIPC", "INOTIFY_USER", "DEBUG_KERNEL", "DEBUG_INFO", "DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT", "FTRACE", "BPF_JIT",
    "NETFILTER_ADVANCED", "NETFILTER_XTABLES", "NET_SCHED", "NET_CLS_ACT", "NF_TABLES_IPV4", "NF_TABLES_IPV6", "NF_TABLES_NETDEV",
    "CPU_MITIGATIONS", "SPECULATION_MITIGATIONS", *_RETPOLINES,
)  # fmt: skip


def options(text: str) -> dict[str, str]:
    """The options of a ``.config`` or ``auto.conf`` that are set, without ``CONFIG_`` and without the quotes of strings."""
    pairs = (line.removeprefix("CONFIG_").split("=", 1) for line in text.splitlines() if line.startswith("CONFIG_") and "=" in line)
    return {name: value.strip('"') for name, value in pairs}


def is_on(found: Mapping[str, str], name: str) -> bool:
    """Whether an option is built in or a module."""
    return found.get(name) in ("y", "m")


def unmet(found: Mapping[str, str]) -> list[str]:
    """All that has to change before a guest can run: ``CONFIG_X`` to be set, ``CONFIG_Y off`` to be unset."""
    lacking = [f"CONFIG_{name}" for names in NEEDED.values() for name in names if not is_on(found, name)]
    return lacking + [f"CONFIG_{name} off" for name in HINDERING if is_on(found, name)]


def wished(found: Mapping[str, str]) -> dict[str, str]:
    """Options without which something is not checked → what."""
    lacking = {f"CONFIG_{name}": what for name, what in WISHED.items() if not is_on(found, name)}
    if found.get("NF_CONNTRACK") == "y":
        lacking["CONFIG_NF_CONNTRACK=m"] = "core without conntrack, and while it comes and goes"
    if not any(is_on(found, name) for name in _RETPOLINES):
        lacking[f"CONFIG_{_RETPOLINES[0]}"] = "loops that call hooks through memory, where no kprobe can be: a bridge's, nf_reinject's"
    return lacking


def fragment() -> Iterator[str]:
    """Lines for the kernel's ``scripts/kconfig/merge_config.sh``: all that a guest needs and every rule, from tinyconfig up."""
    yield "# What nfharness needs of a kernel. Merge it into a .config with scripts/kconfig/merge_config.sh, then make olddefconfig."
    yield "# Some options have other names in other versions: that merge_config.sh does not find those in this one does no harm."
    for why, names in NEEDED.items():
        yield f"# the guest {why}"
        yield from map(_set, names)
    yield "# what these depend on"
    yield from (f"CONFIG_{name}=y" for name in _GROUND)
    for name, what in WISHED.items():
        yield f"# not checked without: {what}"
        yield _set(name)
    for name, why in HINDERING.items():
        yield f"# {why}"
        yield f"# CONFIG_{name} is not set"
    for what, names in FLAVOURS.values():
        yield f"# to choose, for {what}:"
        yield from (f"#CONFIG_{name}=y" for name in names)


def _set(name: str) -> str:
    return f"CONFIG_{name}={'m' if name in AS_MODULES else 'y'}"
