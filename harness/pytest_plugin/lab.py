"""The fixture ``lab``: everything that a test builds in its kernel, and takes away again."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import pytest

from harness.guest.module import Hook, HookModule, LiveSlot
from harness.guest.prepare import tracer
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.pytest_plugin import networks
from harness.pytest_plugin.chains import load
from harness.pytest_plugin.kernel import RunningKernel
from harness.pytest_plugin.networks import Bridge, Host, Network, Pair, Router
from harness.pytest_plugin.sending import Sender, traced
from harness.pytest_plugin.walks import Walk, number_of
from harness.pytest_plugin.watch import SENT, Watch
from harness.scenario.topology import PAIR, ROUTER, End, Link, Topology
from harness.trace.capture import Capture

if TYPE_CHECKING:
    from scapy.packet import Packet

__all__ = ("Lab", "RegisteredHook")

_Kind = TypeVar("_Kind", bound=Network)
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class RegisteredHook:
    """A hook of the lab's. :param name: as walks have it"""

    name: str
    number: int
    module: HookModule

    @property
    def calls(self) -> int:
        """How often it was called. :raises HookRefused: it is gone"""
        return self.module.hook(self.number).calls

    def remove(self) -> None:
        """``nf_unregister_net_hook``. :raises HookRefused: it is gone"""
        self.module.del_hook(self.number)


