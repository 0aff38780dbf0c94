"""Hosts of a lab and the topologies that join them."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
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
from harness.pytest_plugin.mistakes import Mistake, check_command, chosen, of_kind
from harness.scenario.addresses import ip_interface
from harness.scenario.reader import quote, suggest
from harness.scenario.topology import Link, Topology, VethEnd

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = ("BRIDGED", "Bridge", "CommandFailed", "Flow", "Host", "Network", "Pair", "Router", "add_bridge", "add_vlan",
           "fresh_namespace", "host_of", "network_of")

_COMMAND_S = 60
_BRIDGE = "br0"

#: Two hosts whose devices are joined by a third namespace's bridge, and no router.
BRIDGED = Topology("bridge", ("left", "bridge", "right"), links=(
    Link(VethEnd("left", "eth0", ("10.0.0.1/24",)), VethEnd("bridge", "to-left")),
    Link(VethEnd("bridge", "to-right"), VethEnd("right", "eth0", ("10.0.0.2/24",))),
))


class CommandFailed(subprocess.CalledProcessError):
    """A command that failed: what it was, its exit status and what it said.

    :param status: ``None`` if it did not end in time
    :param streams: its standard output, its standard error
    """

    __module__ = "builtins"

    def __init__(self, host: str, command: Sequence[str], status: int | None, *streams: str | bytes | None) -> None:
        out, err = (text.decode(errors="backslashreplace") if isinstance(text, bytes) else text or "" for text in streams)
        super().__init__(-signal.SIGKILL if status is None else status, list(command), out, err)
        self._host, self._ended = host, status is not None

    def __str__(self) -> str:
        if not self._ended:
            how = f"did not end within {_COMMAND_S} s"
        elif self.returncode < 0:
            how = f"was ended by signal {-self.returncode}"
        else:
            how = f"ended with exit status {self.returncode}"
        said = "".join(f"\n{name}:\n{text.rstrip()}" for name, text in (("stdout", self.stdout), ("stderr", self.stderr)) if text.strip())
        return f"{shlex.join(map(str, self.cmd))} {how} in {self._host}{said or ', and said nothing'}"


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection that conntrack tracks.

    :param protocol: ``"udp"``, ``"tcp"``, ``"icmp"`` …
    :param source: and the rest: of its original direction
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
        """The host's first IPv4 address.

        :raises LookupError: it has none
        """
        return self._address(4)

    @property
    def address6(self) -> str:
        """The host's first IPv6 address.

        :raises LookupError: it has none
        """
        return self._address(6)

    def _address(self, version: int) -> str:
        for text in self.addresses:
            if ip_interface(text).version == version:
                return text.partition("/")[0]
        raise LookupError(f"{self.name} has no IPv{version} address")

    def inside(self) -> AbstractContextManager[None]:
        """Run a block, and the sockets and processes that it makes, in the namespace.

        :raises Mistake: the namespace is gone
        """
        self.check_is_there()
        return self.namespace.inside()

    def check_is_there(self) -> None:
        """Refuse a host of a test that has ended.

        :raises Mistake: the namespace is gone
        """
        if not self.namespace.path.exists():
            raise Mistake(f"the host {self} is gone", hint="hosts go with the test that made them: make one in each test, or in a fixture")

    def run(self, *command: str, check: bool = True, stdin: str = "") -> str:
        """Run a command in the namespace; its standard output.

        :raises CommandFailed: it failed
        :raises Mistake: there is no such command, or no kernel runs it
        """
        check_command(command)
        with self.inside():
            try:
                done = subprocess.run(command, input=stdin, capture_output=True, text=True, errors="backslashreplace", check=False,
                                      timeout=_COMMAND_S)
            except FileNotFoundError:
                known = {entry: entry for place in os.get_exec_path() for entry in _listed(place)}
                words = command[0].split()
                hint = (f"give each argument by itself: run({', '.join(map(quote, words))})" if len(words) > 1
                        else suggest(command[0], known, what="in the PATH"))
                raise Mistake(f"there is no command {quote(command[0])}", hint=hint) from None
            except PermissionError as error:
                raise Mistake(f"the command {quote(command[0])} cannot be run: {error.strerror}",
                              hint='make it executable, or start its interpreter: run("sh", FILE)') from None
            except subprocess.TimeoutExpired as error:
                raise CommandFailed(self.name, command, None, error.stdout, error.stderr) from None
        if check and done.returncode:
            raise CommandFailed(self.name, command, done.returncode, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def routes(self) -> Iterator[IPRoute]:
        """pyroute2's ``IPRoute`` in the namespace, for links, addresses and routes that the class does not make."""
        from pyroute2 import IPRoute  # noqa: PLC0415 - seconds in an emulated guest

        with self.inside():
            routes = IPRoute()
        with routes:
            yield routes

    def sysctl(self, name: str, value: object) -> None:
        """``sysctl -w NAME=VALUE`` in the namespace.

        :raises Mistake: no such setting, or of no namespace's own; no such value
        """
        of_kind("the setting's name", name, str, '"net.ipv4.ip_forward"')
        path = Path("/proc/sys", name if "/" in name else name.replace(".", "/"))
        with self.inside():
            if not path.is_file():
                there = [str(one.relative_to("/proc/sys")).replace("/", ".") for one in path.parent.glob("*")]
                raise Mistake(f"there is no setting {quote(name)}", hint=suggest(name, there, what="beside it"))
            if not path.is_relative_to("/proc/sys/net"):
                raise Mistake(f"{name} is the whole kernel's, not a namespace's", hint="a namespace's settings are below net.")
            try:
                path.write_text(str(value))
            except OSError as error:
                raise Mistake(f"{name} does not take {quote(str(value))}: {error.strerror}",
                              hint=f"it is {path.read_text().strip()}") from None

    def flows(self) -> list[Flow]:
        """What conntrack tracks in the namespace."""
        text = self.run("conntrack", "-L", "-o", "xml", check=False)
        return [_flow(entry) for entry in ElementTree.fromstring(text)] if text.strip() else []  # noqa: S314 - a program's own output


