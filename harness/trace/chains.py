"""How a hook of nftables' leads to its base chain's name.

The hook's first argument is its ``struct nft_chain``, which leads to the names of chain and table. Its layout is nf_tables' own
affair: in the types of a module, which older kernels do not tell (``/sys/kernel/btf/nf_tables``, since 5.11). It is therefore read from the
kernel that runs: a few tables are made in their own namespace, and their structures are searched for what is known of them.
"""

from __future__ import annotations

import ctypes
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.errors import GuestError
from harness.netfilter import Family, VerdictKind
from harness.trace.probes import KernelMemory
from harness.trace.symbols import Symbols

__all__ = ("BLOBS", "CHAINED", "CHAIN_OFFSETS", "chain_layout")

#: Hook functions whose first argument is a chain: nft_chain_filter.c, nft_chain_nat.c, nft_chain_route.c.
CHAINED = ("nft_do_chain_ipv4", "nft_do_chain_ipv6", "nft_do_chain_inet", "nft_do_chain_inet_ingress", "nft_do_chain_arp",
             "nft_do_chain_bridge", "nft_do_chain_netdev", "nft_nat_do_chain", "nf_route_table_hook4", "nf_route_table_hook6",
             "nf_route_table_inet")

#: Of the chain, its table and its name; of the table, its name, its family and its handle.
CHAIN_OFFSETS = ("CHAIN_TABLE", "CHAIN_NAME", "TABLE_NAME", "TABLE_FAMILY", "TABLE_HANDLE")
BLOBS = "RULE_BLOBS"
"""Name of the constant that tells how a rule lies in memory: 1 as ``struct nft_rule_dp`` in a blob of its chain's, 0 as
``struct nft_rule``, as on older kernels, -1 neither way."""

_TABLE, _CHAIN = "nfharness_table", "nfharness_chain"
#: Chains that are looked at: families 2, 1 and 2. Neither the tables' handles (1, 2, 3) nor how many chains each has (2) look like those.
_CHAINS = tuple((family, table, f"{_CHAIN}{number}") for family, table in (("ip", _TABLE), ("inet", _TABLE), ("ip", f"{_TABLE}_2"))
                for number in ("", "_2"))
_FAMILY_MASK = 0x3F  # u16 family:6
_HANDLE = (1 << 42) - 1
_INPUT, _SECONDS = 1, 60
_CHAIN_BYTES, _TABLE_BYTES = 256, 512
_KERNEL_HALF = 1 << 63
_CLONE_NEWNET = 0x40000000


def chain_layout(symbols: Symbols, defines: Mapping[str, int], memory: KernelMemory) -> dict[str, int]:
    """Offsets, by the names of :data:`CHAIN_OFFSETS`, and :data:`BLOBS`.

    :param defines: of :class:`harness.trace.layout.Layout`
    :raises GuestError: the kernel has no nftables, or no way was found
    """
    if not symbols.named("nft_do_chain"):
        raise GuestError("nf_tables is not there", hint="modprobe nf_tables")
    found: list[dict[str, int] | Exception] = []

    def look() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            found.append(_found(symbols, defines, memory))
        except Exception as error:  # raised again in the thread that waits
            found.append(error)

    # Network namespaces are a thread's: this one's goes with it.
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    if isinstance(found[0], GuestError):
        raise found[0]
    if isinstance(found[0], Exception):
        raise GuestError(f"the layout of nftables' chains was not found: {found[0]}", hint="needs nft, /proc/kcore and a namespace")
    return found[0]


def _found(symbols: Symbols, defines: Mapping[str, int], memory: KernelMemory) -> dict[str, int]:
    ruleset = "".join(f"table {family} {table} {{ chain {chain} {{ type filter hook input priority {priority}; accept; }}; }}\n"
                      for priority, (family, table, chain) in enumerate(_CHAINS))
    _nft(["-f", "-"], ruleset)
    net = _net(symbols, defines, memory)
    chain, sibling, of_inet, _, of_ip, _ = (_priv(memory, defines, net, slot) for slot in range(len(_CHAINS)))
    # Lists of a table lead to it as well, but not both of its chains.
    shared = set(_pointers(memory, chain, _CHAIN_BYTES)) & set(_pointers(memory, sibling, _CHAIN_BYTES))
    table_at, table = next(((at, to) for at, to in sorted(shared) if _name_at(memory, to, _TABLE_BYTES, _TABLE)), (0, 0))
    name_at, table_name_at = _name_at(memory, chain, _CHAIN_BYTES, _CHAIN), table and _name_at(memory, table, _TABLE_BYTES, _TABLE)
    contents = [(family, _readable(memory, _pointer(memory.read(each + table_at, 8)), _TABLE_BYTES))
                for family, each in ((Family.IPV4, chain), (Family.INET, of_inet), (Family.IPV4, of_ip))]
    family_at = next((at for at in range(0, _TABLE_BYTES, 2) if all(
        int.from_bytes(content[at:at + 2], "little") & _FAMILY_MASK == family for family, content in contents)), None)
    handles = [_handle(_nft(["-a", "list", "table", *each[:2]]), "table") for each in _CHAINS[::2]]
    handle_at = next((at for at in range(0, _TABLE_BYTES, 8) if all(
        int.from_bytes(content[at:at + 8], "little") == handle for handle, (_, content) in zip(handles, contents, strict=True))), None)
    if not (table_at and name_at and table_name_at and family_at and handle_at):
        raise GuestError("the layout of nftables' chains was not found", hint="report this kernel's version and config")
    blobs = _blobs(memory, chain, _handle(_nft(["-a", "list", "chain", *_CHAINS[0]]), "accept"))
    return {**dict(zip(CHAIN_OFFSETS, (table_at, name_at, table_name_at, family_at, handle_at), strict=True)), BLOBS: blobs}