class Lab:
    """Namespaces, hooks, rulesets, traffic and the tracer of one test.

    :ivar kernel: that the test runs on
    """

    def __init__(self, kernel: RunningKernel, item: pytest.Item) -> None:
        self.kernel = kernel
        self._stack = ExitStack()
        self._networks: list[Network] = []
        self._hosts: dict[str, Host] = {}
        self._labels: dict[int, str] = {}
        watch = item.config.pluginmanager.getplugin("nfharness-watch")
        assert isinstance(watch, Watch)  # noqa: S101
        self._watch = watch
        self._sender: Sender | None = None
        self._capture: Capture | None = None
        self._sent = item.stash.setdefault(SENT, [])

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def router(self) -> Router:
        """``client`` (10.0.1.2) - ``router`` - ``server`` (10.0.2.2), each with IPv6 as well."""
        return self._made(Router, ROUTER, "router")

    def pair(self) -> Pair:
        """``peer`` (10.0.0.2) - ``host`` (10.0.0.1), each with IPv6 as well."""
        return self._made(Pair, PAIR, "host")

    def bridge(self) -> Bridge:
        """``left`` (10.0.0.1) - ``bridge`` - ``right`` (10.0.0.2)."""
        made = self._made(Bridge, networks.BRIDGED, "bridge")
        networks.add_bridge(made.bridge, ("to-left", "to-right"))
        return made

    def vlan(self, number: int = 10) -> Pair:
        """``peer`` (10.0.0.2) - ``host`` (10.0.0.1), their addresses on ``eth0.NUMBER`` (IEEE 802.1Q)."""
        bare = Topology("vlan", ("peer", "host"), links=(Link(End("peer", "eth0"), End("host", "eth0")),))
        made = self._made(Pair, bare, "host")
        for host, address in ((made.peer, "10.0.0.2/24"), (made.host, "10.0.0.1/24")):
            networks.add_vlan(host, number, (address,))
        return made

    def network(self, topology: Topology, *, main: str | None = None) -> Network:
        """A topology of one's own: namespaces and veth pairs, as a scenario has them.

        :param main: the host that a ruleset without a host is for; the first by default
        :raises GuestError: it does not come up
        """
        return self._made(Network, topology, main or topology.namespaces[0])

    def _made(self, kind: type[_Kind], topology: Topology, main: str) -> _Kind:
        _, hosts = networks.network_of(self._stack, topology)
        made = kind(hosts, hosts[main])
        self._networks.append(made)
        self._hosts |= {host.namespace.name: host for host in hosts.values()}
        return made

    def namespace(self, name: str) -> Host:
        """An empty namespace, to be filled with pyroute2 (:meth:`Host.routes`)."""
        host = networks.fresh_namespace(self._stack, f"lab{os.getpid()}-{next(_numbers)}", name)
        self._hosts[host.namespace.name] = host
        return host

    def hook(self, host: Host, pf: str, hook: str, *, priority: int = 0, verdict: str = "ACCEPT", errno: int | str = 0, queue: int = 0,
             bypass: bool = False, device: str | None = None, cookie: int | None = None, name: str | None = None) -> RegisteredHook:
        """Register a hook of ``nfharness.ko``.

        :param pf: ``"ipv4"``, ``"ipv6"``, ``"inet"``, ``"arp"``, ``"bridge"``, ``"netdev"``
        :param hook: ``"PREROUTING"`` … ``"INGRESS"``
        :param errno: that DROP or STOLEN carries, as a number or by its name
        :param queue: number, for QUEUE; :param bypass: let the packet go on if nobody listens
        :param device: for ``netdev``, and INET's INGRESS
        :param cookie: only the packet that carries it gets the verdict (:meth:`send`); others are accepted
        :param name: as walks have it
        :raises HookRefused: the kernel refuses it: EINVAL, EOPNOTSUPP, EBUSY …
        """
        family, number = Family[pf.upper()], next(_numbers)
        ifindex = self._index(host, device) if device else 0
        made = Hook(number, family, hook_number(family, hook.upper()), priority,
                    Verdict(VerdictKind[verdict.upper()], number_of(errno), queue, bypass), ifindex, cookie)
        host.module.add_hook(made)
        registered = RegisteredHook(name or f"{hook.lower()}-{priority}-{number}", number, host.module)
        self._labels[number] = registered.name
        return registered

    def hooks(self, host: Host, pf: str, hook: str, *, device: str | None = None) -> list[LiveSlot]:
        """The live array of a hook point. :raises HookRefused: the kernel has no such point"""
        family = Family[pf.upper()]
        return host.module.slots(family, hook_number(family, hook.upper()), self._index(host, device) if device else 0)

    @staticmethod
    def _index(host: Host, device: str) -> int:
        with host.routes() as routes:
            return int(routes.link_lookup(ifname=device)[0])

    def nft(self, ruleset: str, at: Host | None = None) -> None:
        """Load a ruleset; its base chains show up in walks as ``table chain``.

        :param at: by default the router, host or bridge of the network that was made last
        :raises UserError: nft does not take it
        """
        load((at or self._networks[-1].main).namespace, ruleset)

    def send(self, host: Host, packet: Packet, *, device: str | None = None, cookie: int | None = None) -> Walk:
        """Send a scapy packet and see where it goes.

        An IP packet is routed like a local one; a frame (``Ether``) leaves by *device*. A source address that is not given is the host's.
        Where a datagram is meant to end, a socket takes it.

        :param cookie: to carry; one of its own by default
        :raises Inconclusive: the tracer lost something
        """
        if self._sender is None:
            self._sender = self._stack.enter_context(Sender(self._armed()))
        walk = self._sender.send(host, packet, self._hosts, self._labels, device=device, cookie=cookie)
        self._sent += [walk.outcome, *(answer.outcome for answer in walk.answers)]
        return walk

    @contextmanager
    def trace(self) -> Iterator[list[Walk]]:
        """Trace a block; the walks of all packets are in the list when it has ended. :raises Inconclusive: the tracer lost something"""
        walks: list[Walk] = []
        with traced(self._armed(), self._hosts, self._labels, walks):
            yield walks

    def _armed(self) -> Capture:
        if self._capture is None:
            self._capture = self._stack.enter_context(Capture(tracer()))
        return self._capture

    def expect_splat(self, pattern: str, *, harmless: bool = False) -> AbstractContextManager[None]:
        """The kernel must complain during the block, in words that match: if it does not, the test fails; other complaints fail it too.

        :param pattern: a regular expression, searched in the message and in the line that names the splat
        :param harmless: the kernel is none the worse and may serve other tests; by default they get a new one
        """
        return self._watch.expecting(pattern, harmless=harmless)

