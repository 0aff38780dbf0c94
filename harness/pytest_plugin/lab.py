"""The fixture ``lab``: everything that a test builds in its kernel, and takes away again."""

from __future__ import annotations

import errno
import itertools
import math
import os
import re
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import pytest

from harness.errors import Inconclusive
from harness.guest.module import Hook, HookModule, LiveSlot
from harness.guest.softirq import softirqs_first
from harness.guest.tracing import tracer
from harness.guest.traffic import Sinks, family_of
from harness.netfilter import HOOK_POINTS, PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind, hook_number
from harness.outcome import Outcome
from harness.pytest_plugin import networks
from harness.pytest_plugin.chains import load
from harness.pytest_plugin.connecting import TcpConnection, connection_of, exchanged
from harness.pytest_plugin.flooding import ROOM, Flood, flooded
from harness.pytest_plugin.guest.comparing import WALKED
from harness.pytest_plugin.guest.watch import SEEN, SENT, Watch
from harness.pytest_plugin.kernel import RunningKernel
from harness.pytest_plugin.listening import QueueListener, QueueVerdict, listening, settle_queues
from harness.pytest_plugin.mistakes import Mistake, chosen, errno_number, number, of_kind, retold, text
from harness.pytest_plugin.modules import LoadedModule, loaded
from harness.pytest_plugin.networks import Bridge, Host, Network, Pair, Router
from harness.pytest_plugin.sending import Sender, check_packet, close_sinks, cookies, open_sinks, traced
from harness.pytest_plugin.walks import Walk
from harness.scenario.addresses import ip_address
from harness.scenario.reader import quote
from harness.scenario.steps.packets import COOKIE_BYTES
from harness.scenario.topologies import check_netns_name, check_topology
from harness.scenario.topology import PAIR, ROUTER, Link, Topology, VethEnd
from harness.trace.capture import Capture

if TYPE_CHECKING:
    from scapy.packet import Packet

__all__ = ("Lab", "RegisteredHook")

_Kind = TypeVar("_Kind", bound=Network)
_numbers = itertools.count(1)
_FAMILIES = {family.name: family for family in HOOK_POINTS}
_NUMBERED, _COOKIE_MAX = re.compile(r"HOOK\d{1,9}", re.IGNORECASE), (1 << 64) - 1
#: Where a rule leads packets: ``dnat to 10.0.2.2:53``, ``redirect to :53``, ``tproxy to :53``.
_LED = re.compile(r"\b(dnat|redirect|tproxy)\b[^;}\n]*:(\d{1,5})\b")
_PORT_MAX, _DATAGRAM_MAX, _FLOOD_MAX, _FLOWS_MAX = 0xFFFF, 65507, 1_000_000, 500
#: What a hook of nfharness.ko may answer: REPEAT would not end, and STOP is the queue's affair.
_VERDICTS = {kind.name: kind for kind in (VerdictKind.ACCEPT, VerdictKind.DROP, VerdictKind.STOLEN, VerdictKind.QUEUE)}
#: Families whose packets ``nf_reinject`` finds its way back for.
_QUEUEING = (Family.IPV4, Family.IPV6, Family.BRIDGE, Family.INET)


@dataclass(frozen=True, slots=True)
class RegisteredHook:
    """A hook of the lab's.

    :param name: as walks have it
    """

    name: str
    number: int
    module: HookModule

    @property
    def calls(self) -> int:
        """How often it was called.

        :raises Mistake: it is gone
        """
        with self._there():
            return self.module.hook(self.number).calls

    def remove(self) -> None:
        """``nf_unregister_net_hook``.

        :raises Mistake: it is gone
        """
        with self._there():
            self.module.del_hook(self.number)

    @contextmanager
    def _there(self) -> Iterator[None]:
        try:
            yield
        except OSError as refusal:  # the module's refusal, or the socket to it is closed
            if refusal.errno not in (errno.ENOENT, errno.EBADF):
                raise
            raise Mistake(f"the hook {self.name} is gone", hint="it goes with remove(), its device, its namespace, or its test") from None


