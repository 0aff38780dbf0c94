"""What stands in a network namespace beside devices and hooks: addresses, routes, rules, neighbours, queueing disciplines, tables."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from harness.guest.genetlink import DumpInterrupted, Netlink, NetlinkRefused, attributes, each_attribute
from harness.netfilter import NFT_FAMILIES

__all__ = ("Inventory", "InventoryEntry")

_NETLINK_ROUTE, _NETLINK_XFRM, _NETLINK_NETFILTER = 0, 6, 12
_XFRM_MODULE, _NFNETLINK_MODULE, _NFTABLES_MODULE = (f"/sys/module/{name}" for name in ("xfrm_user", "nfnetlink", "nf_tables"))
_ATTEMPTS = 5
#: RTNLGRP_LINK, NEIGH, TC, IPV4_IFADDR, _ROUTE, _RULE, IPV6_IFADDR, _ROUTE, _RULE, NEXTHOP; XFRMNLGRP_SA, POLICY; NFNLGRP_NFTABLES.
_ROUTE_GROUPS, _XFRM_GROUPS, _NFTABLES_GROUPS = (1, 3, 4, 5, 7, 8, 9, 11, 19, 32), (3, 4), (7,)
_GETLINK, _GETADDR, _GETROUTE, _GETNEIGH, _GETRULE, _GETQDISC, _GETNEXTHOP = 18, 22, 26, 30, 34, 38, 106
_XFRM_GETSA, _XFRM_GETPOLICY = 0x12, 0x15
#: NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE; ``struct nfgenmsg``.
_NFTABLES, _GETTABLE, _NFGENMSG_BYTES = 10, 1, 4
#: ``struct ifinfomsg``, ``ifaddrmsg``, ``rtmsg`` (and ``fib_rule_hdr``), ``ndmsg``, ``tcmsg``, ``nhmsg``.
_LINK, _ADDRESS, _ROUTE = struct.Struct("=BxHiII"), struct.Struct("=BBBBi"), struct.Struct("=BBBBBBBBI")
_NEIGHBOUR, _QDISC, _NEXTHOP = struct.Struct("=BxHiHBB"), struct.Struct("=BxHiIII"), struct.Struct("=BBBBI")
_IFLA_IFNAME, _IFLA_XDP, _IFLA_XDP_ATTACHED, _IFLA_PROP_LIST = 3, 43, 2, 52
_FAMILIES: dict[int, str] = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
_TYPES = {2: "local ", 3: "broadcast ", 4: "anycast ", 5: "multicast ", 6: "blackhole ", 7: "unreachable ", 8: "prohibit ", 9: "throw "}
_ACTIONS = {1: "lookup", 2: "goto", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
#: ``RTPROT_*`` of routes that come and go by themselves: of a redirect, the kernel's, of a router advertisement, of DHCP.
_TRANSIENT = (1, 2, 9, 16)
_RTM_F_CLONED, _IFA_F_PERMANENT, _NUD_PERMANENT = 0x200, 0x80, 0x80
_LOOPBACK = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
#: ``struct xfrm_selector``, with which ``xfrm_userpolicy_info`` and ``xfrm_usersa_info`` begin; of the first then what follows two
#: structures of lifetimes, of the other ``struct xfrm_id`` and the source address.
_SELECTOR, _POLICY, _STATE = struct.Struct("=16s16s8xHBBB11x"), struct.Struct("=IIBB"), struct.Struct("!16sIB3x16s")
_LIFETIMES_BYTES, _STATE_FAMILY = 96, 212
_XFRM_DIRECTIONS = ("in", "out", "forward")

_Attributes = Mapping[int, bytes]
_Names = Mapping[int, str]
_Header = tuple[int, ...]


class InventoryEntry(NamedTuple):
    """One thing that stands in the namespace.

    :param kind: ``IPv4 rule``
    :param what: the rest of it, for a reader
    :param device: that it belongs to, ``""`` for none
    :param details: what tells it from others that read alike
    """

    kind: str
    what: str
    device: str = ""
    details: bytes = b""

    def __str__(self) -> str:
        return f"{self.kind} {self.what}"


class Inventory:
    """The calling thread's namespace, which it keeps looking at. A look costs two system calls if nothing has changed since the last.

    Not told is what the kernel makes by itself: routes of addresses, loopback's own addresses, link-local ones, neighbours that it has
    resolved, queueing disciplines that it chose, counters and timers.
    """

    def __init__(self) -> None:
        self._route, self._route_changes = Netlink(_NETLINK_ROUTE), _Changes(_NETLINK_ROUTE, _ROUTE_GROUPS)
        self._home = Path("/proc/thread-self/ns/net").stat().st_ino
        self._of_route: frozenset[InventoryEntry] | None = None
        self._optional = (_Optional(_NETLINK_XFRM, _XFRM_GROUPS, _XFRM_MODULE, _XFRM_MODULE, _read_xfrm),
                          _Optional(_NETLINK_NETFILTER, _NFTABLES_GROUPS, _NFNETLINK_MODULE, _NFTABLES_MODULE, _read_nftables))

    def read(self) -> frozenset[InventoryEntry]:
        """What stands there now.

        :raises OSError: the kernel does not tell
        """
        if self._route_changes.any() or self._of_route is None:
            self._of_route = frozenset(self._read_route())
        return self._of_route.union(*(one.read(self._home) for one in self._optional))

    def _read_route(self) -> Iterator[InventoryEntry]:
        names: dict[int, str] = {}
        for body in _dump(self._route, _GETLINK, _LINK.size):
            _, _, index, *_ = _LINK.unpack_from(body)
            found = attributes(body[_LINK.size:])
            names[index] = _text(found.get(_IFLA_IFNAME, b"?"))
            if attributes(found.get(_IFLA_XDP, b"")).get(_IFLA_XDP_ATTACHED, b"\0") != b"\0":
                yield InventoryEntry("XDP program", f"at {names[index]}", names[index])
            for _, name in each_attribute(found.get(_IFLA_PROP_LIST, b"")):
                yield InventoryEntry("alternative name", f"{_text(name)} of {names[index]}", names[index])
        for kind, header, told in _DUMPS:
            for body in _dump(self._route, kind, header.size):
                if entry := told(header.unpack_from(body), attributes(body[header.size:]), names):
                    yield entry


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode(errors="backslashreplace")


def _read_xfrm(netlink: Netlink) -> Iterator[InventoryEntry]:
    for body in _dump(netlink, _XFRM_GETPOLICY, 0):
        priority, index, direction, action = _POLICY.unpack_from(body, _SELECTOR.size + _LIFETIMES_BYTES)
        if direction < len(_XFRM_DIRECTIONS):  # the others are a socket's
            what = f"{_selected(body)} {_XFRM_DIRECTIONS[direction]}, {'block' if action else 'allow'}, priority {priority}"
            yield InventoryEntry("XFRM policy", what, details=body[:_SELECTOR.size] + index.to_bytes(4, "little"))
    for body in _dump(netlink, _XFRM_GETSA, 0):
        destination, spi, protocol, source = _STATE.unpack_from(body, _SELECTOR.size)
        family, = struct.unpack_from("=H", body, _STATE_FAMILY)
        if spi:  # else it waits for a daemon
            what = f"from {_address(source, family)} to {_address(destination, family)}, protocol {protocol}, SPI {spi:#x}"
            yield InventoryEntry("XFRM state", what)


def _read_nftables(netlink: Netlink) -> Iterator[InventoryEntry]:
    for body in _dump(netlink, _NFTABLES << 8 | _GETTABLE, _NFGENMSG_BYTES):
        name = _text(attributes(body[_NFGENMSG_BYTES:])[1])
        yield InventoryEntry("table of nftables", f"{NFT_FAMILIES.get(body[0], body[0])} {name}")


def _of_address(header: _Header, found: _Attributes, names: _Names) -> InventoryEntry | None:
    family, prefix, flags, _, index = header
    if family not in _FAMILIES or not flags & _IFA_F_PERMANENT:
        return None
    address = ipaddress.ip_address(found.get(2) or found[1])
    device = names.get(index, "?")
    by_itself = address in _LOOPBACK if device == "lo" else address.is_link_local and family == socket.AF_INET6
    return None if by_itself else InventoryEntry("address", f"{address}/{prefix} of {device}", device)


def _route(header: _Header, found: _Attributes, names: _Names) -> InventoryEntry | None:
    family, length, _, tos, _, protocol, _, kind, flags = header
    if family not in _FAMILIES or protocol in _TRANSIENT or flags & _RTM_F_CLONED:
        return None
    device = names.get(_number(found.get(4)), "") if 4 in found else ""
    where = f"{_address(found[1], family)}/{length}" if 1 in found else "default"
    via = (f" via {_address(found[5], family)}" if 5 in found else "") + (f" by {device}" if device else "")
    details = bytes((tos, kind)) + _joined(found, without=(12, 20))  # RTA_CACHEINFO, RTA_PREF
    what = f"{_TYPES.get(kind, '')}{where}{via}, table {_number(found.get(15))}"
    return InventoryEntry(f"{_FAMILIES[family]} route", what, device, details)


def _rule(header: _Header, found: _Attributes, _: _Names) -> InventoryEntry | None:
    family, to, of, tos, _table, _res1, _res2, action, flags = header
    if family not in _FAMILIES or (19 in found and found.get(21) == b"\2"):  # FRA_L3MDEV, that the first VRF brings
        return None
    ends = "".join(f" {word} {_address(found[kind], family)}/{length}"
                   for word, kind, length in (("from", 2, of), ("to", 1, to)) if kind in found)
    does = _ACTIONS.get(action, f"action {action}") + (f" {_number(found.get(15))}" if action == 1 else "")
    details = struct.pack("=BI", tos, flags & 2) + _joined(found)  # FIB_RULE_INVERT
    return InventoryEntry(f"{_FAMILIES[family]} rule", f"{_number(found.get(6))}:{ends or ' from all'} {does}", details=details)


def _neighbour(header: _Header, found: _Attributes, names: _Names) -> InventoryEntry | None:
    family, _, index, state, *_ = header
    if family not in _FAMILIES or not state & _NUD_PERMANENT:
        return None
    device = names.get(index, "?")
    return InventoryEntry("permanent neighbour", f"{_address(found[1], family)} of {device}", device, found.get(2, b""))


def _qdisc(header: _Header, found: _Attributes, names: _Names) -> InventoryEntry | None:
    _, _, index, handle, parent, _ = header
    if not handle >> 16:  # the kernel's own choice has none
        return None
    device = names.get(index, "?")
    kind = _text(found.get(1, b"?"))
    return InventoryEntry("queueing discipline", f"{kind} {handle >> 16:x}: of {device}", device, parent.to_bytes(4, "little"))


def _nexthop(_: _Header, found: _Attributes, names: _Names) -> InventoryEntry:
    return InventoryEntry("next hop", str(_number(found.get(1))), names.get(_number(found.get(5)), ""))


_DUMPS: tuple[tuple[int, struct.Struct, Callable[[_Header, _Attributes, _Names], InventoryEntry | None]], ...] = (
    (_GETADDR, _ADDRESS, _of_address), (_GETROUTE, _ROUTE, _route), (_GETRULE, _ROUTE, _rule), (_GETNEIGH, _NEIGHBOUR, _neighbour),
    (_GETQDISC, _QDISC, _qdisc), (_GETNEXTHOP, _NEXTHOP, _nexthop))


def _selected(body: bytes) -> str:
    destination, source, family, to, of, _ = _SELECTOR.unpack_from(body)
    return f"from {_address(source, family)}/{of} to {_address(destination, family)}/{to}"


def _address(value: bytes, family: int) -> str:
    with suppress(ValueError):
        return str(ipaddress.ip_address(value[:4] if family == socket.AF_INET else value))
    return value.hex()


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "little")


def _joined(found: _Attributes, *, without: tuple[int, ...] = ()) -> bytes:
    return b"".join(struct.pack("=HH", kind, len(value)) + value for kind, value in sorted(found.items()) if kind not in without)


def _dump(netlink: Netlink, kind: int, size: int) -> list[bytes]:
    """The messages of a dump; none where the kernel has no such thing."""
    for _ in range(_ATTEMPTS):
        try:
            return netlink.dump_bodies(kind, bytes(size))
        except DumpInterrupted:
            continue
        except NetlinkRefused as refusal:
            if refusal.errno in (errno.EOPNOTSUPP, errno.EINVAL):
                return []
            raise
    raise DumpInterrupted


class _Changes:
    """Notifications of a netlink protocol, of which only matters that they came."""

    def __init__(self, protocol: int, groups: tuple[int, ...]) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
        self._socket.bind((0, sum(1 << group - 1 for group in groups)))

    def any(self) -> bool:
        """Whether some have come since the last call."""
        came = False
        while True:
            try:
                came |= bool(self._socket.recv(1))
            except BlockingIOError:
                return came
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                came = True


class _Optional:
    """What stands in a part of the kernel's that may not be loaded, and that a request would load.

    :param protocol: netlink's, that it answers over
    :param groups: in which it tells of changes
    :param carrier: module of the protocol
    :param module: its own
    :param told: asks it
    """

    def __init__(self, protocol: int, groups: tuple[int, ...], carrier: str, module: str,
                 told: Callable[[Netlink], Iterator[InventoryEntry]]) -> None:
        self._protocol, self._groups, self._module, self._told = protocol, groups, module, told
        self._netlink: Netlink | None = None
        self._changes: _Changes | None = None
        self._entries: frozenset[InventoryEntry] = frozenset()
        # A protocol that is built in has a kernel's socket from the start.
        sockets = Path("/proc/net/netlink").read_text().splitlines()[1:]
        self._built_in = any(line.split()[1] == str(protocol) for line in sockets) and not Path(carrier).exists()

    def read(self, home: int) -> frozenset[InventoryEntry]:
        """What stands there now.

        :param home: inode number of the namespace that is looked at
        """
        if self._netlink is None:
            if not self._is_there(home):
                return self._entries
            self._netlink, self._changes = Netlink(self._protocol), _Changes(self._protocol, self._groups)
        elif self._changes and not self._changes.any():
            return self._entries
        self._entries = frozenset(self._told(self._netlink))
        return self._entries

    def _is_there(self, home: int) -> bool:
        """Whether the kernel has it now, and the calling thread is still in the namespace."""
        there = self._built_in or os.path.exists(self._module)  # noqa: PTH110 - twice as fast
        return there and Path("/proc/thread-self/ns/net").stat().st_ino == home
