"""Wrong ways back from a queue, and wrong queues."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harness.model import nfqnl, queue, register, slow
from harness.model.entries import DUMMY_OPS, Allocator, nf_hook_entries_try_shrink
from harness.model.nfqnl import Nfqnl
from harness.model.path import stack
from harness.model.register import Core
from harness.model.steps import queue as queue_steps
from harness.model.structures import Context, Entries, Head, HookOps, Net, QueueEntry, QueueHandler, Warnings
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.profile import KernelProfile
from harness.scenario.steps.queue import Listen
from tests.mutants.mutant import ACCEPT, Mutant, collected, named, rules_only

__all__ = ("MUTANTS",)

DROP, STOP = Verdict(VerdictKind.DROP), Verdict(VerdictKind.STOP)


def from_slot(shift: int) -> Callable[..., int]:
    """Goes on somewhere else than behind the hook that queued."""
    def mutant(context: Context, hooks: Entries | None, index: int, verdict: Verdict, *rest: Any, **profile: Any) -> int:
        return queue.nf_reinject(context, hooks, index + shift if verdict == ACCEPT else index, verdict, *rest, **profile)
    return mutant


def hearing(become: Callable[[Verdict], Verdict]) -> Callable[..., int]:
    """Takes one answer of the listener's for another."""
    def mutant(context: Context, hooks: Entries | None, index: int, verdict: Verdict, *rest: Any, **profile: Any) -> int:
        return queue.nf_reinject(context, hooks, index, become(verdict), *rest, **profile)
    return mutant


def iterating(become: Callable[[Verdict], Verdict]) -> Callable[..., tuple[Verdict, int]]:
    """Takes one verdict of a hook's behind for another."""
    def mutant(context: Context, hooks: Entries, index: int) -> tuple[Verdict, int]:
        verdict = ACCEPT
        while verdict == ACCEPT and index < len(hooks):
            verdict = become(context.call(hooks, index))
            index += verdict == ACCEPT
        return verdict, index
    return mutant


def instead(of: VerdictKind, become: Verdict) -> Callable[[Verdict], Verdict]:
    return lambda verdict: become if verdict.kind is of else verdict


def low_byte(verdict: Verdict) -> Verdict:
    return Verdict(verdict.kind, verdict.errno, verdict.queue, verdict.bypass)


def frees_what_is_stolen(context: Context, *arguments: Any, **profile: Any) -> int:
    ret = queue.nf_reinject(context, *arguments, **profile)
    context.skb.state = "freed" if context.skb.state == "stolen" else context.skb.state
    return ret


def with_a_warning(*, warns: bool) -> Callable[..., int]:
    """Warns of a slot that is gone, or does not, whatever the kernel."""
    def mutant(*arguments: Any, profile: KernelProfile) -> int:
        return queue.nf_reinject(*arguments, profile=replace(profile, reinject_warns="always" if warns else ""))
    return mutant


def over_the_old_array(self: stack.Stack, entry: QueueEntry, verdict: Verdict) -> None:
    """The array as it was when the packet was queued: without what came since."""
    state, core_heads = entry.context.state, self.nets[entry.context.state.net].hooks
    head = core_heads[state.pf][state.hook]
    now, names = head.entries, {call.label for call in entry.context.calls}
    head.entries = [ops for ops in now or () if ops.label != "new" or "new" in names] or None
    RIGHT_REINJECT(self, entry, verdict)
    head.entries = now


RIGHT_REINJECT, RIGHT_NF_QUEUE = stack.Stack.reinject, queue.nf_queue
RIGHT_REGISTER = Core._register
RIGHT_OUTFN, RIGHT_RECV, RIGHT_CONFIG = Nfqnl.outfn, Nfqnl.recv_verdict, Nfqnl.recv_config


def any_queue(self: Nfqnl, entry: QueueEntry, _queuenum: int) -> int:
    number = min((number for netns, number in self.instances if netns == entry.context.state.net), default=0)
    return RIGHT_OUTFN(self, entry, number)


