"""Probing the running kernel's hook core where kernels differ: by asking it, in its own namespace."""

from __future__ import annotations

import errno
import json
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from harness.errors import GuestError
from harness.guest import bpf, conntrack, netns, raw
from harness.guest.health import KernelLog, warn_again
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.nfnetlink_hook import HookList
from harness.guest.queue import Listener, queues
from harness.guest.topology import br_netfilter, built, has_gro
from harness.guest.traffic import Sinks, payload, send_udp
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome.profile import KernelProfile
from harness.scenario.steps.bpf import BpfLink
from harness.scenario.steps.conntrack import KERNEL_MODULES
from harness.scenario.steps.queue import Listen
from harness.scenario.topology import PAIR
from harness.trace.btf import Btf
from harness.trace.symbols import Symbols

__all__ = ("probed", "tell")

_ACCEPT = Verdict(VerdictKind.ACCEPT)
_LOOPBACK_INDEX = 1
_SEGMENT, _SECONDS = 64, 10
_QUEUE = 7
_PROBE_ERRNO = errno.EHOSTUNREACH
_CTNETLINK = "nf_conntrack_netlink"


def tell() -> None:
    """Print as JSON what :func:`probed` finds."""
    print(json.dumps(probed()))


def probed() -> dict[str, Any]:
    """The kernel's profile, as JSON has it, and the first line of each warning that the probing has provoked.

    The caller's process should end soon after: it has been about.
    """
    with KernelLog() as log:
        found = _probe()
        return {"profile": found.to_json(), "provoked": [splat.first_line for splat in log.splats()]}


def _probe() -> KernelProfile:
    """What the kernel does where kernels differ. A probe that fails costs its own fields: that too is what the kernel does."""
    with _namespace() as namespace, HookModule(namespace) as module:
        symbols = Symbols()
        found: dict[str, Any] = {"release": platform.release()}
        failed = []
        for name, ask in _probes(module, namespace, symbols).items():
            try:
                answer = ask()
            except (GuestError, OSError) as error:
                failed.append(f"{name}: {error}")
                module.flush()
                continue
            found |= answer if isinstance(answer, dict) else {name: answer}
        return KernelProfile(**found, unprobed=tuple(failed))


def _probes(module: HookModule, namespace: netns.Namespace, symbols: Symbols) -> dict[str, Callable[[], Any]]:
    """Field → how it is found out; one that finds out several fields returns them by name."""
    return {
        "families": lambda: tuple(family for family in Family if _has_family(module, family)),
        "stolen_errno": lambda: _stolen_errno(module, namespace),
        "inet_ingress": lambda: _errno_of(module, Family.INET, "INGRESS", _LOOPBACK_INDEX) == 0,
        "netdev_egress": lambda: _egress(module),
        "unknown_verdict_warns": lambda: _unknown_verdict_warns(module),
        "failing_allocations": lambda: _failing_allocations(module),
        "reinject_warns": lambda: _reinject_warns(module, namespace),
        "hook_list": lambda: _hook_list(namespace),
        "bpf_link": lambda: _bpf_link(namespace),
        "static_keys": lambda: _static_keys(module),
        "hooks_validated": lambda: _hooks_validated(module),
        "orphans_warn": lambda: conntrack.orphans_warn(symbols),
        "br_netfilter": _has_br_netfilter,
        "veth_gro": lambda: _devices(namespace),
        "veth_udp_gso": _veth_udp_gso,
        "conntrack_module": lambda: all(map(conntrack.is_module, KERNEL_MODULES)),
        "conntrack_builtin": lambda: tuple(filter(conntrack.is_builtin, KERNEL_MODULES)),
        "conntrack_glue": lambda: _conntrack_glue(symbols),
        "ip_ct_attach": lambda: bool(symbols.named("ip_ct_attach")),
        "drop_reasons": lambda: "SKB_DROP_REASON_NETFILTER_DROP" in Btf.of_running_kernel().enumerators("skb_drop_reason").values(),
        "ct_closing": lambda: bool(symbols.named("nf_ct_set_closing")),
        "redirect": lambda: all(map(conntrack.is_available, ("nft_redir", "nft_chain_nat"))),
        "tee": lambda: conntrack.is_available("nft_dup_ipv4"),
        "duplicated_per_cpu": lambda: bool(symbols.named("nf_skb_duplicated")),
    }


