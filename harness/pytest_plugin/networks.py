"""Hosts of a lab and the topologies that join them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from harness.guest import netns
from harness.guest.module import HookModule
from harness.guest.netns import Namespace
from harness.guest.topology import Network as Built
from harness.guest.topology import built
from harness.scenario.addresses import ip_interface
from harness.scenario.topology import End, Link, Topology

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = ("BRIDGED", "Bridge", "Flow", "Host", "Network", "Pair", "Router", "add_bridge", "add_vlan", "fresh_namespace", "host_of",
           "network_of")

_COMMAND_S = 60
_BRIDGE = "br0"

#: Two hosts whose devices are joined by a third namespace's bridge, and no router.
BRIDGED = Topology("bridge", ("left", "bridge", "right"), links=(
    Link(End("left", "eth0", ("10.0.0.1/24",)), End("bridge", "to-left")),
    Link(End("bridge", "to-right"), End("right", "eth0", ("10.0.0.2/24",))),
))


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection that conntrack tracks.

    :param protocol: ``"udp"``, ``"tcp"``, ``"icmp"`` …; :param source: and the rest: of its original direction
    :param state: of a TCP connection, ``""`` for others
    """

    protocol: str
    source: str
    destination: str
    source_port: int
    destination_port: int
    state: str
    mark: int
    assured: bool


class Host:
    """A network namespace of a lab.

    :ivar name: as walks have it
    :ivar namespace: under ``/run/netns``
    :ivar module: ``nfharness.ko`` as the namespace sees it
    :ivar addresses: with their prefix lengths
    """

    def __init__(self, name: str, namespace: Namespace, module: HookModule, addresses: Sequence[str] = ()) -> None:
        self.name = name
        self.namespace = namespace
        self.module = module
        self.addresses = list(addresses)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<host {self.name}>"

    @property
    def address(self) -> str:
        """Its first IPv4 address. :raises LookupError: it has none"""
        return self._address(4)

    @property
    def address6(self) -> str:
        """Its first IPv6 address. :raises LookupError: it has none"""
        return self._address(6)

    def _address(self, version: int) -> str:
        for text in self.addresses:
            if ip_interface(text).version == version:
                return text.partition("/")[0]
        raise LookupError(f"{self.name} has no IPv{version} address")

    def inside(self) -> AbstractContextManager[None]:
        """Run a block, and the sockets and processes that it makes, in the namespace."""
        return self.namespace.inside()

    def run(self, *command: str, check: bool = True, stdin: str = "") -> str:
        """Run a command in the namespace; its standard output.

        :raises subprocess.CalledProcessError: it failed
        """
        with self.inside():
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=_COMMAND_S)
        if check and done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def routes(self) -> Iterator[IPRoute]:
        """pyroute2's ``IPRoute`` in the namespace, for links, addresses and routes of one's own."""
        from pyroute2 import IPRoute  # noqa: PLC0415 - seconds in an emulated guest

        with self.inside():
            routes = IPRoute()
        with routes:
            yield routes

    def sysctl(self, name: str, value: object) -> None:
        """``sysctl -w NAME=VALUE`` in the namespace. :raises OSError: no such setting, or no such value"""
        with self.inside():
            Path("/proc/sys", name.replace(".", "/")).write_text(str(value))

    def flows(self) -> list[Flow]:
        """What conntrack tracks in the namespace."""
        text = self.run("conntrack", "-L", "-o", "xml", check=False)
        return [_flow(entry) for entry in ElementTree.fromstring(text)] if text.strip() else []  # noqa: S314 - a program's own output


def _flow(entry: ElementTree.Element) -> Flow:
    def text(path: str) -> str:
        return entry.findtext(path) or ""

    original = "meta[@direction='original']"
    layer4 = entry.find(f"{original}/layer4")
    return Flow((layer4.get("protoname") if layer4 is not None else None) or "",
                text(f"{original}/layer3/src"), text(f"{original}/layer3/dst"),
                int(text(f"{original}/layer4/sport") or 0), int(text(f"{original}/layer4/dport") or 0), text("meta/state"),
                int(text("meta/mark") or 0), entry.find("meta/assured") is not None)


@dataclass(frozen=True, slots=True)
class Network:
    """Hosts by name. :param main: the host that a ruleset without a host is for"""

    hosts: dict[str, Host]
    main: Host

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]


class Router(Network):
    """``client`` - ``router`` - ``server``."""

    @property
    def client(self) -> Host:
        return self.hosts["client"]

    @property
    def router(self) -> Host:
        return self.hosts["router"]

    @property
    def server(self) -> Host:
        return self.hosts["server"]


class Pair(Network):
    """``peer`` - ``host``."""

    @property
    def peer(self) -> Host:
        return self.hosts["peer"]

    @property
    def host(self) -> Host:
        return self.hosts["host"]


class Bridge(Network):
    """``left`` - ``bridge`` - ``right``: the bridge is ``br0``, its ports ``to-left`` and ``to-right``."""

    @property
    def left(self) -> Host:
        return self.hosts["left"]

    @property
    def bridge(self) -> Host:
        return self.hosts["bridge"]

    @property
    def right(self) -> Host:
        return self.hosts["right"]


def host_of(stack: ExitStack, name: str, namespace: Namespace, addresses: Sequence[str] = ()) -> Host:
    """A host for a namespace; its hooks go when *stack* is unwound."""
    module = stack.enter_context(HookModule(namespace))
    stack.callback(module.flush)
    return Host(name, namespace, module, addresses)


def network_of(stack: ExitStack, topology: Topology) -> tuple[Built, dict[str, Host]]:
    """A topology that stands until *stack* is unwound, and its hosts."""
    network = stack.enter_context(built(topology))
    hosts = {name: host_of(stack, name, namespace, [address for end in topology.ends(name) for address in end.addresses])
             for name, namespace in network.namespaces.items()}
    return network, hosts


def add_bridge(host: Host, ports: Sequence[str]) -> None:
    """Make ``br0`` of devices."""
    with host.routes() as routes:
        routes.link("add", ifname=_BRIDGE, kind="bridge")
        bridge = routes.link_lookup(ifname=_BRIDGE)[0]
        for port in ports:
            routes.link("set", index=routes.link_lookup(ifname=port)[0], master=bridge)
        routes.link("set", index=bridge, state="up")


def add_vlan(host: Host, vlan: int, addresses: Sequence[str]) -> str:
    """Make ``eth0.VLAN`` with addresses; its name."""
    name = f"eth0.{vlan}"
    with host.routes() as routes:
        routes.link("add", ifname=name, kind="vlan", link=routes.link_lookup(ifname="eth0")[0], vlan_id=vlan)
        index = routes.link_lookup(ifname=name)[0]
        routes.link("set", index=index, state="up")
        for text in addresses:
            address = ip_interface(text)
            routes.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)
            host.addresses.append(text)
    return name


def fresh_namespace(stack: ExitStack, prefix: str, name: str) -> Host:
    """A namespace of one's own, with ``lo`` up."""
    namespace = netns.create(f"{prefix}-{name}")
    stack.callback(namespace.delete)
    host = host_of(stack, name, namespace)
    with host.routes() as routes:
        routes.link("set", index=1, state="up")
    return host