class Lab:
    """Namespaces, hooks, rulesets, traffic and the tracer of one test. What makes no sense is a :class:`Mistake`, which says what would.

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
        self._sinks = self._stack.enter_context(Sinks())
        self._sender: Sender | None = None
        self._led: dict[int, bool] = {}
        self._listeners: list[QueueListener] = []
        self._capture: Capture | None = None
        self._tracing = False
        self._sent = item.stash.setdefault(SENT, [])
        self._walked = item.stash.setdefault(WALKED, [])
        self._all: list[Outcome] | None = item.stash.setdefault(SEEN, []) if item.config.getoption("trace_all") else None
        self._between = ExitStack()
        self._is_over = False

    def __enter__(self) -> Lab:
        self._go_on()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over = True
        try:
            self._between.close()
        finally:
            self._stack.close()

    def _check_is_on(self) -> None:
        """Refuse to build, or to trace, what nobody would take away again.

        :raises Mistake: the lab's test has ended
        """
        if self._is_over:
            raise Mistake("this lab's test is over", hint="each test has a lab: have it passed to the test, or to a fixture of the test's")

    def _go_on(self) -> None:
        """Trace on until a packet or a block is to be traced by itself, if all packets are kept. A loss is no failure of the test then."""
        if self._all is not None and not self._is_over:
            self._between.enter_context(suppress(Inconclusive))
            self._between.enter_context(traced(self._armed(), self._hosts, self._labels, [], self._all))

    @contextmanager
    def _by_itself(self) -> Iterator[None]:
        self._between.close()
        try:
            yield
        finally:
            self._go_on()

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

    def vlan(self, vlan: int = 10) -> Pair:
        """``peer`` (10.0.0.2) - ``host`` (10.0.0.1), their addresses on ``eth0.VLAN`` (IEEE 802.1Q)."""
        number("the VLAN's number", vlan, 1, 4094)
        bare = Topology("vlan", ("peer", "host"), links=(Link(VethEnd("peer", "eth0"), VethEnd("host", "eth0")),))
        made = self._made(Pair, bare, "host")
        for host, address in ((made.peer, "10.0.0.2/24"), (made.host, "10.0.0.1/24")):
            networks.add_vlan(host, vlan, (address,))
        return made

    def network(self, topology: Topology, *, main: str | None = None) -> Network:
        """A topology that the test describes: namespaces and veth pairs, as a scenario has them.

        :param main: the host that a ruleset without a host is for; the first by default
        :raises GuestError: it does not come up
        """
        of_kind("the topology", topology, Topology, "Topology(name, namespaces, links=(Link(End(…), End(…)),))")
        with retold(f"topology {topology.name}"):
            check_topology(topology)
        names = {name: name for name in topology.namespaces}
        return self._made(Network, topology, chosen("namespace", main, names) if main else topology.namespaces[0])

    def _made(self, kind: type[_Kind], topology: Topology, main: str) -> _Kind:
        self._check_is_on()
        for name in topology.namespaces:
            self._check_is_new(name)
        _, hosts = networks.network_of(self._stack, topology)
        made = kind(hosts, hosts[main])
        self._networks.append(made)
        self._hosts |= {host.namespace.name: host for host in hosts.values()}
        return made

    def module(self, name: str, **parameters: object) -> LoadedModule:
        """Load a module that the setting ``kernel_modules`` has built for this kernel; it is unloaded after the test.

        :param name: without ``.ko``
        :param parameters: the module's own
        :raises Mistake: there is no such module, the kernel refuses it, or it cannot be unloaded in the end
        """
        self._check_is_on()
        module = loaded(text("the module's name", name, "the name of a .ko file"), parameters)
        self._stack.callback(module.unload)
        return module

    def namespace(self, name: str) -> Host:
        """An empty namespace, to be filled with pyroute2 (:meth:`Host.routes`)."""
        self._check_is_on()
        with retold("namespace"):
            check_netns_name(text("the name", name, '"lone"'), "name")
        self._check_is_new(name)
        host = networks.fresh_namespace(self._stack, f"lab{os.getpid()}-{next(_numbers)}", name)
        self._hosts[host.namespace.name] = host
        return host

    def _check_is_new(self, name: str) -> None:
        if any(host.name == name for host in self._hosts.values()):
            raise Mistake(f"the lab has a host {quote(name)} already", hint="walks name hosts: network(Topology(…)) has other names")

    def hook(self, host: Host, pf: str, hook: str, *, priority: int = 0, verdict: str = "ACCEPT", errno: int | str = 0, queue: int = 0,
             bypass: bool = False, device: str | None = None, cookie: int | None = None, name: str | None = None) -> RegisteredHook:
        """Register a hook of ``nfharness.ko``.

        :param pf: ``"ipv4"``, ``"ipv6"``, ``"inet"``, ``"arp"``, ``"bridge"``, ``"netdev"``
        :param hook: ``"PREROUTING"`` … ``"INGRESS"``
        :param errno: that DROP or STOLEN carries, as a number or by its name
        :param queue: number, for QUEUE
        :param bypass: let the packet go on if nobody listens
        :param device: for ``netdev``, and INET's INGRESS
        :param cookie: only the packet that carries it gets the verdict (:meth:`send`); others are accepted
        :param name: as walks have it
        :raises HookRefused: the kernel refuses it: EINVAL, EOPNOTSUPP, EBUSY …
        """
        family, point, ifindex = self._point(host, pf, hook, device)
        says = Verdict(chosen("verdict", verdict, _VERDICTS), errno_number(errno), number("the queue", queue, 0, 0xFFFF), bypass)
        _check_verdict(says, family, f"{family.name} {hook.upper()}", of_device=device is not None)
        number("the priority", priority, PRIORITY_MIN, PRIORITY_MAX)
        if cookie is not None:
            number("the cookie", cookie, 0, _COOKIE_MAX)
        if name is not None and not of_kind("the name", name, str, 'name="mine"').isprintable():
            raise Mistake(f"the name is {quote(name)}", hint="printable characters, as walks show it")
        made = Hook(next(_numbers), family, point, priority, says, ifindex, cookie)
        host.module.add_hook(made)
        registered = RegisteredHook(name or f"{hook.lower()}-{priority}-{made.id}", made.id, host.module)
        self._labels[made.id] = registered.name
        return registered

    def hooks(self, host: Host, pf: str, hook: str, *, device: str | None = None) -> list[LiveSlot]:
        """The live array of a hook point.

        :raises HookRefused: the kernel has no such point
        """
        return host.module.slots(*self._point(host, pf, hook, device))

    def _point(self, host: Host, pf: str, hook: str, device: str | None) -> tuple[Family, int, int]:
        """Family, hook number and ifindex.

        :raises Mistake: there is no such point
        """
        self._own(host)
        family = chosen("family", pf, _FAMILIES)
        point = hook_number(family, hook.upper()) if _NUMBERED.fullmatch(str(hook)) else chosen(
            f"hook point of {family.name.lower()}", hook, HOOK_POINTS[family])
        with host.inside():
            devices = {name: index for index, name in socket.if_nameindex()}
        if device is None:
            if _has_device(family, hook):
                raise Mistake(f"device= is missing: each device has a separate {family.name} {hook.upper()}",
                              hint=f"devices of {host}: {', '.join(devices)}")
            return family, point, 0
        index = chosen(f"device of {host}", device, devices)
        if not _has_device(family, hook) and not _NUMBERED.fullmatch(hook):
            raise Mistake(f"{family.name} {hook.upper()} is no device's",
                          hint="only hook points of netdev, and INGRESS of inet, have a device=")
        return family, point, index

    def _own(self, host: object) -> Host:
        """The host.

        :raises Mistake: what is given is no host, or one of a test that has ended
        """
        self._check_is_on()
        found = of_kind("the host", host, Host, f"hosts, as in net.host: {', '.join(map(str, self._hosts.values())) or 'none yet'}")
        found.check_is_there()
        return found

    def nft(self, ruleset: str, at: Host | None = None) -> None:
        """Load a ruleset; its base chains show up in walks as ``table chain``.

        :param at: by default the router, host or bridge of the network that was made last
        :raises UserError: nft does not take it
        """
        if at is None and not self._networks:
            raise Mistake("there is no network to load the ruleset in", hint="make one before, or name a host: nft(…, at=host)")
        text("the ruleset", ruleset, '"table inet t { … }", as nft -f reads it')
        self._led.update((int(port), how == "tproxy") for how, port in _LED.findall(ruleset))
        with retold("the ruleset"):
            load(self._own(self._networks[-1].main if at is None else at).namespace, ruleset)

    def send(self, host: Host, packet: Packet, *, device: str | None = None, cookie: int | None = None) -> Walk:
        """Send a scapy packet and see where it goes.

        An IP packet is routed like a local one; a frame (``Ether``) leaves by *device*. A source address that is not given is the host's.
        Where a datagram is meant to end, or a NAT or tproxy rule of :meth:`nft` leads it, a socket takes it unless a server of the test's
        does.

        :param cookie: to carry; by default one that no other packet has
        :raises Inconclusive: the tracer lost something
        """
        self._check_untraced("send() traces its own packet")
        check_packet(self._own(host), packet, device)
        if cookie is not None:
            number("the cookie", cookie, 0, _COOKIE_MAX)
        if self._sender is None:
            self._sender = Sender(self._armed(), self._sinks)
        with self._by_itself():
            walk = self._sender.send(host, packet, self._hosts, self._labels, device=device, cookie=cookie, ports=self._led,
                                     listeners=self._listeners, kept=self._all)
        self._keep(walk, *walk.answers)
        return walk

    def connect(self, client: Host, server: Host | str, port: int, data: bytes = b"", *, answer: bytes = b"", listen: bool = True,
                timeout: float = 1.5) -> TcpConnection:
        """Make a TCP connection, and see where its packets go: the client sends its bytes and closes its direction, the server answers.

        A server of the lab's listens on the port, and on those to which a NAT or tproxy rule of :meth:`nft` leads, on every host where no
        server of the test's does. Of that one only its kernel's acknowledgements are seen.

        :param server: host, at its first address, or an address
        :param data: that the client sends
        :param answer: that the lab's server sends when it has got all
        :param listen: whether servers of the lab's listen; without one, a host refuses the connection
        :param timeout: seconds in which something has to move; then it is given up. A SYN that has no answer is sent again after one second
        :raises Inconclusive: the tracer lost something
        """
        self._check_untraced("connect() traces its own connection")
        address = self._address(self._own(client), server)
        ports = {number("the port", port, 1, _PORT_MAX): False, **self._led} if listen else {}
        of_kind("the data", data, bytes, 'bytes: b"hello"')
        of_kind("the answer", answer, bytes, 'bytes: b"hello"')
        walks: list[Walk] = []
        with self._by_itself(), softirqs_first(), traced(self._armed(), self._hosts, self._labels, walks, self._all):
            seen = exchanged(client, address, port, data=data, answer=answer, servers=dict.fromkeys(self._hosts.values(), ports),
                             timeout=_seconds(timeout), goes_on=self._goes_on)
            settle_queues(self._listeners, self._drain)
        connection = connection_of(seen, walks)
        self._keep(*connection.walks)
        return connection

    def flood(self, client: Host, to: Host | str, packets: int = 1000, *, port: int = 9, size: int = 64, flows: int = 1,
              trace: bool = False, timeout: float = 0.5) -> Flood:
        """Send many datagrams, one after the other, and count those that come.

        Sockets take them as those of :meth:`send`; what a server of the test's takes is not counted.

        :param to: host, at its first address, or an address
        :param size: bytes of payload of each
        :param flows: source ports that take turns
        :param trace: whether the walks are wanted, too; a walk takes the tracer some milliseconds
        :param timeout: seconds in which a datagram has to come; then the rest is lost
        :raises Inconclusive: the tracer lost something, or a socket that takes the datagrams had no room for one
        """
        self._check_untraced("flood() counts packets, and has them traced if it is asked to")
        address = self._address(self._own(client), to)
        numbers = list(itertools.islice(cookies, number("the number of packets", packets, 1, _FLOOD_MAX)))
        number("the size", size, COOKIE_BYTES, _DATAGRAM_MAX)
        number("the number of flows", flows, 1, _FLOWS_MAX)
        ports = {number("the port", port, 1, _PORT_MAX): False, **self._led}
        walks: list[Walk] = []
        with self._by_itself() if trace else nullcontext(), softirqs_first():
            open_sinks(self._sinks, self._hosts, family_of(address), ports, room=ROOM)
            before = self._sinks.overrun
            with traced(self._armed(), self._hosts, self._labels, walks, self._all) if trace else nullcontext():
                flood = flooded(client, address, port, numbers=numbers, size=size, flows=flows, sinks=self._sinks, hosts=self._hosts,
                                timeout=_seconds(timeout), goes_on=self._goes_on)
                settle_queues(self._listeners, self._drain)
            if overrun := self._sinks.overrun - before:
                raise Inconclusive(f"inconclusive: the sockets that take the flood had no room for {overrun} datagrams")
            close_sinks(self._sinks, self._hosts)
        own = set(numbers)
        flood = replace(flood, walks=tuple(walk for walk in walks if walk.outcome.cookie in own and walk.outcome.kind == "udp"))
        self._keep(*flood.walks)
        return flood

    @contextmanager
    def listener(self, host: Host, queue: int = 0, verdict: QueueVerdict = "ACCEPT") -> Iterator[QueueListener]:
        """Listen to an NFQUEUE queue for the time of a block. What is in the queue when the block ends is still answered.

        :param verdict: ``"ACCEPT"``, ``"DROP"`` or ``"STOP"``; ``None`` leaves each packet without an answer, and the kernel drops it
            behind the block; or a function that says one of these, or ``"REPEAT"``, for a scapy packet
        """
        with listening(self._own(host), number("the queue", queue, 0, 0xFFFF), verdict) as listener:
            self._listeners.append(listener)
            try:
                yield listener
            finally:
                self._listeners.remove(listener)

    def _address(self, client: Host, server: Host | str) -> str:
        """The address that a client is to reach.

        :raises Mistake: *server* is no address, and no host that has one
        """
        if isinstance(server, Host):
            if not self._own(server).addresses:
                raise Mistake(f"{server} has no address", hint='give it one (host.routes()), or name one: "10.0.2.2"')
            return server.addresses[0].partition("/")[0]
        hint = f'a host, or an address that {client} is to reach: "10.0.2.2"'
        try:
            return str(ip_address(text("the address", server, hint)))
        except ValueError:
            raise Mistake(f"{quote(server)} is no address", hint=hint) from None

    def _check_untraced(self, what: str) -> None:
        if self._tracing:
            raise Mistake(f"{what}, and the block is traced already",
                          hint="call it outside of trace(), or send by a program of the host's: host.run(…)")

    def _goes_on(self) -> bool:
        """Take what the tracer has, so that its rings do not overrun; whether a listener is still to answer."""
        self._drain()
        return any(listener.is_busy for listener in self._listeners)

    def _drain(self) -> None:
        if self._capture is not None:
            self._capture.drain()

    def _keep(self, *walks: Walk) -> None:
        """Keep walks for what a failure of the test shows."""
        self._sent += [walk.outcome for walk in walks]
        self._walked += walks

    @contextmanager
    def trace(self) -> Iterator[list[Walk]]:
        """Trace a block; the walks of all packets are in the list when it has ended.

        :raises Inconclusive: the tracer lost something
        """
        walks: list[Walk] = []
        self._check_is_on()
        if self._tracing:
            raise Mistake("the block is traced already", hint="one trace() at a time")
        self._tracing = True
        try:
            with self._by_itself(), traced(self._armed(), self._hosts, self._labels, walks, self._all):
                yield walks
        finally:
            self._tracing = False
            self._keep(*walks)

    def _armed(self) -> Capture:
        if self._capture is None:
            self._capture = self._stack.enter_context(Capture(tracer()))
        return self._capture

    def expect_splat(self, pattern: str, *, harmless: bool = False) -> AbstractContextManager[None]:
        """The kernel must complain during the block, in words that match: if it does not, the test fails; other complaints fail it too.

        :param pattern: a regular expression, searched in the message and in the line that names the splat
        :param harmless: the kernel is none the worse and may serve other tests; by default they get a new one
        """
        self._check_is_on()
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise Mistake(f"the pattern {pattern!r} is no regular expression: {error}") from None
        return self._watch.expecting(pattern, harmless=harmless)


def _seconds(timeout: object) -> float:
    """The timeout.

    :raises Mistake: it is no time
    """
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not 0 < timeout < math.inf:
        raise Mistake(f"the timeout is {timeout!r}", hint="seconds, more than 0")
    return timeout


def _has_device(family: Family, hook: str) -> bool:
    """Whether each device has the hook point for itself. One that is asked for by number is left to the kernel."""
    return not _NUMBERED.fullmatch(hook) and (family is Family.NETDEV or (family is Family.INET and hook.upper() == "INGRESS"))


def _check_verdict(verdict: Verdict, family: Family, point: str, *, of_device: bool) -> None:
    """Refuse what the module would.

    :raises Mistake: parts of the verdict do not go together, or not with the hook point
    """
    kind = verdict.kind
    if verdict.errno and kind not in (VerdictKind.DROP, VerdictKind.STOLEN):
        raise Mistake(f"{kind.name} has no errno", hint='only DROP and STOLEN have one: verdict="DROP", errno="EPERM"')
    if kind is not VerdictKind.QUEUE and (verdict.queue or verdict.bypass):
        name = "queue" if verdict.queue else "bypass"
        raise Mistake(f"{kind.name} has no {name}=", hint=f'only QUEUE has one: verdict="QUEUE", {name}=…')
    if kind is VerdictKind.QUEUE and (family not in _QUEUEING or of_device):
        raise Mistake(f"{point} cannot queue: nf_reinject() does not find its way back there",
                      hint="hook points of ipv4, ipv6, bridge, and of inet but INGRESS, can")