def full_is_nobody(self: Nfqnl, entry: QueueEntry, queuenum: int) -> int:
    return RIGHT_OUTFN(self, entry, queuenum) and -errno.ESRCH


def fails_closed(self: Nfqnl, entry: QueueEntry, queuenum: int) -> int:
    found = self.instances.get((entry.context.state.net, queuenum))
    if found and len(found.queue_list) >= found.maxlen:
        return -errno.ENOBUFS
    return RIGHT_OUTFN(self, entry, queuenum)


def oldest(self: Nfqnl, netns: str, number: int, verdict: Verdict, _cookie: int | None) -> int:
    return RIGHT_RECV(self, netns, number, verdict, None)


def hears_anything(self: Nfqnl, netns: str, number: int, verdict: Verdict, cookie: int | None) -> int:
    return RIGHT_RECV(self, netns, number, verdict if verdict.kind <= VerdictKind.STOP else DROP, cookie)


def second_takes_over(self: Nfqnl, config: Listen) -> int:
    self.instances.pop((config.netns, config.queue), None)
    return RIGHT_CONFIG(self, config)


def leaves_what_waits(self: Nfqnl, netns: str, number: int) -> None:
    del self.instances[netns, number]


def drops_everywhere(self: Nfqnl, _net: Net) -> None:
    for found in self.instances.values():
        self._flush(found)


def drops_what_waits_without_memory(old: Entries | None, pp: Head, alloc: Allocator, warnings: Warnings) -> Entries | None:
    freed = nf_hook_entries_try_shrink(old, pp, alloc, warnings)
    return old if freed is None else freed


def drops_what_waits_without_a_dummy(old: Entries | None, pp: Head, alloc: Allocator, warnings: Warnings) -> Entries | None:
    lies_about = DUMMY_OPS in (old or ())
    freed = nf_hook_entries_try_shrink(old, pp, alloc, warnings)
    return freed if lies_about else old


def registers_and_drops_what_waits(self: Core, net: Net, pf: Family, reg: HookOps) -> int:
    err = RIGHT_REGISTER(self, net, pf, reg)
    self.nf_queue_nf_hook_drop(net)
    return err


def is_refused_and_drops_what_waits(self: Core, net: Net, pf: Family, reg: HookOps) -> int:
    err = RIGHT_REGISTER(self, net, pf, reg)
    if err:
        self.nf_queue_nf_hook_drop(net)
    return err


def takes_the_last_slot(context: Context, hooks: Entries | None, index: int, *rest: Any, **profile: Any) -> int:
    """For one that is gone."""
    return queue.nf_reinject(context, hooks, min(index, len(hooks) - 1) if hooks else index, *rest, **profile)


def frees_what_it_queues(context: Context, *arguments: Any) -> int:
    ret = RIGHT_NF_QUEUE(context, *arguments)
    context.skb.state = "freed" if context.skb.state == "queued" else context.skb.state
    return ret


def bypass_asks_nobody(context: Context, index: int, verdict: Verdict, handler: QueueHandler | None) -> int:
    """The bypass flag means that nobody is asked."""
    return 1 if verdict.bypass else RIGHT_NF_QUEUE(context, index, verdict, handler)


