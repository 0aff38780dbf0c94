"""Drawing steps with BPF programs as hooks."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from harness.explore.steps.maker import Drawn, as_it_is, new_name, priorities
from harness.netfilter import HOOK_POINTS, PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.scenario.scope import Scope
from harness.scenario.steps.bpf import BpfLink, BpfUnlink
from harness.scenario.steps.hooks import ACCEPT

__all__ = ("DRAWN",)

_families = st.sampled_from([Family.IPV4, Family.IPV4, Family.IPV6])
_hooks = st.sampled_from(list(HOOK_POINTS[Family.IPV4]))
#: Most of them those that other hooks have, too.
_priorities = st.one_of(*[st.sampled_from([0, 1, -1, -300])] * 3,
                        priorities.map(lambda each: min(max(each, PRIORITY_MIN + 1), PRIORITY_MAX - 1)))
_verdicts = st.sampled_from([ACCEPT, ACCEPT, Verdict(VerdictKind.DROP)])


def _link(draw: st.DrawFn, scope: Scope) -> BpfLink:
    """Often at a priority that is taken."""
    netns = draw(st.sampled_from(scope.topology.namespaces))
    return BpfLink(new_name(scope, "l"), netns, draw(_families), draw(_hooks), draw(_priorities), draw(_verdicts))


def _again(draw: st.DrawFn, scope: Scope) -> BpfLink | None:
    """Where another link is."""
    links = [link for link in scope.links.values() if isinstance(link, BpfLink)]
    return replace(draw(st.sampled_from(links)), id=new_name(scope, "l"), verdict=draw(_verdicts)) if links else None


def _unlink(draw: st.DrawFn, scope: Scope) -> BpfUnlink | None:
    """A link's end, also of one that was refused because its priority was taken."""
    return BpfUnlink(draw(st.sampled_from(list(scope.links)))) if scope.links else None


DRAWN = Drawn(
    makers=(_link, _link, _again, _unlink),
    times={"anything": 2, "packets": 1, "upset": 1}, there=lambda profile: profile.bpf_link, plainer=as_it_is)