def _handle(listing: str, what: str) -> int:
    """``# handle N`` of what begins so.

    :param listing: of ``nft -a``
    """
    return next(int(line.rpartition(" ")[2]) for line in listing.splitlines() if line.lstrip().startswith(what))


def _nft(arguments: list[str], ruleset: str = "") -> str:
    return subprocess.run(["nft", *arguments], input=ruleset, text=True, check=True, capture_output=True, timeout=_SECONDS).stdout


def _blobs(memory: KernelMemory, chain: int, handle: int) -> int:
    """:data:`BLOBS`, as the chain's one rule shows, which accepts. A chain begins with what it runs in either generation."""
    found = set()
    for generation in (chain, chain + 8):
        rules = _pointer(_readable(memory, generation, 8))
        word = _pointer(_readable(memory, rules + 8, 8))
        last = _pointer(_readable(memory, rules + 16 + (word >> 1 & 0xFFF), 8))
        if (word & 1, word >> 13 & _HANDLE, last & 1, _accepts(memory, rules + 16, word >> 1 & 0xFFF)) == (0, handle, 1, True):
            found.add(1)
        first = _pointer(_readable(memory, rules, 8))
        word = _pointer(_readable(memory, first + 16, 8))
        if (word & _HANDLE, _readable(memory, rules + 8, 8), _accepts(memory, first + 24, word >> 44 & 0xFFF)) == (handle, bytes(8), True):
            found.add(0)
    return found.pop() if len(found) == 1 else -1


def _accepts(memory: KernelMemory, expressions: int, size: int) -> bool:
    """Whether a rule is one immediate ACCEPT as ``rules.bpf.c`` knows it: operations, data and then dreg."""
    content = _readable(memory, expressions, size)
    return len(content) == 32 and int.from_bytes(content[8:12], "little") == VerdictKind.ACCEPT and content[24] == 0


def _net(symbols: Symbols, defines: Mapping[str, int], memory: KernelMemory) -> int:
    """Address of the calling thread's ``struct net``."""
    inum = Path("/proc/thread-self/ns/net").stat().st_ino
    head = symbols.one("net_namespace_list").address
    at = _pointer(memory.read(head, 8))
    while at != head:
        net = at - defines["NET_LIST"]
        if int.from_bytes(memory.read(net + defines["NET_INUM"], 4), "little") == inum:
            return net
        at = _pointer(memory.read(at, 8))
    raise GuestError(f"no struct net of namespace {inum}", hint="report this kernel's version and config")


def _priv(memory: KernelMemory, defines: Mapping[str, int], net: int, slot: int) -> int:
    """First argument of a hook of IPv4's INPUT."""
    entries = _pointer(memory.read(net + defines["NET_HOOKS_IPV4"] + _INPUT * 8, 8))
    return _pointer(memory.read(entries + defines["ENTRIES_HOOKS"] + slot * defines["ENTRY_SIZE"] + defines["ENTRY_PRIV"], 8))


def _pointers(memory: KernelMemory, address: int, size: int) -> Iterator[tuple[int, int]]:
    """Offset and value of what could be pointers in a structure."""
    content = _readable(memory, address, size)
    for at in range(0, len(content), 8):
        to = _pointer(content[at:at + 8])
        if to >= _KERNEL_HALF and to % 8 == 0:
            yield at, to


def _name_at(memory: KernelMemory, address: int, size: int, name: str) -> int:
    """Offset of the pointer to a name; 0 if there is none."""
    wanted = name.encode() + b"\0"
    return next((at for at, to in _pointers(memory, address, size) if _readable(memory, to, len(wanted)) == wanted), 0)


def _readable(memory: KernelMemory, address: int, size: int) -> bytes:
    """What is there; nothing where the address was no pointer."""
    try:
        return memory.read(address, size)
    except GuestError:
        return b""


def _pointer(value: bytes) -> int:
    return int.from_bytes(value, "little")


