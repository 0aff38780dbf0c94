"""Probing the running kernel's hook core where kernels differ: by asking it, in a namespace of its own."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import closing, contextmanager

from harness.guest import netns, raw
from harness.guest.health import KernelLog, warn_again
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.nfnetlink_hook import HookList
from harness.guest.traffic import send_udp
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome.profile import KernelProfile

__all__ = ("probe",)

_ACCEPT = Verdict(VerdictKind.ACCEPT)
_LOOPBACK_INDEX = 1
_PROBE_ERRNO = errno.EHOSTUNREACH


def probe() -> KernelProfile:
    """Register hooks at each kind of point, and let one steal a packet. The caller's process should end soon after: it has been about."""
    with _namespace() as namespace, HookModule(namespace) as module:
        families = tuple(family for family in Family if _has_family(module, family))
        egress = _errno_of(module, Family.NETDEV, "EGRESS", _LOOPBACK_INDEX)
        return KernelProfile(
            release=platform.release(),
            families=families,
            stolen_errno=_stolen_errno(module, namespace),
            inet_ingress=_errno_of(module, Family.INET, "INGRESS", _LOOPBACK_INDEX) == 0,
            netdev_egress=egress == 0,
            netdev_egress_errno=egress or KernelProfile().netdev_egress_errno,
            unknown_verdict_warns=_unknown_verdict_warns(module),
            failing_allocations=_failing_allocations(module),
            hook_list=_hook_list(namespace),
        )


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


def _stolen_errno(module: HookModule, namespace: netns.Namespace) -> bool:
    """Whether ``sendto()`` sees the errno that a STOLEN at OUTPUT carries: whether ``nf_hook_slow`` returns it."""
    verdict = Verdict(VerdictKind.STOLEN, errno=_PROBE_ERRNO)
    module.add_hook(Hook(1, Family.IPV4, hook_number(Family.IPV4, "OUTPUT"), 0, verdict))
    try:
        sent = send_udp(namespace, "127.0.0.1", 9, b"probe")
    finally:
        module.del_hook(1)
    return sent == _PROBE_ERRNO


def _failing_allocations(module: HookModule) -> bool:
    """Whether a registration can be made to find no memory."""
    try:
        module.fail_next(0)
    except HookRefused:
        return False
    return _errno_of(module, Family.IPV4, "INPUT", 0) == errno.ENOMEM


def _hook_list(namespace: netns.Namespace) -> bool:
    """Whether ``nfnetlink_hook`` is there."""
    with closing(HookList(namespace)) as hooks:
        return hooks.available()


def _unknown_verdict_warns(module: HookModule) -> bool:
    """Whether ``nf_hook_slow`` warns of a REPEAT, which it has no case for."""
    raw.insert(module, raw.RawHook(1, 1, 0, VerdictKind.REPEAT))
    warn_again()
    with KernelLog() as log:
        raw.run(module, 1)
        warned = bool(log.splats())
    raw.delete(module, 1)
    return warned