def reinject(name: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    return named(name, stack, "nf_reinject", replacement, *rules)


def iterate(name: str, become: Callable[[Verdict], Verdict], *rules: str) -> tuple[str, Mutant]:
    return named(name, queue, "nf_iterate", iterating(become), *rules)


def listener(name: str, attribute: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    return named(name, Nfqnl, attribute, replacement, *rules)


MUTANTS = collected([
    reinject("the next hook is skipped", from_slot(1), "queue.reinject-accept", "queue.reinject-bridge"),
    rules_only(reinject("a slot that is gone is worth a warning", with_a_warning(warns=True), "queue.slot-gone")),
    rules_only(reinject("a slot that is gone is not worth a warning", with_a_warning(warns=False), "queue.slot-gone-warns")),
    rules_only(reinject("for a slot that is gone the last one does", takes_the_last_slot, "queue.dummies-go")),
    reinject("a listener's DROP accepts", hearing(instead(VerdictKind.DROP, ACCEPT)), "queue.reinject-drop"),
    reinject("a listener's REPEAT accepts", hearing(instead(VerdictKind.REPEAT, ACCEPT)), "queue.reinject-repeat"),
    reinject("a listener's QUEUE drops", hearing(instead(VerdictKind.QUEUE, DROP)), "queue.reinject-queue"),
    reinject("a listener's STOP accepts", hearing(instead(VerdictKind.STOP, ACCEPT)), "queue.reinject-stop"),
    reinject("the low byte of an answer decides", hearing(low_byte), "queue.reinject-high-bits"),
    rules_only(reinject("a reinjected packet that is stolen is freed", frees_what_is_stolen, "queue.reinject-stolen")),
    iterate("a later hook's DROP accepts", instead(VerdictKind.DROP, ACCEPT), "queue.reinject-drop"),
    iterate("a later hook's REPEAT accepts", instead(VerdictKind.REPEAT, ACCEPT), "queue.reinject-repeat"),
    iterate("a later hook's QUEUE accepts", instead(VerdictKind.QUEUE, ACCEPT), "queue.reinject-queue"),
    iterate("a later hook's STOP drops", instead(VerdictKind.STOP, DROP), "queue.reinject-stop"),
    iterate("the low byte of a later hook's verdict decides", low_byte, "queue.reinject-high-bits"),
    iterate("a later hook's unknown verdict accepts", lambda verdict: verdict if verdict.kind <= VerdictKind.STOP else ACCEPT,
            "queue.reinject-unknown"),
    named("nf_reinject walks the array of old", stack.Stack, "reinject", over_the_old_array, "queue.hook-registered-meanwhile"),
    named("a packet that waits is freed", slow, "nf_queue", frees_what_it_queues, "queue.waits"),
    named("bypass asks nobody", slow, "nf_queue", bypass_asks_nobody, "queue.bypass-listener"),
    rules_only(named("nothing answers what had waited", queue_steps, "settle", lambda _stack: [], "queue.reinject-answer")),
    listener("the queue's number is ignored", "outfn", any_queue, "queue.number"),
    rules_only(listener("a queue without room counts as none", "outfn", full_is_nobody, "queue.full")),
    listener("a queue that fails open drops", "outfn", fails_closed, "queue.fail-open"),
    rules_only(listener("the oldest packet gets every answer", "recv_verdict", oldest, "queue.order")),
    rules_only(listener("a listener may say anything", "recv_verdict", hears_anything, "queue.reinject-unknown")),
    listener("a second listener takes the queue", "recv_config", second_takes_over, "queue.one-listener"),
    listener("a dead listener's packets wait on", "release", leaves_what_waits, "queue.listener-dies"),
    rules_only(listener("a removal drops what waits anywhere", "nf_hook_drop", drops_everywhere, "unregister.flushes-queue")),
    named("a removal leaves what waits", Core, "nf_queue_nf_hook_drop", lambda _self, _net: None, "queue.hook-unregistered-meanwhile",
          "unregister.flushes-queue", "unregister.flushes-queue-layer-2", "unregister.flushes-queue-bpf",
          "unregister.flushes-queue-egress", "unregister.flushes-queue-inet", "queue.refused"),
    rules_only(named("a shrink that fails drops what waits", register, "nf_hook_entries_try_shrink", drops_what_waits_without_memory,
          "queue.failed-shrink")),
    rules_only(named("a shrink without a dummy drops what waits", register, "nf_hook_entries_try_shrink", drops_what_waits_without_a_dummy,
          "queue.not-found")),
    named("a registration drops what waits", Core, "_register", registers_and_drops_what_waits, "queue.dummies-go",
          "queue.hook-registered-meanwhile", "queue.hook-registered-elsewhere"),
    rules_only(named("a refusal drops what waits", Core, "_register", is_refused_and_drops_what_waits, "queue.refused")),
    listener("a namespace that dies leaves what waits", "release", leaves_what_waits, "pernet.exit-queued"),
    ("a queue has room for all", Mutant(("queue.full",), ((nfqnl.Instance, "maxlen", 1 << 32),))),
])