@contextmanager
def _namespace() -> Iterator[netns.Namespace]:
    from pyroute2 import IPRoute  # noqa: PLC0415 - seconds in an emulated guest

    namespace = netns.create(f"nfh{os.getpid()}-probe")
    try:
        with namespace.inside(), IPRoute() as routes:
            routes.link("set", index=_LOOPBACK_INDEX, state="up")
        yield namespace
    finally:
        namespace.delete()


def _has_family(module: HookModule, family: Family) -> bool:
    if family is Family.NETDEV:
        return _errno_of(module, family, "INGRESS", _LOOPBACK_INDEX) == 0
    return _errno_of(module, family, "INPUT", 0) == 0


def _errno_of(module: HookModule, family: Family, hook: str, ifindex: int) -> int:
    """Register and unregister a hook; the errno of the attempt, 0 if it was taken."""
    try:
        module.add_hook(Hook(1, family, hook_number(family, hook), 0, _ACCEPT, ifindex))
    except HookRefused as refusal:
        return refusal.errno or 0
    module.del_hook(1)
    return 0


def _egress(module: HookModule) -> dict[str, bool | int]:
    """Whether a hook may sit at EGRESS, whose answer is core's as the module lets it through; without it the errno."""
    try:
        module.add_batch([Hook(1, Family.NETDEV, hook_number(Family.NETDEV, "EGRESS"), 0, _ACCEPT, _LOOPBACK_INDEX, unchecked=True)])
    except HookRefused as refusal:
        return {"netdev_egress": False, "netdev_egress_errno": refusal.errno or 0}
    module.del_hook(1)
    return {"netdev_egress": True}


def _stolen_errno(module: HookModule, namespace: netns.Namespace) -> bool:
    """Whether ``sendto()`` fails if a STOLEN at OUTPUT carries an errno: whether ``nf_hook_slow`` returns one."""
    verdict = Verdict(VerdictKind.STOLEN, errno=_PROBE_ERRNO)
    module.add_hook(Hook(1, Family.IPV4, hook_number(Family.IPV4, "OUTPUT"), 0, verdict))
    try:
        sent = send_udp(namespace, "127.0.0.1", 9, b"probe")
    finally:
        module.del_hook(1)
    return sent != 0


def _static_keys(module: HookModule) -> bool:
    try:
        module.keys()
    except HookRefused:
        return False
    return True


def _hooks_validated(module: HookModule) -> bool:
    """Whether the kernel looks at an array's order when it has made one."""
    for number in (1, 2):
        raw.insert(module, raw.RawHook(number, 1, 0, VerdictKind.ACCEPT))
    raw.alter(module, 2, 1)  # the newest comes first
    warn_again()
    with KernelLog() as log:
        raw.insert(module, raw.RawHook(3, 1, 2, VerdictKind.ACCEPT))
        warned = bool(log.splats())
    for number in (2, 1, 3):
        raw.delete(module, number)
    return warned


def _failing_allocations(module: HookModule) -> bool:
    """Whether a registration can be made to find no memory: it is refused then. With which errno is for the rules to say."""
    try:
        module.fail_netns(True)
        module.fail_netns(False)
        module.fail_next(0)
    except HookRefused:
        return False
    return _errno_of(module, Family.IPV4, "INPUT", 0) != 0


