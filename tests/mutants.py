"""Wrong hook cores: patches of the model, each with a rule that it breaks."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from harness.model import entries, path, raw, register, slow
from harness.model.entries import DUMMY_OPS, Entries, Head, HookOps
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.profile import KernelProfile
from harness.outcome.types import OUR_MODULE, OURS
from harness.scenario.steps import RawInsert

__all__ = ("MUTANTS", "Mutant")

Patch = tuple[Any, str, Any]


@dataclass(frozen=True)
class Mutant:
    """:param rules: ids of rules that it breaks, the one that is about just that first"""

    rules: tuple[str, ...]
    patches: tuple[Patch, ...]

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for target, attribute, replacement in self.patches:
            monkeypatch.setattr(target, attribute, replacement)


def oldest_first(old: Entries | None, reg: HookOps, _alloc: object = None) -> Entries:
    return sorted([*(old or ()), reg], key=lambda hook: hook.priority)


def unsorted(old: Entries | None, reg: HookOps, _alloc: object = None) -> Entries:
    return [reg, *(old or ())]


def descending(old: Entries | None, reg: HookOps, _alloc: object = None) -> Entries:
    return sorted([reg, *(old or ())], key=lambda hook: -hook.priority)


def keep_dummies(_old: Entries, _pp: object, _alloc: object, _warnings: object) -> None:
    return None


def remove_the_next_too(old: Entries, unreg: HookOps) -> bool:
    if unreg not in old:
        return False
    at = old.index(unreg)
    old[at:at + 2] = [DUMMY_OPS] * len(old[at:at + 2])
    return True


def without(kind: VerdictKind, become: Callable[[Verdict], Verdict]) -> Callable[..., int]:
    """A loop that takes one verdict for another."""
    def mutant(context: slow.Context, e: Entries, s: int = 0, **keywords: Any) -> int:
        replaced = [HookOps(lambda ops, ctx, hook=ops.hook: become(found) if (found := hook(ops, ctx)).kind is kind else found,  # type: ignore[misc]
                            ops.function, ops.module, ops.pf, ops.hooknum, ops.priority, ops.device, ops.label) for ops in e]
        return slow.nf_hook_slow(context, replaced, s, **keywords)
    return mutant


def first_only(self: register.Core, net: register.Net, reg: HookOps) -> int:
    return self._register(net, Family.IPV4 if reg.pf is Family.INET and reg.device is None else reg.pf, reg)


def start_at_one(context: slow.Context, e: Entries, _s: int = 0, *, profile: KernelProfile) -> int:
    return slow.nf_hook_slow(context, e, 1, profile=profile)


def removes_nothing(_old: Entries, _unreg: HookOps) -> bool:
    return True


def keeps_the_ipv4_half(self: register.Core, net: register.Net, reg: HookOps) -> int:
    if reg.pf is not Family.INET or reg.device is not None:
        return self._register(net, reg.pf, reg)
    return self._register(net, Family.IPV4, reg) or self._register(net, Family.IPV6, reg)


def tries_both_halves(self: register.Core, net: register.Net, reg: HookOps) -> int:
    if reg.pf is not Family.INET or reg.device is not None:
        return self._register(net, reg.pf, reg)
    return min(self._register(net, Family.IPV4, reg), self._register(net, Family.IPV6, reg))


def leaves_the_ipv6_half(self: register.Core, net: register.Net, reg: HookOps) -> None:
    self._unregister(net, Family.IPV4 if reg.pf is Family.INET and reg.device is None else reg.pf, reg)


HEADS: dict[Any, Head] = {}


def one_head_for(*key: Callable[[register.Net, Family, int, Any], object]) -> Callable[..., Head | None]:
    """Points that should have arrays of their own share one."""
    right = register.Core.nf_hook_entry_head

    def mutant(self: register.Core, net: register.Net, pf: Family, hooknum: int, dev: Any) -> Head | None:
        head = right(self, net, pf, hooknum, dev)
        if head is None:
            return None
        shared = HEADS.setdefault((id(self), *(one(net, pf, hooknum, dev) for one in key)), head)
        if pf in net.hooks:
            net.hooks[pf][hooknum] = shared
        elif dev is not None:
            dev.hooks[hooknum if pf is Family.NETDEV else 0] = shared
        return shared
    return mutant


def of_net(net: register.Net, _pf: Family, _hooknum: int, _dev: Any) -> object:
    return net.name


def of_family(_net: register.Net, pf: Family, _hooknum: int, _dev: Any) -> object:
    return pf


def of_hook(_net: register.Net, _pf: Family, hooknum: int, _dev: Any) -> object:
    return hooknum


def of_device(_net: register.Net, _pf: Family, _hooknum: int, dev: Any) -> object:
    return dev.name if dev else None


def no_device_points(_self: path.Stack, _netns: str, _packet: path.Packet, _hooknum: int, _device: str) -> int:
    return 1


def state_without(field: str) -> Callable[..., slow.HookState]:
    def mutant(*values: Any) -> slow.HookState:
        pf, hook, net, indev, outdev = values
        return slow.HookState(pf, hook, net, "" if field == "in" else indev, "" if field == "out" else outdev)
    return mutant


def forgets_the_errno_of_stolen(context: slow.Context, e: Entries, s: int = 0, *, profile: KernelProfile) -> int:
    ret = slow.nf_hook_slow(context, e, s, profile=profile)
    return 0 if context.skb.state == "stolen" else ret


def drop_that_goes_on(context: slow.Context, e: Entries, s: int = 0, *, profile: KernelProfile) -> int:
    """Frees the packet, and lets the caller go on with it all the same."""
    ret = slow.nf_hook_slow(context, e, s, profile=profile)
    return 1 if context.skb.state == "freed" else ret


accept = Verdict(VerdictKind.ACCEPT)


def ignores_the_start(context: slow.Context, e: Entries, _s: int = 0, *, profile: KernelProfile) -> int:
    return slow.nf_hook_slow(context, e, 0, profile=profile)


def skb_that_is(state: slow.SkbState, become: slow.SkbState) -> Callable[..., int]:
    """A loop that keeps what it should free, or frees what it should keep."""
    def mutant(context: slow.Context, e: Entries, s: int = 0, *, profile: KernelProfile) -> int:
        ret = slow.nf_hook_slow(context, e, s, profile=profile)
        context.skb.state = become if context.skb.state == state else context.skb.state
        return ret
    return mutant


def deletes_the_first(old: Entries, _unreg: HookOps) -> bool:
    old[0] = DUMMY_OPS
    return True


def keeps_what_came_before(self: register.Core, net: register.Net, reg: Sequence[HookOps]) -> int:
    return next((err for err in (self.nf_register_net_hook(net, ops) for ops in reg) if err), 0)


def only_the_first(self: register.Core, net: register.Net, reg: Sequence[HookOps]) -> int:
    return self.nf_register_net_hook(net, reg[0]) if reg else -errno.EINVAL


def refuses_the_same_twice(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    return -errno.EEXIST if reg in (old or ()) else entries.nf_hook_entries_grow(old, reg, alloc)


def without_a_warning(method: str) -> Callable[..., Any]:
    right = getattr(register.Core, method)

    def mutant(self: register.Core, *arguments: Any) -> Any:
        said = len(self.warnings)
        answer = right(self, *arguments)
        del self.warnings[said:]
        return answer
    return mutant


def hook_of_the_whole_word(label: str, step: RawInsert) -> HookOps:
    """ACCEPT must be ACCEPT and nothing else."""
    verdict = accept if step.verdict == VerdictKind.ACCEPT else Verdict(VerdictKind.STOP)
    return HookOps(lambda _ops, _context: verdict, OURS, OUR_MODULE, Family.IPV4, 1, step.priority, label=label)


def private(name: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    return name, Mutant(rules, ((raw, "nf_hook_slow", replacement),))


def loop(name: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    return name, Mutant(rules, ((path, "nf_hook_slow", replacement),))


def core(name: str, attribute: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    target = register if hasattr(register, attribute) else register.Core
    return name, Mutant(rules, ((target, attribute, replacement),))


PATHS = ("path.local-in", "path.local-out", "path.forward", "path.loopback", "path.own-address", "path.no-forward", "path.ttl", "path.echo",
         "state.fields", "path.netdev", "netdev.ingress")

MUTANTS: dict[str, Mutant] = dict([
    core("equal priorities oldest first", "nf_hook_entries_grow", oldest_first, "order.equal-newest-first", "order.foreign",
         "order.many", "drop.first-decides"),
    core("order of registration", "nf_hook_entries_grow", unsorted, "order.ascending", "order.stable", "accept.all"),
    core("descending priorities", "nf_hook_entries_grow", descending, "order.ascending", "inet.ingress", "netdev.ingress"),
    ("the limit is 1023", Mutant(("limit.1024", "inet.rollback"), ((entries, "MAX_HOOK_COUNT", 1023),))),
    ("there is no limit", Mutant(("limit.1024", "limit.per-point", "limit.per-device", "inet.first-half", "raw.limit"),
                                 ((entries, "MAX_HOOK_COUNT", 1 << 16),))),
    core("no shrink", "nf_hook_entries_try_shrink", keep_dummies, "unregister.shrinks"),
    core("removes a neighbour", "nf_remove_net_hook", remove_the_next_too, "unregister.shrinks", "order.stable"),
    core("removes nothing", "nf_remove_net_hook", removes_nothing, "unregister.last", "key.off", "inet.unregister-last",
         "unregister.elsewhere"),
    core("namespaces share heads", "nf_hook_entry_head", one_head_for(of_family, of_hook, of_device), "netns.isolated",
         "unregister.elsewhere", "limit.per-point"),
    core("hooks share heads", "nf_hook_entry_head", one_head_for(of_net, of_family, of_device), "head.by-hook", "head.arp", "head.bridge"),
    core("devices share heads", "nf_hook_entry_head", one_head_for(of_net, of_family, of_hook), "netdev.per-device", "limit.per-device"),
    core("INET is IPV4 only", "nf_register_net_hook", first_only, "inet.fanout"),
    core("INET leaves IPV6", "nf_unregister_net_hook", leaves_the_ipv6_half, "inet.unregister", "inet.unregister-last"),
    core("INET is not rolled back", "nf_register_net_hook", keeps_the_ipv4_half, "inet.rollback"),
    core("INET tries IPV6 all the same", "nf_register_net_hook", tries_both_halves, "inet.first-half"),
    loop("DROP accepts", without(VerdictKind.DROP, lambda _verdict: accept), "drop.only-its-packet", "drop.first-decides",
         "netdev.ingress-drop", "netdev.egress-drop"),
    loop("DROP goes on", drop_that_goes_on, "drop.only-its-packet"),
    loop("DROP loses its errno", without(VerdictKind.DROP, lambda _verdict: Verdict(VerdictKind.DROP)), "drop.errno"),
    loop("DROP without an errno is no EPERM",
         without(VerdictKind.DROP, lambda verdict: Verdict(VerdictKind.DROP, verdict.errno or errno.EIO)), "drop.eperm"),
    loop("STOLEN accepts", without(VerdictKind.STOLEN, lambda _verdict: accept), "stolen"),
    loop("STOLEN forgets its errno", forgets_the_errno_of_stolen, "stolen.errno"),
    loop("QUEUE ignores bypass",
         without(VerdictKind.QUEUE, lambda verdict: Verdict(VerdictKind.QUEUE, queue=verdict.queue)), "queue.bypass"),
    loop("QUEUE accepts", without(VerdictKind.QUEUE, lambda _verdict: accept), "queue.no-handler"),
    loop("the first hook is skipped", start_at_one, "accept.all", "order.ascending"),
    ("devices have no points", Mutant(("netdev.ingress", "netdev.egress", "path.netdev", "path.netdev-egress", "inet.ingress"),
                                      ((path.Stack, "_nf_hook_device", no_device_points),))),
    core("a batch is not rolled back", "nf_register_net_hooks", keeps_what_came_before, "batch.rollback"),
    core("a batch is its first hook", "nf_register_net_hooks", only_the_first, "batch.all", "batch.empty"),
    core("the same ops are refused", "nf_hook_entries_grow", refuses_the_same_twice, "duplicate.same-ops"),
    core("what is missing takes another", "nf_remove_net_hook", deletes_the_first, "unregister.missing"),
    core("unregistering does not warn", "_unregister", without_a_warning("_unregister"), "unregister.empty-head", "unregister.missing"),
    core("a bad hook number does not warn", "nf_hook_entry_head", without_a_warning("nf_hook_entry_head"), "head.bad-hook"),
    ("private arrays have the oldest first", Mutant(("raw.insert",), ((entries, "nf_hook_entries_grow", oldest_first),))),
    ("private arrays keep dummies", Mutant(("raw.delete",), ((entries, "nf_hook_entries_try_shrink", keep_dummies),))),
    ("delete takes the first", Mutant(("raw.missing",), ((entries, "nf_remove_net_hook", deletes_the_first),))),
    ("the whole word decides", Mutant(("accept.high-bits",), ((raw, "_hook_ops", hook_of_the_whole_word),))),
    ("an errno is never positive", Mutant(("drop.positive",), ((slow, "nf_drop_geterr", lambda verdict: -verdict.errno),))),
    private("the start is ignored", ignores_the_start, "start-index"),
    private("DROP keeps the skb", skb_that_is("freed", "leaked"), "drop.frees", "drop.positive", "queue.frees"),
    private("STOLEN frees the skb", skb_that_is("stolen", "freed"), "stolen.keeps"),
    private("the default case frees the skb", skb_that_is("leaked", "freed"), "unknown", "repeat", "stop", "default.silent"),
    private("REPEAT accepts", without(VerdictKind.REPEAT, lambda _verdict: accept), "repeat"),
    private("STOP accepts", without(VerdictKind.STOP, lambda _verdict: accept), "stop"),
    private("QUEUE goes on", without(VerdictKind.QUEUE, lambda _verdict: accept), "queue.frees"),
    ("state->in is not set", Mutant(PATHS, ((path, "HookState", state_without("in")),))),
    ("state->out is not set", Mutant(("state.fields", "path.forward", "path.local-out"), ((path, "HookState", state_without("out")),))),
])
