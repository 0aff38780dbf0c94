"""Steps with connection tracking."""

from __future__ import annotations

import errno
from collections import Counter

from harness.model.conntrack import (
    NF_CT_ZONE_DFLT,
    CtHook,
    nf_conntrack_put,
    nf_ct_attach,
    nf_ct_get_tuple_skb,
    nf_ct_set_closing,
    nf_dup_ipv4,
)
from harness.model.path import Packet, Record
from harness.model.run import Run
from harness.model.slow import nf_hook_slow
from harness.model.structures import UNTRACKED, Connection, Context, CtSkb, HookOps, HookState
from harness.netfilter import PRIORITY_MAX, Family, hook_number
from harness.outcome.facts import duplicated, pointers_and_zone, tracked
from harness.outcome.types import StepOutcome
from harness.scenario.steps.conntrack import KERNEL_MODULES, ConntrackTuple, CtRead, CtRun, KernelModule, Tee, Track
from harness.scenario.steps.hooks import Register
from harness.scenario.topology import LOOPBACK

__all__ = ("ct_read", "ct_run", "kernel_module", "tee", "track")

_NF_CONNTRACK_HOOKS = (
    ("PREROUTING", "ipv4_conntrack_in", -200), ("OUTPUT", "ipv4_conntrack_local", -200),
    ("INPUT", "nf_confirm", PRIORITY_MAX), ("POSTROUTING", "nf_confirm", PRIORITY_MAX),
)
"""``ipv4_conntrack_ops`` of a current kernel."""
_TEE_MOST = 16
"""Copies of copies that are enough to say that there is no end to them."""


def kernel_module(run: Run, index: int, step: KernelModule) -> StepOutcome:
    """The hooks that were seen to go, of rulesets and what those needed; nf_conntrack's go with it, whatever was seen."""
    if step.loaded:
        run.tracking.load(step.name)
        return StepOutcome(index)
    run.tracking.unload(step.name)
    outcome = run.adopt(index)
    for net in run.nets.values():
        gone = [ops for heads in net.hooks.values() for head in heads for ops in head.entries or ()
                if ops.module in KERNEL_MODULES and ops.module not in run.tracking.modules]
        for ops in gone:
            run.core.nf_unregister_net_hook(net, ops)
    return outcome


def track(run: Run, index: int, step: Track) -> StepOutcome:
    """The hooks that were seen to come; nf_conntrack's, where nothing was seen."""
    if index in run.oracle.foreign.arrays:
        return run.adopt(index)
    run.tracking.load("nf_conntrack")
    points = tuple(Register("", step.netns, Family.IPV4, hook) for hook, _, _ in _NF_CONNTRACK_HOOKS)
    for hook, function, priority in _NF_CONNTRACK_HOOKS:
        ops = HookOps(run.oracle, function, "nf_conntrack", Family.IPV4, hook_number(Family.IPV4, hook), priority)
        run.core.nf_register_net_hook(run.nets[step.netns], ops)
    return StepOutcome(index, 0, run.arrays_of(points))


def ct_read(run: Run, index: int, _step: CtRead) -> StepOutcome:
    zone = NF_CT_ZONE_DFLT
    return StepOutcome(index, facts=pointers_and_zone(run.tracking.pointers(), (zone.id, zone.flags, zone.dir)))


def ct_run(run: Run, index: int, step: CtRun) -> StepOutcome:
    tracking, calls = run.tracking, Counter[str]()
    if "orphan" in step.own and not run.core.profile.orphans_warn:
        return StepOutcome(index, errno.EOPNOTSUPP)
    if step.close and not run.core.profile.ct_closing:
        return StepOutcome(index, errno.EOPNOTSUPP)
    if step.own and tracking.hook is not None:
        return StepOutcome(index, errno.EBUSY)
    skb, new = CtSkb(step.netns, step.flow), CtSkb(step.netns, step.flow)
    if step.track and not _passes_prerouting(run, skb):
        return StepOutcome(index, errno.ECANCELED)
    if "connection" in step.own:
        skb.nfct, skb.info = Connection(step.netns, step.flow, step.flow.inverted()), "NEW"
    if "untracked" in step.own:
        skb.info = UNTRACKED
    if "hooks" in step.own:
        tracking.nf_ct_hook = _own_hook(calls)
    found = nf_ct_get_tuple_skb(tracking, skb)
    nf_ct_attach(tracking, new, skb)
    if step.close:
        nf_ct_set_closing(tracking, skb.nfct)
        nf_ct_set_closing(tracking, None)
    info, uses = new.info if new.has_nfct else None, skb.nfct.use if skb.nfct else 0
    if tracking.hook is None and "orphan" not in step.own:
        skb.nfct = new.nfct = None  # nobody may destroy it
    nf_conntrack_put(tracking, new)
    early = calls["destroy"]
    nf_conntrack_put(tracking, skb)
    if "orphan" in step.own:
        nf_conntrack_put(tracking, CtSkb(step.netns, step.flow, Connection(step.netns, step.flow, step.flow.inverted()), "NEW"))
    tracking.nf_ct_hook = None
    counted = calls["get_tuple_skb"], calls["attach"], early, calls["destroy"]
    closings = calls["set_closing"] if step.close else None
    return StepOutcome(index, facts=tracked(found, info, uses, counted, tracking.count(step.netns), closings=closings))


def _own_hook(calls: Counter[str]) -> CtHook:
    """nfharness.ko's."""
    def destroy(_nfct: Connection) -> None:
        calls["destroy"] += 1

    def get_tuple_skb(skb: CtSkb) -> ConntrackTuple | None:
        calls["get_tuple_skb"] += 1
        return skb.flow

    def attach(new: CtSkb, skb: CtSkb) -> None:
        calls["attach"] += 1
        new.nfct, new.info = skb.nfct, skb.info
        if skb.nfct is not None:
            skb.nfct.use += 1

    def set_closing(_nfct: Connection) -> None:
        calls["set_closing"] += 1

    return CtHook(destroy, get_tuple_skb, attach, set_closing)


def _passes_prerouting(run: Run, ct: CtSkb) -> bool:
    number = hook_number(Family.IPV4, "PREROUTING")
    entries = run.nets[ct.net].hooks[Family.IPV4][number].entries
    packet = Packet(walk=Record("udp", "a datagram of nfharness.ko's"), kind="udp", protocol="IPV4", ct=ct)
    context = Context(packet, HookState(Family.IPV4, number, ct.net, LOOPBACK), warnings=run.core.warnings)
    return entries is None or nf_hook_slow(context, entries, profile=run.core.profile) == 1


def tee(run: Run, index: int, _step: Tee) -> StepOutcome:
    seen = 0

    def output() -> None:
        nonlocal seen
        seen += 1
        if seen < _TEE_MOST:
            nf_dup_ipv4(run.tracking, output)

    output()
    return StepOutcome(index, facts=duplicated(seen))
