"""A scenario's topology made real: namespaces, veth pairs, addresses, routes.

Neighbours are permanent, duplicate address detection, router solicitations and link-local addresses are off, and the devices of a
namespace without IPv6 addresses have no IPv6: ARP and ND would cross the hook points beside the scenario's own packets. Where there
is IPv6, a few multicast listener reports still do, some time after the devices are up: nothing turns them off.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import GuestError
from harness.guest import netns
from harness.guest.netns import Namespace
from harness.scenario.topology import End, Topology

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = ("Network", "add_pair", "await_ready", "built", "iproute", "mac_address", "set_sysctls", "set_up")

_IFA_F_NODAD = 0x02
_IFA_F_TENTATIVE = 0x40
_SIOCGIFFLAGS, _IFF_RUNNING = 0x8913, 0x40
_READY_SECONDS = 10.0
_POLL_SECONDS = 0.002

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
    """Of the *end* (0 or 1) of the *link*-th veth pair; locally administered."""
    return f"02:00:00:{link >> 8:02x}:{link & 0xFF:02x}:{end + 1:02x}"


@contextlib.contextmanager
def built(topology: Topology, *, prefix: str | None = None) -> Iterator[Network]:
    """Build a topology, and take everything of it away at the end of the block.

    :param prefix: of the namespaces' names, so that several runs do not meet; one of its own by default
    :raises GuestError: it does not come up
    """
    prefix = prefix or f"nfh{os.getpid()}-{next(_runs)}"
    network = Network(topology, {}, {}, prefix)
    try:
        for name in topology.namespaces:
            network.namespaces[name] = netns.create(f"{prefix}-{name}")
        _build(network)
        yield network
    finally:
        for namespace in network.namespaces.values():
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
        for name, namespace in namespaces.items():
            with namespace.inside():
                ifindexes |= {(name, device): socket.if_nametoindex(device) for device in topology.devices(name)}
        for number, link in enumerate(topology.links):
            for side, end, peer in ((0, link.a, link.b), (1, link.b, link.a)):
                set_up(routes[end.netns], ifindexes[end.netns, end.device], end, peer, mac_address(number, 1 - side))
        for dummy in topology.dummies:
            routes[dummy.netns].link("set", index=ifindexes[dummy.netns, dummy.device], state="up")
        for route in topology.routes:
            family = socket.AF_INET6 if ":" in route.via else socket.AF_INET
            routes[route.netns].route("add", family=family, dst=route.destination, gateway=route.via)
        await_ready(network)


def iproute() -> IPRoute:
    """Of the calling thread's namespace. Given a name, pyroute2 would fork to make the socket."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - seconds in an emulated guest

    return IPRoute()


def add_pair(routes: IPRoute, end: End, peer: End, number: int, namespace: Namespace) -> None:
    with namespace.path.open() as there:
        routes.link("add", kind="veth", ifname=end.device, address=mac_address(number, 0),
                    peer={"ifname": peer.device, "address": mac_address(number, 1), "net_ns_fd": there.fileno()})


def set_up(routes: IPRoute, index: int, end: End, peer: End, peer_mac: str) -> None:
    """A veth's end, with its addresses and its one neighbour."""
    routes.link("set", index=index, state="up")
    for text in end.addresses:
        address = ip_interface(text)
        flags = {"flags": _IFA_F_NODAD} if address.version == 6 else {}
        routes.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **flags)
    for text in peer.addresses:
        address = ip_interface(text)
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        routes.neigh("replace", family=family, dst=str(address.ip), lladdr=peer_mac, ifindex=index, state="permanent")


def set_sysctls(topology: Topology, name: str) -> None:
    """Before there are devices, which inherit ``default``."""
    forwarding = "1" if name in topology.forwarding else "0"
    settings = {"net/ipv4/ip_forward": forwarding}
    for scope in ("all", "default"):
        settings[f"net/ipv4/conf/{scope}/rp_filter"] = "0"
    if Path("/proc/sys/net/ipv6").exists():
        has_ipv6 = any(ip_interface(address).version == 6 for end in topology.ends(name) for address in end.addresses)
        settings["net/ipv6/conf/all/forwarding"] = forwarding
        for setting, value in (("accept_dad", "0"), ("dad_transmits", "0"), ("router_solicitations", "0"), ("accept_ra", "0"),
                               ("addr_gen_mode", "1")):
            settings[f"net/ipv6/conf/default/{setting}"] = value
        if topology.links and not has_ipv6:
            settings["net/ipv6/conf/default/disable_ipv6"] = "1"
    for key, value in settings.items():
        Path("/proc/sys", key).write_text(value)


def await_ready(network: Network) -> None:
    """Until every device has its carrier and no address is tentative: before, routes are dead and packets vanish."""
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
    if not flags & _IFF_RUNNING:
        return "has no carrier"
    with contextlib.suppress(FileNotFoundError):
        for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines():
            *_, address_flags, owner = line.split()
            if owner == device and int(address_flags, 16) & _IFA_F_TENTATIVE:
                return "has a tentative address"
    return ""
