"""Registration and unregistration in namespaces: lines 266 to 501 of ``net/netfilter/core.c``.

What newer kernels added to the file quoted says since when: INET ingress (5.10), NETDEV egress (5.16).
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.model.entries import (
    Allocator,
    Books,
    hooks_validate,
    nf_hook_entries_grow,
    nf_hook_entries_try_shrink,
    nf_remove_net_hook,
    plenty,
)
from harness.model.structures import (
    ARRAY_SIZE,
    NET_DEVICE_HOOKS,
    NETDEV_EGRESS,
    NETDEV_INGRESS,
    Entries,
    Head,
    HookOps,
    Net,
    NetDevice,
    QueueHandler,
    Warnings,
)
from harness.netfilter import Family
from harness.outcome.facts import NO_PROC
from harness.outcome.profile import KernelProfile

__all__ = ("NF_INET_INGRESS", "Core")

NF_INET_INGRESS = 5
def _static_key(pf: Family, hooknum: int) -> tuple[Family, int]:
    """Since 5.10 ``nf_static_key_inc``: INET ingress counts as NETDEV ingress, whose array it is in."""
    return (Family.NETDEV, NETDEV_INGRESS) if pf is Family.INET else (pf, hooknum)


@dataclass(slots=True)
class Core:
    """What core.c keeps for all namespaces, and what it is built with.

    :param nf_hooks_needed: the static keys, l.38: registrations at each (pf, hooknum) of all namespaces
    :param warnings: splats so far
    :param nf_queue_handler: who takes queued packets; ``None``: nobody
    :param proc: namespaces that have a ``/proc/net/netfilter``
    :param books: of the arrays
    :param queues_needed: ``ingress_needed_key`` and ``egress_needed_key`` (net/core/dev.c): registrations at a device's point
    :param log: what it printed, but for warnings
    """

    profile: KernelProfile = field(default_factory=KernelProfile)
    alloc: Allocator = plenty
    nf_hooks_needed: Counter[tuple[Family, int]] = field(default_factory=Counter)
    warnings: Warnings = field(default_factory=list)
    nf_queue_handler: QueueHandler | None = None
    proc: set[Net] = field(default_factory=set)
    books: Books = field(default_factory=Books)
    queues_needed: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)

    def netfilter_net_init(self, name: str, *, first: bool = False) -> Net | int:
        """``netfilter_net_init``, l.617-643: every head NULL, and a ``/proc/net/netfilter`` of the namespace's own, or an errno.

        :param first: it is ``init_net``, of which nothing is printed
        """
        net = Net(name, first)
        if not self.alloc(1):
            if not first:
                self.log.append(NO_PROC)
            return -errno.ENOMEM
        self.proc.add(net)
        return net

    def netfilter_net_exit(self, net: Net) -> None:
        """``netfilter_net_exit``, l.645-648. The owners of the namespace's hooks have unregistered them before."""
        self.proc.discard(net)

    def nf_hook_entry_head(self, net: Net, pf: Family, hooknum: int, dev: NetDevice | None) -> Head | None:
        """``nf_hook_entry_head``, l.266-312: the head of a hook point; ``None``, with a splat, if there is no such point."""
        if pf in ARRAY_SIZE and pf in self.profile.families:
            if hooknum < len(net.hooks[pf]):
                return net.hooks[pf][hooknum]
        elif pf in (Family.NETDEV, Family.INET) and dev is not None and dev.net is net:
            if pf is Family.INET:  # since 5.10: shares the device's ingress array
                return dev.hooks[NETDEV_INGRESS] if hooknum == NF_INET_INGRESS else None
            if hooknum in dev.hooks:
                return dev.hooks[hooknum]
        self.warnings.append("nf_hook_entry_head")
        return None

    def _refused(self, net: Net, pf: Family, reg: HookOps) -> int:
        """The checks of ``__nf_register_net_hook``, l.320-328, that come before the head is looked for."""
        if (pf is Family.INET or (pf is Family.NETDEV and reg.hooknum == NETDEV_INGRESS)) and Family.NETDEV not in self.profile.families:
            return -errno.EOPNOTSUPP  # without CONFIG_NETFILTER_INGRESS
        if pf is Family.NETDEV:
            if reg.hooknum == NETDEV_EGRESS and not self.profile.netdev_egress:
                return -self.profile.netdev_egress_errno
            if reg.hooknum not in NET_DEVICE_HOOKS or reg.device is None or reg.device.net is not net:
                return -errno.EINVAL
        if pf is Family.INET:
            if not self.profile.inet_ingress:
                return -errno.EINVAL
            if reg.hooknum != NF_INET_INGRESS or reg.device is None or reg.device.net is not net:
                return -errno.EINVAL
        return 0

    def _register(self, net: Net, pf: Family, reg: HookOps) -> int:
        """``__nf_register_net_hook``, l.314-357.

        :returns: 0, -EINVAL, -EOPNOTSUPP, -E2BIG, -ENOMEM
        """
        err = self._refused(net, pf, reg)
        if err < 0:
            return err
        pp = self.nf_hook_entry_head(net, pf, reg.hooknum, reg.device)
        if pp is None:
            return -errno.EINVAL
        p = pp.entries
        new_hooks = nf_hook_entries_grow(p, reg, self.alloc)
        if isinstance(new_hooks, int):
            return new_hooks
        pp.entries = new_hooks
        hooks_validate(new_hooks, self.warnings)
        self._needed(pf, reg.hooknum, 1)
        self.books.took_place(p, new_hooks)
        return 0

    def _needed(self, pf: Family, hooknum: int, more: int) -> None:
        """``net_inc_ingress_queue``, since 5.16 ``net_inc_egress_queue``, the static key; or down again."""
        point = _static_key(pf, hooknum)
        if point[0] is Family.NETDEV:
            self.queues_needed["ingress_needed_key" if point[1] == NETDEV_INGRESS else "egress_needed_key"] += more
        self.nf_hooks_needed[point] += more

    def _unregister(self, net: Net, pf: Family, reg: HookOps) -> None:
        """``__nf_unregister_net_hook``, l.386-423: cannot fail; without memory a dummy stays behind."""
        pp = self.nf_hook_entry_head(net, pf, reg.hooknum, reg.device)
        if pp is None:
            return
        p: Entries | None = pp.entries
        if p is None:
            self.warnings.append("__nf_unregister_net_hook")
            return
        if nf_remove_net_hook(p, reg):
            self._needed(pf, reg.hooknum, -1)
        else:
            self.warnings.append(f"hook not found, pf {pf:d} num {reg.hooknum}")
        if nf_hook_entries_try_shrink(p, pp, self.alloc, self.warnings) is not None:
            self.nf_queue_nf_hook_drop(net)
            self.books.took_place(p, pp.entries)

    def nf_queue_nf_hook_drop(self, net: Net) -> None:
        """``nf_queue_nf_hook_drop``: packets hold slots of arrays by their number."""
        if self.nf_queue_handler is not None:
            self.nf_queue_handler.nf_hook_drop(net)

    def nf_register_net_hook(self, net: Net, reg: HookOps) -> int:
        """``nf_register_net_hook``, l.449-470: INET means IPV4 and IPV6, both or neither; since 5.10 INET ingress is a device's."""
        if reg.pf is not Family.INET or reg.hooknum == NF_INET_INGRESS:
            return self._register(net, reg.pf, reg)
        err = self._register(net, Family.IPV4, reg)
        if err < 0:
            return err
        err = self._register(net, Family.IPV6, reg)
        if err < 0:
            self._unregister(net, Family.IPV4, reg)
        return err

    def nf_unregister_net_hook(self, net: Net, reg: HookOps) -> None:
        """``nf_unregister_net_hook``, l.425-433."""
        if reg.pf is not Family.INET or reg.hooknum == NF_INET_INGRESS:
            self._unregister(net, reg.pf, reg)
        else:
            self._unregister(net, Family.IPV4, reg)
            self._unregister(net, Family.IPV6, reg)

    def nf_register_net_hooks(self, net: Net, reg: Sequence[HookOps]) -> int:
        """``nf_register_net_hooks``, l.473-490: all of them, or none and the errno of the one that failed."""
        for i, ops in enumerate(reg):
            err = self.nf_register_net_hook(net, ops)
            if err:
                self.nf_unregister_net_hooks(net, reg[:i])
                return err
        return 0

    def nf_unregister_net_hooks(self, net: Net, reg: Sequence[HookOps]) -> None:
        """``nf_unregister_net_hooks``, l.493-500."""
        for ops in reg:
            self.nf_unregister_net_hook(net, ops)
