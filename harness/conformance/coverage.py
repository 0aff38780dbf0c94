"""The pinned core.c, function by function and branch by branch: which rules prove it, or why none does yet.

That is the file that the rules were read from, a ``net/netfilter/core.c`` of the 5.2 to 5.4 era. A rule's lines in it are those of the
branches that name the rule: this table is the one place that says so.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("FUNCTIONS", "Branch", "CoveredFunction", "core_lines", "functions_of", "rules_about")

_DIRECT = "needs the module to call it directly"
_NO_CALLER = "no caller can reach it"
_SANITIZER = "needs a sanitizer: "
_BOOT = "no caller can reach it again: it runs once, before there is any process"
_GROWN = ": growing makes another array, or answers with an errno"
_INET = ": what INET has elsewhere is registered and unregistered as IPV4's and IPV6's"


@dataclass(frozen=True, slots=True)
class Branch:
    """What a function does at some of its lines.

    :param lines: first and last
    :param what: it does there; begins with ``since 6.4:``, or ``newer:`` of an unknown release, if the lines quoted do not do it yet
    :param rules: ids
    :param uncovered: why there is no rule, if there is none
    """

    lines: tuple[int, int]
    what: str
    rules: tuple[str, ...] = ()
    uncovered: str = ""

    @property
    def newer(self) -> bool:
        """Whether the lines quoted do not do it yet; another function of a newer core.c may."""
        return self.what.startswith(("since ", "newer:"))

    def __str__(self) -> str:
        first, last = self.lines
        return f"{first}" if first == last else f"{first}-{last}"


@dataclass(frozen=True, slots=True)
class CoveredFunction:
    """A function of core.c and its branches.

    :param lines: first and last, of the pinned core.c
    """

    name: str
    lines: tuple[int, int]
    branches: tuple[Branch, ...]

    @property
    def rules(self) -> tuple[str, ...]:
        """Rules of its branches, each once."""
        return tuple(dict.fromkeys(rule for branch in self.branches for rule in branch.rules))


def _rules(ids: str) -> tuple[str, ...]:
    return tuple(ids.split())


FUNCTIONS = (
    CoveredFunction("nf_skb_duplicated", (34, 35), (
        Branch((34, 35), "newer: a packet's copy is being sent: none of the copy", _rules("tee.duplicated")),
    )),
    CoveredFunction("allocate_hook_entries_size", (50, 65), (
        Branch((53, 56), "room for hooks, their ops, and what frees them",
               uncovered=_SANITIZER + "KASAN: what is written behind an array may be where the allocator has room"),
        Branch((58, 59), "no entries: NULL", uncovered=_NO_CALLER + ": grow asks for one at least, shrink for what is left of more"),
        Branch((61, 64), "an array", _rules("order.ascending limit.1024")),
        Branch((61, 64), "no memory: NULL", _rules("grow.enomem unregister.failed-shrink")),
    )),
    CoveredFunction("__nf_hook_entries_free", (67, 73), (
        Branch((71, 72), "after a grace period the array is freed: readers have left it",
               _rules("unregister.in-flight memory.freed memory.grace-period")),
    )),
    CoveredFunction("nf_hook_entries_free", (75, 89), (
        Branch((81, 82), "nothing to free: the point was empty", _rules("key.off unregister.last")),
        Branch((84, 88), "the old array is freed by call_rcu",
               _rules("order.stable unregister.shrinks unregister.in-flight unregister.in-flight-devices "
                      "unregister.in-flight-egress memory.freed memory.grace-period")),
    )),
    CoveredFunction("accept_all", (91, 96), (
        Branch((95, 95), "the dummy accepts", _rules("dummy.accepts unregister.failed-shrink")),
    )),
    CoveredFunction("nf_hook_entries_grow", (103, 162), (
        Branch((113, 114), "the point is empty: an array of one", _rules("key.off head.by-hook")),
        Branch((116, 123), "live hooks are counted", _rules("limit.1024 order.ascending")),
        Branch((116, 123), "since 6.4: a BPF program at a priority that is taken: -EBUSY",
               _rules("bpf.taken-priority bpf.taken-by-a-chain bpf.shared-priority bpf.full bpf.dummies")),
        Branch((116, 123), "since 6.4: what is refused so leaves no array",
               uncovered=_SANITIZER + "kmemleak: the module follows the arrays of the module's calls, and only bpf() is refused so"),
        Branch((120, 121), "dummies are not counted", _rules("limit.dummies")),
        Branch((125, 126), "over 1024: -E2BIG",
               _rules("limit.1024 limit.per-point limit.per-device limit.layer-2 limit.egress limit.inet-ingress limit.batch inet.rollback "
                      "inet.first-half")),
        Branch((128, 130), "no memory: -ENOMEM",
               _rules("grow.enomem grow.enomem-every-point grow.enomem-every-egress inet.enomem inet.ingress-enomem batch.enomem "
                      "raw.enomem")),
        Branch((137, 140), "dummies are left behind",
               _rules("grow.drops-dummies grow.drops-dummies-every-point grow.drops-dummies-every-egress limit.dummies queue.dummies-go")),
        Branch((142, 145), "smaller priorities stay before, what follows the new one after it",
               _rules("order.ascending order.stable order.foreign order.many raw.every-size")),
        Branch((146, 151), "before the first of no smaller priority",
               _rules("order.equal-newest-first order.ascending order.foreign order.many order.every-point order.layer-2 order.devices "
                      "order.egress order.inet-ingress order.named-priorities-every-point order.named-priorities-every-egress")),
        Branch((155, 159), "none is larger or equal: at the end", _rules("order.ascending")),
    )),
    CoveredFunction("hooks_validate", (164, 183), (
        Branch((173, 180), "an array in order does not warn", _rules("validate.order raw.insert raw.delete")),
        Branch((174, 175), "dummies are skipped", uncovered=_NO_CALLER + ": grow and shrink leave none in the array that they make"),
        Branch((177, 177), "an array out of order warns", _rules("validate.altered validate.altered-live")),
    )),
    CoveredFunction("nf_hook_entries_insert_raw", (185, 203), (
        Branch((191, 202), "a private array grows by the same rules", _rules("raw.insert raw.limit raw.enomem nat.order memory.freed")),
        Branch((200, 200), "the new array is the old one: a bug", uncovered=_NO_CALLER + _GROWN),
    )),
    CoveredFunction("__nf_hook_entries_try_shrink", (222, 264), (
        Branch((230, 231), "no array: a warning", uncovered=_NO_CALLER + ": both callers have looked"),
        Branch((239, 242), "nothing but dummies: the head becomes NULL",
               _rules("unregister.last inet.unregister-last key.off raw.delete unregister.drops-dummies")),
        Branch((244, 245), "no dummy: the array stays", _rules("unregister.missing queue.not-found")),
        Branch((247, 248), "an array without the dummy", _rules("unregister.shrinks inet.unregister limit.1024")),
        Branch((249, 250), "no memory: the dummy stays",
               _rules("unregister.failed-shrink inet.failed-shrinks inet.enomem batch.enomem raw.enomem unregister.missing-shrinks")),
        Branch((253, 259), "live hooks are copied in their order, dummies are not",
               _rules("unregister.shrinks order.stable order.many order.every-point order.layer-2 inet.rollback raw.delete "
                      "unregister.drops-dummies")),
    )),
    CoveredFunction("nf_hook_entry_head", (266, 312), (
        Branch((271, 272), "NETDEV", _rules("netdev.ingress netdev.egress")),
        Branch((274, 277), "ARP", _rules("head.arp")),
        Branch((280, 283), "BRIDGE", _rules("head.bridge")),
        Branch((285, 288), "IPV4", _rules("head.by-hook netns.isolated unregister.elsewhere first.order")),
        Branch((289, 292), "IPV6", _rules("head.by-hook unregister.elsewhere first.inet")),
        Branch((293, 298), "DECNET", uncovered="no supported kernel of Debian's is configured with it, and it left the kernel in 6.1"),
        Branch((275, 296), "a hook number out of range: a warning and NULL",
               _rules("head.bad-hook head.bad-hook-arp head.bad-hook-bridge")),
        Branch((299, 301), "an unknown family: a warning and NULL", _rules("head.bad-family")),
        Branch((305, 308), "a device's ingress, egress since 5.16, INET ingress since 5.10",
               _rules("netdev.ingress netdev.egress netdev.per-device limit.per-device inet.ingress inet.ingress-alone order.devices "
                      "order.egress order.inet-ingress first.devices")),
        Branch((310, 311), "no such device in the namespace: a warning and NULL",
               _rules("unregister.no-device unregister.no-device-egress")),
        Branch((310, 311), "since 5.10: INET at another point than INGRESS: a warning and NULL", uncovered=_NO_CALLER + _INET),
    )),
    CoveredFunction("__nf_register_net_hook", (314, 357), (
        Branch((321, 324), "no ingress in this kernel: -EOPNOTSUPP", _rules("netdev.absent")),
        Branch((325, 327), "no device, another namespace's, a number out of range: -EINVAL",
               _rules("netdev.no-device netdev.no-device-egress netdev.foreign-device netdev.bad-hook netdev.egress-absent "
                      "netdev.down netdev.down-egress batch.rollback first.refused")),
        Branch((330, 332), "no such point: -EINVAL", _rules("head.bad-hook head.bad-hook-arp head.bad-hook-bridge head.bad-family")),
        Branch((334, 342), "one at a time: nf_hook_mutex", _rules("register.at-once")),
        Branch((336, 340), "the larger array takes the place of the old one", _rules("order.ascending netns.isolated head.by-hook")),
        Branch((343, 344), "the array could not grow: its errno",
               _rules("limit.1024 inet.first-half inet.rollback grow.enomem grow.enomem-every-point grow.enomem-every-egress "
                      "queue.refused")),
        Branch((348, 349), "ingress, since 5.16 egress, is counted, so that devices look for it",
               _rules("inet.ingress-alone netdev.egress-alone netdev.ingress netdev.per-device key.counts key.egress key.ingress "
                      "key.refused key.refused-egress key.device-down first.devices grow.drops-dummies-every-point "
                      "grow.drops-dummies-every-egress")),
        Branch((325, 327), "since 5.10: INET at another point than INGRESS", uncovered=_NO_CALLER + _INET),
        Branch((354, 354), "the new array is the old one: a bug", uncovered=_NO_CALLER + _GROWN),
        Branch((352, 352), "the point's static key goes up",
               _rules("key.off key.counts key.layer-2 key.every-point key.bpf key.ingress key.in-flight key.refused first.order "
                      "first.neighbours grow.drops-dummies-every-point grow.drops-dummies-every-egress")),
    )),
    CoveredFunction("nf_remove_net_hook", (368, 384), (
        Branch((375, 380), "the first slot with these ops becomes a dummy", _rules("unregister.shrinks order.stable duplicate.same-ops")),
        Branch((376, 377), "other ops stay as they are",
               _rules("unregister.shrinks unregister.elsewhere unregister.one-of-two-chains bpf.same-program")),
        Branch((378, 379), "written in one piece: readers see the hook or the dummy",
               uncovered=_SANITIZER + "KCSAN: x86 writes a pointer in one piece, however it is written"),
        Branch((383, 383), "the ops are not there", _rules("unregister.missing")),
    )),
    CoveredFunction("__nf_unregister_net_hook", (386, 423), (
        Branch((393, 394), "no such point: a warning", _rules("unregister.no-point unregister.no-device")),
        Branch((399, 402), "the point is empty: a warning",
               _rules("unregister.empty-head unregister.empty-head-layer-2 key.missing key.missing-inet first.refused")),
        Branch((396, 417), "one at a time: nf_hook_mutex", _rules("unregister.at-once")),
        Branch((404, 404), "the hook goes", _rules("unregister.shrinks unregister.last unregister.elsewhere")),
        Branch((406, 407), "ingress, since 5.16 egress, is counted down",
               _rules("key.egress netdev.egress-alone inet.ingress-alone netdev.ingress inet.ingress key.counts key.ingress device.dies "
                      "device.dies-egress device.dies-inet "
                      "device.dies-ruleset device.moves key.failed-shrink-egress key.device-down first.devices")),
        Branch((410, 410), "the point's static key goes down",
               _rules("key.off key.counts key.layer-2 key.every-point key.bpf key.failed-shrink unregister.last first.order")),
        Branch((413, 413), "hook not found: a warning",
               _rules("unregister.missing unregister.missing-layer-2 unregister.missing-every-point unregister.missing-every-egress "
                      "key.missing key.missing-inet first.refused")),
        Branch((418, 419), "the array stays",
               _rules("unregister.failed-shrink inet.failed-shrinks unregister.missing queue.failed-shrink queue.not-found")),
        Branch((421, 421), "packets queued from the namespace are dropped",
               _rules("unregister.flushes-queue unregister.flushes-queue-layer-2 unregister.flushes-queue-bpf "
                      "unregister.flushes-queue-egress unregister.flushes-queue-inet first.queue first.neighbours "
                      "queue.hook-unregistered-meanwhile queue.slot-gone queue.slot-gone-warns")),
        Branch((422, 422), "the old array is freed", _rules("unregister.shrinks memory.freed")),
    )),
    CoveredFunction("nf_unregister_net_hook", (425, 433), (
        Branch((427, 429), "INET: out of IPV4 and IPV6", _rules("inet.unregister inet.unregister-last first.inet")),
        Branch((430, 432), "others: out of their point", _rules("unregister.shrinks unregister.last")),
    )),
    CoveredFunction("nf_hook_entries_delete_raw", (436, 446), (
        Branch((441, 445), "a private array shrinks, or keeps a dummy", _rules("raw.delete raw.limit raw.enomem")),
        Branch((442, 442), "what is not there is not missed", _rules("raw.missing")),
    )),
    CoveredFunction("nf_register_net_hook", (449, 470), (
        Branch((453, 454), "INET: into IPV4 first", _rules("inet.fanout")),
        Branch((455, 456), "IPV4 refuses: its errno", _rules("inet.first-half inet.enomem")),
        Branch((458, 458), "then into IPV6", _rules("inet.fanout first.inet")),
        Branch((459, 462), "IPV6 refuses: out of IPV4 again", _rules("inet.rollback inet.enomem queue.refused first.refused")),
        Branch((463, 464), "others: into their point", _rules("order.ascending head.by-hook head.arp head.bridge")),
        Branch((465, 466), "the point refuses: its errno",
               _rules("limit.1024 limit.per-device limit.layer-2 grow.enomem inet.ingress-enomem")),
    )),
    CoveredFunction("nf_register_net_hooks", (473, 490), (
        Branch((479, 484), "all of them", _rules("batch.all batch.empty")),
        Branch((486, 489), "one fails: those before it go again", _rules("batch.rollback batch.enomem limit.batch first.refused")),
    )),
    CoveredFunction("nf_unregister_net_hooks", (493, 500), (
        Branch((498, 499), "all of them",
               _rules("batch.unregister batch.unregister-every-point batch.unregister-every-egress batch.all batch.rollback")),
    )),
    CoveredFunction("nf_hook_slow", (505, 536), (
        Branch((511, 512), "each hook from s on, with the state of its point",
               _rules("accept.all order.ascending netns.isolated path.local-in path.local-out path.forward path.loopback path.own-address "
                      "path.no-forward path.no-route path.group path.ttl path.echo path.moved path.martian path.netdev path.netdev-egress "
                      "netdev.ingress netdev.egress state.fields path.arp path.arp-forward path.vlan path.vlan-egress "
                      "path.vlan-bridge path.bridge path.bridge-verdicts path.bridge-routed path.other-host "
                      "path.families-together netdev.egress-dummy path.fragments path.fragments-full "
                      "path.fragments-error path.fragments-egress path.fragments-refused path.fragments-cut-short path.gso "
                      "path.gso-apart list list.batch sysctl.ip-forward sysctl.rp-filter "
                      "sysctl.bridge-nf-call raw.every-size")),
        Branch((511, 511), "s > 0", _rules("start-index start-index.bridge")),
        Branch((514, 515), "ACCEPT: the next one", _rules("accept.all accept.high-bits drop.only-its-packet")),
        Branch((516, 521), "DROP: freed; -EPERM, or the errno it carries",
               _rules("drop.eperm drop.errno drop.only-its-packet drop.first-decides netdev.ingress-drop netdev.egress-drop "
                      "drop.frees drop.positive drop.reason drop.reason-whole drop.reason-cloned drop.reason-arp "
                      "drop.errno-arp first.verdicts")),
        Branch((522, 523), "QUEUE: nf_queue",
               _rules("queue.no-handler queue.bypass queue.frees queue.number queue.order queue.bypass-listener queue.full queue.fail-open "
                      "queue.one-listener")),
        Branch((524, 525), "nobody listens and bypass: the next one", _rules("queue.bypass first.verdicts")),
        Branch((526, 526), "freed for want of a listener", _rules("queue.no-handler queue.full")),
        Branch((526, 526), "queued: nf_reinject goes on from there",
               _rules("queue.reinject-accept queue.reinject-answer queue.reinject-bridge queue.reinject-drop queue.reinject-repeat "
                      "queue.reinject-queue queue.reinject-stop "
                      "queue.reinject-stolen queue.reinject-high-bits queue.reinject-unknown queue.hook-registered-meanwhile "
                      "queue.hook-registered-elsewhere queue.listener-dies queue.waits")),
        Branch((527, 531), "STOLEN: 0, since 6.7 the errno it carries",
               _rules("stolen stolen.errno stolen.errno-range stolen.keeps first.verdicts first.stolen")),
        Branch((527, 531), "REPEAT, STOP and unknown verdicts: 0, since 6.7 with a warning",
               _rules("repeat stop unknown default.silent first.private")),
        Branch((535, 535), "no hook is left: 1", _rules("accept.all key.off")),
        Branch((505, 536), "newer: nf_hook_slow_list: packet by packet; those that pass go on in their order",
               _rules("list.order list.verdicts list first.private")),
    )),
    CoveredFunction("nf_nat_hook", (556, 557), (
        Branch((556, 557), "set by nf_nat, and cleared", _rules("nat.hook")),
    )),
    CoveredFunction("nf_ct_attach", (559, 570), (
        Branch((563, 569), "a packet with a connection: attach is called", _rules("ct.hooks ct.present ct.icmp-error")),
        Branch((564, 568), "the pointer is read under rcu_read_lock",
               uncovered=_SANITIZER + "lockdep with PROVE_RCU: without it, the hook is there as long as nothing unloads it"),
        Branch((566, 566), "without nf_conntrack: nobody is", _rules("ct.absent")),
        Branch((563, 563), "a packet without one: nobody is", _rules("ct.hooks ct.absent ct.present")),
    )),
    CoveredFunction("nf_conntrack_destroy", (573, 582), (
        Branch((577, 581), "the hook's destroy is called", _rules("ct.hooks ct.present ct.icmp-error ct.goes")),
        Branch((573, 582), "since 6.6: nf_ct_set_closing: a connection that a reset ends is closed",
               _rules("ct.closing ct.closing-tracked")),
        Branch((579, 579), "a connection without a hook: a bug, on newer kernels a warning", _rules("ct.orphan")),
    )),
    CoveredFunction("nf_ct_get_tuple_skb", (585, 597), (
        Branch((593, 594), "with nf_conntrack: its answer", _rules("ct.hooks ct.present nat.tuple")),
        Branch((593, 593), "without: false", _rules("ct.absent ct.goes")),
    )),
    CoveredFunction("nf_ct_zone_dflt", (601, 604), (
        Branch((601, 604), "zone 0, default direction", _rules("ct.zone-default ct.present")),
    )),
    CoveredFunction("__netfilter_net_init", (608, 615), (
        Branch((613, 614), "every head starts NULL",
               _rules("pernet.empty netns.isolated head.by-hook head.arp head.bridge first.neighbours")),
    )),
    CoveredFunction("netfilter_net_init", (617, 643), (
        Branch((619, 629), "the heads of every family", _rules("head.by-hook head.arp head.bridge pernet.empty pernet.isolated")),
        Branch((632, 633), "/proc/net/netfilter", _rules("pernet.proc")),
        Branch((634, 638), "no memory for it: -ENOMEM, and a line in the log", _rules("pernet.enomem")),
        Branch((634, 638), "no memory for the first namespace's: not a word", uncovered=_BOOT),
    )),
    CoveredFunction("netfilter_net_exit", (645, 648), (
        Branch((647, 647), "the proc entry goes with its namespace",
               _rules("pernet.proc pernet.exit pernet.exit-twice pernet.exit-layer-2 pernet.exit-devices pernet.exit-dummies "
                      "pernet.exit-queued pernet.exit-ruleset first.neighbours")),
        Branch((645, 648), "hooks that their owner has left: core does not look for any",
               uncovered="the module takes all that it registered away: ops that it freed would stay in an array that is never freed"),
    )),
    CoveredFunction("netfilter_init", (655, 672), (
        Branch((659, 662), "the namespaces' operations are registered", _rules("netns.isolated pernet.proc")),
        Branch((663, 667), "loggers are prepared: each namespace has an nf_log", _rules("pernet.proc")),
        Branch((660, 671), "a failure at boot", uncovered=_BOOT),
    )),
)


def core_lines(rule: str) -> tuple[tuple[int, int], ...]:
    """The lines that a rule was read from, by the branches that name it; in their order."""
    return tuple(sorted({branch.lines for function in FUNCTIONS for branch in function.branches if rule in branch.rules}))


def functions_of(rule: str) -> tuple[str, ...]:
    """Functions of the pinned core.c that a rule is about."""
    return tuple(function.name for function in FUNCTIONS if rule in function.rules)


def rules_about(function: str, what: str, *, besides: str) -> tuple[str, ...]:
    """Rules that are about one branch.

    :param what: that it does
    :param besides: a rule that is left out
    """
    named = (rule for one in FUNCTIONS if one.name == function for branch in one.branches if branch.what == what for rule in branch.rules)
    return tuple(rule for rule in named if rule != besides)