def _conntrack_glue(symbols: Symbols) -> bool:
    """Whether nf_conntrack_netlink sets core's ``nfnl_ct_hook``; what it takes to see that is unloaded again."""
    before = conntrack.loaded()
    if not conntrack.is_available(_CTNETLINK):
        return False
    conntrack.load(_CTNETLINK)
    try:
        return conntrack.pointers(symbols)["nfnl_ct_hook"]
    finally:
        if _CTNETLINK in conntrack.loaded() and _CTNETLINK not in before:
            conntrack.unload(_CTNETLINK)


def _reinject_warns(module: HookModule, namespace: netns.Namespace) -> str:
    """Where the kernel warns when a hook goes whose packet waits, if it does."""
    with Listener(namespace, Listen(namespace.name, _QUEUE)):
        module.add_hook(Hook(1, Family.IPV4, hook_number(Family.IPV4, "OUTPUT"), 0, Verdict(VerdictKind.QUEUE, queue=_QUEUE)))
        send_udp(namespace, "127.0.0.1", 9, b"probe")
        waited = dict(queues(namespace))[_QUEUE].total
        warn_again()
        with KernelLog() as log:
            module.del_hook(1)
            found = log.splats()
    if waited != 1:
        raise GuestError(f"{waited} packets waited for a listener, not the one that was queued")
    return found[0].summary if found else ""


def _hook_list(namespace: netns.Namespace) -> bool:
    """Whether ``nfnetlink_hook`` is there."""
    with closing(HookList(namespace)) as hooks:
        return hooks.available()


def _bpf_link(namespace: netns.Namespace) -> bool:
    """Whether a program can be a hook."""
    try:
        os.close(bpf.link(namespace, BpfLink("probe", "", Family.IPV4, "INPUT")))
    except OSError:
        return False
    return True


def _devices(namespace: netns.Namespace) -> dict[str, bool]:
    """What devices the kernel makes, and whether a veth begins without GRO: where it is on from the start, it means nothing, as packets
    do not come by NAPI. The devices go with their namespace."""
    from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415 - seconds in an emulated guest

    with namespace.inside(), IPRoute() as routes:
        def made(**device: str | int) -> bool:
            try:
                routes.link("add", **device)
            except NetlinkError:
                return False
            return True

        routes.link("add", kind="veth", ifname="veth", peer={"ifname": "peer"})
        return {"bridge": made(ifname="bridge", kind="bridge"),
                "vlan": made(ifname="vlan", kind="vlan", link=routes.link_lookup(ifname="veth")[0], vlan_id=1),
                "veth_gro": not has_gro("veth")}


def _veth_udp_gso() -> bool:
    """How many packets come out of a veth pair of two segments that were sent as one."""
    with built(PAIR) as network, HookModule(network.namespaces["host"]) as module, Sinks() as sinks:
        sinks.add_udp(network.namespaces["host"], socket.AF_INET, 9)
        module.add_hook(Hook(1, Family.IPV4, hook_number(Family.IPV4, "PREROUTING"), 0, _ACCEPT))
        send_udp(network.namespaces["peer"], "10.0.0.1", 9, payload(2 * _SEGMENT, 1), segment=_SEGMENT)
        deadline = time.monotonic() + _SECONDS
        while len(sinks.wait((1,), _SECONDS)) < 2:
            if time.monotonic() > deadline:
                raise GuestError(f"two segments through a veth pair did not arrive within {_SECONDS} s")
        return module.hook(1).calls == 1


def _has_br_netfilter() -> bool:
    try:
        with br_netfilter():
            return True
    except GuestError:
        return False


def _unknown_verdict_warns(module: HookModule) -> bool:
    """Whether ``nf_hook_slow`` warns of a REPEAT, which it has no case for."""
    raw.insert(module, raw.RawHook(1, 1, 0, VerdictKind.REPEAT))
    warn_again()
    with KernelLog() as log:
        raw.run(module, 1)
        warned = bool(log.splats())
    raw.delete(module, 1)
    return warned
