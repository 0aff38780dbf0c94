"""A scenario's topology made real: namespaces, veth pairs, VLANs, bridges, addresses, routes.

Neighbours are permanent and bridges know where each is; duplicate address detection, router solicitations and link-local addresses are
off, and the devices of a namespace without IPv6 addresses have no IPv6: ARP and ND would cross the hook points beside the scenario's
own packets. Where there is IPv6, a few multicast listener reports still do, some time after the devices are up: nothing turns them off.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import GuestError
from harness.guest import first, netns
from harness.guest.netns import Namespace, iproute
from harness.scenario.addresses import ip_interface
from harness.scenario.steps.sysctl import BRIDGE, BRIDGE_CALLS
from harness.scenario.topology import Bridge, Interface, Topology, VethEnd, Vlan

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = ("Network", "add_pair", "await_ready", "br_netfilter", "built", "has_gro", "mac_address", "mac_of", "set_sysctls", "set_up")

_IFA_F_NODAD = 0x02
_IFA_F_TENTATIVE = 0x40
_SIOCGIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8913, 0x01, 0x40
_SIOCETHTOOL, _ETHTOOL_GGRO, _ETHTOOL_SGRO, _ETHTOOL_STSO = 0x8946, 0x2B, 0x2C, 0x1F
_NTF_MASTER, _NUD_NOARP = 0x04, 0x40
_BRIDGE_SETTINGS = {pf: name.removeprefix(BRIDGE) for pf, name in BRIDGE_CALLS.items()}
_MLD_NEVER_MS = "2000000000"
_READY_SECONDS = 10.0
_POLL_SECONDS = 0.002
_FIRST_INDEX = 100

_runs = itertools.count(1)


@dataclass(slots=True)
class Network:
    """A topology that stands; :mod:`harness.guest.ground` changes it.

    :param namespaces: by the scenario's name for each
    :param ifindexes: by namespace (the scenario's name) and device
    :param prefix: of the namespaces' names
    :ivar pairs: veth pairs that were made so far
    """

    topology: Topology
    namespaces: dict[str, Namespace]
    ifindexes: dict[tuple[str, str], int]
    prefix: str = ""
    pairs: int = 0

    def new_pair(self) -> int:
        """The number of another veth pair."""
        self.pairs += 1
        return self.pairs - 1

    def scenario_name(self, inum: int) -> str | None:
        """What the scenario calls the namespace with ``net->ns.inum``; ``None`` for a stranger's."""
        return next((name for name, namespace in self.namespaces.items() if namespace.inum == inum), None)


def mac_address(link: int, end: int) -> str:
    """The locally administered address of the *end* (0 or 1) of the *link*-th veth pair."""
    return f"02:00:00:{link >> 8:02x}:{link & 0xFF:02x}:{end + 1:02x}"


@contextlib.contextmanager
def built(topology: Topology, *, prefix: str | None = None) -> Iterator[Network]:
    """Build a topology, and take everything of it away at the end of the block.

    :param prefix: of the namespaces' names, so that several runs do not meet; by default one that no other run has
    :raises GuestError: it does not come up
    """
    prefix = prefix or f"nfh{os.getpid()}-{next(_runs)}"
    network = Network(topology, {}, {}, prefix)
    with contextlib.ExitStack() as stack:
        if any(bridge.netfilter for bridge in topology.bridges):
            stack.enter_context(br_netfilter())
        stack.callback(_delete, network)
        for name in topology.namespaces:
            full = f"{prefix}-{name}"
            network.namespaces[name] = netns.create(full) if name != topology.first else stack.enter_context(
                first.lent(full, (*_sysctls(topology, name), *(f"net/bridge/{one}" for one in _BRIDGE_SETTINGS.values()))))
        _build(network)
        yield network


def _delete(network: Network) -> None:
    for name, namespace in network.namespaces.items():
        if name != network.topology.first:
            namespace.delete()


def _build(network: Network) -> None:
    topology, namespaces, ifindexes = network.topology, network.namespaces, network.ifindexes
    with contextlib.ExitStack() as stack:
        routes = {}
        for name, namespace in namespaces.items():
            with namespace.inside():
                set_sysctls(topology, name)
                routes[name] = stack.enter_context(iproute())
                routes[name].link("set", index=1, state="up")
        for link in topology.links:
            add_pair(routes[link.a.netns], link.a, link.b, network.new_pair(), namespaces[link.b.netns])
        for dummy in topology.dummies:
            routes[dummy.netns].link("add", kind="dummy", ifname=dummy.device)
        for vlan in topology.vlans:
            _add_vlan(routes[vlan.netns], vlan)
        for bridge in topology.bridges:
            with namespaces[bridge.netns].inside():
                _add_bridge(routes[bridge.netns], bridge, topology)
        for name, namespace in namespaces.items():
            with namespace.inside():
                ifindexes |= {(name, device): socket.if_nametoindex(device) for device in topology.devices(name)}
        for end in topology.ends():
            if topology.has_gro(end.netns, end.device):
                with namespaces[end.netns].inside():
                    set_gro(end.device)
        # A bridge that is up before its ports has its carrier with the first of them; after them it has to wait for linkwatch's next
        # second (linkwatch_urgent_event: its qdiscs do not change).
        for one in sorted(topology.interfaces(), key=lambda one: not isinstance(one, Bridge)):
            set_up(routes[one.netns], ifindexes[one.netns, one.device], one, _neighbours(topology, one))
        for route in topology.routes:
            family = socket.AF_INET6 if ":" in route.via else socket.AF_INET
            routes[route.netns].route("add", family=family, dst=route.destination, gateway=route.via)
        await_ready(network)


def add_pair(routes: IPRoute, end: VethEnd, peer: VethEnd, number: int, namespace: Namespace) -> None:
    """Add a veth pair to the namespace of *routes*; its other end comes up in another one.

    :param number: of the pair in its network, from which indexes and addresses are made
    :param namespace: of *peer*
    """
    with namespace.path.open() as there:
        # Ends with equal numbers, as first devices of two namespaces have by themselves, look to linkwatch_urgent_event() like no pair:
        # their carrier would be noticed a second late.
        routes.link("add", kind="veth", index=_FIRST_INDEX + number, ifname=end.device, address=mac_address(number, 0),
                    peer={"ifname": peer.device, "address": mac_address(number, 1), "net_ns_fd": there.fileno()})


def _add_vlan(routes: IPRoute, vlan: Vlan) -> None:
    routes.link("add", kind="vlan", ifname=vlan.device, link=_index(routes, vlan.link), vlan_id=vlan.id)


def _add_bridge(routes: IPRoute, bridge: Bridge, topology: Topology) -> None:
    """In its namespace: a bridge that knows by which port each of its neighbours is reached, so that it floods nothing that is known."""
    for family, setting in _BRIDGE_SETTINGS.items():
        path = Path("/proc/sys/net/bridge", setting)
        if family in bridge.netfilter or path.exists():
            path.write_text("1" if family in bridge.netfilter else "0")
    routes.link("add", kind="bridge", ifname=bridge.device, address=mac_of(topology, bridge), br_stp_state=0, br_mcast_snooping=0)
    for port in bridge.ports:
        index = _index(routes, port)
        routes.link("set", index=index, master=_index(routes, bridge.device))
        for mac in {mac_of(topology, one) for one in topology.segment(bridge.netns, port)}:
            routes.fdb("add", ifindex=index, lladdr=mac, flags=_NTF_MASTER, state=_NUD_NOARP)


def _index(routes: IPRoute, device: str) -> int:
    found: list[int] = routes.link_lookup(ifname=device)
    return found[0]


def mac_of(topology: Topology, interface: Interface) -> str:
    """The address of an interface; a VLAN has that of the device below it."""
    match interface:
        case VethEnd():
            sides = ((number, side, end) for number, link in enumerate(topology.links) for side, end in enumerate((link.a, link.b)))
            return next(mac_address(number, side) for number, side, end in sides
                        if (end.netns, end.device) == (interface.netns, interface.device))
        case Vlan():
            return mac_of(topology, topology.interface(interface.netns, interface.link))
        case Bridge():
            return f"02:00:01:00:{[(one.netns, one.device) for one in topology.bridges].index((interface.netns, interface.device)):02x}:00"


def _neighbours(topology: Topology, interface: Interface) -> list[tuple[Interface, str]]:
    """The addresses that an interface reaches, with their hardware addresses; none of a bridge's port, which is no end of anything."""
    if topology.bridge_of(interface.netns, interface.device):
        return []
    return [(one, mac_of(topology, one)) for one in topology.segment(interface.netns, interface.device)]


def set_up(routes: IPRoute, index: int, interface: Interface, neighbours: Iterable[tuple[Interface, str]]) -> None:
    """A device, with its addresses and its neighbours.

    :param neighbours: with their hardware addresses
    """
    routes.link("set", index=index, state="up")
    for text in interface.addresses:
        address = ip_interface(text)
        flags = {"flags": _IFA_F_NODAD} if address.version == 6 else {}
        routes.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **flags)
    for one, mac in neighbours:
        for text in one.addresses:
            address = ip_interface(text)
            family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
            routes.neigh("replace", family=family, dst=str(address.ip), lladdr=mac, ifindex=index, state="permanent")