def _listed(directory: str) -> list[str]:
    with contextlib.suppress(OSError):
        return [entry.name for entry in os.scandir(directory)]
    return []


def _flow(entry: ElementTree.Element) -> Flow:
    def text(path: str) -> str:
        return entry.findtext(path) or ""

    original = "meta[@direction='original']"
    layer4 = entry.find(f"{original}/layer4")
    return Flow((layer4.get("protoname") if layer4 is not None else None) or "",
                text(f"{original}/layer3/src"), text(f"{original}/layer3/dst"),
                int(text(f"{original}/layer4/sport") or 0), int(text(f"{original}/layer4/dport") or 0), text("meta/state"),
                int(text("meta/mark") or 0), entry.find("meta/assured") is not None)


class NoSuchHost(Mistake, AttributeError):
    """A network has no host of that name."""

    __module__ = "builtins"


@dataclass(frozen=True, slots=True)
class Network:
    """Hosts by name.

    :param main: the host that a ruleset without a host is for
    """

    hosts: dict[str, Host]
    main: Host

    def __getitem__(self, name: str) -> Host:
        """The host of that name.

        :raises Mistake: there is none
        """
        return chosen("host", name, self.hosts)

    def __getattr__(self, name: str) -> Host:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NoSuchHost(f"there is no host {quote(name)}", hint=suggest(name, self.hosts, what="there are"))


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
    """A new namespace, with ``lo`` up."""
    namespace = netns.create(f"{prefix}-{name}")
    stack.callback(namespace.delete)
    host = host_of(stack, name, namespace)
    with host.routes() as routes:
        routes.link("set", index=1, state="up")
    return host

