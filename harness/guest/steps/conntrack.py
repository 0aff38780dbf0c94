"""Steps with connection tracking."""

from __future__ import annotations

import errno
import json
import socket
import subprocess

from harness.errors import GuestError
from harness.guest import conntrack, ct, traffic
from harness.guest.arrays import changed
from harness.guest.module import HookRefused
from harness.guest.netns import Namespace
from harness.guest.run import Run
from harness.guest.steps.hooks import load_ruleset, run_nft
from harness.guest.tracing import tracer
from harness.netfilter import Family
from harness.outcome.facts import duplicated, pointers_and_zone, tracked
from harness.outcome.types import StepOutcome
from harness.scenario.routing import first_address
from harness.scenario.steps.conntrack import CtRead, CtRun, KernelModule, Tee, Track

__all__ = ("ct_read", "ct_run", "kernel_module", "tee", "track")

_INFO = {0: "ESTABLISHED", 1: "RELATED", 2: "NEW", 3: "ESTABLISHED_REPLY", 4: "RELATED_REPLY", 7: "UNTRACKED"}
"""``enum ip_conntrack_info``."""
_OWN = {"connection": ct.Own.CONNECTION, "hooks": ct.Own.HOOKS, "orphan": ct.Own.ORPHAN, "untracked": ct.Own.UNTRACKED}
_PORT, _NFT_SECONDS = 9, 60


def kernel_module(run: Run, index: int, step: KernelModule) -> StepOutcome:
    """Load or remove a module of the kernel's.

    :raises GuestError: the kernel has no such module, or something keeps using it
    """
    if step.loaded:
        conntrack.load(step.name)
        return StepOutcome(index)
    ruled = {netns for did in run.scenario.steps[:index] for netns in did.facts.rules(did)} & run.network.namespaces.keys()
    before = [run.all_arrays(netns) for netns in sorted(ruled)]
    for netns in ruled:
        run_nft(run, netns, "flush ruleset")
    run.capture.drain()  # the symbols of what is about to go
    conntrack.unload(step.name)
    after = [run.all_arrays(netns) for netns in sorted(ruled)]
    return StepOutcome(index, 0, tuple(array for pair in zip(before, after, strict=True) for array in changed(*pair)))


def track(run: Run, index: int, step: Track) -> StepOutcome:
    """Let a namespace track connections.

    :raises UserError: nft does not take the ruleset: the kernel cannot track
    """
    chain = "chain c { type filter hook prerouting priority 0; ct state invalid counter; }"
    return StepOutcome(index, 0, load_ruleset(run, step.netns, f"table ip nfharness_track_{index} {{ {chain}; }}"))


def ct_read(_run: Run, index: int, _step: CtRead) -> StepOutcome:
    symbols = tracer().symbols
    zone = conntrack.zone_default(symbols)
    return StepOutcome(index, facts=pointers_and_zone(conntrack.pointers(symbols).items(), (zone.id, zone.flags, zone.dir)))


def ct_run(run: Run, index: int, step: CtRun) -> StepOutcome:
    if "orphan" in step.own and not conntrack.orphans_warn(tracer().symbols):
        return StepOutcome(index, errno.EOPNOTSUPP)
    own = ct.Own.NOTHING
    for each in step.own:
        own |= _OWN[each]
    try:
        result = ct.run(run.modules[step.netns], step.flow, track=step.track, own=own, cookie=run.new_cookie(), close=step.close)
    except HookRefused as refusal:
        return StepOutcome(index, refusal.errno or 0)
    info = None
    if result.info is not None:
        info = _INFO.get(result.info, str(result.info)) if result.attached else "another connection"
    left = conntrack.count(run.network.namespaces[step.netns])
    return StepOutcome(index, facts=tracked(result.found, info, result.uses, result.calls, left, closings=result.closings))


def tee(run: Run, index: int, step: Tee) -> StepOutcome:
    """Load a rule that duplicates packets.

    :raises GuestError: nft cannot duplicate packets here
    """
    netns, to = run.network.namespaces[step.netns], first_address(run.network.topology, step.to, Family.IPV4)
    run.sinks.add_udp(run.network.namespaces[step.to], socket.AF_INET, _PORT)
    rule = f"udp dport {_PORT} counter name seen dup to {to}"
    _nft(netns, f"table ip nfharness_tee {{ counter seen {{ }}; chain c {{ type filter hook output priority 0; {rule}; }}; }}")
    traffic.send_udp(netns, str(to), _PORT, b"tee")
    listed = json.loads(_nft(netns, "list counter ip nfharness_tee seen"))
    _nft(netns, "delete table ip nfharness_tee")
    seen = next(each["counter"]["packets"] for each in listed["nftables"] if "counter" in each)
    return StepOutcome(index, facts=duplicated(seen))


def _nft(netns: Namespace, commands: str) -> str:
    with netns.inside():
        done = subprocess.run(["nft", "-j", "-f", "-"], input=commands, capture_output=True, text=True, timeout=_NFT_SECONDS, check=False)
    if done.returncode:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        raise GuestError(f"nft does not duplicate packets: {said}", hint="the kernel's log says why: dmesg")
    return done.stdout