def has_gro(device: str) -> bool:
    """``ETHTOOL_GGRO`` of a device of the calling thread's namespace."""
    return bool(_ethtool(device, _ETHTOOL_GGRO, 0))


def set_gro(device: str) -> None:
    """``ethtool -K DEVICE gro on tso off``: a veth then receives by NAPI (since 5.13), and hands on what it received in lists.

    What a peer with TSO sends does not come that way (``veth_skb_is_eligible_for_gro``).
    """
    _ethtool(device, _ETHTOOL_SGRO, 1)
    _ethtool(device, _ETHTOOL_STSO, 0)


def _ethtool(device: str, command: int, value: int) -> int:
    """``struct ethtool_value`` to the kernel and back."""
    data = ctypes.create_string_buffer(struct.pack("II", command, value), 8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP16x", device.encode(), ctypes.addressof(data)))
    return int(struct.unpack("II", data.raw)[1])


@contextlib.contextmanager
def br_netfilter() -> Iterator[None]:
    """``br_netfilter``, loaded for the block if it was not there: where it is, every new bridge has it on.

    :raises GuestError: the kernel does not have it
    """
    if Path("/sys/module/br_netfilter").exists():
        yield
        return
    loaded = subprocess.run(["modprobe", "br_netfilter"], capture_output=True, text=True, check=False)
    if loaded.returncode:
        raise GuestError(f"no br_netfilter: {loaded.stderr.strip()}", hint="take a kernel with CONFIG_BRIDGE_NETFILTER=m")
    is_module = Path("/sys/module/br_netfilter/initstate").exists()  # one that is built in has none, and stays
    try:
        yield
    finally:
        if is_module:
            subprocess.run(["rmmod", "br_netfilter"], check=True)


def set_sysctls(topology: Topology, name: str) -> None:
    """Set sysctls of a namespace before it has devices, which inherit ``default``."""
    for key, value in _sysctls(topology, name).items():
        Path("/proc/sys", key).write_text(value)


def _sysctls(topology: Topology, name: str) -> dict[str, str]:
    """A namespace's settings, by path below ``/proc/sys``."""
    forwarding = "1" if name in topology.forwarding else "0"
    # What core does is predicted packet by packet; how many ICMP errors a second may be sent is none of it.
    settings = {"net/ipv4/ip_forward": forwarding, "net/ipv4/icmp_ratemask": "0"}
    for scope in ("all", "default"):
        settings[f"net/ipv4/conf/{scope}/rp_filter"] = "0"
        settings[f"net/ipv4/conf/{scope}/send_redirects"] = "0"  # IPv6 sends none without a link-local address
    if Path("/proc/sys/net/ipv6").exists():
        has_ipv6 = any(ip_interface(address).version == 6 for one in topology.interfaces(name) for address in one.addresses)
        settings["net/ipv6/conf/all/forwarding"] = forwarding
        settings["net/ipv6/icmp/ratelimit"] = "0"
        for setting, value in (("accept_dad", "0"), ("dad_transmits", "0"), ("router_solicitations", "0"), ("accept_ra", "0"),
                               ("addr_gen_mode", "1")):
            settings[f"net/ipv6/conf/default/{setting}"] = value
        # A multicast address is announced twice, the second time within this: a stranger's packet in the middle of a scenario.
        for version in ("mldv1", "mldv2"):
            settings[f"net/ipv6/conf/default/{version}_unsolicited_report_interval"] = _MLD_NEVER_MS
        if topology.links and not has_ipv6:
            settings["net/ipv6/conf/default/disable_ipv6"] = "1"
    return settings


def await_ready(network: Network) -> None:
    """Wait until every device that is up has its carrier and no address is tentative: before, routes are dead and packets vanish."""
    deadline = time.monotonic() + _READY_SECONDS
    for name, namespace in network.namespaces.items():
        with namespace.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            for device in network.topology.devices(name)[1:]:
                while waiting := _not_ready(probe, device):
                    if time.monotonic() > deadline:
                        raise GuestError(f"{device} in namespace {name} {waiting} after {_READY_SECONDS:.0f} s")
                    time.sleep(_POLL_SECONDS)


def _not_ready(probe: socket.socket, device: str) -> str:
    flags = int.from_bytes(fcntl.ioctl(probe, _SIOCGIFFLAGS, device.encode().ljust(40, b"\0"))[16:18], "little")
    if flags & _IFF_UP and not flags & _IFF_RUNNING:
        return "has no carrier"
    with contextlib.suppress(FileNotFoundError):
        for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines():
            *_, address_flags, owner = line.split()
            if owner == device and int(address_flags, 16) & _IFA_F_TENTATIVE:
                return "has a tentative address"
    return ""
