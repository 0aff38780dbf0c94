"""Which rule of nftables' or of an xtables table gave a verdict, as far as what was evaluated last tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.netfilter import Verdict, VerdictKind
from harness.outcome.types import RulesetRule
from harness.walks.events import Call, Decision, Entry, Event, TableRule
from harness.walks.sightings import told_apart
from harness.walks.symbol import Symbol

__all__ = ("Decided", "called", "decided", "decided_in_table", "rules_wanted")

#: What the beginnings of functions' names say of expressions that nft_do_chain() calls indirectly: those that give a verdict whenever
#: they are evaluated, and those that do sometimes. No others give one that ends a chain.
_ALWAYS = ("nft_reject_", "nft_masq_", "nft_nat_", "nft_redir_", "nft_queue_", "nft_fwd_")
_SOMETIMES = ("nft_target_", "nft_match_", "nft_synproxy_", "nft_tproxy_", "nft_objref_", "nft_lookup_", "nft_immediate_",
              "nft_ct_set_zone_", "nft_tunnel_", "nft_osf_", "nft_connlimit_")


_ACCEPT = Verdict(VerdictKind.ACCEPT).encode()
#: A policy has no other verdicts; from 6.7 on what a rule drops is stolen (:func:`_agree`), what a policy drops is not.
_OF_POLICIES = (VerdictKind.ACCEPT, VerdictKind.DROP)


class Decided(NamedTuple):
    """What decided in a hook of nftables' or of an xtables table.

    :param rule: that gave the verdict
    :param policy: no rule did; neither where the kernel does not tell
    """

    rule: RulesetRule | None
    policy: bool


_UNKNOWN, _POLICY = Decided(None, policy=False), Decided(None, policy=True)


def decided(
    decision: Decision, verdict: Verdict, function: Symbol | None, listed: Mapping[tuple[int, int], tuple[str, str]], base: str,
) -> Decided:
    """The rule that gave a base chain's verdict, or that its policy did.

    :param verdict: of the base chain
    :param function: that the decision's address is of
    :param listed: handle of the table and of the rule → its chain and its text
    :param base: name that the base chain had then, which it may not have where its rules were listed
    """
    if decision.function:
        name = function.name if function else ""
        may = not function or name.startswith(_SOMETIMES)
        if may and verdict.kind in _OF_POLICIES:
            return _UNKNOWN
        if not may and not name.startswith(_ALWAYS):
            return _by_policy(verdict)
    elif decision.code < 0:  # NFT_CONTINUE, NFT_RETURN and the jumps
        return _by_policy(verdict)
    elif not _agree(decision.code, verdict):
        return _UNKNOWN
    if not decision.handle:
        return _UNKNOWN
    chain, text = listed.get((decision.table, decision.handle), ("", ""))
    there = chain if decision.jumps or not chain else base
    return Decided(RulesetRule(decision.handle, there, text, _way(decision, chain, listed)), policy=False)


def _by_policy(verdict: Verdict) -> Decided:
    """A policy drops with no errno. One is of the hook behind its chain, which accepted: ``nf_route_table_hook4`` could not reroute."""
    return _UNKNOWN if verdict.kind is VerdictKind.DROP and verdict.errno else _POLICY


def decided_in_table(rule: TableRule, verdict: Verdict, base: str) -> Decided:
    """What an xtables table says of its verdict.

    :param base: the hook point's chain
    """
    if rule.policy:
        return _POLICY
    if not rule.number:
        return _UNKNOWN
    text = "one of its matches had the packet dropped" if rule.hot else f"-j {rule.target or verdict.kind.name}"
    return Decided(RulesetRule(rule.number, rule.chain or base, text), policy=False)


def rules_wanted(
    events: Iterable[Event], namespaces: Sequence[tuple[int, int, str]], *, accepted: bool = True,
) -> set[tuple[int, int, int]]:
    """Namespace, handle of the table and of the rule, of what may have decided or jumped: what a recording wants the texts of.

    :param namespaces: as of a recording
    :param accepted: also of chains that accepted
    """
    return {(netns, decision.table, handle) for netns, decision, verdict in called(events, namespaces) if accepted or verdict != _ACCEPT
            for handle in {decision.handle, *decision.via} - {0}}


def called(events: Iterable[Event], namespaces: Sequence[tuple[int, int, str]]) -> Iterator[tuple[int, Decision, int]]:
    """The calls of base chains: namespace, what the chain evaluated last, and what it returned.

    :param namespaces: as of a recording
    """
    events = tuple(events)
    if not any(isinstance(event, Call) and event.decision for event in events):
        return
    netns: dict[int, int] = {}
    for event in told_apart(events, namespaces)[0]:
        if isinstance(event, Entry):
            netns[event.traversal] = event.netns
        elif isinstance(event, Call) and event.decision and event.traversal in netns:
            yield netns[event.traversal], event.decision, event.verdict


def _agree(code: int, verdict: Verdict) -> bool:
    """Where ``nft_do_chain`` frees what a rule drops with a reason (``NF_DROP_REASON``), it returns STOLEN."""
    kind = Verdict.decode(code).kind
    return verdict.kind is kind or (kind is VerdictKind.DROP and verdict.kind is VerdictKind.STOLEN)


def _way(decision: Decision, chain: str, listed: Mapping[tuple[int, int], tuple[str, str]]) -> tuple[int, ...]:
    """The handles of the rules whose jumps led to a chain, in the order of the jumps; empty if not all jumps were recorded.

    The search goes backwards: the last rule that names the chain, then the last rule before it that names the chain of that rule.
    """
    if not chain or decision.jumps > len(decision.via):
        return ()
    way: list[int] = []
    target = chain
    for handle in reversed(decision.via):
        there, text = listed.get((decision.table, handle), ("", ""))
        if there and target in text.replace("}", " ").replace(",", " ").split():
            way.insert(0, handle)
            target = there
    return tuple(way)
