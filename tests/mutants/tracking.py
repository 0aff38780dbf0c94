"""Wrong ways to connection tracking, a wrong inner loop of NAT's, copies of copies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partialmethod
from typing import Any

from harness.model import conntrack, entries, nat, structures
from harness.model.conntrack import CtHook, Tracking, Zone
from harness.model.steps import conntrack as steps
from harness.model.structures import Connection, CtSkb
from harness.netfilter import Verdict
from harness.scenario.addresses import Address
from harness.scenario.steps.conntrack import ConntrackTuple
from tests.mutants.mutant import ACCEPT, Mutant, collected, named, oldest_first, rules_only

__all__ = ("MUTANTS",)

right_unload, right_redirected = Tracking.unload, nat.Redirections.redirected


def attaches_nothing(_tracking: Tracking, _new: CtSkb, _skb: CtSkb) -> None:
    return None


def leaves_alone_what_is_not_tracked(tracking: Tracking, new: CtSkb, skb: CtSkb) -> None:
    if skb.nfct is not None:
        conntrack.nf_ct_attach(tracking, new, skb)


def attaches_what_has_no_connection(tracking: Tracking, new: CtSkb, skb: CtSkb) -> None:
    if tracking.hook is not None:
        tracking.hook.attach(new, skb)


def leaves_alone_what_is_established(tracking: Tracking, new: CtSkb, skb: CtSkb) -> None:
    if skb.info != "ESTABLISHED":
        conntrack.nf_ct_attach(tracking, new, skb)


def warns_of_one_orphan(tracking: Tracking, skb: CtSkb) -> None:
    conntrack.nf_conntrack_put(tracking, skb)
    while tracking.warnings.count("nf_conntrack_destroy") > 1:
        tracking.warnings.remove("nf_conntrack_destroy")


def attaches_without_a_hook(tracking: Tracking, new: CtSkb, skb: CtSkb) -> None:
    if tracking.hook is None and skb.nfct is not None:
        new.nfct, new.info = skb.nfct, skb.info
    conntrack.nf_ct_attach(tracking, new, skb)


def keeps_silent_of_an_orphan(tracking: Tracking, nfct: Connection) -> None:
    if tracking.hook is not None:
        tracking.hook.destroy(nfct)


def destroys_nothing(tracking: Tracking, skb: CtSkb) -> None:
    nfct, skb.nfct = skb.nfct, None
    if nfct is not None:
        nfct.use -= 1


def destroys_with_every_packet(tracking: Tracking, skb: CtSkb) -> None:
    nfct, skb.nfct = skb.nfct, None
    if nfct is not None and tracking.hook is not None:
        with contextlib.suppress(ValueError):
            tracking.hook.destroy(nfct)


def finds_no_tuple(_tracking: Tracking, _skb: CtSkb) -> ConntrackTuple | None:
    return None


def finds_the_packet_s_own_tuple(_tracking: Tracking, skb: CtSkb) -> ConntrackTuple | None:
    return skb.flow


def hook_that_stays(tracking: Tracking) -> CtHook | None:
    """nf_conntrack's pointer, which does not go with it."""
    return CtHook(tracking._destroy, tracking._get_tuple_skb, tracking._attach, lambda _connection: None)


def closes_none(tracking: Tracking, nfct: Connection | None) -> None:
    if nfct is None and tracking.hook is not None:
        tracking.hook.set_closing(Connection("", ConntrackTuple("", 0, "", 0), ConntrackTuple("", 0, "", 0)))


def puts_what_it_closes(_tracking: Tracking, nfct: Connection | None) -> None:
    if nfct is not None:
        nfct.use -= 1


def nat_that_stays(tracking: Tracking) -> Iterator[tuple[str, bool]]:
    yield "nf_ct_hook", tracking.hook is not None
    yield "nfnl_ct_hook", "nf_conntrack" in tracking.modules
    yield "nf_nat_hook", "nf_conntrack" in tracking.modules


def the_last_decides(e: structures.Entries | None, context: structures.Context, _initialized: Callable[[], bool]) -> Verdict:
    for ops in e or ():
        ops.hook(ops, context)
    return ACCEPT


def copies_copies(_tracking: Tracking, leaves: Callable[[], None]) -> None:
    leaves()


def copies_once(tracking: Tracking, leaves: Callable[[], None]) -> None:
    conntrack.nf_dup_ipv4(tracking, leaves)
    tracking.nf_skb_duplicated = True


def finds(self: Tracking, skb: CtSkb, *, anywhere: bool) -> Connection | None:
    """A connection of any namespace, or one that no table has."""
    here = (each for each in self.connections if (each.confirmed if anywhere else each.net == skb.net))
    return next((each for each in here if skb.flow in (each.original, each.reply)), None)


def leaves_its_connections(self: Tracking, name: str) -> None:
    connections = list(self.connections)
    right_unload(self, name)
    self.connections += [each for each in connections if each not in self.connections]


def answers_from_where_it_was_asked(self: nat.Redirections, *where: Any) -> Address:
    nfct = where[-2].ct.nfct
    reply = nfct.reply if nfct is not None else None
    redirected = right_redirected(self, *where)
    if nfct is not None:
        nfct.reply = reply
    return redirected


def was_asked_for_where_it_went(self: nat.Redirections, *where: Any) -> Address:
    redirected, nfct = right_redirected(self, *where), where[-2].ct.nfct
    if nfct is not None:
        nfct.original = nfct.reply.inverted()
    return redirected


MUTANTS = collected([
    rules_only(named("nobody warns of an orphan", conntrack, "nf_conntrack_destroy", keeps_silent_of_an_orphan, "ct.orphan")),
    named("attach does nothing", steps, "nf_ct_attach", attaches_nothing, "ct.icmp-error", "ct.present", "ct.hooks"),
    rules_only(named("attach leaves alone what is not tracked", steps, "nf_ct_attach", leaves_alone_what_is_not_tracked, "ct.hooks")),
    rules_only(named("attach leaves alone what is established", steps, "nf_ct_attach", leaves_alone_what_is_established, "ct.present")),
    named("attach asks for no connection", steps, "nf_ct_attach", attaches_what_has_no_connection, "ct.hooks"),
    named("attach needs no hook", steps, "nf_ct_attach", attaches_without_a_hook, "ct.absent"),
    rules_only(named("an orphan warns once", steps, "nf_conntrack_put", warns_of_one_orphan, "ct.orphan")),
    named("nothing is destroyed", steps, "nf_conntrack_put", destroys_nothing, "ct.hooks"),
    named("every packet's end destroys", steps, "nf_conntrack_put", destroys_with_every_packet, "ct.hooks"),
    rules_only(named("no connection is closed, and none is", steps, "nf_ct_set_closing", closes_none, "ct.closing")),
    rules_only(named("a connection that is closed loses a reference", steps, "nf_ct_set_closing", puts_what_it_closes,
          "ct.closing", "ct.closing-tracked")),
    named("no tuple is found", steps, "nf_ct_get_tuple_skb", finds_no_tuple, "ct.present", "ct.hooks"),
    named("a tuple needs no connection", steps, "nf_ct_get_tuple_skb", finds_the_packet_s_own_tuple, "ct.present", "ct.absent"),
    named("the default zone is 1", steps, "NF_CT_ZONE_DFLT", Zone(1, 0, 3), "ct.zone-default"),
    named("nf_ct_hook stays", Tracking, "hook", property(hook_that_stays), "ct.absent", "nat.hook", "ct.goes"),
    named("NAT's pointer comes with conntrack", Tracking, "pointers", nat_that_stays, "nat.hook"),
    named("NAT runs all its chains", nat, "nf_nat_inet_fn", the_last_decides, "nat.order"),
    ("NAT has the oldest first", Mutant(("nat.order",), ((entries, "nf_hook_entries_grow", oldest_first),))),
    rules_only(named("a connection is any namespace's", Tracking, "_find", partialmethod(finds, anywhere=True), "ct.present")),
    rules_only(
        named("a connection is found before it is in the table", Tracking, "_find", partialmethod(finds, anywhere=False), "ct.present")),
    rules_only(named("connections stay when nf_conntrack goes", Tracking, "unload", leaves_its_connections, "ct.goes")),
    rules_only(named(
        "a redirection leaves the answer's tuple", nat.Redirections, "redirected", answers_from_where_it_was_asked, "nat.tuple")),
    rules_only(named(
        "a redirected connection was asked for where it went", nat.Redirections, "redirected", was_asked_for_where_it_went, "nat.tuple")),
    rules_only(named("one copy is sent, ever", steps, "nf_dup_ipv4", copies_once, "tee.duplicated")),
    named("copies are copied", steps, "nf_dup_ipv4", copies_copies, "tee.duplicated"),
])
